"""Several agents on one record, one after the other: the book goes on, the memory does not.

Cash, positions and the orders of an agent's last bar go on to the next one; its memory starts from its
own burn-in, because it is another. So do the windows of a walk-forward, and so does a paper account
whose agent was replaced.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.bars import Bars
from engine.run.evaluation import deployed
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.settings import Settings
from engine.trader import Trader
from engine.venue import SimVenue


@dataclass(frozen=True, slots=True)
class Turn:
    """The bars that one agent decides on, from row `first` to row `last`."""

    checkpoint: Path
    first: int
    last: int


def relay(settings: Settings, bars: Bars, turns: Iterable[Turn], venue: SimVenue) -> Recorder:
    """Replay every turn on one venue and return the record of all of them."""
    record = Recorder()
    rows: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}
    for turn in turns:
        spec, policy = deployed(settings, turn.checkpoint, bars)
        names = tuple(spec.features.names)
        if names not in rows:
            rows[names] = spec.features.history(bars)
        trader = Trader(spec, policy, len(bars.symbols))
        replay(trader, venue, bars, turn.first, turn.last, record, rows[names])
    return record
