"""Several agents on one record, one after the other: the book goes on, the memory does not.

Cash, positions and the orders of an agent's last bar go on to the next one; its memory starts from its
own burn-in, because it is another. So do the windows of a walk-forward, and so does a paper account
whose agent was replaced.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.bars import Bars
from engine.costs import Costs, CostsByBook
from engine.policy import Policy
from engine.run.evaluation import deployed
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.settings import Settings
from engine.step import StepPolicy
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue


@dataclass(frozen=True, slots=True)
class Turn:
    """The bars that one agent decides on, from row `first` to row `last`."""

    checkpoint: Path
    first: int
    last: int


Agent = tuple[Turn, TraderSpec, Policy]


def relay(settings: Settings, bars: Bars, turns: Iterable[Turn], venue: SimVenue) -> Recorder:
    """Replay every turn on one venue and return the record of all of them."""
    return _relay(_agents(settings, bars, turns), bars, venue, Recorder())


def relay_at_costs(
    settings: Settings, bars: Bars, turns: Iterable[Turn], costs: Sequence[Costs]
) -> list[Recorder]:
    """Return the record of all turns at each of some costs, without what was seen.

    One book for each of them, all in one replay: the bars, their features, the memory where it follows
    from them, and the call of the network are shared. The decisions are those of `relay` under each cost
    alone, bit for bit; where a network gives other bits to rows among others, they are replayed one
    after the other.
    """
    agents = list(_agents(settings, bars, turns))
    shape = (len(costs), len(bars.symbols))
    together = all(_rows_stand_alone(policy, *shape) for _, _, policy in agents)
    records: list[Recorder] = []
    for rules in [tuple(costs)] if together else [(cost,) for cost in costs]:
        own = CostsByBook(rules)
        venue = SimVenue(settings.backtest.cash, (len(rules), shape[1]), own, settings.venue)
        records += _relay(agents, bars, venue, Recorder(several=True), own).apart()
    return records


def _agents(settings: Settings, bars: Bars, turns: Iterable[Turn]) -> Iterator[Agent]:
    for turn in turns:
        yield turn, *deployed(settings, turn.checkpoint, bars)


def _relay(
    agents: Iterable[Agent],
    bars: Bars,
    venue: SimVenue,
    record: Recorder,
    costs: CostsByBook | None = None,
) -> Recorder:
    rows: dict[tuple[str, ...], tuple[np.ndarray, np.ndarray]] = {}
    for turn, spec, policy in agents:
        names = tuple(spec.features.names)
        if names not in rows:
            rows[names] = spec.features.history(bars)
        trader = Trader(spec, policy, len(bars.symbols), venue.shape[0], costs)
        replay(trader, venue, bars, turn.first, turn.last, record, rows[names])
    return record


def _rows_stand_alone(policy: Policy, books: int, symbols: int) -> bool:
    # Matrix products may take another path for more rows; asked of the shapes that will be used.
    if not isinstance(policy, StepPolicy):
        return False
    draw = np.random.default_rng(0).standard_normal
    shape, info = (books, symbols), policy.info
    widths = (len(info.features), len(info.book), info.memory_width)
    inputs = [draw((*shape, width)).astype(np.float32) for width in widths]
    together = policy.run(*inputs)
    alone = [policy.run(*(x[book : book + 1] for x in inputs)) for book in range(books)]
    return all(
        np.array_equal(whole[book], part[0])
        for book, parts in enumerate(alone)
        for whole, part in zip(together, parts, strict=True)
    )
