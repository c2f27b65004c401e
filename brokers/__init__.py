"""Backtrader on any venue, and the feeds that carry our bars into it."""

PROJECT = "barwise"
