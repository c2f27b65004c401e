"""BarsFeed: what Backtrader sees of Bars."""

import math

import backtrader as bt
import numpy as np
import pytest
from backtrader import num2date

from brokers.feed import BarsFeed, add_feeds, stamps
from engine.bars import Bars
from engine.errors import UsageError

DAYS = np.array(["2020-01-02", "2020-01-03", "2020-01-06", "2020-01-07"], dtype="datetime64[D]")


@pytest.fixture
def bars():
    """A trades always, B is listed on the second session and misses the third."""
    ohlcv = np.full((4, 2, 5), np.nan)
    for t in range(4):
        ohlcv[t, 0] = (10 + t, 11 + t, 9 + t, 10.5 + t, 100 + t)
    ohlcv[1, 1], ohlcv[3, 1] = (50, 51, 49, 50.5, 7), (52, 53, 51, 52.5, 8)
    traded = ~np.isnan(ohlcv[:, :, 0])
    split, dividend = np.ones((4, 2)), np.zeros((4, 2))
    split[2, 0], dividend[3, 0], split[2, 1] = 2.0, 0.25, 3.0
    never = np.full(2, np.datetime64("NaT", "D"))
    return Bars(DAYS, ("A", "B"), ohlcv, traded, split, dividend, never)


NAMES = ("open", "high", "low", "close", "volume", "traded", "split", "dividend")


def seen(bars, gaps="flagged", **settings):
    """Every (day, line values) that a strategy meets, for each feed."""
    rows = {name: [] for name in bars.symbols}

    class Look(bt.Strategy):
        def prenext(self):
            self.next()

        def next(self):
            for data in self.datas:
                if len(data) and data.datetime[0] == self.datetime[0]:
                    values = [getattr(data, name)[0] for name in NAMES]
                    rows[data._name].append((num2date(data.datetime[0]).day, *values))

    cerebro = bt.Cerebro(**{"runonce": False, "stdstats": False, **settings})
    add_feeds(cerebro, bars, gaps)
    cerebro.addstrategy(Look)
    cerebro.run()
    return rows


def test_every_line_arrives_as_it_stands_in_the_bars(bars):
    assert seen(bars)["A"] == [
        (2, 10, 11, 9, 10.5, 100, 1, 1, 0),
        (3, 11, 12, 10, 11.5, 101, 1, 1, 0),
        (6, 12, 13, 11, 12.5, 102, 1, 2, 0),
        (7, 13, 14, 12, 13.5, 103, 1, 1, 0.25),
    ]


def test_session_before_the_listing_is_flagged_and_has_no_price(bars):
    day, *values = seen(bars)["B"][0]
    assert day == 2
    assert all(math.isnan(price) for price in values[:4])
    assert values[4:] == [0, 0, 1, 0]


def test_session_without_a_bar_is_flagged_and_repeats_the_last_close(bars):
    assert seen(bars)["B"][2] == (6, 50.5, 50.5, 50.5, 50.5, 0, 0, 3, 0)


def test_absent_gaps_leave_only_sessions_with_a_bar(bars):
    assert [row[0] for row in seen(bars, gaps="absent")["B"]] == [3, 7]


@pytest.mark.parametrize(
    ("gaps", "settings"),
    [
        ("flagged", {"preload": False}),
        ("flagged", {"runonce": True}),
        ("flagged", {"exactbars": 1}),  # one bar of memory: Backtrader needs equal stamps for it
        ("flagged", {"lookahead": 3}),
        ("absent", {"preload": False}),
        ("absent", {"runonce": True}),
        ("absent", {"lookahead": 3}),
    ],
)
def test_every_way_to_run_sees_the_same_bars(bars, gaps, settings):
    usual, other = seen(bars, gaps), seen(bars, gaps, **settings)
    for name in bars.symbols:
        np.testing.assert_array_equal(np.array(usual[name]), np.array(other[name]))


def test_dates_from_and_to_are_respected(bars):
    days = []

    class Look(bt.Strategy):
        def next(self):
            days.append(num2date(self.datetime[0]).day)

    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    first, last = (num2date(stamps(DAYS)[t]) for t in (1, 2))
    cerebro.adddata(BarsFeed(bars=bars, symbol="A", fromdate=first, todate=last))
    cerebro.addstrategy(Look)
    cerebro.run()
    assert days == [3, 6]


def test_stamps_are_midnights_of_exchange_dates():
    moments = [num2date(stamp) for stamp in stamps(DAYS)]
    assert [f"{m:%Y-%m-%d %H:%M}" for m in moments] == [f"{day} 00:00" for day in DAYS]


def test_stock_broker_fills_an_order_at_the_next_bar_of_an_absent_gap(bars):
    fills = []

    class Buyer(bt.Strategy):
        def notify_order(self, order):
            if order.status == order.Completed:
                fills.append((num2date(order.executed.dt).day, order.executed.price))

        def next(self):
            if num2date(self.datetime[0]).day == 3:
                self.buy(data=self.datas[1], size=1)

    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    add_feeds(cerebro, bars, gaps="absent")
    cerebro.addstrategy(Buyer)
    cerebro.run()
    assert fills == [(7, 52.0)]


def test_unknown_kind_of_gaps_is_refused(bars):
    with pytest.raises(UsageError, match='expected "flagged" or "absent", found "skip"'):
        BarsFeed(bars=bars, symbol="A", gaps="skip")


@pytest.mark.parametrize("settings", [{}, {"preload": False}, {"runonce": True}])
def test_indicators_run_over_our_feeds(bars, settings):
    found = []

    class Means(bt.Strategy):
        def __init__(self):
            self.mean = bt.ind.SMA(self.data.close, period=2)

        def next(self):
            found.append(self.mean[0])

    cerebro = bt.Cerebro(**{"runonce": False, "stdstats": False, **settings})
    cerebro.adddata(BarsFeed(bars=bars, symbol="A"))
    cerebro.addstrategy(Means)
    cerebro.run()
    assert found == [11.0, 12.0, 13.0]  # closes 10.5, 11.5, 12.5, 13.5


def test_a_feed_that_was_loaded_whole_can_run_again_bar_by_bar(bars):
    lengths = []

    class Look(bt.Strategy):
        def next(self):
            lengths.append((len(self.data), self.data.close[0], len(self.data.close)))

    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    cerebro.adddata(BarsFeed(bars=bars, symbol="A"))
    cerebro.addstrategy(Look)
    expected = [(t + 1, 10.5 + t, t + 1) for t in range(4)]
    for settings in ({}, {"exactbars": 1}, {"preload": False}, {}):
        lengths.clear()
        cerebro.run(**settings)
        assert lengths == expected, settings
