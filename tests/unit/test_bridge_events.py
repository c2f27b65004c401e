"""VenueBroker: splits, dividends, delistings and closing fills in the records of Backtrader."""

import pytest
from backtrader import Order

from engine.reasons import Reason
from engine.venue import VenueSettings
from tests.bridge_run import RISING, market, run


def test_split_changes_the_position_and_keeps_the_profit_right():
    # 100 bought at 10, split 2 for 1 before bar 4, 200 sold at 7: 1,400 - 1,000.
    bars = market((10, 10, 12, 6, 6, 7), split={(3, 0): 2.0})
    acts = {1: lambda s: s.buy(size=100), 5: lambda s: s.close()}
    seen = []
    acts[4] = lambda s: seen.append((s.position.size, s.position.price))
    strategy = run(bars, acts)
    assert seen == [(200, 5.0)]
    assert strategy.fills[-1] == (6, "Completed", -200, 7.0)
    assert strategy.trades[-1] == (6, True, 400.0, 400.0)
    assert strategy.broker.getcash() == 10_400.0


def test_fraction_left_by_a_split_is_told_as_a_fill_in_cash():
    # 101 shares, 3 for 2: 151 and a half; the half is paid at the last close, 12.5 / 1.5.
    bars = market((10, 10, 12, 8, 8, 9), split={(3, 0): 1.5})
    strategy = run(bars, {1: lambda s: s.buy(size=101), 5: lambda s: s.close()})
    note = next(order for order in strategy.orders if order.info.note)
    assert note.executed.size == -0.5
    assert note.executed.price == pytest.approx(12.5 / 1.5)
    profit = 151 * 9 + 12.5 / 3 - 1010
    assert strategy.trades[-1] == (6, True, pytest.approx(profit), pytest.approx(profit))
    assert strategy.broker.getcash() == pytest.approx(10_000 + profit)


def test_waiting_order_is_split_too():
    # 10 wanted at 6; after the split 20 at 3.
    bars = market((10, 10, 10, 5, 3.5, 3.5), split={(3, 0): 2.0})
    acts = {1: lambda s: s.buy(size=10, exectype=Order.Limit, price=6.0)}
    strategy = run(bars, acts)
    assert strategy.fills == [(5, "Completed", 20, 3.0)]


def test_order_that_a_reverse_split_leaves_nothing_of_is_refused():
    bars = market((10, 10, 10, 100, 100, 100), split={(3, 0): 0.1})
    acts = {1: lambda s: s.buy(size=3, exectype=Order.Limit, price=5.0)}
    strategy = run(bars, acts)
    assert strategy.statuses == ["Submitted", "Accepted", "Rejected"]
    assert strategy.orders[-1].info.reason == Reason.TOO_SMALL


def test_fill_in_the_session_of_a_split_is_in_new_shares():
    bars = market((10, 10, 12, 6, 6, 7), split={(3, 0): 2.0})
    acts = {1: lambda s: s.buy(size=100), 3: lambda s: s.buy(size=10), 5: lambda s: s.close()}
    strategy = run(bars, acts)
    assert strategy.fills[1] == (4, "Completed", 20, 6.0)
    assert strategy.trades[-1] == (6, True, 220 * 7.0 - 1000 - 120, 220 * 7.0 - 1000 - 120)


def test_delisting_closes_the_position_as_a_fill_with_a_note():
    bars = market(RISING, RISING, ended={1: 3})
    acts = {1: lambda s: s.buy(data=s.datas[1], size=10)}
    strategy = run(bars, acts)
    last = strategy.orders[-1]
    assert strategy.told[-1] == (5, "Completed", -10, 13.5)  # the close of its last bar
    assert (last.info.reason, last.info.note) == (
        Reason.DELISTED,
        "delisted: settled at its last close",
    )
    assert strategy.trades[-1] == (5, True, 25.0, 25.0)  # (13.5 - 11) x 10
    assert strategy.curve[-1] == (10_025.0, 10_025.0)


def test_order_for_a_delisted_symbol_is_refused_with_the_reason():
    bars = market(RISING, RISING, ended={1: 2})
    acts = {
        3: lambda s: s.buy(data=s.datas[1], size=1),
        5: lambda s: s.buy(data=s.datas[1], size=1),
    }
    strategy = run(bars, acts)
    assert strategy.statuses == ["Submitted", "Accepted", "Rejected", "Submitted", "Rejected"]
    assert [o.info.reason for o in strategy.orders if o.status == Order.Rejected] == [
        Reason.DELISTED,
        Reason.DELISTED,
    ]


def test_dividend_goes_to_cash():
    bars = market(RISING, dividend={(3, 0): 0.5})
    acts = {1: lambda s: s.buy(size=100)}
    strategy = run(bars, acts, venue=VenueSettings(pay_dividends=True))
    assert strategy.broker.getcash() == 10_000 - 1_100 + 50


def test_fill_at_the_same_close_is_told_with_the_next_session():
    strategy = run(
        market(RISING), {2: lambda s: s.buy(size=1)}, venue=VenueSettings(fill="same_close")
    )
    assert strategy.told[-1] == (3, "Completed", 1, 11.5)


def test_fill_at_the_same_close_is_told_in_new_shares_when_the_next_session_splits():
    bars = market((10, 10, 12, 6, 6, 7), split={(3, 0): 2.0})
    acts = {3: lambda s: s.buy(size=10), 4: lambda s: s.close()}
    strategy = run(bars, acts, venue=VenueSettings(fill="same_close"))
    assert strategy.fills == [(4, "Completed", 20, 6.25), (5, "Completed", -20, 6.5)]
    assert strategy.trades[-1][2] == 20 * 6.5 - 125
