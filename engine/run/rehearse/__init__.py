"""Rehearsal: the paper loop at the loopback exchange, and how it compares with a backtest."""
