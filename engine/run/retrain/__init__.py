"""Retraining: challengers against the champion, the rules of promotion, the registry."""
