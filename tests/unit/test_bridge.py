"""VenueBroker: Backtrader is told exactly what the venue did."""

import pytest
from backtrader import Order, num2date

from engine.costs import Costs
from engine.reasons import Reason
from engine.venue import Outcome, SimVenue, VenueSettings
from tests.bridge_run import FREE, RISING, market, run


def test_market_order_fills_at_the_next_open_and_is_told_before_next():
    strategy = run(market(RISING), {2: lambda s: s.buy(size=100)})
    assert strategy.told == [
        (3, "Submitted", 0, 0.0),
        (3, "Accepted", 0, 0.0),
        (3, "Completed", 100, 12.0),
    ]
    # 10,000 - 100 x 12 = 8,800 cash; the close of bar 3 is 12.5
    assert strategy.curve[2] == (8_800.0, 10_050.0)
    assert strategy.trades == [(3, False, 0.0, 0.0)]


def test_fee_and_slippage_are_the_venues():
    costs = Costs(slippage_bps=100.0, rate=0.001)
    strategy = run(market(RISING), {2: lambda s: s.buy(size=100)}, costs=costs)
    done = strategy.orders[-1].executed
    assert done.price == pytest.approx(12.12)  # one percent above 12
    assert done.comm == pytest.approx(1.212)  # a thousandth of 1,212
    assert strategy.broker.getcash() == pytest.approx(10_000 - 1_212 - 1.212)
    assert strategy.trades[0][3] == pytest.approx(-1.212)


def test_fee_of_a_reversal_is_shared_between_closing_and_opening():
    acts = {1: lambda s: s.buy(size=100), 3: lambda s: s.sell(size=300)}
    strategy = run(market(RISING), acts, costs=Costs(slippage_bps=0.0, rate=0.001))
    bit = strategy.orders[-1].executed[-1]
    assert (bit.closed, bit.opened) == (-100, -200)
    assert bit.closedcomm == pytest.approx(1.3)  # a thousandth of 100 x 13
    assert bit.openedcomm == pytest.approx(2.6)
    # bought at 11, sold at 13: 200 profit, fees 1.1 and 1.3
    assert strategy.trades[1] == (4, True, 200.0, pytest.approx(200.0 - 2.4))
    assert (strategy.position.size, strategy.position.price) == (-200, 13.0)


def test_session_happens_exactly_once_even_where_no_feed_has_a_bar():
    seen = []

    class Counting(SimVenue):
        def advance(self, row):
            seen.append(row.session[0])
            return super().advance(row)

    bars = market(RISING, RISING, missing=[(2, 0), (2, 1), (3, 1)])
    for gaps in ("flagged", "absent"):
        seen.clear()
        run(bars, venue=Counting(1e4, (1, 2), FREE), gaps=gaps)
        assert seen == list(bars.sessions)


@pytest.mark.parametrize(
    "settings", [{"preload": False}, {"runonce": True}, {"stdstats": True}, {"exactbars": 1}]
)
def test_every_way_to_run_is_told_the_same(settings):
    bars = market(RISING, RISING, missing=[(2, 1)], split={(3, 0): 2.0}, ended={1: 4})
    acts = {
        1: lambda s: s.buy(size=100),
        2: lambda s: s.buy(data=s.datas[1], size=10),
        4: lambda s: s.sell(size=150, exectype=Order.Limit, price=13.5),
    }
    usual, other = run(bars, acts), run(bars, acts, settings=settings)
    assert len(usual.told) > 6
    assert (usual.told, usual.trades, usual.curve) == (other.told, other.trades, other.curve)


def test_order_waits_where_its_symbol_does_not_trade():
    bars = market(RISING, RISING, missing=[(2, 1)])
    acts = {2: lambda s: s.buy(data=s.datas[1], size=1)}
    strategy = run(bars, acts)
    assert strategy.told == [
        (3, "Submitted", 0, 0.0),
        (3, "Accepted", 0, 0.0),
        (4, "Completed", 1, 13.0),
    ]


@pytest.mark.parametrize(
    ("order", "fill"),
    [
        ({"exectype": Order.Limit, "price": 12.5}, (3, 12.0)),  # a better open is taken
        ({"exectype": Order.Limit, "price": 11.25}, (3, 11.25)),
        ({"exectype": Order.Stop, "price": 11.75}, (3, 12.0)),  # a gap through the stop
        ({"exectype": Order.Stop, "price": 12.75}, (3, 12.75)),
        ({"exectype": Order.StopLimit, "price": 12.75, "plimit": 12.9}, (3, 12.75)),
        ({"exectype": Order.Limit, "price": 12.25, "valid": Order.DAY}, (3, 12.0)),
    ],
)
def test_every_kind_of_order_reaches_the_venue_with_its_prices(order, fill):
    strategy = run(market(RISING), {2: lambda s: s.buy(size=1, **order)})
    assert [(bar, price) for bar, _, _, price in strategy.fills] == [fill]


@pytest.mark.parametrize("valid", [0, Order.DAY])
def test_day_order_expires_and_one_for_good_stays(valid):
    day = {2: lambda s: s.buy(size=1, exectype=Order.Limit, price=5.0, valid=valid)}
    good = {2: lambda s: s.buy(size=1, exectype=Order.Limit, price=5.0)}
    assert run(market(RISING), good).statuses == ["Submitted", "Accepted"]
    strategy = run(market(RISING), day)
    assert strategy.statuses == ["Submitted", "Accepted", "Expired"]
    assert strategy.told[-1][0] == 3
    assert strategy.orders[-1].info.reason == Reason.EXPIRED
    assert strategy.orders[-1].info.why == "expired unfilled at the end of its day"


@pytest.mark.parametrize(
    ("act", "settings", "statuses", "reason"),
    [
        # 10,000 x 2 = 20,000 of buying power; 2,000 x 11.5 x 1.04 = 23,920
        (lambda s: s.buy(size=2000), {}, ["Submitted", "Margin"], Reason.BUYING_POWER),
        # 900 x 12 = 10,800 at the fill
        (
            lambda s: s.buy(size=900),
            {"account": "cash"},
            ["Submitted", "Accepted", "Margin"],
            Reason.CASH_SHORT,
        ),
        (lambda s: s.sell(size=0.5), {}, ["Submitted", "Rejected"], Reason.SHORT_FRACTION),
        (lambda s: s.buy(size=float("nan")), {}, ["Submitted", "Rejected"], Reason.BAD_ORDER),
    ],
)
def test_refusal_is_told_with_its_reason(act, settings, statuses, reason):
    strategy = run(market(RISING), {2: act}, venue=VenueSettings(**settings))
    assert strategy.statuses == statuses
    assert strategy.orders[-1].info.reason == reason
    assert strategy.broker.getvalue() == 10_000.0


def test_second_order_for_a_symbol_is_the_venues_to_refuse():
    def act(strategy):
        strategy.buy(size=3)
        strategy.buy(size=2)

    strategy = run(market(RISING), {2: act})
    assert strategy.told[2:] == [
        (3, "Accepted", 0, 0.0),
        (3, "Rejected", 0, 0.0),
        (3, "Completed", 3, 12.0),
    ]
    assert strategy.orders[3].info.reason == Reason.ORDER_OPEN


def test_cancel_before_the_next_session_works_and_the_venue_never_hears_of_it():
    strategy = run(market(RISING), {2: lambda s: s.cancel(s.buy(size=1))})
    assert strategy.statuses == ["Submitted", "Canceled"]
    assert strategy.position.size == 0


def test_cancel_of_a_waiting_order_reaches_the_venue():
    kept = []
    acts = {
        2: lambda s: kept.append(s.buy(size=1, exectype=Order.Limit, price=12.0)),
        3: lambda s: kept.append(s.broker.cancel(kept[0])),  # filled in bar 3
        4: lambda s: kept.append(s.sell(size=1, exectype=Order.Limit, price=99.0)),
        5: lambda s: kept.append(s.broker.cancel(kept[2])),
    }
    strategy = run(market(RISING), acts)
    assert (kept[1], kept[3]) == (False, True)
    assert strategy.statuses[-1] == "Canceled"
    assert not strategy.broker.venue.pending.qty.any()


class InParts(SimVenue):
    """Fills 0.3 shares as 0.1 and 0.2."""

    def advance(self, row):
        parts = iter((0.1, 0.2)) if not hasattr(self, "parts") else self.parts
        self.parts = parts
        outcome = Outcome.nothing(row.session, *self.shape)
        qty = next(parts, 0.0) if self.pending.qty.any() else 0.0
        if qty:
            outcome.filled[0, 0], outcome.price[0, 0] = qty, row.open[0, 0]
            self.book.qty[0, 0] += qty
        return outcome


def test_order_filled_in_parts_is_partial_then_completed():
    acts = {2: lambda s: s.buy(size=0.3)}
    strategy = run(market(RISING), acts, venue=InParts(1e4, (1, 1), FREE))
    assert strategy.statuses == ["Submitted", "Accepted", "Partial", "Completed"]
    assert strategy.told[-1][2] == pytest.approx(0.3)


def test_orders_of_the_last_bar_are_sent_or_stay_queued():
    acts = {6: lambda s: s.buy(size=7)}
    sent = run(market(RISING), acts).broker
    kept = run(market(RISING), acts, send_last=False).broker
    assert (sent.venue.pending.qty[0, 0], len(sent.queued)) == (7.0, 0)
    assert (kept.venue.pending.qty[0, 0], [o.size for o in kept.queued]) == (0.0, [7])


def test_account_that_already_holds_something_goes_on_from_there():
    venue = SimVenue(1_000.0, (1, 1), FREE)
    venue.book.qty[0, 0], venue.book.basis[0, 0], venue.book.mark[0, 0] = 5.0, 9.0, 10.0
    seen = []
    acts = {1: lambda s: seen.append((s.position.size, s.position.price, s.broker.startingcash))}
    run(market(RISING), acts, venue=venue)
    assert seen == [(5, 9.0, 1_000.0)]


def test_strategy_helpers_of_backtrader_work():
    seen = []

    def look(strategy):
        positions = strategy.getpositions()
        seen.extend([positions[strategy.datas[1]].size, strategy.orders[-1].brokerstatus()])
        seen.append(strategy.broker.getvalue([strategy.datas[1]]))

    acts = {1: lambda s: s.order_target_percent(s.datas[1], target=0.5), 3: look}
    acts[4] = lambda s: s.close(s.datas[1])
    strategy = run(market(RISING, (20, 20, 20, 20, 20, 20)), acts)
    # half of 10,000 at a close of 20.5: 243 shares
    assert seen == [243, Order.Completed, 243 * 20.5]
    assert strategy.fills[-1] == (5, "Completed", -243, 20.0)


def test_execution_is_dated_with_the_session_of_the_fill():
    strategy = run(market(RISING), {2: lambda s: s.buy(size=1)})
    assert f"{num2date(strategy.orders[-1].executed.dt):%Y-%m-%d}" == "2020-01-03"
