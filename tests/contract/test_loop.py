"""TableCerebro against Backtrader's own loop: nobody who is called can tell them apart."""

from datetime import time

import backtrader as bt
import numpy as np
import pytest

from brokers.bridge import VenueBroker
from brokers.feed import add_feeds
from brokers.loop import TableCerebro
from engine.costs import Costs
from engine.venue import SimVenue
from tests.bridge_run import market
from tests.contract.test_bridge_oracles import ANALYZERS, CASH, RATE, Drawn, flat, random_market


class Watching(Drawn):
    """Has an indicator on one feed, and writes down when it was called and what it then saw."""

    params = (("stop_at", None),)

    def __init__(self):
        super().__init__()
        self.average, self.calls = bt.ind.SMA(self.datas[0].close, period=15), []

    def prenext(self):
        self.calls.append(("before", len(self), self.datetime[0]))
        super().next()

    def next(self):
        seen = [(len(data), data.datetime[0], data.close[0]) for data in self.datas]
        self.calls.append((len(self), self.datetime[0], self.average[0], seen))
        super().next()
        if len(self) == self.p.stop_at:
            self.env.runstop()

    def notify_timer(self, timer, when, *args, **kwargs):
        self.calls.append(("timer", len(self), when))

    def next_open(self):
        self.calls.append(("open", len(self)))


def lived(kind, bars, gaps="flagged", prepare=None, settings=None, **params):
    """Everything that a strategy saw and was told, that its analyzers say, and how its account ended."""
    cerebro = kind(**{"runonce": False, "stdstats": False, **(settings or {})})
    add_feeds(cerebro, bars, gaps)
    venue = SimVenue(CASH, (1, len(bars.symbols)), Costs(rate=RATE, slippage_bps=2.0))
    cerebro.broker = VenueBroker(venue, bars)
    for analyzer in ANALYZERS:
        cerebro.addanalyzer(analyzer, _name=analyzer.__name__)
    cerebro.addstrategy(Watching, seed=3, **params)
    if prepare:
        prepare(cerebro)
    strategy = cerebro.run()[0]
    told = [
        dict(flat(getattr(strategy.analyzers, each.__name__).get_analysis())) for each in ANALYZERS
    ]
    account = (venue.book.cash.tolist(), venue.book.qty.tolist())
    return [strategy.calls, strategy.told, strategy.trades, strategy.curve, told, account]


def require_same(bars, kind=TableCerebro, **asked):
    ours, theirs = (lived(each, bars, **asked) for each in (kind, bt.Cerebro))
    assert len(theirs[0]) > 0
    np.testing.assert_equal(ours, theirs)


@pytest.mark.parametrize("seed", range(4))
def test_random_orders_on_a_market_with_gaps_and_a_late_listing(seed):
    require_same(random_market(seed))


def test_splits_dividends_and_a_delisting():
    walk = tuple(20.0 + (3 * n) % 7 for n in range(40))
    happened = {"split": {(9, 0): 2.0, (30, 1): 0.5}, "dividend": {(12, 1): 0.3}, "ended": {1: 33}}
    require_same(market(walk, walk[::-1], **happened))


def test_a_run_that_is_stopped_ends_on_the_same_bar():
    bars = random_market(5)
    require_same(bars, stop_at=40)
    assert len(lived(TableCerebro, bars, stop_at=40)[0]) == 40


def add_timer(cerebro):
    cerebro.add_timer(when=time(0, 0), strats=True)


def add_writer(cerebro):
    cerebro.addwriter(bt.WriterFile, out="/dev/null", csv=True)


OTHERS = {
    "absent gaps": {"gaps": "absent"},
    "a timer": {"prepare": add_timer},
    "a writer": {"prepare": add_writer},
    "cheat on open": {"settings": {"cheat_on_open": True}},
    "no preload": {"settings": {"preload": False}},
    "vectors": {"settings": {"runonce": True}},
    "the old sync": {"settings": {"oldsync": True}},
    "observers": {"settings": {"stdstats": True}},
    "exact bars": {"settings": {"exactbars": 1}},
}


@pytest.mark.parametrize("asked", OTHERS.values(), ids=OTHERS)
def test_with_other_parts_it_is_a_plain_cerebro(asked):
    require_same(random_market(6, sessions=60), **asked)


class Skipping(TableCerebro):
    def _brokernotify(self):  # planted: the broker misses one bar
        if len(self.datas[0]) != 30:
            super()._brokernotify()


def test_a_broker_that_misses_one_bar_is_noticed():
    with pytest.raises(AssertionError):
        require_same(random_market(7, sessions=60), kind=Skipping)
