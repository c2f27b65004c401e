"""Composition root: the only folder that sees every package."""
