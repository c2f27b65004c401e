"""A crossing of averages, SMA 10 over 30: our feed and broker against stock Backtrader.

- "stock": PandasData, a default Cerebro with its standard observers, the stock broker with the same
  commission and slippage, Backtrader's own indicators;
- "same indicators": that very strategy in the same mode (`runonce`) on our feeds and our broker;
- "signals at once": on our feeds and broker, bar by bar as all runs of ours, told the crossings, which
  are computed for the whole range before the first bar (inside the time).

All hold 100 shares of a symbol from a crossing upwards to one downwards. They must have the same
fills and the same value in the end, or there is no answer. Making data frames is outside the time.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import backtrader as bt
import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

from brokers.bridge import VenueBroker
from brokers.feed import add_feeds
from brokers.loop import TableCerebro
from engine.bars import CLOSE, Bars
from engine.costs import Costs
from engine.run.backtest import collector_frozen
from engine.venue import SimVenue
from tests.benchmarks.agent import random_walks
from tests.benchmarks.backtest import frames_of
from tests.benchmarks.harness import Row, interleave, seconds

FAST, SLOW, SHARES = 10, 30, 100
COSTS = Costs(rate=0.0005, slippage_bps=2.0)
CASH = 10_000_000.0  # nothing is ever refused
CENT = 0.01


@dataclass
class Found:
    """What a run came to: fills (day, symbol, signed shares, price) and the value of the account."""

    fills: list[tuple[float, str, float, float]] = field(default_factory=list)
    value: float = 0.0


def measure(quick: bool) -> tuple[list[Row], list[str]]:
    """Return the rows; nothing is ever left out. Raises: AssertionError where runs differ."""
    symbols, sessions, rounds = (2, 120, 1) if quick else (30, 2_500, 5)
    bars = random_walks(symbols, sessions)
    found: dict[str, list[Found]] = {name: [] for name in ("stock", "indicators", "signals")}
    runs = {
        "stock": partial(stock, frames_of(bars)),
        "indicators": partial(ours, bars, with_indicators, runonce=True),
        "signals": partial(ours, bars, with_signals),
    }
    took = interleave({name: seconds(_kept(runs[name], found[name])) for name in runs}, rounds)
    for name in ("indicators", "signals"):
        require_same(found["stock"][0], found[name][0], name)
    market = f"SMA {FAST}/{SLOW}, {symbols} symbols x {sessions:,}"
    fills = f"{len(found['stock'][0].fills):,} fills"
    bar = 1e6 / (symbols * sessions)  # seconds a run to us a symbol and bar
    return [
        Row(f"stock Backtrader, {market}, {fills}, a symbol-bar", took["stock"] * bar, "us"),
        Row(f"our feed and broker, {market}, a symbol-bar", took["signals"] * bar, "us"),
        Row(f"stock / ours, {market}", took["stock"] / took["signals"], "x", "8 x"),
        Row(f"stock / ours, same indicators, {market}", took["stock"] / took["indicators"]),
    ], []


class Crossing(bt.Strategy):
    """Buys and sells on crossings, and keeps what was filled."""

    params = (("found", None),)

    def notify_order(self, order: bt.Order) -> None:
        """Keep a fill."""
        if order.status == bt.Order.Completed:
            told = order.executed
            self.p.found.fills.append((told.dt, order.data._name, told.size, told.price))

    def stop(self) -> None:
        """Keep the value in the end."""
        self.p.found.value = self.broker.getvalue()

    def trade(self, data: bt.feed.DataBase, crossing: float) -> None:
        """Follow one crossing: 1 upwards, -1 downwards."""
        if crossing > 0:
            self.buy(data=data, size=SHARES)
        elif self.getposition(data).size:
            self.sell(data=data, size=SHARES)


class WithIndicators(Crossing):
    """As Backtrader's own documentation does it."""

    def __init__(self) -> None:
        self.crossings = []
        for data in self.datas:
            fast, slow = (bt.ind.SMA(data.close, period=period) for period in (FAST, SLOW))
            self.crossings.append(bt.ind.CrossOver(fast, slow))

    def next(self) -> None:
        """Trade where the averages have crossed on this bar."""
        for data, crossing in zip(self.datas, self.crossings, strict=True):
            if crossing[0]:
                self.trade(data, crossing[0])


class WithSignals(Crossing):
    """Told the crossings, (T, N)."""

    params = (("signals", None),)

    def next(self) -> None:
        """Trade where the averages have crossed on this bar."""
        crossings = self.p.signals[len(self) - 1]
        for column in crossings.nonzero()[0].tolist():
            self.trade(self.datas[column], crossings[column])


def stock(frames: dict[str, pd.DataFrame]) -> Found:
    """Run the usual way."""
    cerebro, found = bt.Cerebro(), Found()
    for symbol, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=symbol)
    cerebro.broker.setcash(CASH)
    info = {"commtype": bt.CommInfoBase.COMM_PERC, "percabs": True, "stocklike": True}
    cerebro.broker.addcommissioninfo(bt.CommInfoBase(commission=COSTS.rate, **info))
    slip = {"slip_open": True, "slip_match": True, "slip_out": True}
    cerebro.broker.set_slippage_perc(COSTS.slippage_bps * 1e-4, **slip)
    cerebro.addstrategy(WithIndicators, found=found)
    cerebro.run()
    return found


def ours(
    bars: Bars, add: Callable[[bt.Cerebro, Bars, Found], None], runonce: bool = False
) -> Found:
    """Run on our feeds and broker."""
    cerebro, found = TableCerebro(runonce=runonce, stdstats=False), Found()
    venue = SimVenue(CASH, (1, len(bars.symbols)), COSTS)
    cerebro.setbroker(VenueBroker(venue, bars))
    add_feeds(cerebro, bars)
    add(cerebro, bars, found)
    with collector_frozen():
        cerebro.run()
    return found


def with_indicators(cerebro: bt.Cerebro, bars: Bars, found: Found) -> None:
    """Add the strategy of the stock run."""
    cerebro.addstrategy(WithIndicators, found=found)


def with_signals(cerebro: bt.Cerebro, bars: Bars, found: Found) -> None:
    """Add the strategy that is told the crossings."""
    cerebro.addstrategy(WithSignals, found=found, signals=crossings_of(bars.ohlcv[..., CLOSE]))


def crossings_of(closes: np.ndarray) -> np.ndarray:
    """Return 1 where the fast average has come above the slow one on a bar, -1 below, else 0.

    Shapes: (T, N) in and out. Averages that are equal are on the side they were on before.
    """
    fast, slow = (sliding_window_view(closes, n, axis=0).mean(-1) for n in (FAST, SLOW))
    side = np.sign(fast[SLOW - FAST :] - slow)
    last = np.maximum.accumulate(np.where(side != 0, np.arange(len(side))[:, None], 0), axis=0)
    side = np.take_along_axis(side, last, axis=0)
    crossed = np.where(side[1:] * side[:-1] < 0, side[1:], 0.0)
    out = np.zeros(closes.shape)
    out[SLOW:] = crossed
    return out


def require_same(stock_run: Found, our_run: Found, name: str) -> None:
    """Compare fill by fill and the value. Raises: AssertionError."""
    theirs, mine = sorted(stock_run.fills), sorted(our_run.fills)
    what = [fill[:3] for fill in mine]
    assert theirs, "nothing was traded; the speed of nothing means nothing"
    assert what == [fill[:3] for fill in theirs], f"{name}: other fills than stock Backtrader's"
    prices = [np.array([fill[3] for fill in fills]) for fills in (theirs, mine)]
    np.testing.assert_allclose(prices[1], prices[0], rtol=1e-12, err_msg=name)
    assert abs(our_run.value - stock_run.value) < CENT, (name, our_run.value, stock_run.value)


def _kept(run: Callable[[], Found], kept: list[Found]) -> Callable[[], None]:
    return lambda: kept.append(run())
