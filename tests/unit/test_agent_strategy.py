"""AgentStrategy: what the trader is given, what becomes of its orders, on both kinds of broker."""

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from brokers.bridge import VenueBroker
from brokers.feed import BarsFeed, add_feeds
from engine.bars import Bars
from engine.book import Orders
from engine.costs import Costs
from engine.errors import DataError, UsageError
from engine.features import FeatureSet
from engine.limits import Limits
from engine.observation import Observation, Scaler
from engine.policy import ActionSpace, Wish
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.trader import Decision, Trader, TraderSpec
from engine.venue import SimVenue, VenueSettings
from strategies.agent import AgentStrategy
from tests.markets import made_up
from tests.policies import Constant, Follower

FREE = Costs(slippage_bps=0.0)


def frame(opens, days=None):
    """Bars from their opens: a dollar to each side, closes half a dollar higher."""
    wanted = days if days is not None else range(len(opens))
    index = pd.DatetimeIndex([pd.Timestamp("2020-01-01") + pd.Timedelta(days=d) for d in wanted])
    open_ = pd.Series(opens, index=index, dtype=float)
    return pd.DataFrame(
        {"open": open_, "high": open_ + 1, "low": open_ - 1, "close": open_ + 0.5, "volume": 7.0}
    )


def own_cerebro(frames, trader, cash=10_000.0, **settings):
    """Run AgentStrategy with the stock broker over {name: frame}."""
    cerebro = bt.Cerebro(**{"runonce": False, "stdstats": False, **settings})
    for name, data in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=data), name=name)
    cerebro.broker.setcash(cash)
    cerebro.addstrategy(AgentStrategy, trader=trader)
    return cerebro.run()[0]


class Scripted:
    """A stand-in for a trader: writes down what it is given, orders `qty[bar]`."""

    def __init__(self, symbols=1, qty=None):
        self.shape = (1, symbols)
        self.qty, self.given, self.books = qty or {}, [], []

    def on_bar(self, session, ohlcv, traded, split, dividend, book, open_qty):
        self.given.append((str(session), ohlcv, traded, split, dividend, open_qty))
        self.books.append(book.copy())
        qty = np.array([self.qty.get(len(self.given), [0.0] * self.shape[1])], dtype=float)
        nothing = np.zeros((*self.shape, 0), dtype=np.float32)
        obs = Observation(nothing, nothing, traded[None])
        wish = Wish(qty, qty == 0)
        return Decision(obs, wish, qty, Orders.market(qty), np.zeros(self.shape, dtype=np.int32))


def spec_for(symbols, **changes):
    features = FeatureSet(("log_return", "sma_ratio(5)"))
    return TraderSpec(
        **{
            "features": features,
            "scaler": Scaler(np.zeros(2), np.full(2, 0.01), 5.0),
            "book_inputs": ("position", "unrealised", "cash", "bars_since_trade"),
            "action": ActionSpace(),
            "costs": Costs(rate=0.001),
            "allocation": 1.0 / symbols,
            "burn_in": 3,
            **changes,
        }
    )


def behind_venue(bars, trader, venue, recorder=None, **settings):
    cerebro = bt.Cerebro(**{"runonce": False, "stdstats": False, **settings})
    cerebro.broker = VenueBroker(recorder.watch(trader, venue) if recorder else venue, bars)
    add_feeds(cerebro, bars)
    cerebro.addstrategy(AgentStrategy, trader=trader)
    return cerebro.run()[0]


def delisted(bars, symbol, last):
    """The market with one symbol's last bar at row `last`."""
    traded, ohlcv, ended = bars.traded.copy(), bars.ohlcv.copy(), bars.ended.copy()
    traded[last + 1 :, symbol], ohlcv[last + 1 :, symbol] = False, np.nan
    last = int(np.flatnonzero(traded[:, symbol])[-1])
    ended[symbol] = bars.sessions[last]
    return Bars(bars.sessions, bars.symbols, ohlcv, traded, bars.split, bars.dividend, ended)


@pytest.mark.parametrize("account", ["margin", "cash"])
def test_behind_a_venue_every_bar_equals_the_plain_replay_bit_for_bit(account):
    bars = delisted(made_up(5, sessions=400, symbols=3), symbol=1, last=250)
    spec = spec_for(3, venue=VenueSettings(account=account), limits=Limits(allow_short=True))
    records = []
    for through in ("replay", "backtrader"):
        venue = SimVenue(1e5, (1, 3), spec.costs, spec.venue)
        trader = Trader(spec, Follower(allow_short=True), 3)
        if through == "replay":
            records.append(replay(trader, venue, bars, 0, 399))
        else:
            records.append(Recorder())
            behind_venue(bars, trader, venue, records[-1])
    left, right = (record.arrays() for record in records)
    assert (left["filled"] != 0).sum() > 100
    assert left["settled"].any()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def test_bars_reach_the_trader_as_they_stand_gaps_and_events_included():
    bars = made_up(7, sessions=60, symbols=2, gaps=0.2, events=0.2, late=10)
    trader = Scripted(2)
    behind_venue(bars, trader, SimVenue(1e4, (1, 2), FREE))
    assert [given[0] for given in trader.given] == [str(day) for day in bars.sessions]
    for at, name in enumerate(("ohlcv", "traded", "split", "dividend"), start=1):
        stacked = np.stack([given[at] for given in trader.given])
        np.testing.assert_array_equal(stacked, getattr(bars, name), err_msg=name)


@pytest.mark.parametrize("settings", [{"preload": False}, {"runonce": True}, {"exactbars": 1}])
def test_every_way_to_run_our_feeds_gives_the_trader_the_same(settings):
    bars = made_up(7, sessions=60, symbols=3, gaps=0.2, events=0.2, late=10)
    traders = Scripted(3, {12: [5.0, 2.0, 0.0]}), Scripted(3, {12: [5.0, 2.0, 0.0]})
    usual = behind_venue(bars, traders[0], SimVenue(1e4, (1, 3), FREE))
    other = behind_venue(bars, traders[1], SimVenue(1e4, (1, 3), FREE), **settings)
    assert usual._table is bars
    if not settings.get("preload", True):
        assert other._table is None  # bar by bar, from the lines
    for left, right in zip(traders[0].given, traders[1].given, strict=True):
        assert left[0] == right[0]
        for a, b in zip(left[1:], right[1:], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("order", "gaps"), [((1, 0), "flagged"), ((0,), "flagged"), ((0, 1), "absent")]
)
def test_feeds_that_are_not_a_whole_table_are_read_line_by_line(order, gaps):
    bars = made_up(7, sessions=40, symbols=2, gaps=0.2, events=0.0, late=5)
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    for column in order:
        cerebro.adddata(BarsFeed(bars=bars, symbol=bars.symbols[column], gaps=gaps))
    trader = Scripted(len(order))
    cerebro.addstrategy(AgentStrategy, trader=trader)
    assert cerebro.run()[0]._table is None
    stacked = np.stack([given[1] for given in trader.given])
    there = bars.traded.any(axis=1) | (gaps == "flagged")  # the others are no sessions of the feeds
    np.testing.assert_array_equal(stacked, bars.ohlcv[there][:, order])


def test_book_behind_a_venue_is_the_venues_own():
    bars = made_up(7, sessions=10, symbols=1, gaps=0.0, events=0.0)
    trader = Scripted(1, {2: [3.0]})
    strategy = behind_venue(bars, trader, SimVenue(1e4, (1, 1), FREE))
    assert trader.books[2].qty[0, 0] == 3.0
    assert strategy.broker.venue.book.qty[0, 0] == 3.0


def test_plain_feed_is_fresh_only_where_its_date_is_todays():
    trader = Scripted(2)
    late = frame([50, 51, 54], days=[1, 2, 4])
    own_cerebro({"A": frame([10, 11, 12, 13, 14]), "B": late}, trader)
    assert [given[2].tolist() for given in trader.given] == [
        [True, False],  # B is not listed
        [True, True],
        [True, True],
        [True, False],  # B has no bar
        [True, True],
    ]
    np.testing.assert_array_equal(trader.given[1][1][1], [50, 51, 49, 50.5, 7])
    assert np.isnan(trader.given[0][1][1]).all()
    assert np.isnan(trader.given[3][1][1]).all()
    assert all((g[3] == 1.0).all() and (g[4] == 0.0).all() for g in trader.given)


@pytest.mark.parametrize("settings", [{"runonce": True}, {"preload": False}, {"stdstats": True}])
def test_every_way_to_run_a_plain_feed_gives_the_trader_the_same(settings):
    frames = {"A": frame([10, 11, 12, 13, 14]), "B": frame([50, 51, 54], days=[1, 2, 4])}
    traders = Scripted(2, {2: [5, 5]}), Scripted(2, {2: [5, 5]})
    own_cerebro(frames, traders[0])
    own_cerebro(frames, traders[1], **settings)
    for left, right in zip(traders[0].given, traders[1].given, strict=True):
        assert left[0] == right[0]
        for a, b in zip(left[1:], right[1:], strict=True):
            np.testing.assert_array_equal(a, b)


def test_orders_go_out_sales_first():
    sent = []

    class Watched(bt.brokers.BackBroker):
        def buy(self, owner, data, size, **kwargs):
            sent.append((data._name, size))
            return super().buy(owner, data, size, **kwargs)

        def sell(self, owner, data, size, **kwargs):
            sent.append((data._name, -size))
            return super().sell(owner, data, size, **kwargs)

    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    cerebro.broker = Watched()
    for name in "ABC":
        cerebro.adddata(bt.feeds.PandasData(dataname=frame([10, 11, 12])), name=name)
    cerebro.addstrategy(AgentStrategy, trader=Scripted(3, {2: [4.0, -2.0, 1.5]}))
    cerebro.run()
    assert sent == [("B", -2), ("A", 4), ("C", 1.5)]


def test_stock_book_says_what_the_stock_broker_holds():
    trader = Scripted(1, {2: [100.0], 4: [-40.0]})
    data = {"A": frame([10, 11, 12, 13, 14, 15])}
    cerebro_strategy = own_cerebro(data, trader)
    books = trader.books
    # bought 100 at 12 on bar 3, sold 40 at 14 on bar 5
    assert [book.qty[0, 0] for book in books] == [0, 0, 100, 100, 60, 60]
    assert [book.cash[0] for book in books] == [10_000] * 2 + [8_800] * 2 + [9_360] * 2
    assert [book.basis[0, 0] for book in books] == [0, 0, 12, 12, 12, 12]
    assert [book.mark[0, 0] for book in books] == [10.5, 11.5, 12.5, 13.5, 14.5, 15.5]
    assert [book.since[0, 0] for book in books] == [-1, -1, 0, 1, 0, 1]
    assert books[-1].equity()[0] == cerebro_strategy.broker.getvalue() == 9_360 + 60 * 15.5


def test_stock_book_marks_a_symbol_without_a_bar_at_its_last_close():
    trader = Scripted(2, {1: [0.0, 10.0]})
    gap = frame([50, 51, 54], days=[0, 1, 3])
    own_cerebro({"A": frame([10, 11, 12, 13]), "B": gap}, trader)
    assert [book.mark[0, 1] for book in trader.books] == [50.5, 51.5, 51.5, 54.5]
    assert [book.since[0, 1] for book in trader.books] == [-1, 0, 1, 2]


def test_order_that_waits_is_told_to_the_trader_as_open():
    trader = Scripted(2, {2: [0.0, 10.0]})
    gap = frame([50, 51, 54, 55], days=[0, 1, 4, 5])
    own_cerebro({"A": frame([10, 11, 12, 13, 14, 15]), "B": gap}, trader)
    assert [given[5][0, 1] for given in trader.given] == [0, 0, 10, 10, 0, 0]


def test_fees_of_the_stock_broker_are_counted():
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame([10, 11, 12, 13])), name="A")
    cerebro.broker.setcommission(0.001)
    trader = Scripted(1, {1: [100.0]})
    cerebro.addstrategy(AgentStrategy, trader=trader)
    cerebro.run()
    assert trader.books[-1].fees[0] == pytest.approx(1.1)  # a thousandth of 100 x 11


def test_refused_order_is_listed_not_lost():
    trader = Scripted(1, {2: [900.0]})  # 900 x 11.5 fit 10,000 + 350; 900 x 12 do not
    strategy = own_cerebro({"A": frame([10, 11, 12, 13])}, trader)
    assert strategy.refused == [(np.datetime64("2020-01-03"), "A", "Margin", "")]


def test_refusal_of_a_venue_comes_with_its_reason():
    bars = made_up(7, sessions=10, symbols=1, gaps=0.0, events=0.0)
    trader = Scripted(1, {2: [1e7]})
    strategy = behind_venue(bars, trader, SimVenue(1e4, (1, 1), FREE))
    assert [row[1:3] for row in strategy.refused] == [("S0", "Margin")]
    assert strategy.refused[0][3] == "cut or refused: more than the buying power at acceptance"


def cash_spec(symbols, **changes):
    return spec_for(symbols, costs=FREE, venue=VenueSettings(account="cash"), **changes)


def test_constant_wish_buys_what_the_cash_allows_in_a_plain_cerebro():
    # Five bars of lookback, three of burn-in: bar 8 is the first with a decision. Its close is 17.5:
    # 10,000 / 17.5 = 571 shares, cut by 10,000 / (571 x 17.5 x 1.04) to 549.45, filled at 18.
    opens = [10.0 + n for n in range(12)]
    trader = Trader(cash_spec(1), Constant(1.0), 1)
    strategy = own_cerebro({"A": frame(opens)}, trader)
    assert strategy.getposition().size == 549
    assert strategy.getposition().price == 18.0
    assert strategy.refused == []


def test_memory_is_carried_bar_by_bar():
    trader = Trader(cash_spec(1), Constant(0.5), 1)
    own_cerebro({"A": frame([10.0 + n for n in range(12)])}, trader)
    assert trader.memory[0, 0, 0] == 8.0  # twelve bars, five of lookback: features on 8


def test_changed_future_moves_no_earlier_decision():
    seen = []
    for last in (0.0, 30.0):
        opens = [10, 11, 12, 13, 12, 11, 10, 11, 12, 13, 14, 15]
        opens = [*opens, 15 + last, 16 + last]
        decisions = []
        trader = Trader(cash_spec(1), Follower(), 1)
        trader.observer = decisions.append
        own_cerebro({"A": frame(opens)}, trader)
        seen.append(
            [(d.obs.market.tobytes(), d.obs.book.tobytes(), d.orders.qty[0, 0]) for d in decisions]
        )
    assert seen[0][:12] == seen[1][:12]
    assert seen[0][12:] != seen[1][12:]


@pytest.mark.parametrize("price", [float("nan"), float("inf"), 0.0, -1.0])
def test_price_that_is_none_stops_the_run(price):
    data = frame([10, 11, 12])
    data.loc[data.index[1], "close"] = price
    with pytest.raises(DataError, match='feed "A", 2020-01-02: expected four prices above zero'):
        own_cerebro({"A": data}, Scripted())


def test_trader_and_checkpoint_exclude_each_other():
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=frame([10, 11])), name="A")
    cerebro.addstrategy(AgentStrategy)
    with pytest.raises(UsageError, match="expected a trader or a checkpoint"):
        cerebro.run()


def test_feeds_without_names_of_their_own_are_refused():
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    for _ in range(2):
        cerebro.adddata(bt.feeds.PandasData(dataname=frame([10, 11])))
    cerebro.addstrategy(AgentStrategy, trader=Scripted(2))
    with pytest.raises(UsageError, match="a name of its own for every feed"):
        cerebro.run()


def test_trader_for_another_number_of_symbols_is_refused():
    with pytest.raises(UsageError, match=r"1 book of 1 symbols, found one of shape \(1, 2\)"):
        own_cerebro({"A": frame([10, 11])}, Scripted(2))


def test_feeds_in_another_order_than_the_venue_are_refused():
    bars = made_up(1, sessions=10, symbols=2)
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    cerebro.broker = VenueBroker(SimVenue(1e4, (1, 2)), bars)
    add_feeds(cerebro, bars.select(("S1", "S0")))
    cerebro.addstrategy(AgentStrategy, trader=Scripted(2))
    with pytest.raises(UsageError, match="expected S0, S1 in this order, found S1, S0"):
        cerebro.run()
