"""Greedy play of a deployed policy over many books at once, in raw equity."""

import numpy as np

from agents.env import BookEnv


def play(env: BookEnv, steps: int | None = None) -> np.ndarray:
    """Play one episode with the environment's own policy; return equity, dollars.

    Shapes: (S + 1, B), row 0 before the first decision. The environment must have been built with a
    policy; nothing is scaled, clipped or learned.
    """
    env.reset()
    equity = [env.venue.book.equity().copy()]
    for _ in range(env.plan.episode_steps if steps is None else steps):
        obs = env.observe()
        result = env.step(obs, env.trader.act(obs))
        equity.append(result.equity_after.copy())
    return np.stack(equity)


def step_returns(equity: np.ndarray) -> np.ndarray:
    """Return the simple return of each step and book. Shapes: (S + 1, B) in, (S, B) out."""
    return np.asarray(equity[1:] / equity[:-1] - 1.0)
