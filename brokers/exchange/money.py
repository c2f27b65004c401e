"""What the account can pay for: buying power, shares held back by orders, margin.

The rules are those of `engine.market`, over one column per order instead of one per symbol.
"""

from collections.abc import Iterable

import numpy as np

from brokers.exchange.orders import Order
from brokers.exchange.state import State
from engine.book import Book, Orders
from engine.market import DUST, VenueSettings, buying_power, needed

LEAST_EQUITY = 2_000.0  # dollars; below it there is no margin and no short sale


def multiplier(state: State) -> int:
    """Return the account's buying power as a multiple of its equity."""
    if state.equity() < LEAST_EQUITY:
        return 1
    most = int(state.configuration.get("max_margin_multiplier", state.settings.multiplier))
    return min(state.settings.multiplier, most)


def free(state: State, besides: Order | None = None) -> float:
    """Return the dollars that new opening orders may still reserve, never negative.

    `besides` is an order that is about to go and reserves nothing any more.
    """
    settings = VenueSettings(leverage=multiplier(state))
    power = float(buying_power(state.book, None, settings)[0])
    waiting = [order for order in state.live.values() if order is not besides]
    return max(power - reserved(state, waiting), 0.0)


def reserved(state: State, orders: Iterable[Order]) -> float:
    """Return the buying power that orders hold: dollars; closing orders hold none."""
    asked = list(orders)
    if not asked:
        return 0.0
    settings = VenueSettings()
    total = float(needed(as_arrays(state, asked), _by_order(state, asked), settings).sum())
    return total


def as_arrays(state: State, orders: list[Order]) -> Orders:
    """Return what is left of some orders, one column each: shapes (1, M)."""
    return Orders(
        qty=np.array([[order.sign * shares_left(state, order) for order in orders]]),
        kind=np.array([[order.kind for order in orders]], dtype=np.int8),
        limit=np.array([[_or_nan(order.limit) for order in orders]]),
        stop=np.array([[_or_nan(order.stop) for order in orders]]),
        day=np.array([[order.tif != "gtc" for order in orders]]),
    )


def shares_left(state: State, order: Order) -> float:
    """Return the shares still to be filled; an estimate for an order in dollars."""
    if order.qty is not None or order.notional is None:
        return order.left
    price = state.price(order.column)
    collar = 1.0 + VenueSettings().collar if order.sign > 0 else 1.0
    return order.notional / (price * collar) if price else 0.0


def held_by_orders(state: State, column: int, sign: int, besides: Order | None = None) -> float:
    """Return the shares that live orders of one side and symbol still want."""
    return sum(
        shares_left(state, order)
        for order in state.live.values()
        if order.column == column and order.sign == sign and order is not besides
    )


def available(state: State, column: int, besides: Order | None = None) -> float:
    """Return the signed shares that no closing order has taken yet."""
    held = state.held(column)
    if not held:
        return 0.0
    taken = held_by_orders(state, column, -1 if held > 0 else 1, besides)
    rest = max(abs(held) - taken, 0.0)
    return (1.0 if held > 0 else -1.0) * (rest if rest > DUST else 0.0)


def initial_margin(state: State) -> float:
    """Return half of what is held, or all of it without margin: dollars."""
    gross = float(np.abs(state.book.value()).sum())
    return gross / 2 if multiplier(state) > 1 else gross


def maintenance_margin(state: State) -> float:
    """Return the least equity that the positions ask for: dollars.

    Long 30 %, all of it below $2.50. Short 30 % and at least $5 a share; below $5 all of it and at
    least $2.50 a share.
    """
    qty, price = state.book.qty[0], state.book.mark[0]
    long = np.where(price < 2.5, price, 0.3 * price)
    cheap, dear = np.maximum(price, 2.5), np.maximum(0.3 * price, 5.0)
    short = np.where(price < 5.0, cheap, dear)
    return float((np.abs(qty) * np.where(qty > 0, long, short)).sum())


def _by_order(state: State, orders: list[Order]) -> Book:
    book, columns = state.book, [order.column for order in orders]
    return Book(
        cash=book.cash,
        qty=book.qty[:, columns],
        basis=book.basis[:, columns],
        mark=book.mark[:, columns],
        since=book.since[:, columns],
        fees=book.fees,
    )


def _or_nan(value: float | None) -> float:
    return np.nan if value is None else value
