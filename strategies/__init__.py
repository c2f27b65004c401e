"""Backtrader strategies and policies that do not learn."""

PROJECT = "barwise"
