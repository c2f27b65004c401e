"""One account of a run and what can be asked of it: its curve, exposure, fills and costs.

The agent and every baseline are accounts. Each function here is one definition that needs more than
a return series; `engine.measures` has the rest. It knows no file and no venue.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine import measures
from engine.measures import NotComputable
from engine.round_trips import Events, Fills, RoundTrip, round_trips

PERIODS = 252  # bars a year; a New York year has 248 to 254


@dataclass(frozen=True)
class Account:
    """One curve and how it came about: the agent's or a baseline's.

    Shapes: `equity` (T+1,), starting capital first, then marked at each close; `gross` and `net`
    (T+1,) sum of |value| and of value / equity at the same closes; `fills` of the same sessions.
    None = not recorded, and the numbers that need it are None with that reason.
    """

    equity: np.ndarray
    gross: np.ndarray | None = None
    net: np.ndarray | None = None
    fills: Fills | None = None


@dataclass(frozen=True)
class Conventions:
    """What the numbers assume; printed beside them. Units: `risk_free` per year."""

    periods: int = PERIODS
    risk_free: float = 0.0
    benchmark: str = "buy_and_hold"
    dividends_paid: bool = False


@dataclass(frozen=True)
class Case:
    """Everything a metric may look at: one account on its sessions, beside its benchmark."""

    name: str
    account: Account
    sessions: np.ndarray
    rules: Conventions
    rival: np.ndarray | None = None  # the benchmark's equity (T+1,)
    events: Events | None = None

    @cached_property
    def returns(self) -> np.ndarray:
        return measures.returns_of(self.account.equity)

    @cached_property
    def benchmark(self) -> np.ndarray:
        if self.name == self.rules.benchmark:
            raise NotComputable("this is the benchmark")
        if self.rival is None:
            raise NotComputable(f"no baseline named {self.rules.benchmark} to compare with")
        return measures.returns_of(self.rival)

    @cached_property
    def fills(self) -> Fills:
        if self.account.fills is None:
            raise NotComputable("fills were not recorded")
        return self.account.fills

    @cached_property
    def ended(self) -> tuple[list[RoundTrip], int]:
        return round_trips(self.fills, self.sessions, self.events, self.rules.dividends_paid)

    @cached_property
    def trips(self) -> list[RoundTrip]:
        if not self.ended[0]:
            raise NotComputable("no round trip was closed")
        return self.ended[0]

    @cached_property
    def profits(self) -> np.ndarray:
        return np.array([trip.profit for trip in self.trips])

    @cached_property
    def worst(self) -> measures.Drawdown:
        """The deepest drawdown."""
        found = measures.drawdowns(self.account.equity)
        if not found:
            raise NotComputable("there was no drawdown")
        return found[0]


def recovery(case: Case) -> float:
    """Return the bars from the trough of the deepest drawdown to a new peak."""
    if case.worst.end is None:
        raise NotComputable("not recovered by the end")
    return case.worst.end - case.worst.trough


def longest_under_water(case: Case) -> float:
    """Return the most bars in a row below an earlier peak."""
    return max((drop.bars for drop in measures.drawdowns(case.account.equity)), default=0)


def turnover(case: Case) -> float:
    """Return (bought + sold value) / (2 x mean equity), per year."""
    years = (len(case.sessions) - 1) / case.rules.periods
    if years <= 0:
        raise NotComputable("no bar after the start")
    return float(case.fills.values().sum() / (2.0 * np.mean(case.account.equity)) / years)


def exposure(case: Case, kind: str) -> float:
    """Return the mean of gross or net exposure over all bars after the start."""
    return float(_recorded(case, kind).mean())


def time_in_market(case: Case) -> float:
    """Return the share of bars after the start that end with a position."""
    return float((_recorded(case, "gross") > 0).mean())


def _recorded(case: Case, kind: str) -> np.ndarray:
    series = getattr(case.account, kind)
    if series is None:
        raise NotComputable("exposure was not recorded")
    if len(series) < 2:
        raise NotComputable("no bar after the start")
    return np.asarray(series[1:])


def profit_factor(case: Case) -> float:
    """Return the sum of winning trips / |the sum of losing trips|."""
    losses = -float(case.profits[case.profits < 0].sum())
    if losses == 0:
        raise NotComputable("no round trip lost money")
    return float(case.profits[case.profits > 0].sum()) / losses


def payoff(case: Case) -> float:
    """Return the average win / |the average loss|."""
    wins, losses = case.profits[case.profits > 0], case.profits[case.profits < 0]
    if not len(wins) or not len(losses):
        raise NotComputable("needs at least one winning and one losing round trip")
    return float(wins.mean() / -losses.mean())


def costs(case: Case) -> tuple[float, float, float]:
    """Return commission, regulatory fees and slippage in dollars."""
    fills = case.fills
    regulatory = 0.0 if fills.regulatory is None else float(fills.regulatory.sum())
    return float(fills.fee.sum()) - regulatory, regulatory, float(fills.slippage.sum())


def cost_share(case: Case) -> float:
    """Return all costs / the profit before costs."""
    paid = sum(costs(case))
    gross = float(case.account.equity[-1] - case.account.equity[0]) + paid
    if gross <= 0:
        raise NotComputable("there was no profit before costs")
    return paid / gross
