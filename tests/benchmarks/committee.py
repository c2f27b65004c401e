"""A committee: checkpoints of several seeds and learning rules that decide together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.observation import Observation
from engine.policy import Policy, Wish
from engine.run.backtest import new_venue
from engine.run.evaluation import deployed
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.run.walkforward.plan import AGENT, WalkForward
from engine.settings import Settings
from engine.trader import Trader


@dataclass(frozen=True)
class Committee:
    """Wants the mean of what its members want; their memories stand side by side in its own."""

    members: tuple[Policy, ...]

    @property
    def memory_width(self) -> int:
        """The widths of all members together."""
        return sum(member.memory_width for member in self.members)

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`. An order is kept back where all members keep."""
        ends = np.cumsum([member.memory_width for member in self.members])[:-1]
        parts = np.split(memory, ends, axis=-1)
        said = [
            member.act(obs, np.ascontiguousarray(part))
            for member, part in zip(self.members, parts, strict=True)
        ]
        exposure = np.mean([wish.exposure for wish, _ in said], axis=0)
        keep = np.all([wish.keep for wish, _ in said], axis=0)
        return Wish(exposure, keep), np.concatenate([after for _, after in said], axis=-1)


def together(walks: Sequence[WalkForward], settings: Settings) -> Recorder:
    """Replay in every window the committee of what all walk-forwards and seeds trained, one book throughout.

    They must have the same features, scaler and action: those of the first count.
    """
    bars, record = walks[0].bars, Recorder()
    venue, rows = new_venue(settings, bars), None
    for at, window in enumerate(walks[0].windows):
        found = [
            deployed(settings, walk.part(walk.windows[at], AGENT, seed).checkpoint, bars)
            for walk in walks
            for seed in walk.seeds
        ]
        spec = found[0][0]
        assert all(other.features.names == spec.features.names for other, _ in found)
        assert all(np.array_equal(other.scaler.mean, spec.scaler.mean) for other, _ in found)
        rows = rows or spec.features.history(bars)
        trader = Trader(spec, Committee(tuple(policy for _, policy in found)), len(bars.symbols))
        replay(trader, venue, bars, window.test.first, window.test.last, record, rows)
    return record
