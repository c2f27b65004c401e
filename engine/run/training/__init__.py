"""Training: one run, several seeds side by side, and where their processes live."""
