"""The long-only portfolio of least variance, chosen anew on the first bar of every month.

The memory is the last year of returns, so the choice is a function of observation and memory alone.
"""

from dataclasses import dataclass

import numpy as np

from engine.observation import Observation
from engine.policy import Wish

WINDOW = 252  # returns behind a covariance
TINY = 1e-12  # relative: what is smaller is rounding


@dataclass(frozen=True)
class MinimumVariance:
    """Hold the fully invested portfolio of least sample variance; choose on the first bar of a month.

    The features are the log return and the month's first bar. The returns used end with the bar
    before. With fewer than two returns of every symbol nothing is wanted.
    """

    memory_width: int = WINDOW

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        returns = np.expm1(obs.market[..., :1])
        keep = obs.market[..., 1] == 0
        exposure = np.zeros(keep.shape)
        for book in np.flatnonzero(~keep.all(axis=-1)):
            exposure[book] = weights(np.cov(memory[book].astype(np.float64))) * keep.shape[1]
        return Wish(exposure, keep), np.concatenate([memory[..., 1:], returns], axis=-1)


def weights(covariance: np.ndarray) -> np.ndarray:
    """Return the weights >= 0 that sum to 1 and have the least variance.

    Shapes: (N, N) in, (N,) out; zeros where a symbol does not move at all.
    Source: the active-set method of Lawson and Hanson, Solving Least Squares Problems (1974),
    chapter 23, for min y'Cy / 2 - 1'y over y >= 0, whose solution is a multiple of the weights.
    """
    c = np.atleast_2d(covariance)
    y, free = np.zeros(len(c)), np.zeros(len(c), dtype=bool)
    if (np.diag(c) <= 0).any():
        return y
    while True:
        slope = np.where(free, -np.inf, 1.0 - c @ y)
        if slope.max() <= TINY * len(c):
            return y / y.sum()
        free[slope.argmax()] = True
        y = _step(c, y, free)


def _step(c: np.ndarray, y: np.ndarray, free: np.ndarray) -> np.ndarray:
    # To the optimum over the free symbols; on the way, one that reaches zero is fixed there.
    while True:
        best = np.zeros(len(c))
        best[free] = np.linalg.solve(c[np.ix_(free, free)], np.ones(free.sum()))
        below = free & (best <= 0)
        if not below.any():
            return best
        ratio = y[below] / (y[below] - best[below])
        y = y + ratio.min() * (best - y)
        free &= y > TINY * y.max()
        y = np.where(free, y, 0.0)
