"""Whatever is done to the loopback exchange, in whatever order, its books stay true."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokers.exchange import money
from brokers.exchange.exchange import Refusal
from brokers.exchange.orders import OVER
from tests.exchanges import Floor, after_close, bars_of, during

SYMBOLS = ("AAA", "BBB")
SESSIONS = 12
NEXT = {
    "accepted": {"new", "canceled", "rejected", "pending_cancel"},
    "pending_new": {"new"},
    "new": {"partially_filled", "filled", "canceled", "expired", "replaced", "rejected"}
    | {"pending_cancel"},
    "partially_filled": {"filled", "canceled", "expired", "replaced", "pending_cancel"},
    "pending_cancel": {"pending_cancel", "filled"},  # the first by a fill in part
}


def walk(seed: int) -> list[tuple[float, float, float, float] | None]:
    """Return a random walk of bars in whole cents around 50."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[float, float, float, float] | None] = []
    close = 50.0
    for _ in range(SESSIONS):
        start, close = close * rng.uniform(0.97, 1.03), close * rng.uniform(0.95, 1.05)
        top, low = max(start, close) * 1.01, min(start, close) * 0.99
        rows.append(tuple(round(price, 2) for price in (start, top, low, close)))
    return rows


class Life(RuleBasedStateMachine):
    """Random requests and passing time, on one account that may sell short."""

    @initialize(seed=st.integers(0, 5), cash=st.sampled_from([1_500.0, 5_000.0, 100_000.0]))
    def start(self, seed, cash):
        bars = bars_of(AAA=walk(seed), BBB=walk(seed + 100))
        self.floor = Floor(
            bars, cash=cash, shorting=True, partial_fills=0.5, spread_bps=2.0, seed=seed
        )
        self.cash = cash
        self.session = 0
        self.ended: dict[str, dict] = {}
        self.told: dict[str, str] = {}

    def attempt(self, call, *args):
        """Do something that the exchange may refuse; a refusal must change nothing."""
        before = self.floor.exchange.dump()
        refused = False
        try:
            call(*args)
        except Refusal:
            refused = True
        assert not refused or self.floor.exchange.dump() == before
        return not refused

    def order(self, call, *args):
        """Send an order; one that opens must be covered by the buying power, with all others."""
        state = self.floor.exchange.state
        if self.attempt(call, *args) and state.live:
            newest = list(state.live.values())[-1]
            gross = float(np.abs(state.book.value()).sum())
            power = money.multiplier(state) * state.equity() - gross
            if money.reserved(state, [newest]):
                assert money.reserved(state, state.live.values()) <= power * (1 + 1e-8)

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        side=st.sampled_from(["buy", "sell"]),
        qty=st.one_of(st.integers(1, 60), st.floats(0.01, 5).map(lambda x: round(x, 4))),
        kind=st.sampled_from(["market", "limit", "stop", "stop_limit"]),
        tif=st.sampled_from(["day", "gtc", "opg", "cls", "ioc", "fok"]),
        limit=st.floats(0.9, 1.1),
        stop=st.floats(0.9, 1.1),
    )
    def submit(self, symbol, side, qty, kind, tif, limit, stop):
        body = {"symbol": symbol, "side": side, "qty": qty, "type": kind, "time_in_force": tif}
        last = 50.0
        if "limit" in kind:
            body["limit_price"] = round(last * limit, 2)
        if "stop" in kind:
            body["stop_price"] = round(last * stop, 2)
        self.order(self.floor.exchange.submit, body)

    @rule(symbol=st.sampled_from(SYMBOLS), dollars=st.integers(1, 3_000))
    def submit_dollars(self, symbol, dollars):
        body = {"symbol": symbol, "side": "buy", "notional": dollars, "type": "market"}
        self.order(self.floor.exchange.submit, {**body, "time_in_force": "day"})

    @rule(at=st.integers(0, 50))
    def cancel(self, at):
        orders = self.floor.exchange.orders({"status": "all"})
        if orders:
            self.attempt(self.floor.exchange.cancel, orders[at % len(orders)]["id"])

    @rule(at=st.integers(0, 50), qty=st.integers(1, 80))
    def replace(self, at, qty):
        orders = self.floor.exchange.orders()
        if orders:
            order = orders[at % len(orders)]
            self.order(self.floor.exchange.replace, order["id"], {"qty": qty})

    @rule(symbol=st.sampled_from(SYMBOLS), share=st.sampled_from(["10", "50", "100"]))
    def close(self, symbol, share):
        self.order(self.floor.exchange.close_position, symbol, {"percentage": share})

    @rule()
    def close_all(self):
        self.floor.exchange.close_all(cancel_orders=True)

    @rule(symbol=st.sampled_from(SYMBOLS), fills=st.booleans())
    def stick(self, symbol, fills):
        self.floor.exchange.stick_cancel(symbol, fills)

    @rule(symbol=st.sampled_from(SYMBOLS))
    def reject(self, symbol):
        self.floor.exchange.reject_after_accept(symbol)

    @rule()
    def to_the_next_open(self):
        if self.session + 1 < SESSIONS and not self.floor.exchange.market_clock()["is_open"]:
            self.session += 1
            self.floor.clock.set(during(self.floor.bars, self.session))

    @rule()
    def to_the_close(self):
        if self.floor.exchange.market_clock()["is_open"]:
            self.floor.clock.set(after_close(self.floor.bars, self.session))

    @rule(minutes=st.integers(1, 60))
    def a_little_later(self, minutes):
        self.floor.clock.advance(timedelta(minutes=minutes))
        if not self.floor.exchange.market_clock()["is_open"]:
            self.session = max(self.session, self.floor.exchange.newest())

    @invariant()
    def equity_is_cash_plus_positions(self):
        account = self.floor.exchange.account()
        held = self.floor.exchange.positions()
        worth = sum(float(p["qty"]) * float(p["current_price"]) for p in held)
        equity = float(account["equity"])
        assert float(account["cash"]) + worth == pytest.approx(equity, abs=1e-6)
        assert float(account["buying_power"]) >= 0.0

    @invariant()
    def fills_explain_cash_and_positions(self):
        cash, held = self.cash, dict.fromkeys(SYMBOLS, 0.0)
        for line in self.floor.exchange.state.activities:
            sign = 1.0 if line["side"] == "buy" else -1.0
            held[line["symbol"]] += sign * float(line["qty"])
            cash -= sign * float(line["qty"]) * float(line["price"])
        state = self.floor.exchange.dump()
        assert state["cash"] == pytest.approx(cash, abs=1e-6)
        for symbol in SYMBOLS:
            assert state["qty"].get(symbol, 0.0) == pytest.approx(held[symbol], abs=1e-7)

    @invariant()
    def orders_never_overfill_nor_come_back(self):
        orders = self.floor.exchange.dump()["orders"]
        for order in orders:
            if order["qty"] is not None:
                assert float(order["filled_qty"]) <= float(order["qty"]) + 1e-9
            if order["status"] == "filled" and order["qty"] is not None:
                assert order["filled_qty"] == order["qty"]
            if order["status"] in OVER:
                assert self.ended.setdefault(order["id"], order) == order
        live = {order["id"] for order in self.floor.exchange.orders({"limit": "500"})}
        assert live == {order["id"] for order in orders if order["status"] not in OVER}

    @invariant()
    def updates_follow_the_state_machine(self):
        for update in self.floor.seen:
            order = update["order"]
            before, now = self.told.get(order["id"]), order["status"]
            assert before is None or before == now == "partially_filled" or now in NEXT[before]
            self.told[order["id"]] = now
        self.floor.seen.clear()

    @invariant()
    def no_short_position_holds_a_fraction(self):
        for held in self.floor.exchange.positions():
            assert float(held["qty"]) > 0 or float(held["qty"]) % 1 == 0

    @invariant()
    def closing_orders_never_want_more_than_is_held(self):
        for symbol in SYMBOLS:
            held = self.floor.exchange.dump()["qty"].get(symbol, 0.0)
            closing = "sell" if held > 0 else "buy"
            asked = sum(
                float(order["qty"]) - float(order["filled_qty"])
                for order in self.floor.exchange.orders({"symbols": symbol, "side": closing})
                if order["qty"] is not None
            )
            assert not held or asked <= abs(held) + 1e-9


Life.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, derandomize=True
)
test_no_sequence_of_requests_breaks_the_books = Life.TestCase
