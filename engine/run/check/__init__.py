"""Checks: look-ahead, memory, parity and placebo, each a command whose findings reports show."""
