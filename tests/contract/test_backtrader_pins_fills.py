"""Backtrader 1.9.78.123 as we rely on it: when and where orders fill, slippage, sizes.

Bars open at 10, 11, 12, 13, 14, 15, close 0.5 higher, range one dollar to each side; orders go out
in bar 2 (close 11.5) and the next bar opens at 12, unless a test says otherwise.
"""

from datetime import timedelta

import backtrader as bt
import pytest
from backtrader import Order, num2date

OPENS = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]


def buying(**order):
    return {2: lambda s: s.buy(**{"size": 1, **order})}


def selling(**order):
    return {2: lambda s: s.sell(**{"size": 1, **order})}


def test_market_order_fills_at_the_next_open(lab):
    assert lab.run(lab.frame(OPENS), buying()).fills == [(3, 1, 12.0)]


def test_market_order_of_the_last_bar_stays_submitted(lab):
    kept = []
    strategy = lab.run(lab.frame(OPENS), {6: lambda s: kept.append(s.buy(size=1))})
    assert strategy.told == []
    assert kept[0].getstatusname() == "Submitted"


def test_market_order_waits_for_the_next_bar_of_its_symbol_and_never_expires(lab):
    gap = lab.frame([50.0, 51.0, 54.0], days=[0, 1, 4])
    act = {2: lambda s: s.buy(data=s.datas[1], size=1, valid=timedelta(days=1))}
    assert lab.run([lab.frame(OPENS), gap], act).fills == [(5, 1, 54.0)]


def test_cheat_on_close_fills_at_the_close_just_seen_but_tells_a_bar_later(lab):
    moments = []

    class Buyer(bt.Strategy):
        def notify_order(self, order):
            if order.status == order.Completed:
                moments.append((len(self), order.executed.price, num2date(order.executed.dt).day))

        def next(self):
            if len(self) == 2:
                self.buy(size=1)

    lab.run(lab.frame(OPENS), strategy=Buyer, broker=lambda b: b.set_coc(True))
    assert moments == [(3, 11.5, 2)]


def test_cheat_on_open_fills_at_the_open_of_the_current_bar(lab):
    def before(strategy):
        if len(strategy) == 2:  # bar 3 is at hand, len lags
            strategy.buy(size=1)

    strategy = lab.run(lab.frame(OPENS), params={"before": before}, cheat_on_open=True)
    assert strategy.fills == [(3, 1, 12.0)]


def test_cheat_on_close_wins_over_cheat_on_open(lab):
    def before(strategy):
        if len(strategy) == 2:
            strategy.buy(size=1)

    strategy = lab.run(
        lab.frame(OPENS),
        params={"before": before},
        broker=lambda b: b.set_coc(True),
        cheat_on_open=True,
    )
    assert strategy.fills == [(3, 1, 12.5)]  # the close of the bar whose open was asked for


def test_close_order_fills_at_the_close_of_the_next_bar_once_that_bar_is_over(lab):
    strategy = lab.run(lab.frame(OPENS), buying(exectype=Order.Close))
    assert [(size, price) for _, size, price in strategy.fills] == [(1, 12.5)]


def test_limit_order_takes_the_better_open(lab):
    frame = lab.frame([11.0, 11.0, 10.0])
    assert lab.run(frame, buying(exectype=Order.Limit, price=11.0)).fills == [(3, 1, 10.0)]


def test_limit_order_inside_the_range_fills_at_the_limit(lab):
    buy = lab.run(lab.frame(OPENS), buying(exectype=Order.Limit, price=11.25))
    sell = lab.run(lab.frame(OPENS), selling(exectype=Order.Limit, price=12.75))
    assert buy.fills == [(3, 1, 11.25)]
    assert sell.fills == [(3, -1, 12.75)]


def test_limit_order_with_one_day_to_live_expires(lab):
    order = {"exectype": Order.Limit, "price": 5.0, "valid": timedelta(days=1)}
    strategy = lab.run(lab.frame(OPENS), buying(**order))
    assert strategy.told == [
        (3, "Submitted", 0, 0.0),
        (3, "Accepted", 0, 0.0),
        (4, "Expired", 0, 0.0),
    ]


def test_stop_order_fills_at_the_open_when_the_bar_gaps_through_it(lab):
    buy = lab.run(lab.frame(OPENS), buying(exectype=Order.Stop, price=11.75))
    falling = lab.frame([10.0, 10.0, 8.0])
    sell = lab.run(falling, selling(exectype=Order.Stop, price=9.25))
    assert buy.fills == [(3, 1, 12.0)]
    assert sell.fills == [(3, -1, 8.0)]


def test_stop_order_touched_inside_the_bar_fills_at_the_stop(lab):
    strategy = lab.run(lab.frame(OPENS), buying(exectype=Order.Stop, price=12.75))
    assert strategy.fills == [(3, 1, 12.75)]


def test_stop_limit_triggered_by_a_gap_waits_for_its_limit(lab):
    frame = lab.frame([10.0, 10.0, 14.0, 11.0])
    order = {"exectype": Order.StopLimit, "price": 11.5, "plimit": 12.0}
    assert lab.run(frame, buying(**order)).fills == [(4, 1, 11.0)]


def test_stop_limit_touched_inside_the_bar_fills_at_the_stop(lab):
    order = {"exectype": Order.StopLimit, "price": 12.75, "plimit": 12.9}
    assert lab.run(lab.frame(OPENS), buying(**order)).fills == [(3, 1, 12.75)]


def test_cancel_in_the_same_next_has_no_effect(lab):
    def act(strategy):
        strategy.cancel(strategy.buy(size=1))

    assert lab.run(lab.frame(OPENS), {2: act}).statuses == ["Submitted", "Accepted", "Completed"]


def test_cancel_in_a_later_bar_works(lab):
    kept = []
    acts = {
        2: lambda s: kept.append(s.buy(size=1, exectype=Order.Limit, price=5.0)),
        4: lambda s: s.cancel(kept[0]),
    }
    strategy = lab.run(lab.frame(OPENS), acts)
    assert [(bar, status) for bar, status, _, _ in strategy.told] == [
        (3, "Submitted"),
        (3, "Accepted"),
        (5, "Canceled"),
    ]


def test_buy_and_sell_of_one_symbol_in_one_bar_both_fill(lab):
    def act(strategy):
        strategy.buy(size=2)
        strategy.sell(size=1)

    assert lab.run(lab.frame(OPENS), {2: act}).fills == [(3, 2, 12.0), (3, -1, 12.0)]


def test_zero_volume_bar_fills_in_full(lab):
    assert lab.run(lab.frame(OPENS, volume=0.0), buying(size=100)).fills == [(3, 100, 12.0)]


def test_filler_splits_an_order_over_several_bars(lab):
    frame = lab.frame(OPENS, volume=4.0)
    filler = bt.broker.filler.FixedSize(size=4)
    strategy = lab.run(frame, buying(size=6), broker=lambda b: b.set_filler(filler))
    assert strategy.told[2:] == [
        (3, "Partial", 4, 12.0),
        (4, "Completed", 6, (4 * 12.0 + 2 * 13.0) / 6),
    ]


SLIPPED = {"opens": [10.0] * 4, "high": 0.05, "low": 0.05, "close": 0.0}


@pytest.mark.parametrize(
    ("settings", "fills"),
    [
        ({}, [(3, 1, 10.05)]),  # capped at the high
        ({"slip_out": True}, [(3, 1, pytest.approx(10.10))]),
        ({"slip_match": False}, []),
        ({"slip_open": True, "slip_match": True, "slip_out": True}, [(3, 1, pytest.approx(10.10))]),
    ],
)
def test_slippage_of_one_percent_depends_on_the_flags(lab, settings, fills):
    strategy = lab.run(
        lab.frame(**SLIPPED), buying(), broker=lambda b: b.set_slippage_perc(0.01, **settings)
    )
    assert strategy.fills == fills


def test_slippage_given_as_a_broker_parameter_leaves_opens_alone(lab):
    broker = bt.brokers.BackBroker(slip_perc=0.01)
    strategy = lab.run(lab.frame(**SLIPPED), buying(), broker=lambda _: broker)
    assert strategy.fills == [(3, 1, 10.0)]


def test_flat_bar_has_no_slippage(lab):
    strategy = lab.run(lab.flat(10.0, 4), buying(), broker=lambda b: b.set_slippage_perc(0.01))
    assert strategy.fills == [(3, 1, 10.0)]


def test_default_size_is_one_share(lab):
    assert lab.run(lab.flat(10.0, 4), {2: lambda s: s.buy()}).fills == [(3, 1, 10.0)]


@pytest.mark.parametrize(
    "ask",
    [
        lambda s: s.buy(size=0),
        lambda s: s.order_target_size(target=100),  # unchanged
        lambda s: s.order_target_value(target=1005.0),  # half a share more
    ],
)
def test_nothing_to_do_returns_none(lab, ask):
    answers = []
    acts = {1: lambda s: s.buy(size=100), 3: lambda s: answers.append(ask(s))}
    lab.run(lab.flat(10.0, 5), acts)
    assert answers == [None]


def test_target_value_is_floored_to_whole_shares(lab):
    strategy = lab.run(lab.flat(30.0, 4), {2: lambda s: s.order_target_value(target=1000.0)})
    assert strategy.fills == [(3, 33, 30.0)]  # 1000 / 30 = 33.3


def test_target_percent_is_of_the_portfolio_value_not_of_cash(lab):
    acts = {1: lambda s: s.buy(size=500), 3: lambda s: s.order_target_percent(target=0.75)}
    assert lab.run(lab.flat(10.0, 5), acts).fills == [(2, 500, 10.0), (4, 250, 10.0)]


def test_target_percent_from_half_long_to_half_short_is_one_order(lab):
    acts = {
        1: lambda s: s.order_target_percent(target=0.5),
        3: lambda s: s.order_target_percent(target=-0.5),
    }
    assert lab.run(lab.flat(10.0, 5), acts).fills == [(2, 500, 10.0), (4, -1000, 10.0)]


def test_fractional_position_has_no_len(lab):
    sizes = []

    def look(strategy):
        sizes.append(strategy.position.size)
        with pytest.raises(TypeError):
            len(strategy.position)

    lab.run(lab.flat(10.0, 5), {1: lambda s: s.buy(size=1.5), 3: look})
    assert sizes == [1.5]


def test_all_in_sizer_dies_on_a_gap_up(lab):
    strategy = lab.run(
        lab.frame([10.0, 10.0, 10.6]),
        {2: lambda s: s.buy()},
        add=lambda c: c.addsizer(bt.sizers.AllInSizerInt),
    )
    assert strategy.statuses == ["Submitted", "Accepted", "Margin"]


def test_size_with_leverage_floors_before_it_multiplies():
    info = bt.CommInfoBase(leverage=2)
    assert info.getsize(33.33, 5000.0) == 300  # int(2 * (5000 // 33.33)) = 2 * 150


def test_order_refs_keep_counting_from_run_to_run(lab):
    refs = []
    for _ in range(2):
        lab.run(lab.frame(OPENS), {2: lambda s: refs.append(s.buy(size=1).ref)})
    assert refs[1] == refs[0] + 1
