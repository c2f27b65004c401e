"""Alpaca paper trading: the only package that speaks Alpaca's API as a client."""
