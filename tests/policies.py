"""Small policies with memory for tests: pure functions of observation and memory."""

import numpy as np

from engine.observation import Observation
from engine.policy import ActionSpace, Wish, decode, greedy, leaning


class Follower:
    """Remembers a fading sum of its first market input and trades on its sign.

    It also leans against what it holds, so that the book part matters.
    """

    memory_width = 2

    def __init__(self, space: ActionSpace | None = None, allow_short: bool = False) -> None:
        self.space, self.allow_short = space or ActionSpace(), allow_short

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        after = memory * np.float32(0.9) + obs.market[..., :1]
        lean = obs.book[..., 0] if obs.book.shape[-1] else np.float32(0.0)
        up = after[..., 0] - np.float32(0.1) * lean
        head = leaning(up, self.space, indifferent=0.3)
        return decode(greedy(head, self.space, obs.valid), self.space, self.allow_short), after


class Constant:
    """Always wants the same exposure."""

    memory_width = 1

    def __init__(self, exposure: float) -> None:
        self.exposure = exposure

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`; the memory counts the bars seen."""
        wish = np.full(obs.fresh.shape, self.exposure)
        return Wish(wish, np.zeros(wish.shape, dtype=bool)), memory + np.float32(1.0)
