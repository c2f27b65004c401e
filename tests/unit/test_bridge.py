"""VenueBroker: Backtrader is told exactly what the venue did."""

import backtrader as bt
import numpy as np
import pytest
from backtrader import Order, num2date

from brokers.bridge import VenueBroker
from brokers.feed import add_feeds
from engine.bars import Bars
from engine.costs import Costs
from engine.errors import DataError, UsageError, VenueError
from engine.reasons import Reason
from engine.venue import Outcome, SimVenue, VenueSettings

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


def run(bars, acts=None, cash=10_000.0, costs=FREE, venue=None, add=None, gaps="flagged", **more):
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    add_feeds(cerebro, bars, gaps)
    if venue is None or isinstance(venue, VenueSettings):
        venue = SimVenue(cash, (1, len(bars.symbols)), costs, venue)
    cerebro.broker = VenueBroker(venue, bars, **more)
    if add is not None:
        add(cerebro)
    cerebro.addstrategy(Scripted, acts=acts)
    return cerebro.run()[0]


RISING = (10.0, 11.0, 12.0, 13.0, 14.0, 15.0)


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


def test_execution_is_dated_with_the_session_of_the_fill():
    strategy = run(market(RISING), {2: lambda s: s.buy(size=1)})
    assert f"{num2date(strategy.orders[-1].executed.dt):%Y-%m-%d}" == "2020-01-03"
