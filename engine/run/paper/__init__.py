"""Paper trading: one crash-only cycle a session, and everything around it."""
