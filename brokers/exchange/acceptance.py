"""Which orders the account may send: flags, assets, hours, wash trades, shares, buying power.

Every check raises a Refusal with the venue's status and body; the order of checks is the order of
this page.
"""

from datetime import datetime, time, timedelta

import numpy as np

from brokers.exchange import money
from brokers.exchange.assets import asset_id, flag, tradable
from brokers.exchange.orders import KINDS, Order
from brokers.exchange.refusals import Refusal, forbidden, parameter, unprocessable
from brokers.exchange.state import State
from brokers.exchange.tickets import Ticket
from brokers.exchange.wire import NEW_YORK, number
from engine.market import DUST, granted

GOOD_FOR_DAYS = 90
LIMITED = ("limit", "stop_limit")


def accept(state: State, ticket: Ticket, now: datetime, instead_of: Order | None = None) -> Order:
    """Return the order that a ticket becomes. Raises: Refusal.

    `instead_of` is the order it replaces, which counts for nothing any more.
    """
    check_account(state)
    _check_client_id(state, ticket)
    _check_asset(state, ticket)
    _check_hours(state, ticket, now)
    order = draft(state, ticket, now)
    _check_stop(state, order)
    _check_wash(state, order, instead_of)
    _check_shares(state, order, instead_of)
    _check_power(state, order, instead_of)
    return order


def check_account(state: State) -> None:
    """Refuse every order of an account that may not trade."""
    flags, own = state.switches.account_flags, state.configuration
    if flags.get("account_blocked"):
        raise forbidden("account is blocked")
    if flags.get("trading_blocked") or flags.get("status", "ACTIVE") != "ACTIVE":
        raise forbidden("account is not allowed to trade")
    if flags.get("trade_suspended_by_user") or own.get("suspend_trade"):
        raise forbidden("new orders are rejected by user request")


def _check_client_id(state: State, ticket: Ticket) -> None:
    if ticket.client_order_id in state.by_client_id:
        raise parameter("client_order_id must be unique")


def _check_asset(state: State, ticket: Ticket) -> None:
    symbol = ticket.symbol
    if symbol not in state.columns:
        raise unprocessable(f'asset "{symbol}" not found')
    if not tradable(state, symbol) or flag(state, symbol, "status", "active") != "active":
        raise unprocessable(f'asset "{symbol}" is not tradable')
    if ticket.fractional and not flag(state, symbol, "fractionable", True):
        raise forbidden(f'asset "{symbol}" is not fractionable')
    if ticket.fractional and not state.configuration.get("fractional_trading", True):
        raise forbidden("account is not allowed to trade fractional shares")
    if ticket.notional is not None and not state.price(state.columns[symbol]):
        raise unprocessable(f'asset "{symbol}" has no price yet for a notional order')


def _check_hours(state: State, ticket: Ticket, now: datetime) -> None:
    # Queued from 19:00 on for the next session.
    local = now.astimezone(NEW_YORK)
    if local.time() >= time(19):
        return
    if ticket.tif == "opg" and local.time() >= time(9, 28):
        raise forbidden("opg orders must be submitted after 7:00pm and before 9:28am")
    day = state.hours.opened(now)
    if ticket.tif != "cls" or day < 0 or state.hours.days[day] != local.date():
        return
    last = state.hours.closes[day] - timedelta(minutes=10)
    if now >= last:
        until = f"{last.astimezone(NEW_YORK):%-I:%M%p}".lower()
        raise forbidden(f"cls orders must be submitted after 7:00pm and before {until}")


def draft(state: State, ticket: Ticket, now: datetime) -> Order:
    """Return the order that a ticket asks for, unchecked and not yet remembered."""
    column, at = state.columns[ticket.symbol], state.stamp(now)
    held = state.held(column)
    closes = held * ticket.sign < 0
    intent = f"{'buy' if ticket.sign > 0 else 'sell'}_to_{'close' if closes else 'open'}"
    if ticket.intent not in (None, intent):
        raise unprocessable(
            f"position intent mismatch, inferred: {intent}, specified: {ticket.intent}"
        )
    return Order(
        id=state.make_id(),
        client_order_id=ticket.client_order_id or state.make_id(),
        column=column,
        symbol=ticket.symbol,
        asset_id=asset_id(ticket.symbol),
        sign=ticket.sign,
        qty=ticket.qty,
        notional=ticket.notional,
        type=ticket.type,
        kind=KINDS[ticket.type],
        limit=ticket.limit,
        stop=ticket.stop,
        tif=ticket.tif,
        extended=ticket.extended,
        intent=intent,
        status="pending_new" if state.is_open else "accepted",
        submitted_at=at,
        updated_at=at,
        expires_at=_expires(state, ticket.tif, now),
        late=state.is_open,
    )


def _expires(state: State, tif: str, now: datetime) -> datetime:
    if tif != "gtc":
        return state.hours.next_close(now)
    day = (now.astimezone(NEW_YORK) + timedelta(days=GOOD_FOR_DAYS)).date()
    return datetime.combine(day, time(16, 15), NEW_YORK)


def _check_stop(state: State, order: Order) -> None:
    price = state.price(order.column)
    if order.stop is None or not price or order.sign * (order.stop - price) > 0:
        return
    wanted = "greater" if order.sign > 0 else "less"
    raise unprocessable(
        f"stop price must be {wanted} than current price",
        market_price=number(price),
        stop_price=number(order.stop),
    )


def _check_wash(state: State, order: Order, instead_of: Order | None) -> None:
    for other in state.live.values():
        if other.column != order.column or other.sign == order.sign or other is instead_of:
            continue
        buy, sell = (order, other) if order.sign > 0 else (other, order)
        if other.type not in LIMITED:
            _refuse_wash(state, other, "opposite side market/stop order exists")
        if order.type not in LIMITED:
            _refuse_wash(state, other, "opposite side limit order exists")
        if (buy.limit or 0.0) >= (sell.limit or 0.0):
            prices = {"buy_limit_price": number(buy.limit or 0.0)}
            prices["sell_limit_price"] = number(sell.limit or 0.0)
            _refuse_wash(state, other, "opposite side limit order exists", **prices)


def _refuse_wash(state: State, other: Order, reason: str, **prices: str) -> None:
    refusal = forbidden(
        "potential wash trade detected. use complex orders",
        existing_order_id=other.id,
        reject_reason=reason,
        **prices,
    )
    raise Refusal(state.settings.wash_trade_status, refusal.body)


def _check_shares(state: State, order: Order, instead_of: Order | None) -> None:
    held = state.held(order.column)
    wanted = money.shares_left(state, order)
    if held * order.sign < 0:
        free = abs(money.available(state, order.column, instead_of))
        if wanted > free + DUST:
            raise forbidden(
                "insufficient qty available for order "
                f"(requested: {number(wanted)}, available: {number(free)})",
                available=number(free),
                existing_qty=number(abs(held)),
                held_for_orders=number(abs(held) - free),
                symbol=order.symbol,
            )
        if held + wanted < -DUST and order.fractional:
            raise unprocessable("fractional orders cannot be sold short")
    elif order.sign < 0:
        _check_short(state, order)


def _check_short(state: State, order: Order) -> None:
    if order.fractional:
        raise unprocessable("fractional orders cannot be sold short")
    allowed = state.settings.shorting and not state.configuration.get("no_shorting")
    if not allowed or state.equity() < money.LEAST_EQUITY:
        raise forbidden("account is not allowed to short")
    if not flag(state, order.symbol, "shortable", True):
        raise unprocessable(f'asset "{order.symbol}" cannot be sold short')


def _check_power(state: State, order: Order, instead_of: Order | None) -> None:
    need, free = money.reserved(state, [order]), money.free(state, instead_of)
    sides, asks = np.array([[float(order.sign)]]), np.array([[need]])
    if not granted(sides, asks, np.array([free]))[0, 0]:
        raise forbidden(
            "insufficient buying power", buying_power=number(free), cost_basis=number(need)
        )
