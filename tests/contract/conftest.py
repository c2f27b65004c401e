"""A small laboratory for Backtrader: tiny markets, scripted strategies, everything that was told.

`lab.run` drives one scripted strategy and returns it; `strategy.told` is what Backtrader told it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import backtrader as bt
import pandas as pd
import pytest

Act = Callable[[Any], object]


class Scripted(bt.Strategy):
    """Does `acts[n]` in bar n (1 = the first) and writes down all it is told."""

    params = (("acts", None), ("before", None), ("forward", False))

    def __init__(self):
        self.told = []  # (bar, status name, signed executed size, executed price)
        self.trades = []  # (bar, closed?, profit without fees, profit with fees)
        self.bars = 0

    def prenext(self):
        if self.p.forward:
            self.next()

    def notify_order(self, order):
        done = order.executed
        self.told.append((len(self), order.getstatusname(), done.size, done.price))

    def notify_trade(self, trade):
        self.trades.append((len(self), trade.isclosed, trade.pnl, trade.pnlcomm))

    def next(self):
        self.bars = len(self)
        act = (self.p.acts or {}).get(len(self))
        if act is not None:
            act(self)

    def next_open(self):
        if self.p.before is not None:
            self.p.before(self)

    @property
    def statuses(self):
        return [status for _, status, _, _ in self.told]

    @property
    def fills(self):
        """(bar, size so far, average price) of every fill told."""
        names = ("Partial", "Completed")
        return [(bar, size, price) for bar, status, size, price in self.told if status in names]


@dataclass(frozen=True)
class Lab:
    """What a pinning test needs."""

    def frame(
        self,
        opens: Sequence[float],
        *,
        high: float = 1.0,
        low: float = 1.0,
        close: float = 0.5,
        volume: float = 1000.0,
        days: Sequence[int] | None = None,
    ) -> pd.DataFrame:
        """Bars from their opens: high = open + high, low = open - low, close = open + close."""
        wanted = days if days is not None else range(len(opens))
        index = pd.DatetimeIndex(
            [pd.Timestamp("2020-01-01") + pd.Timedelta(days=d) for d in wanted]
        )
        open_ = pd.Series(opens, index=index, dtype=float)
        return pd.DataFrame(
            {
                "open": open_,
                "high": open_ + high,
                "low": open_ - low,
                "close": open_ + close,
                "volume": volume,
            }
        )

    def flat(self, price: float, count: int) -> pd.DataFrame:
        """Bars that stand still at one price."""
        return self.frame([price] * count, high=0.0, low=0.0, close=0.0)

    def run(
        self,
        frames: pd.DataFrame | Sequence[pd.DataFrame],
        acts: Mapping[int, Act] | None = None,
        *,
        broker: Callable[[Any], object] | None = None,
        strategy: type = Scripted,
        params: Mapping[str, object] | None = None,
        add: Callable[[bt.Cerebro], object] | None = None,
        **settings: object,
    ) -> Any:
        """Run `acts` over the frames with the stock broker and return the strategy.

        `broker` may change the stock broker or return another one; `settings` go to Cerebro.
        """
        cerebro = bt.Cerebro(**{"runonce": False, "stdstats": False, **settings})
        listed = [frames] if isinstance(frames, pd.DataFrame) else frames
        for number, frame in enumerate(listed):
            cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=f"S{number}")
        other = broker(cerebro.broker) if broker is not None else None
        if isinstance(other, bt.BrokerBase):
            cerebro.broker = other
        if add is not None:
            add(cerebro)
        extra = {"acts": acts} if strategy is Scripted else {}
        cerebro.addstrategy(strategy, **extra, **(params or {}))
        return cerebro.run()[0]


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()


@pytest.fixture(scope="session")
def scripted() -> type:
    return Scripted
