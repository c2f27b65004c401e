"""Backtests: our agent through Backtrader, against Backtrader doing nothing, and the plain replay.

- "agent": the whole `through_backtrader` (priming, AgentStrategy, VenueBroker, our feeds, every bar
  recorded) with the LSTM 128 agent in ONNX Runtime;
- "empty": an empty strategy on the same sessions the usual way: PandasData, a default Cerebro;
- "lean": a strategy on our feeds and broker that only runs the bare network step on every bar;
- "replay": the same trader and venue without Backtrader, recorded the same way.

Two markets: the bundled sample's test years (4 symbols), and 30 symbols x 2,500 random walks. Reading
the bars and making data frames of them is outside the time, for everybody.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd

from brokers.bridge import VenueBroker
from brokers.feed import add_feeds
from brokers.loop import TableCerebro
from engine.bars import CLOSE, HIGH, LOW, OPEN, VOLUME, Bars
from engine.run.backtest import through_backtrader
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.step import StepPolicy
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue
from tests.benchmarks.agent import BOOK_INPUTS, FEATURES, policy, random_walks, sample, spec_for
from tests.benchmarks.harness import Row, interleave, seconds

TEST_YEARS = np.datetime64("2010-01-04")
WARM_UP = 250  # sessions before the first decision: lookback and burn-in
CASH_A_SYMBOL = 25_000.0


def measure(quick: bool) -> tuple[list[Row], list[str]]:
    """Return the rows; nothing is ever left out."""
    return over_markets(_rows, quick, (7, 5)), []


def over_markets(
    rows: Callable[[str, Bars, int, int], list[Row]], quick: bool, rounds: tuple[int, int]
) -> list[Row]:
    """Return what `rows` finds on both markets; it is told name, bars, first bar and rounds."""
    if quick:
        return rows("2 symbols x 40", random_walks(2, WARM_UP + 40), WARM_UP, 1)
    first = int(np.searchsorted(sample().sessions, TEST_YEARS))
    years = f"4 symbols x {len(sample().sessions) - first}"
    found = rows(years, sample(), first, rounds[0])
    return found + rows("30 symbols x 2,500", random_walks(30, WARM_UP + 2_500), WARM_UP, rounds[1])


def agent(bars: Bars, spec: TraderSpec, first: int) -> Recorder:
    """Backtest through Backtrader."""
    return through_backtrader(bars, _trader(bars, spec), _venue(bars, spec), first, _last(bars))


def plain(bars: Bars, spec: TraderSpec, first: int) -> Recorder:
    """Backtest without Backtrader."""
    return replay(_trader(bars, spec), _venue(bars, spec), bars, first, _last(bars))


def empty(frames: dict[str, pd.DataFrame]) -> None:
    """Run an empty strategy the usual way."""
    cerebro = bt.Cerebro()
    for symbol, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=symbol)
    cerebro.addstrategy(bt.Strategy)
    cerebro.run()


def lean(bars: Bars, spec: TraderSpec) -> None:
    """Run nothing but the bare network step on our feeds and broker."""
    cerebro = TableCerebro(runonce=False, stdstats=False)
    cerebro.setbroker(VenueBroker(_venue(bars, spec), bars))
    add_feeds(cerebro, bars)
    cerebro.addstrategy(BareStep, policy=policy())
    cerebro.run()


class BareStep(bt.Strategy):
    """One network step a bar, over inputs that never change; the memory is carried."""

    params = (("policy", None),)

    def __init__(self) -> None:
        network: StepPolicy = self.p.policy
        shape = (1, len(self.datas))
        self.market = np.zeros((*shape, len(FEATURES)), np.float32)
        self.book = np.zeros((*shape, len(BOOK_INPUTS)), np.float32)
        self.memory = np.zeros((*shape, network.memory_width), np.float32)

    def next(self) -> None:
        """Step."""
        _, self.memory = self.p.policy.run(self.market, self.book, self.memory)


def frames_of(bars: Bars) -> dict[str, pd.DataFrame]:
    """Return one data frame a symbol, with the sessions it traded."""
    columns = {"open": OPEN, "high": HIGH, "low": LOW, "close": CLOSE, "volume": VOLUME}
    frames = {}
    for at, symbol in enumerate(bars.symbols):
        rows = bars.traded[:, at]
        index = pd.DatetimeIndex(bars.sessions[rows].astype("datetime64[ns]"))
        frames[symbol] = pd.DataFrame(
            {name: bars.ohlcv[rows, at, field] for name, field in columns.items()}, index=index
        )
    return frames


def _rows(market: str, bars: Bars, first: int, rounds: int) -> list[Row]:
    spec = spec_for(bars, 1.0 / len(bars.symbols))
    tested = bars.between(bars.sessions[first], None)
    runs: dict[str, Callable[[], Any]] = {
        "agent": partial(agent, bars, spec, first),
        "empty": partial(empty, frames_of(tested)),
        "lean": partial(lean, tested, spec),
        "replay": partial(plain, bars, spec, first),
    }
    took = interleave({name: seconds(run) for name, run in runs.items()}, rounds)
    orders = int((plain(bars, spec, first).arrays()["filled"] != 0).sum())
    busy = f"{market}, {orders:,} orders"
    return [
        Row(f"agent through Backtrader, {busy}", took["agent"], "s"),
        Row(f"Backtrader, empty strategy, {market}", took["empty"], "s"),
        Row(f"replay, {busy}", took["replay"], "s"),
        Row(f"agent / empty Backtrader, {market}", took["agent"] / took["empty"]),
        Row(
            f"agent / (lean loop + bare steps), {market}",
            took["agent"] / took["lean"],
            "x",
            "at most 5 x",
        ),
        Row(f"Backtrader path / replay, {market}", took["agent"] / took["replay"], "x", "10 x"),
    ]


def _trader(bars: Bars, spec: TraderSpec) -> Trader:
    return Trader(spec, policy(), len(bars.symbols))


def _venue(bars: Bars, spec: TraderSpec) -> SimVenue:
    symbols = len(bars.symbols)
    return SimVenue(CASH_A_SYMBOL * symbols, (1, symbols), spec.costs, spec.venue)


def _last(bars: Bars) -> int:
    return len(bars.sessions) - 1
