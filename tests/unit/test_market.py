"""The rules of the simulated market: fill prices, buying power, cash; numbers by hand."""

import numpy as np
import pytest

from engine.costs import Costs
from engine.reasons import Reason
from engine.venue import LIMIT, STOP, STOP_LIMIT, buying_power
from tests.sessions import market, session, special, venue

# Test bars: open 10, high 11, low 9, close 10.5


@pytest.mark.parametrize(
    ("kind", "qty", "limit", "stop", "price"),
    [
        (LIMIT, 5, 10.5, np.nan, 10.0),  # the open is better than the limit
        (LIMIT, 5, 9.5, np.nan, 9.5),  # reached inside the bar
        (LIMIT, 5, 9.0, np.nan, 9.0),  # touched
        (LIMIT, 5, 8.9, np.nan, None),
        (LIMIT, -5, 9.5, np.nan, 10.0),
        (LIMIT, -5, 10.8, np.nan, 10.8),
        (LIMIT, -5, 11.0, np.nan, 11.0),
        (LIMIT, -5, 11.1, np.nan, None),
        (STOP, 5, np.nan, 9.8, 10.0),  # a gap through the stop fills at the open
        (STOP, 5, np.nan, 10.7, 10.7),
        (STOP, 5, np.nan, 11.0, 11.0),
        (STOP, 5, np.nan, 11.5, None),
        (STOP, -5, np.nan, 10.2, 10.0),
        (STOP, -5, np.nan, 9.3, 9.3),
        (STOP, -5, np.nan, 8.5, None),
        (STOP_LIMIT, 5, 11.0, 10.7, 10.7),  # triggered inside, the limit allows the stop price
        (STOP_LIMIT, 5, 10.2, 9.8, 10.0),  # triggered by the gap, then a limit at the open
        (STOP_LIMIT, 5, 10.6, 10.9, 10.6),  # triggered above its limit, came back by the close
        (STOP_LIMIT, 5, 10.4, 10.9, None),  # triggered above its limit: nobody knows, no fill
        (STOP_LIMIT, -5, 9.0, 9.3, 9.3),
        (STOP_LIMIT, 5, 12.0, 11.5, None),
    ],
)
def test_limit_and_stop_orders_fill_where_the_bar_says(kind, qty, limit, stop, price):
    sim = venue()
    sim.advance(session(10.0))
    assert sim.submit(special(kind, qty, limit, stop)) == 0
    outcome = sim.advance(session(10.0, 11.0, 9.0, 10.5))
    if price is None:
        assert np.isnan(outcome.price[0, 0])
        assert sim.pending.qty[0, 0] == qty
    else:
        assert outcome.price[0, 0] == pytest.approx(price)


def test_triggered_stop_limit_waits_on_as_a_limit_order():
    sim = venue()
    sim.advance(session(10.0))
    sim.submit(special(STOP_LIMIT, 5, limit=10.4, stop=10.9))
    sim.advance(session(10.0, 11.0, 9.0, 10.5))
    assert sim.pending.kind[0, 0] == LIMIT
    assert sim.advance(session(10.6, 10.8, 10.3, 10.5)).price[0, 0] == 10.4


def test_slippage_never_takes_a_limit_order_beyond_its_limit():
    sim = venue(costs=Costs(slippage_bps=100.0))
    sim.advance(session(10.0))
    sim.submit(special(LIMIT, 5, limit=10.04))
    assert sim.advance(session(10.0)).price[0, 0] == 10.04  # 10.10 with full slippage


def test_day_order_expires_at_the_end_of_the_first_session_it_could_trade_in():
    sim = venue()
    sim.advance(session(10.0))
    sim.submit(special(LIMIT, 5, limit=8.0, day=True))
    assert sim.advance(session(np.nan)).refused[0, 0] == 0  # it could not trade: it waits
    outcome = sim.advance(session(10.0))
    assert outcome.refused[0, 0] == Reason.EXPIRED
    assert outcome.unfilled[0, 0] == 5
    assert sim.pending.qty[0, 0] == 0


def test_order_good_until_canceled_stays_and_can_be_taken_back():
    sim = venue()
    sim.advance(session(10.0))
    sim.submit(special(LIMIT, 5, limit=8.0))
    sim.advance(session(10.0))
    sim.cancel(np.array([[True]]))
    assert sim.advance(session(7.0)).filled[0, 0] == 0


def test_margin_account_refuses_what_its_buying_power_does_not_cover():
    sim = venue(symbols=2)
    sim.advance(session([10.0, 10.0]))
    # twice 10,000 in power, an order at 10 reserves 10.40 a share: 1,500 take 15,600 of 20,000
    refused = sim.submit(market(1_500, 500))
    assert refused.tolist() == [[0, Reason.BUYING_POWER]]  # 500 need 5,200, 4,400 are left


def test_refused_order_leaves_its_buying_power_to_the_next():
    sim = venue(symbols=2)
    sim.advance(session([10.0, 10.0]))
    assert sim.submit(market(5_000, 1_000)).tolist() == [[Reason.BUYING_POWER, 0]]


def test_short_sales_are_granted_before_buys():
    sim = venue(symbols=2)
    sim.advance(session([10.0, 10.0]))
    # the short of 1,000 reserves 10,400 of 20,000; the buy's 15,600 do not fit any more
    assert sim.submit(market(1_500, -1_000)).tolist() == [[Reason.BUYING_POWER, 0]]


def test_short_position_uses_buying_power_like_a_long_one():
    sim = venue()
    sim.advance(session(10.0))
    sim.submit(market(-500))
    sim.advance(session(10.0))
    assert buying_power(sim.book, None, sim.settings)[0] == 15_000.0  # 2 x 10,000 less 5,000


def test_closing_orders_need_no_buying_power_and_free_none_until_filled():
    sim = venue(symbols=2, leverage=1.0, collar=0.0)
    sim.advance(session([10.0, 10.0]))
    sim.submit(market(1_000, 0))
    sim.advance(session([10.0, 10.0]))
    assert buying_power(sim.book, None, sim.settings)[0] == 0.0
    assert sim.submit(market(-1_000, 100)).tolist() == [[0, Reason.BUYING_POWER]]
    sim.advance(session([10.0, 10.0]))
    assert sim.submit(market(0, 1_000)).tolist() == [[0, 0]]


def test_waiting_orders_keep_what_they_reserved():
    sim = venue(symbols=2, leverage=1.0, collar=0.0)
    sim.advance(session([10.0, 10.0]))
    sim.submit(market(600, 0))
    assert buying_power(sim.book, sim.pending, sim.settings)[0] == 4_000.0
    assert sim.submit(market(0, 500)).tolist() == [[0, Reason.BUYING_POWER]]


def test_limit_order_reserves_its_limit_and_a_stop_its_stop():
    sim = venue(leverage=1.0, collar=0.05)
    sim.advance(session(10.0))
    sim.submit(special(LIMIT, 100, limit=8.0))
    assert buying_power(sim.book, sim.pending, sim.settings)[0] == 9_200.0
    sim.cancel(np.array([[True]]))
    sim.submit(special(STOP, 100, stop=12.0))
    assert buying_power(sim.book, sim.pending, sim.settings)[0] == pytest.approx(8_740.0)


def test_short_sale_reserves_like_a_buy_and_covering_is_free():
    sim = venue(leverage=2.0, collar=0.0)
    sim.advance(session(10.0))
    assert sim.submit(market(-2_001))[0, 0] == Reason.BUYING_POWER
    sim.submit(market(-2_000))
    sim.advance(session(10.0))
    assert sim.book.cash[0] == 30_000.0
    assert sim.submit(market(2_000))[0, 0] == 0


def test_margin_account_may_owe_cash_after_a_gap():
    sim = venue()
    sim.advance(session(10.0))
    sim.submit(market(1_000))
    sim.advance(session(11.0))
    assert sim.book.cash[0] == -1_000.0


def test_cash_account_refuses_at_the_fill_what_cash_cannot_pay():
    sim = venue(account="cash")
    sim.advance(session(10.0))
    assert sim.submit(market(1_000))[0, 0] == 0
    outcome = sim.advance(session(11.0))
    assert outcome.refused[0, 0] == Reason.CASH_SHORT
    assert outcome.unfilled[0, 0] == 1_000
    assert np.isnan(outcome.price[0, 0])
    assert sim.book.cash[0] == 10_000.0
    assert sim.pending.qty[0, 0] == 0


def test_cash_account_sells_before_it_buys_and_buys_in_symbol_order():
    sim = venue(1_000.0, symbols=3, account="cash")
    sim.advance(session([10.0, 10.0, 10.0]))
    sim.submit(market(0, 0, 100))
    sim.advance(session([10.0, 10.0, 10.0]))
    sim.submit(market(70, 40, -100))  # 1,000 from the sale pay the first, 300 are left
    outcome = sim.advance(session([10.0, 10.0, 10.0]))
    assert outcome.filled.tolist() == [[70, 0, -100]]
    assert outcome.refused.tolist() == [[0, Reason.CASH_SHORT, 0]]
    assert sim.book.cash[0] == 300.0


def test_cash_account_counts_the_fee():
    sim = venue(1_000.0, account="cash", costs=Costs(slippage_bps=0, per_order=1.0))
    sim.advance(session(10.0))
    sim.submit(market(100))
    assert sim.advance(session(10.0)).refused[0, 0] == Reason.CASH_SHORT
