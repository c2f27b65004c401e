"""What an account can do with orders: submit, replace, cancel, close a position."""

from dataclasses import replace as changed
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from brokers.exchange.acceptance import accept, check_account, draft
from brokers.exchange.matching import execute
from brokers.exchange.orders import Order
from brokers.exchange.refusals import (
    Refusal,
    no_position,
    order_not_found,
    parameter,
    unprocessable,
)
from brokers.exchange.state import State
from brokers.exchange.tickets import Ticket, check_price, check_qty, read_ticket
from brokers.exchange.wire import number, read_decimal

Wire = dict[str, Any]
REPLACEABLE = ("new", "partially_filled")
NINE_DECIMALS = Decimal("1e-9")


def submit(state: State, request: Wire, now: datetime) -> Wire:
    """Take an order request; return the order as it was accepted. Raises: Refusal."""
    ticket = read_ticket(request, state.settings.fractional_types)
    order = accept(state, ticket, now)
    state.add(order)
    return _announce(state, order, now)


def replace(state: State, order_id: str, request: Wire, now: datetime) -> Wire:
    """Replace a live order by a new one; return the new one. Raises: Refusal.

    After a partial fill the new order is for its whole quantity again, as the venue does it.
    """
    check_account(state)
    old = find(state, order_id)
    if old.status not in REPLACEABLE:
        raise unprocessable("unable to replace order, order is not open")
    new = accept(state, _changed(old, request), now, instead_of=old)
    new.status, new.replaces, old.replaced_by = "new", old.id, new.id
    state.finish(old, "replaced", now)
    state.add(new)
    new.updated_at = new.submitted_at = state.stamp(now)
    state.tell(new, "new")
    return new.wire()


def cancel(state: State, order_id: str, now: datetime) -> None:
    """Take an order back. Raises: Refusal where it is unknown or over."""
    order = find(state, order_id)
    if order.status in ("canceled", "pending_cancel"):
        return
    if order.over:
        raise unprocessable(f'order is already in "{order.status}" state')
    if order.symbol in state.switches.stuck:
        order.status, order.updated_at = "pending_cancel", state.stamp(now)
        state.tell(order, "pending_cancel")
        return
    state.finish(order, "canceled", now)


def cancel_all(state: State, now: datetime) -> list[Wire]:
    """Take every live order back; return what became of each."""
    orders = list(state.live.values())
    for order in orders:
        cancel(state, order.id, now)
    return [{"id": order.id, "status": 200} for order in orders]


def close_position(state: State, symbol: str, query: dict[str, str], now: datetime) -> Wire:
    """Send the order that closes a position or a part of it; return it. Raises: Refusal."""
    held = state.held(state.columns[symbol]) if symbol in state.columns else 0.0
    if not held:
        raise no_position()
    request = {
        "symbol": symbol,
        "qty": number(_part(query, abs(held))),
        "side": "sell" if held > 0 else "buy",
        "type": "market",
        "time_in_force": "day",
    }
    return submit(state, request, now)


def close_all(state: State, cancel_orders: bool, now: datetime) -> list[Wire]:
    """Send the orders that close every position; return what became of each."""
    if cancel_orders:
        cancel_all(state, now)
    answers: list[Wire] = []
    for symbol, column in state.columns.items():
        if not state.held(column):
            continue
        try:
            body: Any = close_position(state, symbol, {}, now)
            status = 200
        except Refusal as refusal:
            status, body = refusal.status, refusal.body
        answers.append({"symbol": symbol, "status": status, "body": body})
    return answers


def by_hand(state: State, symbol: str, qty: float, now: datetime) -> Wire:
    """Trade at the last price without asking any rule, as a person at the venue could."""
    column = state.columns[symbol]
    sign = 1 if qty > 0 else -1
    ticket = Ticket(
        symbol, sign, abs(qty), None, "market", None, None, "day", False, None, None, ""
    )
    order = draft(state, ticket, now)
    state.add(order)
    execute(state, [(order, order.left, state.price(column))], now)
    return order.wire()


def find(state: State, order_id: str) -> Order:
    """Return one order by its id. Raises: Refusal (404)."""
    order = state.orders.get(order_id)
    if order is None:
        raise order_not_found(order_id)
    return order


def _announce(state: State, order: Order, now: datetime) -> Wire:
    # The answer shows the order as it was accepted; what follows is seen on the next look.
    answer = order.wire()
    state.tell(order, order.status)
    if order.status == "pending_new":
        order.status, order.updated_at = "new", state.stamp(now)
        state.tell(order, "new")
    if order.symbol in state.switches.rejected:
        state.switches.rejected.discard(order.symbol)
        state.finish(order, "rejected", now)
    return answer


def _changed(old: Order, request: Wire) -> Ticket:
    if old.notional is not None:
        raise unprocessable("notional orders cannot be replaced")
    ticket = Ticket(
        symbol=old.symbol,
        sign=old.sign,
        qty=old.qty,
        notional=None,
        type=old.type,
        limit=old.limit,
        stop=old.stop,
        tif=str(request.get("time_in_force") or old.tif),
        extended=old.extended,
        client_order_id=request.get("client_order_id"),
        intent=None,
        order_class="",
    )
    qty = read_decimal("qty", request.get("qty"))
    if qty is not None:
        check_qty(qty)
        if ticket.fractional or qty != int(qty):
            raise unprocessable("qty of a fractional order cannot be replaced")
        ticket = changed(ticket, qty=float(qty))
    for name in ("limit", "stop"):
        price = read_decimal(f"{name}_price", request.get(f"{name}_price"))
        if price is not None:
            check_price(f"{name}_price", price)
            if getattr(old, name) is None:
                raise parameter(f"{old.type} orders require no {name} price")
            asked = float(price)
            ticket = (
                changed(ticket, limit=asked) if name == "limit" else changed(ticket, stop=asked)
            )
    return ticket


def _part(query: dict[str, str], held: float) -> float:
    qty = read_decimal("qty", query.get("qty"))
    percentage = read_decimal("percentage", query.get("percentage"))
    if qty is not None and percentage is not None:
        raise parameter("only one of qty or percentage is accepted")
    if qty is not None:
        check_qty(qty)
        return float(qty)
    if percentage is None:
        percentage = Decimal(100)
    if not 0 < percentage <= 100:
        raise parameter("percentage must be above 0 and no more than 100")
    share = Decimal(repr(held)) * percentage / 100
    return float(share.quantize(NINE_DECIMALS, ROUND_DOWN))
