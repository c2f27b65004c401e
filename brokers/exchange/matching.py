"""What an open and a close do to the orders: fills, expiry, splits, the end of a symbol.

An order that came before the open meets the whole session: at the open what the open allows, at
the close what the rest of the bar allowed. An order that came later, and whatever was left over at
the open, meets the closing price only: no order is filled at a price that was there before it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from brokers.exchange.company import before_open, end_symbols
from brokers.exchange.money import as_arrays, maintenance_margin
from brokers.exchange.orders import Order
from brokers.exchange.state import State, fill_activity
from brokers.exchange.wire import number
from engine.bars import MarketRow
from engine.book import LIMIT, MARKET, STOP, STOP_LIMIT
from engine.market import DUST, apply_fills, fill_price

Fill = tuple[Order, float, float]  # order, shares, price


def open_session(state: State, t: int) -> None:
    """Let session `t` open: company events, then whatever the opening price fills."""
    at, row = state.hours.opens[t], _row(state, t)
    before_open(state, row, at)
    for order in list(state.live.values()):
        if order.status == "accepted":
            order.status, order.updated_at = "new", state.stamp(at)
            state.tell(order, "new")
    meeting = [order for order in _matchable(state, row) if order.tif != "cls"]
    execute(state, _opening_fills(state, meeting, row), at)
    _end_all(state, meeting, {"opg": "expired", "ioc": "canceled", "fok": "canceled"}, at)
    np.copyto(state.book.mark, row.open, where=row.traded)
    state.is_open = True


def close_session(state: State, t: int) -> None:
    """Let session `t` close: the rest of its bar, marks, expiry, settlement of ended symbols."""
    at, row = state.hours.closes[t], _row(state, t)
    meeting = _matchable(state, row)
    at_close = replace(row, open=row.close, high=row.close, low=row.close)
    waited = [order for order in meeting if _meets_close_only(order)]
    rest = [order for order in meeting if not _meets_close_only(order)]
    execute(state, _whole(state, rest, row) + _whole(state, waited, at_close), at)
    np.copyto(state.book.mark, row.close, where=row.traded)
    ends = {"day": state.settings.day_end, "cls": "expired", "ioc": "canceled", "fok": "canceled"}
    _end_all(state, meeting, ends, at)
    end_symbols(state, row, at)
    _forget_today(state, at)
    state.is_open = False
    state.row = t + 1
    state.ends.append(state.day_end(t, maintenance_margin(state)))


def execute(state: State, fills: list[Fill], at: datetime) -> None:
    """Book fills, sales before buys, then in the order the orders came."""
    fills = sorted(fills, key=lambda fill: fill[0].sign)
    while fills:
        batch: list[Fill] = []
        later: list[Fill] = []
        seen: set[int] = set()
        for fill in fills:
            (later if fill[0].column in seen else batch).append(fill)
            seen.add(fill[0].column)
        _book(state, batch, at)
        fills = later


def _book(state: State, fills: list[Fill], at: datetime) -> None:
    # One fill per symbol at most, so that sums run as they do for a whole session of a backtest.
    qty, price = np.zeros(state.book.qty.shape), np.full(state.book.qty.shape, np.nan)
    for order, shares, paid in fills:
        qty[0, order.column], price[0, order.column] = order.sign * shares, paid
    apply_fills(state.book, qty, price, np.zeros(qty.shape))
    for order, shares, paid in fills:
        order.take(shares, paid, state.stamp(at))
        if order.over:
            del state.live[order.id]
        execution = state.make_id()
        state.activities.append(fill_activity(order, shares, paid, execution))
        state.tell(
            order,
            "fill" if order.over else "partial_fill",
            execution_id=execution,
            price=number(paid),
            qty=number(shares),
            position_qty=number(state.held(order.column)),
        )


def _row(state: State, t: int) -> MarketRow:
    # A halted symbol does not trade: its orders rest.
    row = state.bars.row(t)
    halted = [state.switches.asset(symbol, "halted", False) for symbol in state.bars.symbols]
    return replace(row, traded=row.traded & ~np.array(halted)) if any(halted) else row


def _matchable(state: State, row: MarketRow) -> list[Order]:
    stuck = state.switches.stuck
    return [
        order
        for order in state.live.values()
        if row.traded[0, order.column]
        and not (order.status == "pending_cancel" and not stuck.get(order.symbol, True))
    ]


def _meets_close_only(order: Order) -> bool:
    # A market order that is still here at the close could not trade at the open.
    return order.late or order.begun or order.tif == "cls" or order.kind == MARKET


def _opening_fills(state: State, orders: list[Order], row: MarketRow) -> list[Fill]:
    at_open = replace(row, high=row.open, low=row.open, close=row.open)
    fills = []
    for order, shares, price in _whole(state, orders, at_open):
        part = _first_part(state, order, shares)
        if part < shares:
            order.begun = True
            order.kind = {STOP: MARKET, STOP_LIMIT: LIMIT}.get(order.kind, order.kind)
        fills.append((order, part, price))
    return fills


def _whole(state: State, orders: list[Order], row: MarketRow) -> list[Fill]:
    # What `fill_price` says of each order, over one column per order.
    if not orders:
        return []
    pending = as_arrays(state, orders)
    columns = [order.column for order in orders]
    seen = MarketRow(
        session=row.session,
        **{name: getattr(row, name)[:, columns] for name in MarketRow.__slots__[1:]},
    )
    price = fill_price(pending, seen, seen.open, state.costs)[0].tolist()
    for order, kind in zip(orders, pending.kind[0].tolist(), strict=True):
        order.kind = kind
    return [
        (order, _shares(state, order, paid), paid)
        for order, paid in zip(orders, price, strict=True)
        if paid == paid  # NaN where it does not fill
    ]


def _shares(state: State, order: Order, price: float) -> float:
    if order.qty is None and order.notional is not None:
        shares = int(order.notional / price * 1e9) / 1e9
        order.qty = min(shares, abs(state.held(order.column))) if order.sign < 0 else shares
    return order.left


def _first_part(state: State, order: Order, shares: float) -> float:
    # How much fills at the open; drawn from the order's own id, so that nothing else changes it.
    if order.tif == "fok":
        return shares
    if order.symbol in state.switches.parts:
        return _part(shares, state.switches.parts.pop(order.symbol))
    if shares < 2 or not state.settings.partial_fills:
        return shares
    digest = hashlib.sha256(order.client_order_id.encode()).digest()
    random = np.random.default_rng([state.settings.seed, int.from_bytes(digest[:8])])
    if random.random() >= state.settings.partial_fills:
        return shares
    return _part(shares, random.random())


def _part(shares: float, fraction: float) -> float:
    if shares != int(shares):
        return max(int(shares * fraction * 1e9) / 1e9, DUST * 10)
    return float(min(max(int(shares * fraction + DUST), 1), max(shares - 1, 1)))


def _end_all(state: State, orders: Iterable[Order], ends: Mapping[str, str], at: datetime) -> None:
    for order in orders:
        if not order.over and order.tif in ends and order.status != "pending_cancel":
            state.finish(order, ends[order.tif], at)


def _forget_today(state: State, at: datetime) -> None:
    # What the next session must not know: which orders came late or were filled in part today.
    for order in list(state.live.values()):
        order.late = order.begun = False
        expires = order.expires_at
        if order.tif == "gtc" and expires and at + timedelta(minutes=15) >= expires:
            state.finish(order, "canceled", at)
