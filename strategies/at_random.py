"""A policy that trades at random: what so much trading is worth without any idea."""

from dataclasses import dataclass

import numpy as np

from engine.observation import Observation
from engine.policy import Wish


@dataclass(frozen=True)
class Random:
    """Fill or empty a sleeve at random, with probability `rate` a bar.

    The draw is a function of seed, book, symbol and the number of bars seen, which is the memory.
    """

    rate: float
    seed: int
    memory_width: int = 1

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        books, symbols = np.indices(obs.fresh.shape, dtype=np.uint64)
        bar = memory[..., 0].astype(np.uint64)
        draw = uniform(np.uint64(self.seed), books, symbols, bar)
        exposure = np.where(obs.book[..., 0] != 0, 0.0, 1.0)
        return Wish(exposure, draw >= self.rate), memory + np.float32(1.0)


def uniform(*keys: np.ndarray | np.uint64) -> np.ndarray:
    """Return numbers in [0, 1) that depend on the integer keys alone, the same everywhere.

    Source: the mixing function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), once for each key.
    """
    state = np.zeros(1, dtype=np.uint64)
    for key in keys:
        state = (state ^ key) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return np.asarray((state >> np.uint64(11)) / 2.0**53)
