"""Look-ahead where whole runs are needed: inside the Backtrader strategy, and between segments."""

from collections.abc import Callable

import numpy as np

from engine.bars import Bars
from engine.errors import CheckError, TradingError
from engine.policy import Policy
from engine.run.backtest import through_backtrader
from engine.run.lookahead import Leak
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue

COMPARED = ("market", "memory", "exposure", "keep", "order_qty")


def check_strategy(
    spec: TraderSpec,
    policy: Policy,
    bars: Bars,
    first: int,
    last: int,
    cash: float,
    dates: int = 10,
    strategy: type | None = None,
    seed: int = 0,
) -> tuple[Leak, ...]:
    """Run the strategy on bars that end at some dates; decisions up to there must not change.

    A strategy that fails on shorter bars read beyond their end: that counts as a leak.
    """

    def run(until: int) -> Recorder:
        trader = Trader(spec, policy, len(bars.symbols))
        venue = SimVenue(cash, (1, len(bars.symbols)), spec.costs, spec.venue)
        cut = bars.between(None, bars.sessions[until])
        return through_backtrader(cut, trader, venue, first, until, strategy=strategy)

    try:
        whole = run(last).arrays()
    except IndexError:  # Backtrader's answer to a read beyond the last bar
        return (Leak("strategy", "cut", str(bars.sessions[last]), str(bars.sessions[last]), "all"),)
    generator = np.random.default_rng(seed)
    chosen = generator.choice(np.arange(first + 1, last), min(dates, last - first - 1), False)
    leaks = []
    for t in sorted(int(at) for at in chosen):
        try:
            short = run(t).arrays()
        except (IndexError, TradingError):
            leaks.append(
                Leak("strategy", "cut", str(bars.sessions[t]), str(bars.sessions[t]), "all")
            )
            continue
        leaks += _moved(bars, whole, short, first, t)
    return tuple(leaks)


def check_segment_start(
    spec: TraderSpec,
    policy: Policy,
    bars: Bars,
    first: int,
    last: int,
    trader: Callable[[TraderSpec, Policy, int], Trader] = Trader,
) -> None:
    """Prove that a trader which has lived starts a segment like a new one: zero and burn-in.

    Raises: CheckError when the memory of an earlier segment shows.
    """
    lived = trader(spec, policy, len(bars.symbols))
    venue = SimVenue(1e6, (1, len(bars.symbols)), spec.costs, spec.venue)
    replay(lived, venue, bars, first, last)
    new = trader(spec, policy, len(bars.symbols))
    history = bars.between(None, bars.sessions[first - 1])
    for each in (lived, new):
        each.prime(history)
    if not np.array_equal(lived.memory, new.memory) or not np.array_equal(lived.warm, new.warm):
        raise CheckError(
            f"the memory before {bars.sessions[first]} should come from zero and burn-in alone, "
            "found one that depends on bars traded earlier; reset it where a segment starts"
        )


def _moved(
    bars: Bars, whole: dict[str, np.ndarray], short: dict[str, np.ndarray], first: int, t: int
) -> list[Leak]:
    found = []
    for name in COMPARED:
        differs = whole[name][: t - first + 1] != short[name]
        rows = np.argwhere(differs.reshape(len(differs), len(bars.symbols), -1).any(axis=-1))
        if len(rows):
            at, symbol = rows[0]
            seen = str(bars.sessions[first + at])
            found.append(Leak(name, "cut", str(bars.sessions[t]), seen, bars.symbols[symbol]))
    return found
