"""Noise on the actions of a deterministic policy, and how it fades.

`gaussian`: independent from bar to bar. `ou`: an Ornstein-Uhlenbeck process, which leans to one side
for a while. One size means the same for both: the standard deviation of the noise, in actions.
Source: Lillicrap et al., arXiv:1509.02971, sec. 3 (theta 0.15); Fujimoto et al., arXiv:1802.09477,
found independent noise to do as well.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from engine.settings_learners import DDPGSettings


def faded(steps: int, first: float, last: float, over: int) -> float:
    """Return the size of the noise after `steps` of experience: linear from `first` to `last`."""
    return first + (last - first) * min(1.0, steps / over)


class Noise:
    """Draws noise for B books of N symbols, bar by bar; `reset` it where an episode begins."""

    def __init__(
        self, settings: DDPGSettings, shape: tuple[int, int], generator: np.random.Generator
    ) -> None:
        self.settings, self.generator = settings, generator
        self.leaning = np.zeros(shape)

    def reset(self) -> None:
        """Forget which way the noise leans."""
        self.leaning = np.zeros_like(self.leaning)

    def size(self, steps: int) -> float:
        """Return the standard deviation after `steps` transitions."""
        known = self.settings
        return faded(steps, known.noise_start, known.noise_end, known.noise_steps)

    def draw(self, steps: int) -> np.ndarray:
        """Return the noise of the next bar, (B, N)."""
        fresh = self.generator.standard_normal(self.leaning.shape)
        if self.settings.noise == "gaussian":
            return self.size(steps) * fresh
        # x' = (1 - theta) x + kick: the kick that keeps the deviation at 1.
        theta = self.settings.ou_theta
        first = not self.leaning.any()  # start in the long run's distribution, not at zero
        kick = 1.0 if first else math.sqrt(theta * (2.0 - theta))
        self.leaning = (1.0 - theta) * self.leaning + kick * fresh
        return self.size(steps) * self.leaning

    def warm_up(self) -> np.ndarray:
        """Return actions drawn evenly from all there are, (B, N) in [-1, 1]."""
        return self.generator.uniform(-1.0, 1.0, self.leaning.shape)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs; the generator is the caller's."""
        return {"leaning": self.leaning.copy()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.leaning = state["leaning"].copy()
