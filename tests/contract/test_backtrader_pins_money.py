"""Backtrader 1.9.78.123 as we rely on it: cash, margin, shorts, commission.

10,000 dollars and a price that stands still at 10, unless a test says otherwise.
"""

import math

import backtrader as bt
import pytest


def cash_and_value(strategy):
    return strategy.broker.getcash(), strategy.broker.getvalue()


def test_acceptance_looks_at_the_close_and_the_fill_at_the_real_price(lab):
    frame = lab.frame([10.0, 10.0, 20.0, 20.0], high=0.0, low=0.0, close=0.0)
    strategy = lab.run(frame, {2: lambda s: s.buy(size=900)})
    assert strategy.statuses == ["Submitted", "Accepted", "Margin"]
    assert cash_and_value(strategy) == (10_000.0, 10_000.0)


def test_whole_equity_with_commission_is_refused(lab):
    strategy = lab.run(
        lab.flat(10.0, 4),
        {2: lambda s: s.order_target_percent(target=1.0)},
        broker=lambda b: b.setcommission(0.001),
    )
    assert strategy.statuses == ["Submitted", "Margin"]


def test_order_too_large_takes_the_next_one_down_with_it(lab):
    def act(strategy):
        strategy.buy(size=5000)
        strategy.buy(size=10)

    strategy = lab.run(lab.flat(10.0, 4), {2: act})
    assert strategy.statuses == ["Submitted", "Submitted", "Margin", "Margin"]


def test_buy_before_sell_dies_and_sell_before_buy_lives(lab):
    def buy_first(strategy):
        strategy.buy(size=500)
        strategy.sell(size=900)

    def sell_first(strategy):
        strategy.sell(size=900)
        strategy.buy(size=500)

    held = {1: lambda s: s.buy(size=900)}
    first = lab.run(lab.flat(10.0, 5), {**held, 3: buy_first})
    second = lab.run(lab.flat(10.0, 5), {**held, 3: sell_first})
    assert first.statuses[3:] == ["Submitted", "Submitted", "Margin", "Accepted", "Completed"]
    assert second.fills[1:] == [(4, -900, 10.0), (4, 500, 10.0)]


def test_reversal_the_cash_cannot_open_closes_half_and_ends_as_margin(lab):
    # 10,000 + 500 * 10 = 15,000 after the short; closing 500 at 14 leaves 8,000; 900 * 14 = 12,600.
    frame = lab.frame([10.0, 10.0, 10.0, 14.0, 14.0], high=0.0, low=0.0, close=0.0)
    strategy = lab.run(frame, {1: lambda s: s.sell(size=500), 3: lambda s: s.buy(size=1400)})
    assert strategy.told[3:] == [
        (4, "Submitted", 0, 0.0),
        (4, "Accepted", 0, 0.0),
        (4, "Partial", 500, 14.0),
        (4, "Margin", 500, 14.0),
    ]
    assert strategy.position.size == 0
    assert strategy.broker.getcash() == 8_000.0


def test_short_sale_of_any_size_is_accepted_and_never_called(lab):
    opens = [10.0, 10.0, 12.0, 12.0]
    frame = lab.frame(opens, high=0.0, low=0.0, close=0.0)
    strategy = lab.run(frame, {1: lambda s: s.sell(size=100_000), 3: lambda s: s.sell(size=1)})
    assert strategy.fills == [(2, -100_000, 10.0), (4, -1, 12.0)]
    assert strategy.broker.getvalue() == 10_000.0 - 200_000.0  # two dollars against 100,000 shares


def test_short_sale_without_shortcash_needs_cash(lab):
    strategy = lab.run(
        lab.flat(10.0, 4),
        {1: lambda s: s.sell(size=100_000)},
        broker=lambda b: b.set_shortcash(False),
    )
    assert strategy.statuses == ["Submitted", "Margin"]


def test_leverage_of_two_lends_without_interest(lab):
    strategy = lab.run(
        lab.flat(10.0, 30),
        {1: lambda s: s.buy(size=1500)},
        broker=lambda b: b.setcommission(0.0, leverage=2.0),
    )
    assert strategy.broker.getcash() == 2_500.0  # 10,000 - 15,000 / 2


def test_interest_is_charged_by_the_day_on_shorts_only(lab):
    def lend(broker):
        broker.setcommission(0.0, interest=0.05)

    short = lab.run(lab.flat(10.0, 27), {1: lambda s: s.sell(size=500)}, broker=lend)
    long = lab.run(lab.flat(10.0, 27), {1: lambda s: s.buy(size=500)}, broker=lend)
    # filled in bar 2, 25 days until bar 27: 25 * 0.05 / 365 * 5000 = 17.12
    assert short.broker.getcash() == pytest.approx(15_000 - 25 * 0.05 / 365 * 5000)
    assert long.broker.getcash() == 5_000.0


def test_interest_on_longs_needs_its_own_switch(lab):
    strategy = lab.run(
        lab.flat(10.0, 27),
        {1: lambda s: s.buy(size=500)},
        broker=lambda b: b.setcommission(0.0, interest=0.05, interest_long=True),
    )
    assert strategy.broker.getcash() == pytest.approx(5_000 - 25 * 0.05 / 365 * 5000)


def test_one_nan_open_poisons_cash_for_ever(lab):
    frame = lab.flat(10.0, 6)
    frame.loc[frame.index[2], "open"] = math.nan
    strategy = lab.run(frame, {2: lambda s: s.buy(size=1)})
    assert math.isnan(strategy.broker.getcash())


ROUND_TRIP = {1: lambda s: s.buy(size=100), 3: lambda s: s.sell(size=100)}


def after_a_round_trip(lab, broker):
    # 100 shares bought and sold at 10: 2,000 dollars traded
    return lab.run(lab.flat(10.0, 5), ROUND_TRIP, broker=broker).broker.getcash()


def info(**params):
    return lambda b: b.addcommissioninfo(bt.CommInfoBase(**params))


PERC, FIXED = bt.CommInfoBase.COMM_PERC, bt.CommInfoBase.COMM_FIXED


@pytest.mark.parametrize(
    ("broker", "fees"),
    [
        (lambda b: b.setcommission(0.001), 2.0),
        (info(commission=0.001), 0.02),  # a hundredth of what was meant
        (info(commission=0.001, commtype=PERC, percabs=True, stocklike=True), 2.0),
        (info(commission=0.005, commtype=FIXED, stocklike=True), 1.0),
    ],
)
def test_commission_of_a_round_trip(lab, broker, fees):
    assert after_a_round_trip(lab, broker) == pytest.approx(10_000.0 - fees)


def test_commtype_without_stocklike_makes_a_stock_a_future(lab):
    broker = info(commission=0.001, commtype=PERC, percabs=True)
    strategy = lab.run(lab.flat(10.0, 4), {1: lambda s: s.buy(size=5000)}, broker=broker)
    assert strategy.fills == [(2, 5000, 10.0)]  # 50,000 dollars of stock on 10,000 of cash
    assert after_a_round_trip(lab, broker) == pytest.approx(9_998.0)  # and a round trip hides it


class Counted(bt.CommInfoBase):
    """A stock with a minimum of one dollar a call, that writes down how it is asked."""

    params = (("stocklike", True), ("commtype", FIXED), ("calls", None))

    def _getcommission(self, size, price, pseudoexec):
        self.p.calls.append((size, price, pseudoexec))
        return 1.0


def counted(calls):
    return lambda b: b.addcommissioninfo(Counted(calls=calls))


def test_commission_is_asked_three_times_for_a_simple_fill(lab):
    calls = []
    lab.run(lab.flat(10.0, 4), {1: lambda s: s.buy(size=7)}, broker=counted(calls))
    assert calls == [(7, 10.0, True), (7, 10.0, True), (7, 10.0, False)]


def test_reversal_pays_two_minimum_fees(lab):
    acts = {1: lambda s: s.buy(size=10), 3: lambda s: s.sell(size=20)}
    strategy = lab.run(lab.flat(10.0, 5), acts, broker=counted([]))
    assert strategy.broker.getvalue() == 10_000.0 - 3.0  # one to open, two to reverse


def test_partial_fills_pay_a_minimum_fee_each(lab):
    def broker(stock):
        counted([])(stock)
        stock.set_filler(bt.broker.filler.FixedSize(size=4))

    strategy = lab.run(lab.flat(10.0, 6), {1: lambda s: s.buy(size=10)}, broker=broker)
    assert len(strategy.fills) == 3  # 4 + 4 + 2
    assert strategy.broker.getvalue() == 10_000.0 - 3.0


def test_size_is_signed_so_that_a_fee_can_fall_on_sales_only(lab):
    class OnSales(bt.CommInfoBase):
        params = (("stocklike", True), ("commtype", FIXED))

        def _getcommission(self, size, price, pseudoexec):
            return 5.0 if size < 0 else 0.0

    assert after_a_round_trip(lab, lambda b: b.addcommissioninfo(OnSales())) == 9_995.0


def test_default_commission_object_is_shared_by_all_brokers():
    one, other = bt.brokers.BackBroker(), bt.brokers.BackBroker()
    assert one.comminfo[None] is other.comminfo[None]
