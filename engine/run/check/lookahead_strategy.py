"""Look-ahead where whole runs are needed: the strategy, segments, a network; and units of features."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.bars import VOLUME, Bars
from engine.errors import CheckError, TradingError
from engine.policy import Policy
from engine.run.backtest import through_backtrader
from engine.run.check.lookahead import Leak, Pipeline, moved_of
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue

SEGMENTS = "memory at the start of a segment"
COMPARED = ("market", "memory", "exposure", "keep", "order_qty")


def check_runs(
    pipeline: Pipeline, bars: Bars, first: int, last: int, cash: float
) -> tuple[Leak, ...]:
    """Check what only whole runs show: the strategy inside Backtrader, and the start of a segment."""
    found = list(check_strategy(pipeline.spec, pipeline.policy, bars, first, last, cash))
    if first:
        try:
            check_segment_start(pipeline.spec, pipeline.policy, bars, first, last)
        except CheckError:
            day = str(bars.sessions[first])
            found.append(Leak(SEGMENTS, "lived before", day, day, "all"))
    return (*found, *check_units(pipeline, bars))


def check_units(pipeline: Pipeline, bars: Bars, factor: float = 7.0) -> tuple[Leak, ...]:
    """Quote every price in another unit: no feature may move by more than 1e-9.

    A price level smuggles the future in as soon as prices are adjusted by later events.
    """
    ohlcv = bars.ohlcv.copy()
    ohlcv[..., :VOLUME] *= factor
    other = replace(bars, ohlcv=ohlcv, dividend=bars.dividend * factor)
    (rows, ready), (quoted, _) = pipeline.history(bars), pipeline.history(other)
    moved = (np.abs(quoted - rows) > 1e-9 * (1.0 + np.abs(rows))) & ready[..., None]
    where = np.argwhere(moved)
    if not len(where):
        return ()
    at, symbol, _ = where[0]
    day, name = str(bars.sessions[at]), bars.symbols[symbol]
    names = moved_of(moved, pipeline.spec.features.names)
    return (Leak("units", f"x {factor:g}", "the start", day, name, names),)


def check_network(checkpoint: Path, steps: int = 40) -> tuple[Leak, ...]:
    """Check that no output of a checkpoint's network has a gradient to a later row."""
    import torch

    from agents.causality import future_gradient
    from agents.checkpoint import load_network

    net, _ = load_network(checkpoint)
    net.eval()
    rows = torch.randn((steps, 2, net.inputs), generator=torch.Generator().manual_seed(0))
    if future_gradient(lambda seen: net.trunk(seen, net.start(2))[0], rows) == 0.0:
        return ()
    return (Leak("network", "gradient", "any row", "an earlier one", "all"),)


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
