"""The learning side: networks, environment, PPO, checkpoints; the only package that imports torch."""

PROJECT = "barwise"
