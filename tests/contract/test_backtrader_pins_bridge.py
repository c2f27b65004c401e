"""Backtrader 1.9.78.123 as we rely on it: what a broker of our own must and must not do.

`Minimal` is the smallest broker that fills market orders at the open; every test takes one thing
away from it, and shows what breaks.
"""

from collections import deque

import backtrader as bt
import pytest

OPENS = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]


class Minimal(bt.BrokerBase):
    """Fills everything at the open, free of charge."""

    clone, comminfo_first, simulated, with_owner = True, True, False, True
    parts = None  # an order is filled in these parts, one a bar

    def __init__(self):
        super().__init__()
        self.told, self.pending, self.held = deque(), [], {}
        self.startingcash = self.cash = 10_000.0

    def getcash(self):
        return self.cash

    def getvalue(self, datas=None):
        wanted = datas or list(self.held)
        value = sum(self.getposition(d).size * d.close[0] for d in wanted)
        return value if datas else self.cash + value

    get_cash, get_value = getcash, getvalue

    def getposition(self, data):
        return self.held.setdefault(data, bt.Position())

    def get_notification(self):
        return self.told.popleft() if self.told else None

    def _tell(self, order):
        self.told.append(order.clone() if self.clone else order)

    def _order(self, kind, owner, data, size):
        order = kind(
            owner=owner if self.with_owner else None,
            data=data,
            size=size,
            price=1.0 if self.simulated else None,
            simulated=self.simulated,
        )
        if self.comminfo_first:
            order.addcomminfo(self.getcommissioninfo(data))
        order.submit(self)
        self._tell(order)
        order.accept(self)
        self._tell(order)
        self.pending.append(order)
        return order

    def buy(self, owner, data, size, **kwargs):
        return self._order(bt.BuyOrder, owner, data, size)

    def sell(self, owner, data, size, **kwargs):
        return self._order(bt.SellOrder, owner, data, size)

    def next(self):
        for order in list(self.pending):
            parts = self.parts or [order.executed.remsize]
            self._fill(order, parts[len(order.executed)], order.data.open[0])
            if len(order.executed) == len(parts):
                self.pending.remove(order)

    def _fill(self, order, qty, price):
        held = self.getposition(order.data)
        basis = held.price
        size, average, opened, closed = held.update(qty, price)
        self.cash -= qty * price
        order.execute(
            order.data.datetime[0],
            qty,
            price,
            closed,
            -closed * basis,
            0.0,
            opened,
            opened * price,
            0.0,
            None,
            -closed * (price - basis),
            size,
            average,
        )
        self._tell(order)


def broken(**changes):
    return type("Broken", (Minimal,), changes)()


ROUND_TRIP = {2: lambda s: s.buy(size=2), 4: lambda s: s.sell(size=2)}
REVERSAL = {2: lambda s: s.buy(size=2), 4: lambda s: s.sell(size=5)}


@pytest.mark.parametrize("acts", [ROUND_TRIP, REVERSAL])
def test_minimal_broker_equals_the_stock_broker(lab, acts):
    ours = lab.run(lab.frame(OPENS), acts, broker=lambda _: Minimal())
    stock = lab.run(lab.frame(OPENS), acts)
    assert ours.told == stock.told
    assert ours.trades == stock.trades
    assert ours.broker.getcash() == stock.broker.getcash()
    assert ours.broker.getvalue() == stock.broker.getvalue()


def test_missing_startingcash_fails_at_the_end_of_the_run(lab):
    class NoStart(Minimal):
        def __init__(self):
            super().__init__()
            del self.startingcash

    with pytest.raises(AttributeError, match="startingcash"):
        lab.run(lab.frame(OPENS), ROUND_TRIP, broker=lambda _: NoStart())


def test_both_spellings_of_value_are_needed_by_an_analyzer(lab):
    class OneSpelling(bt.BrokerBase):
        getcash, getvalue = Minimal.getcash, Minimal.getvalue

    assert not hasattr(OneSpelling, "get_value")
    assert "OneSpelling" in vars(OneSpelling)  # the alias went to the name of the class


def test_order_queued_without_a_clone_gives_the_final_status_thrice_and_no_trade(lab):
    strategy = lab.run(lab.frame(OPENS), ROUND_TRIP, broker=lambda _: broken(clone=False))
    assert strategy.statuses == ["Completed"] * 6
    assert strategy.trades == []


def test_simulated_order_is_never_told_to_the_strategy_but_its_trade_is(lab):
    strategy = lab.run(lab.frame(OPENS), ROUND_TRIP, broker=lambda _: broken(simulated=True))
    assert strategy.told == []
    assert len(strategy.trades) == 2


def test_quicknotify_tells_a_bar_early_even_of_simulated_orders(lab):
    strategy = lab.run(
        lab.frame(OPENS),
        {2: lambda s: s.buy(size=2)},
        broker=lambda _: broken(simulated=True),
        quicknotify=True,
    )
    assert strategy.told == [
        (2, "Submitted", 0, 0.0),
        (2, "Accepted", 0, 0.0),
        (2, "Completed", 2, 12.0),  # the fill of bar 3
    ]


def test_fill_without_commission_info_breaks_trade_bookkeeping(lab):
    with pytest.raises(AttributeError, match="getvaluesize"):
        lab.run(lab.frame(OPENS), ROUND_TRIP, broker=lambda _: broken(comminfo_first=False))


def test_order_without_an_owner_is_told_to_the_first_strategy(lab):
    strategy = lab.run(lab.frame(OPENS), ROUND_TRIP, broker=lambda _: broken(with_owner=False))
    assert strategy.statuses == ["Submitted", "Accepted", "Completed"] * 2


def test_tenth_and_fifth_do_not_make_three_tenths(lab):
    acts = {2: lambda s: s.buy(size=0.3)}
    strategy = lab.run(lab.frame(OPENS), acts, broker=lambda _: broken(parts=[0.1, 0.2]))
    assert strategy.statuses == ["Submitted", "Accepted", "Partial", "Partial"]
    assert strategy.told[-1][1:3] == ("Partial", pytest.approx(0.3))


def test_sale_of_an_earlier_runs_holding_opens_a_short_trade(lab):
    class Holding(Minimal):
        def start(self):
            super().start()
            self.held[self.cerebro.datas[0]] = bt.Position(size=2, price=5.0)

    strategy = lab.run(lab.frame(OPENS), {2: lambda s: s.sell(size=2)}, broker=lambda _: Holding())
    assert strategy.position.size == 0
    # Closed for 12 a share with a profit of 14, and yet: no trade was open to close.
    assert strategy.trades == [(3, False, 0.0, 0.0)]


def test_broker_knows_its_cerebro_once_set(lab):
    strategy = lab.run(lab.frame(OPENS), broker=lambda _: Minimal())
    assert strategy.broker.cerebro is strategy.cerebro


def test_trade_in_progress_can_be_reached_and_changed(lab):
    # A split of the share changes the open trade: the only way to keep its profit right.
    def split(strategy):
        trade = strategy._trades[strategy.data][0][-1]
        trade.size, trade.price = trade.size * 2, trade.price / 2
        strategy.broker.held[strategy.data].set(4, 6.0)

    acts = {2: lambda s: s.buy(size=2), 4: split, 5: lambda s: s.sell(size=4)}
    strategy = lab.run(lab.frame(OPENS), acts, broker=lambda _: Minimal())
    assert strategy.trades[-1] == (6, True, 4 * 15.0 - 2 * 12.0, 4 * 15.0 - 2 * 12.0)
