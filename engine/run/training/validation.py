"""Validation: the score of a policy in training, played greedily as it would be deployed."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from engine.bars import Bars
from engine.measures import (
    NotComputable,
    calmar,
    correlation,
    returns_of,
    sharpe,
    sortino,
    total_return,
)
from engine.run.backtest import baseline_trader, new_venue
from engine.run.build import dates
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.settings import Settings
from engine.step import StepPolicy
from engine.trader import Trader, TraderSpec

YEAR = 252
SCORES: dict[str, Callable[[np.ndarray], float]] = {
    "sharpe": lambda equity: sharpe(returns_of(equity), YEAR),
    "sortino": lambda equity: sortino(returns_of(equity), YEAR),
    "calmar": lambda equity: calmar(equity, YEAR),
    "total_return": lambda equity: total_return(returns_of(equity)),
}
Seen = dict[str, float]
# Told of every score: of which policy, the score, and the curve it is of.
Looked = Callable[[StepPolicy, float, Recorder], None]


def score_of(equity: np.ndarray, name: str) -> float:
    """Return a score of a curve; 0 where it is not defined, so that flat is average."""
    try:
        return SCORES[name](equity)
    except NotComputable:
        return 0.0


def validator(
    settings: Settings,
    bars: Bars,
    spec: TraderSpec,
    allocation: float,
    looked: Looked = lambda policy, score, record: None,
) -> Callable[[StepPolicy], Seen]:
    """Return what a deployed policy does on the validation dates: its score, and what to watch.

    One cash account over all symbols, greedy, in dollars, through the trader and venue of the
    backtest. With `train.watch_training` also its score on the last training dates, as many.
    """
    first, last = dates(bars, settings, "validation")
    begin, end = dates(bars, settings, "train")
    begin = max(begin, end - (last - first))
    deployed = replace(spec, allocation=allocation)
    holder = baseline_trader(settings, "buy_and_hold", bars, 0.0)
    holding = _play(settings, bars, holder, first, last)
    # The same for every policy, and the larger part of what playing one costs.
    rows = deployed.features.history(bars.between(None, bars.sessions[max(last, end)]))
    name = settings.train.score

    def watch(policy: StepPolicy) -> Seen:
        def plays(start: int, stop: int) -> Recorder:
            trader = Trader(deployed, policy, len(bars.symbols))
            return _play(settings, bars, trader, start, stop, rows)

        record = plays(first, last)
        score = score_of(record.arrays()["equity"], name)
        looked(policy, score, record)
        seen = {"validation_score": score, **_did(record, holding)}
        if settings.train.watch_training:
            seen["training_score"] = score_of(plays(begin, end).arrays()["equity"], name)
        return seen

    return watch


def _play(
    settings: Settings,
    bars: Bars,
    trader: Trader,
    first: int,
    last: int,
    rows: tuple[np.ndarray, np.ndarray] | None = None,
) -> Recorder:
    seen = bars.between(None, bars.sessions[last])
    known = None if rows is None else (rows[0][: last + 1], rows[1][: last + 1])
    return replay(trader, new_venue(settings, seen), seen, first, last, rows=known)


def _did(record: Recorder, holding: Recorder) -> Seen:
    rows = record.arrays()
    seen: Seen = {"validation_trades": int((rows["filled"] != 0).sum())}
    try:
        own, other = returns_of(rows["equity"]), returns_of(holding.arrays()["equity"])
        seen["validation_like_holding"] = correlation(own, other)
    except NotComputable:
        pass
    return seen
