"""VenueBroker: what it refuses to do, and how it says so."""

import backtrader as bt
import pytest
from backtrader import Order

from brokers.bridge import VenueBroker
from brokers.feed import add_feeds
from engine.errors import DataError, UsageError, VenueError
from engine.venue import SimVenue
from tests.bridge_run import RISING, market, run


def test_venue_of_another_shape_is_refused():
    with pytest.raises(UsageError, match=r"1 book and 1 symbols, found shape \(1, 2\)"):
        VenueBroker(SimVenue(1e4, (1, 2)), market(RISING))


def test_second_run_is_refused():
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    bars = market(RISING)
    add_feeds(cerebro, bars)
    cerebro.broker = VenueBroker(SimVenue(1e4, (1, 1)), bars)
    cerebro.run()
    with pytest.raises(VenueError, match="serves one run"):
        cerebro.run()


def test_feed_of_an_unknown_symbol_is_refused():
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    add_feeds(cerebro, market(RISING, RISING))
    cerebro.broker = VenueBroker(SimVenue(1e4, (1, 1)), market(RISING))
    with pytest.raises(UsageError, match='feed "B": expected the name of one of the symbols A'):
        cerebro.run()


def test_bar_on_a_day_that_is_no_session_is_refused():
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    bars = market(RISING)
    add_feeds(cerebro, bars)
    cerebro.broker = VenueBroker(SimVenue(1e4, (1, 1)), bars.between(bars.sessions[2], None))
    with pytest.raises(DataError, match="2020-01-01 00:00:00, which is no session"):
        cerebro.run()


def test_commission_cannot_be_set_here():
    broker = VenueBroker(SimVenue(1e4, (1, 1)), market(RISING))
    with pytest.raises(UsageError, match="costs are the venue's"):
        broker.setcommission(0.001)
    with pytest.raises(UsageError, match="costs are the venue's"):
        broker.addcommissioninfo(bt.CommInfoBase())


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (
            {"exectype": Order.Close},
            "exectype: expected Market, Limit, Stop or StopLimit, found Cl",
        ),
        ({"exectype": Order.StopTrail, "trailamount": 1.0}, "trailamount: expected a single order"),
        ({"exectype": Order.Limit, "price": 9.0, "valid": 3.0}, "valid: expected None"),
    ],
)
def test_order_that_no_venue_can_do_is_refused_loudly(order, message):
    with pytest.raises(VenueError, match=message):
        run(market(RISING), {2: lambda s: s.buy(size=1, **order)})
