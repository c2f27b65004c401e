"""VenueBroker against independent answers: the stock broker, and Backtrader's own analyzers."""

import backtrader as bt
import numpy as np
import pytest

from brokers.bridge import VenueBroker
from brokers.feed import add_feeds
from engine.bars import Bars
from engine.costs import Costs
from engine.venue import SimVenue, VenueSettings

RATE = 0.001
CASH = 1_000_000.0


def random_market(seed, sessions=250, symbols=3, gaps=0.08):
    """A random walk with missing bars and one late listing; no splits, no dividends."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, (sessions, symbols)), axis=0))
    open_ = close * np.exp(rng.normal(0, 0.01, close.shape))
    high, low = np.maximum(open_, close) * 1.01, np.minimum(open_, close) * 0.99
    ohlcv = np.stack([open_, high, low, close, np.full(close.shape, 1e6)], axis=-1)
    traded = rng.random(close.shape) >= gaps
    traded[:, 0] = True
    traded[:20, -1] = False
    ohlcv[~traded] = np.nan
    days = np.busday_offset("2015-01-01", np.arange(sessions), roll="forward")
    never = np.full(symbols, np.datetime64("NaT", "D"))
    names = tuple(f"S{n}" for n in range(symbols))
    ones, zeros = np.ones(close.shape), np.zeros(close.shape)
    return Bars(days, names, ohlcv, traded, ones, zeros, never, calendar="none")


class Drawn(bt.Strategy):
    """Sends market orders drawn once for each session and symbol: longs, shorts and reversals."""

    params = (("seed", 0), ("flat_at", 10**9))

    def __init__(self):
        self.told, self.trades, self.curve, self.open = [], [], [], set()
        self.rng = np.random.default_rng(self.p.seed)
        self.columns = {data._name: column for column, data in enumerate(self.datas)}

    def prenext(self):
        self.next()

    def notify_order(self, order):
        done, column = order.executed, self.columns[order.data._name]
        self.told.append(
            (self.datetime[0], column, order.getstatusname(), done.size, done.price, done.comm)
        )
        if not order.alive():
            self.open.discard(column)

    def notify_trade(self, trade):
        state = (trade.isclosed, trade.justopened, trade.size, trade.price)
        self.trades.append((self.datetime[0], *state, trade.pnl, trade.pnlcomm, trade.commission))

    def next(self):
        self.curve.append((self.datetime[0], self.broker.getcash(), self.broker.getvalue()))
        self.draw = self.rng.integers(-300, 301, len(self.datas))
        wanted = self.rng.random(len(self.datas)) < 0.3
        for column, data in enumerate(self.datas):
            if not len(data) or column in self.open:
                continue
            target = 0 if len(self) >= self.p.flat_at else int(self.draw[column])
            due = wanted[column] or len(self) >= self.p.flat_at
            size = target - self.getposition(data).size if due else 0
            if size:
                self.open.add(column)
                (self.buy if size > 0 else self.sell)(data=data, size=abs(size))


def through(bars, stock, **params):
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    # The stock broker needs the gaps absent; both then count the same `len(d)`.
    add_feeds(cerebro, bars, gaps="absent")
    if stock:
        cerebro.broker.setcash(CASH)
        cerebro.broker.setcommission(RATE)
    else:
        venue = SimVenue(CASH, (1, len(bars.symbols)), Costs(rate=RATE, slippage_bps=0.0))
        cerebro.broker = VenueBroker(venue, bars)
    for analyzer in ANALYZERS:
        cerebro.addanalyzer(analyzer, _name=analyzer.__name__)
    cerebro.addanalyzer(bt.analyzers.PositionsValue, _name="Values", cash=True)
    cerebro.addstrategy(Drawn, **params)
    return cerebro.run()[0]


ANALYZERS = (
    bt.analyzers.TradeAnalyzer,
    bt.analyzers.DrawDown,
    bt.analyzers.TimeReturn,
    bt.analyzers.Transactions,
    bt.analyzers.PyFolio,
)


@pytest.fixture(scope="module", params=[1, 2])
def pair(request):
    bars = random_market(request.param)
    return through(bars, stock=False, seed=9), through(bars, stock=True, seed=9)


def test_notifications_equal_the_stock_brokers_in_order_and_number(pair):
    ours, stock = pair
    assert [row[:4] for row in ours.told] == [row[:4] for row in stock.told]
    assert len(ours.told) > 300
    np.testing.assert_allclose(
        [row[4:] for row in ours.told], [row[4:] for row in stock.told], rtol=0, atol=1e-9
    )


def test_cash_and_value_equal_the_stock_brokers_on_every_bar(pair):
    ours, stock = pair
    np.testing.assert_allclose(ours.curve, stock.curve, rtol=0, atol=1e-7)


def test_trades_equal_the_stock_brokers(pair):
    ours, stock = pair
    assert [row[:4] for row in ours.trades] == [row[:4] for row in stock.trades]
    assert len(ours.trades) > 60
    np.testing.assert_allclose(
        [row[4:] for row in ours.trades], [row[4:] for row in stock.trades], rtol=0, atol=1e-7
    )


def flat(analysis, path=()):
    """Every number of a nested analysis, by its path."""
    if isinstance(analysis, dict):
        return [pair for key in analysis for pair in flat(analysis[key], (*path, str(key)))]
    if isinstance(analysis, (list, tuple)):
        return [pair for n, part in enumerate(analysis) for pair in flat(part, (*path, n))]
    return [(path, analysis)]


@pytest.mark.parametrize("name", [*(a.__name__ for a in ANALYZERS), "Values"])
def test_analyzer_says_the_same_of_both(pair, name):
    ours, stock = (flat(s.analyzers.getbyname(name).get_analysis()) for s in pair)
    assert [path for path, _ in ours] == [path for path, _ in stock]
    for (path, left), (_, right) in zip(ours, stock, strict=True):
        if isinstance(left, str):
            assert left == right, path
        else:
            assert left == pytest.approx(right, rel=1e-9, abs=1e-7), path


@pytest.fixture(scope="module")
def ended():
    """A run that ends flat, so that every dollar is in a closed trade."""
    return through(random_market(3), stock=False, seed=4, flat_at=240)


def test_closed_trades_add_up_to_the_change_of_equity(ended):
    book = ended.broker.venue.book
    assert not book.qty.any()
    net = ended.analyzers.getbyname("TradeAnalyzer").get_analysis().pnl.net.total
    assert net == pytest.approx(float(book.equity()[0]) - CASH, abs=1e-6)


def test_drawdown_analyzer_equals_the_drawdown_of_the_books_equity(ended):
    equity = np.array([value for _, _, value in ended.curve])
    deepest = (1 - equity / np.maximum.accumulate(equity)).max() * 100
    analysis = ended.analyzers.getbyname("DrawDown").get_analysis()
    assert analysis.max.drawdown == pytest.approx(deepest, rel=1e-9)


def test_time_returns_multiply_to_the_growth_of_equity(ended):
    returns = ended.analyzers.getbyname("TimeReturn").get_analysis()
    growth = np.prod([1 + r for r in returns.values()])
    assert growth == pytest.approx(ended.broker.getvalue() / CASH, rel=1e-12)


def test_transactions_are_the_fills_of_the_venue(ended):
    listed = ended.analyzers.getbyname("Transactions").get_analysis()
    paid = sum(-size * price for rows in listed.values() for size, price, *_ in rows)
    fees = float(ended.broker.venue.book.fees[0])
    assert CASH + paid - fees == pytest.approx(ended.broker.getcash(), abs=1e-6)


@pytest.mark.parametrize("kind", ["Limit", "Stop"])
def test_limit_and_stop_orders_equal_the_stock_brokers(kind):
    bars = random_market(5, symbols=1, gaps=0.0)

    class Resting(Drawn):
        def next(self):
            self.curve.append((self.datetime[0], self.broker.getcash(), self.broker.getvalue()))
            move = self.rng.normal(0, 0.03)
            if 0 in self.open or len(self) < 21:
                return
            self.open.add(0)
            send = self.buy if self.rng.random() < 0.5 else self.sell
            price = self.data.close[0] * (1 + move)
            send(size=10, exectype=getattr(bt.Order, kind), price=price)

    runs = []
    for stock in (False, True):
        cerebro = bt.Cerebro(runonce=False, stdstats=False)
        add_feeds(cerebro, bars, gaps="absent")
        if stock:
            cerebro.broker.setcash(CASH)
        else:
            settings = VenueSettings(leverage=4.0)
            venue = SimVenue(CASH, (1, 1), Costs(slippage_bps=0.0), settings)
            cerebro.broker = VenueBroker(venue, bars)
        cerebro.addstrategy(Resting, seed=8)
        runs.append(cerebro.run()[0])
    ours, stock_run = runs
    assert [row[:4] for row in ours.told] == [row[:4] for row in stock_run.told]
    assert sum(row[2] == "Completed" for row in ours.told) > 10
    np.testing.assert_allclose(ours.curve, stock_run.curve, rtol=0, atol=1e-7)
