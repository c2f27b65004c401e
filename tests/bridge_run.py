"""Tiny markets behind a VenueBroker, a scripted strategy, and everything it was told."""

import backtrader as bt
import numpy as np

from brokers.bridge import VenueBroker
from brokers.feed import add_feeds
from engine.bars import Bars
from engine.costs import Costs
from engine.venue import SimVenue, VenueSettings

RISING = (10.0, 11.0, 12.0, 13.0, 14.0, 15.0)
FREE = Costs(slippage_bps=0.0)


def market(*opens, split=None, dividend=None, missing=(), ended=None):
    """Bars of one row of opens a symbol; high and low a dollar away, closes half a dollar higher.

    `split` and `dividend` {(session, symbol): number}; `missing` (session, symbol) pairs; `ended`
    {symbol: last session}.
    """
    table = np.array(opens, dtype=float).T
    shape = table.shape
    ohlcv = np.stack([table, table + 1, table - 1, table + 0.5, np.full(shape, 1000.0)], axis=-1)
    for place in missing:
        ohlcv[place] = np.nan
    days = np.datetime64("2020-01-01") + np.arange(shape[0])
    splits, dividends = np.ones(shape), np.zeros(shape)
    for place, ratio in (split or {}).items():
        splits[place] = ratio
    for place, dollars in (dividend or {}).items():
        dividends[place] = dollars
    ends = np.full(shape[1], np.datetime64("NaT", "D"))
    for symbol, session in (ended or {}).items():
        ends[symbol] = days[session]
        ohlcv[session + 1 :, symbol] = np.nan
    names = tuple("ABCDEF"[: shape[1]])
    traded = ~np.isnan(ohlcv[:, :, 0])
    return Bars(days, names, ohlcv, traded, splits, dividends, ends, calendar="none")


class Scripted(bt.Strategy):
    """Does `acts[n]` in bar n; `told` is what it was told, on which bar."""

    params = (("acts", None),)

    def __init__(self):
        self.told, self.trades, self.curve, self.orders = [], [], [], []

    def prenext(self):
        self.next()

    def notify_order(self, order):
        done = order.executed
        self.orders.append(order)
        self.told.append((len(self), order.getstatusname(), done.size, done.price))

    def notify_trade(self, trade):
        self.trades.append((len(self), trade.isclosed, trade.pnl, trade.pnlcomm))

    def next(self):
        self.curve.append((self.broker.getcash(), self.broker.getvalue()))
        if len(self) in (self.p.acts or {}):
            self.p.acts[len(self)](self)

    @property
    def statuses(self):
        return [status for _, status, _, _ in self.told]

    @property
    def fills(self):
        return [row for row in self.told if row[1] in ("Partial", "Completed")]


def run(
    bars, acts=None, cash=10_000.0, costs=FREE, venue=None, gaps="flagged", settings=None, **more
):
    cerebro = bt.Cerebro(**{"runonce": False, "stdstats": False, **(settings or {})})
    add_feeds(cerebro, bars, gaps)
    if venue is None or isinstance(venue, VenueSettings):
        venue = SimVenue(cash, (1, len(bars.symbols)), costs, venue)
    cerebro.broker = VenueBroker(venue, bars, **more)
    cerebro.addstrategy(Scripted, acts=acts)
    return cerebro.run()[0]
