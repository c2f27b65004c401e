"""The loopback exchange against SimVenue: same orders in, same fills, cash and positions out."""

from dataclasses import replace
from datetime import UTC, timedelta

import numpy as np
import pytest

from brokers.exchange.exchange import Exchange, Refusal
from engine import clock
from engine.bars import Bars
from engine.clock import FakeClock
from engine.costs import Costs
from engine.reasons import Reason
from engine.settings import DataSettings
from engine.settings_paper import ExchangeSettings
from engine.sources import load
from engine.venue import LIMIT, MARKET, STOP, STOP_LIMIT, Orders, SimVenue
from tests.exchanges import after_close, request
from tests.markets import made_up

TYPES = {MARKET: "market", LIMIT: "limit", STOP: "stop", STOP_LIMIT: "stop_limit"}
MESSAGES = {
    0: "",
    Reason.BUYING_POWER: "insufficient buying power",
    Reason.SHORT_FRACTION: "fractional orders cannot be sold short",
}
CASH = 100_000.0


class Twins:
    """SimVenue and an exchange on the same bars, fed with the same orders."""

    def __init__(self, bars: Bars, begin: int, spread_bps: float = 0.0, **settings: object) -> None:
        self.bars, self.t = bars, begin
        self.venue = SimVenue(CASH, (1, len(bars.symbols)), Costs(slippage_bps=spread_bps))
        for t in range(begin + 1):
            self.venue.advance(bars.row(t))
        self.clock = FakeClock(after_close(bars, begin))
        wanted = ExchangeSettings(
            cash=CASH, partial_fills=0.0, shorting=True, spread_bps=spread_bps, **settings
        )
        start = bars.sessions[begin + 1].item()
        self.exchange = Exchange(bars, self.clock, wanted, start=start)
        self.filled = 0
        self.fills: dict[str, tuple[float, float]] = {}
        self.exchange.listeners.append(self._note)

    def _note(self, update: dict) -> None:
        data = update["data"]
        if data["event"] == "fill":
            sign = 1 if data["order"]["side"] == "buy" else -1
            self.fills[data["order"]["symbol"]] = sign * float(data["qty"]), float(data["price"])

    def submit(self, orders: Orders) -> None:
        """Send one batch to both, sales first; both must refuse the same orders."""
        refused = self.venue.submit(orders)[0]
        for n in np.argsort(orders.qty[0] > 0, kind="stable").tolist():
            if not orders.qty[0, n]:
                continue
            expected = MESSAGES[int(refused[n])]
            assert self._sent(self._request(orders, n)) == expected

    def _sent(self, body: dict) -> str:
        try:
            self.exchange.submit(body)
        except Refusal as refusal:
            return refusal.body["message"]
        return ""

    def _request(self, orders: Orders, n: int) -> dict:
        kind = int(orders.kind[0, n])
        more = {"limit_price": orders.limit[0, n], "stop_price": orders.stop[0, n]}
        return request(
            self.bars.symbols[n],
            float(orders.qty[0, n]),
            type=TYPES[kind],
            time_in_force="day" if orders.day[0, n] else "gtc",
            **{name: str(price) for name, price in more.items() if price == price},
        )

    def cancel(self, where: np.ndarray) -> None:
        """Take back waiting orders in both; `where` (1, N)."""
        self.venue.cancel(where)
        for order in self.exchange.orders():
            if where[0, self.bars.symbols.index(order["symbol"])]:
                self.exchange.cancel(order["id"])

    def advance(self) -> None:
        """Let one session happen to both, and compare everything."""
        self.t += 1
        outcome = self.venue.advance(self.bars.row(self.t))
        self.fills.clear()
        self.clock.set(after_close(self.bars, self.t))
        self.exchange.catch_up()
        at = np.flatnonzero(outcome.filled[0])
        expected = {
            self.bars.symbols[n]: (outcome.filled[0, n], outcome.price[0, n]) for n in at.tolist()
        }
        assert self.fills == expected
        self.filled += len(expected)
        state = self.exchange.dump()
        held = [state["qty"].get(symbol, 0.0) for symbol in self.bars.symbols]
        assert held == self.venue.book.qty[0].tolist()
        assert state["cash"] == pytest.approx(float(self.venue.book.cash[0]), rel=1e-12, abs=1e-7)
        live = {order["symbol"] for order in self.exchange.orders()}
        waiting = {self.bars.symbols[n] for n in np.flatnonzero(self.venue.pending.qty[0]).tolist()}
        assert live == waiting


def on_calendar(bars: Bars) -> Bars:
    """Return the bars moved to true sessions of the exchange calendar."""
    days = clock.sessions("XNYS", bars.sessions[0], bars.sessions[-1] + 200)
    return replace(bars, sessions=days[: len(bars.sessions)])


def random_orders(rng: np.random.Generator, venue: SimVenue, plain: bool) -> Orders:
    """Return orders that the exchange must take or refuse for want of buying power only."""
    book, n = venue.book, venue.shape[1]
    orders = Orders.none(1, n)
    for column in range(n):
        mark, held = book.mark[0, column], book.qty[0, column]
        if venue.pending.qty[0, column] or not mark or rng.random() < 0.4:
            continue
        qty = float(rng.integers(1, max(int(30_000 / mark), 2)))
        if rng.random() < 0.3:
            qty = round(qty * rng.random(), 6) + 0.5
        sign = 1.0 if rng.random() < 0.6 else -1.0
        if held * sign < 0:
            qty = min(qty, abs(held))  # never through zero in one order
        elif sign < 0:
            qty = np.trunc(qty)  # whole shares only are sold short
        qty = np.floor(qty * 1e9) / 1e9  # what the wire takes
        whole = qty == np.trunc(qty)
        orders.qty[0, column] = sign * qty
        orders.kind[0, column] = MARKET if plain else rng.choice([MARKET, LIMIT, STOP, STOP_LIMIT])
        orders.day[0, column] = plain or not whole or rng.random() < 0.5
        _price(rng, orders, column, mark)
    return orders


def _price(rng: np.random.Generator, orders: Orders, column: int, mark: float) -> None:
    kind, sign = orders.kind[0, column], np.sign(orders.qty[0, column])
    if kind in (LIMIT, STOP_LIMIT):
        orders.limit[0, column] = _penny(mark * rng.uniform(0.97, 1.03))
    if kind in (STOP, STOP_LIMIT):
        beyond = mark * (1 + sign * rng.uniform(0.001, 0.03))
        orders.stop[0, column] = _penny(beyond + sign * (0.01 if mark > 1 else 0.0001))


def _penny(price: float) -> float:
    return round(price, 2 if price >= 1 else 4)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("plain", [True, False])
def test_random_orders_fill_as_in_the_simulated_market(seed, plain):
    rng = np.random.default_rng([seed, plain])
    kind = ("walk", "ticks", "still")[seed % 3]
    bars = on_calendar(made_up(seed, sessions=75, symbols=4, kind=kind, events=0.04, late=5))
    twins = Twins(bars, begin=15, spread_bps=(0.0, 5.0)[seed % 2])
    for _ in range(16, 75):
        twins.cancel(rng.random((1, 4)) < 0.2)
        twins.submit(random_orders(rng, twins.venue, plain))
        twins.advance()
    assert twins.filled >= 40


def test_a_delisted_symbol_is_settled_as_in_the_simulated_market():
    bars = on_calendar(made_up(3, sessions=60, symbols=3, gaps=0.0, events=0.0, late=0))
    traded, ohlcv, ended = bars.traded.copy(), bars.ohlcv.copy(), bars.ended.copy()
    traded[40:, 1], ohlcv[40:, 1], ended[1] = False, np.nan, bars.sessions[39]
    bars = replace(bars, traded=traded, ohlcv=ohlcv, ended=ended)
    twins = Twins(bars, begin=30)
    twins.submit(Orders.market(np.array([[10.0, 20.0, -5.0]])))
    for _ in range(20):
        twins.advance()
    assert twins.exchange.asset("S1")["status"] == "inactive"
    lines = twins.exchange.activities({}, "JNLC")
    assert [(line["symbol"], line["qty"]) for line in lines] == [("S1", "-20")]


def test_dividends_are_paid_as_in_the_simulated_market():
    bars = on_calendar(made_up(5, sessions=60, symbols=3, gaps=0.0, events=0.1, late=0))
    twins = Twins(bars, begin=20, pay_dividends=True)
    twins.venue.settings = twins.venue.settings.model_copy(update={"pay_dividends": True})
    twins.submit(Orders.market(np.array([[10.0, 20.0, -5.0]])))
    for _ in range(35):
        twins.advance()
    assert twins.exchange.activities({}, "DIV")


def test_real_bars_fill_as_in_the_simulated_market(sample_bars):
    rng = np.random.default_rng(1)
    bars = sample_bars
    twins = Twins(bars, begin=len(bars.sessions) - 80)
    for _ in range(60):
        twins.submit(random_orders(rng, twins.venue, plain=False))
        twins.advance()


@pytest.fixture(scope="module")
def sample_bars() -> Bars:
    return load(DataSettings())


def test_the_exchange_stays_closed_after_its_last_bar():
    bars = on_calendar(made_up(1, sessions=20, symbols=1, late=0))
    twins = Twins(bars, begin=10)
    for _ in range(9):
        twins.advance()
    twins.exchange.submit(request("S0", 1))
    later = bars.closed_at()[-1].item().replace(tzinfo=UTC) + timedelta(days=4)
    twins.clock.set(later)
    assert twins.exchange.market_clock()["is_open"] is False
    assert twins.exchange.orders()[0]["status"] == "accepted"
