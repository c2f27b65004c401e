"""Parity: environment, plain replay and Backtrader make the same decisions on the same bars.

Every field of every bar is compared: bit for bit, equity and cash within 1e-9 of equity.
"""

from dataclasses import dataclass

import numpy as np

from agents.env import BookEnv, BookPlan
from agents.panel import Panel
from engine.bars import Bars
from engine.policy import Policy
from engine.run.backtest import through_backtrader
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue

RELATIVE = 1e-9
MONEY = ("cash", "equity")


@dataclass(frozen=True, slots=True)
class Difference:
    """Largest difference of one field between two paths; `bar` is the first that differs."""

    paths: str
    field: str
    largest: float
    bar: str
    within: bool


@dataclass(frozen=True, slots=True)
class ParityResult:
    """What was compared and what came out."""

    bars: int
    decisions: int
    fills: int
    differences: tuple[Difference, ...]

    @property
    def equal(self) -> bool:
        """True when every difference is inside its tolerance."""
        return all(item.within for item in self.differences)


def check_parity(
    bars: Bars, spec: TraderSpec, policy: Policy, first: int, last: int, cash: float
) -> ParityResult:
    """Run the three paths over bars `first` to `last` and compare their records."""
    records = {
        "environment": through_environment(bars, spec, policy, first, last, cash),
        "replay": through_replay(bars, spec, policy, first, last, cash),
        "backtrader": through_backtrader(
            bars, Trader(spec, policy, len(bars.symbols)), _venue(bars, spec, cash), first, last
        ),
    }
    return compare(records)


def compare(records: dict[str, Recorder]) -> ParityResult:
    """Compare every record with the one of plain replay, over the bars they share."""
    reference = records["replay"]
    base, sessions = reference.arrays(), reference.sessions
    shared = min(len(record.arrays()["equity"]) for record in records.values())
    found = []
    for name, record in records.items():
        if name != "replay":
            other = record.arrays()
            found += [
                _difference(f"{name} - replay", key, other[key][:shared], base, shared, sessions)
                for key in base
            ]
    traded = base["filled"][:shared]
    return ParityResult(
        shared, int(base["exposure"][:shared].size), int((traded != 0).sum()), tuple(found)
    )


def through_environment(
    bars: Bars, spec: TraderSpec, policy: Policy, first: int, last: int, cash: float
) -> Recorder:
    """Record one portfolio episode of the training environment under `policy`."""
    panel = Panel.of(bars, spec.features, spec.scaler)
    plan = BookPlan(books=1, kind="portfolio", episode_steps=last - first, cash=cash)
    env = BookEnv(panel, spec, plan, np.random.default_rng(0), first, last, policy)
    recorder = Recorder()
    env.at[:], env.symbol[:] = first, np.arange(len(bars.symbols))
    env.begin(np.ones(1, dtype=bool))
    env.venue = recorder.watch(env.trader, env.venue)  # type: ignore[assignment]
    recorder.start(bars.sessions[first], env.venue.book)
    for _ in range(last - first):
        obs = env.observe()
        env.step(obs, env.trader.act(obs))
    return recorder


def through_replay(
    bars: Bars, spec: TraderSpec, policy: Policy, first: int, last: int, cash: float
) -> Recorder:
    """Record the plain replay."""
    trader = Trader(spec, policy, len(bars.symbols))
    return replay(trader, _venue(bars, spec, cash), bars, first, last)


def _venue(bars: Bars, spec: TraderSpec, cash: float) -> SimVenue:
    return SimVenue(cash, (1, len(bars.symbols)), spec.costs, spec.venue)


def _difference(
    paths: str,
    key: str,
    other: np.ndarray,
    base: dict[str, np.ndarray],
    shared: int,
    sessions: list[np.datetime64],
) -> Difference:
    mine = base[key][:shared]
    gap = np.abs(other.astype(np.float64) - mine.astype(np.float64)).reshape(shared, -1)
    gap = np.where(
        np.isnan(other).reshape(shared, -1) & np.isnan(mine).reshape(shared, -1), 0.0, gap
    )
    gap = np.nan_to_num(gap, nan=np.inf)
    worst = gap.max(axis=1, initial=0.0)
    limit = RELATIVE * np.abs(base["equity"][:shared]) if key in MONEY else np.zeros(shared)
    beyond = np.flatnonzero(worst > limit)
    bar = str(sessions[beyond[0]]) if len(beyond) else ""
    return Difference(paths, key, float(worst.max(initial=0.0)), bar, not len(beyond))
