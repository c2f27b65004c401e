"""The rules of the simulated market, as functions over arrays: price, fill, buying power.

Shapes: (B, N) unless said otherwise. Every container of orders (SimVenue, an exchange with ids
and partial fills) calls these; none of the rules exists elsewhere.
"""

from typing import Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator

from engine.bars import MarketRow
from engine.book import LIMIT, MARKET, STOP, STOP_LIMIT, Book, Orders
from engine.costs import CostRules
from engine.masks import every, some

DUST = 1e-9  # shares: what is smaller comes from rounding and counts as nothing


class VenueSettings(BaseModel, frozen=True, extra="forbid"):
    """How the simulated market treats an account."""

    fill: Literal["open", "next_close", "same_close"] = Field(
        "open",
        description="when market orders fill; the two closes exist only to re-run published tables",
    )
    size: Literal["decision", "fill"] = Field(
        "decision",
        description="shares found at the close of the decision, or at the close they fill at with "
        "all fees paid, which exists only to re-run published tables",
    )
    account: Literal["margin", "cash"] = Field(
        "margin", description="buying power checked at acceptance, or cash checked at the fill"
    )
    leverage: float = Field(
        2.0, ge=1, le=4, description="buying power of a margin account, x equity"
    )
    pay_dividends: bool = Field(False, description="pay cash dividends (paper accounts pay none)")
    collar: float = Field(
        0.04,
        ge=0,
        lt=1,
        description="market orders that open reserve this much above the last price",
    )

    @model_validator(mode="after")
    def _sizes_at_closes(self) -> "VenueSettings":
        if self.size == "fill" and self.fill == "open":
            raise ValueError(
                'size = "fill" needs fill = "next_close" or "same_close": nobody knows the open '
                "when the order is sent"
            )
        return self


def fill_price(pending: Orders, row: MarketRow, market: np.ndarray, costs: CostRules) -> np.ndarray:
    """Return the price at which each waiting order fills in this session, NaN where it does not.

    `market` is the price market orders meet, before slippage: the open, or the close by setting.
    Stop-limit orders that trigger without filling become limit orders in `pending`. A limit order
    never pays more than its limit, slippage included; one that is met inside the bar fills
    exactly at it.
    """
    kinds = [pending.kind == kind for kind in (MARKET, LIMIT, STOP, STOP_LIMIT)]
    at_open = costs.slipped(row.open, pending.qty)
    limit = _limit_price(pending, row, at_open)
    stop = _stop_price(pending, row, costs, at_open)
    stop_limit = _stop_limit_price(pending, row, costs, limit)
    price = np.select(kinds, [costs.slipped(market, pending.qty), limit, stop, stop_limit], np.nan)
    return np.where(row.traded & (pending.qty != 0), price, np.nan)


def _limit_price(pending: Orders, row: MarketRow, at_open: np.ndarray) -> np.ndarray:
    # A better open is taken; otherwise the limit itself, if the bar reaches it.
    buy, limit = pending.qty > 0, pending.limit
    better = np.where(buy, row.open <= limit, row.open >= limit)
    reached = np.where(buy, row.low <= limit, row.high >= limit)
    taken = np.where(buy, np.minimum(at_open, limit), np.maximum(at_open, limit))
    return np.where(better, taken, np.where(reached, limit, np.nan))


def _stop_price(
    pending: Orders, row: MarketRow, costs: CostRules, at_open: np.ndarray
) -> np.ndarray:
    # A gap through the stop fills at the open; otherwise at the stop, if the bar reaches it.
    buy, stop = pending.qty > 0, pending.stop
    gap = np.where(buy, row.open >= stop, row.open <= stop)
    reached = np.where(buy, row.high >= stop, row.low <= stop)
    return np.where(gap, at_open, np.where(reached, costs.slipped(stop, pending.qty), np.nan))


def _stop_limit_price(
    pending: Orders, row: MarketRow, costs: CostRules, as_limit: np.ndarray
) -> np.ndarray:
    # The path inside a bar is unknown, so a trigger inside the bar fills only where it must have:
    # at the stop if the limit allows that price, at the limit if the close lies beyond it.
    if not some(pending.kind == STOP_LIMIT):
        return as_limit
    buy, limit, stop = pending.qty > 0, pending.limit, pending.stop
    gap = np.where(buy, row.open >= stop, row.open <= stop)
    reached = gap | np.where(buy, row.high >= stop, row.low <= stop)
    through = costs.slipped(stop, pending.qty)
    at_stop = np.where(buy, np.minimum(through, limit), np.maximum(through, limit))
    allowed = np.where(buy, stop <= limit, stop >= limit)
    came_back = np.where(buy, row.close <= limit, row.close >= limit)
    inside = np.where(allowed, at_stop, np.where(came_back, limit, np.nan))
    price = np.where(gap, as_limit, np.where(reached, inside, np.nan))
    triggered = (pending.kind == STOP_LIMIT) & reached & row.traded & np.isnan(price)
    pending.kind[triggered] = LIMIT
    return price


def apply_fills(book: Book, qty: np.ndarray, price: np.ndarray, fee: np.ndarray) -> None:
    """Put fills into the book: cash, shares, average entry price, fees.

    `price` may be anything where `qty` is 0. A fill that crosses zero starts a new entry price.
    """
    done = qty != 0.0
    cost = np.where(done, qty * price, 0.0)
    held = book.qty
    after = held + qty
    after[np.abs(after) < DUST] = 0.0
    basis = book.basis.copy()
    np.divide(held * basis + cost, after, out=basis, where=done & (held * qty >= 0.0))
    crossed = held * after < 0.0
    if some(crossed):
        np.copyto(basis, price, where=crossed)
    basis *= after != 0.0
    book.cash -= (cost + fee).sum(axis=-1)
    book.fees += fee.sum(axis=-1)
    book.qty, book.basis = after, basis
    book.since[done] = 0


def opening(qty: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return how many of the ordered shares open or add to a position, long or short: >= 0."""
    closing = np.where(qty * held < 0.0, np.abs(held), 0.0)
    opens: np.ndarray = np.maximum(np.abs(qty) - closing, 0.0)
    return opens


def needed(orders: Orders, book: Book, settings: VenueSettings) -> np.ndarray:
    """Return the buying power each order reserves: (B, N) dollars; closing reserves nothing.

    A limit is reserved at its limit, everything else at the last price (or the stop, if higher)
    plus the collar. A symbol that has never traded has no price and reserves nothing.
    """
    price = reserve_price(book, settings)
    if some(orders.kind > MARKET):
        price = np.fmax(price, orders.stop * (1.0 + settings.collar))
        price = np.where((orders.kind == LIMIT) | (orders.kind == STOP_LIMIT), orders.limit, price)
    return opening(orders.qty, book.qty) * price


def reserve_price(book: Book, settings: VenueSettings) -> np.ndarray:
    """Return what a market order that opens reserves for a share: (B, N) dollars."""
    price: np.ndarray = book.mark * (1.0 + settings.collar)
    return price


def buying_power(book: Book, pending: Orders | None, settings: VenueSettings) -> np.ndarray:
    """Return what new opening orders may reserve: (B,) dollars, never negative.

    Margin: leverage x equity less gross positions (with 2x: twice equity less initial margin of
    50 %). Cash: the cash. Orders already waiting keep what they reserved, and sales free nothing
    until filled.
    """
    if settings.account == "cash":
        free = book.cash
    else:
        free = settings.leverage * book.equity() - np.abs(book.value()).sum(axis=-1)
    if pending is not None:
        free = free - needed(pending, book, settings).sum(axis=-1)
    power: np.ndarray = np.maximum(free, 0.0)
    return power


def granted(qty: np.ndarray, ask: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Return which orders the buying power covers: (B, N); sales first, then buys, by symbol.

    Shapes: `free` (B,). An order that is not covered leaves its part to the next.
    """
    covered: np.ndarray = qty == 0
    free = free * (1.0 + DUST)
    for side in (qty < 0, qty > 0):
        for n in np.flatnonzero(side.any(axis=0)):
            fits = side[:, n] & (ask[:, n] <= free)
            free = free - np.where(fits, ask[:, n], 0.0)
            covered[:, n] |= fits
    return covered


def affordable(cash: np.ndarray, qty: np.ndarray, price: np.ndarray, fee: np.ndarray) -> np.ndarray:
    """Return which fills the cash pays for: (B, N); sales first, then buys in symbol order.

    A buy that closes a short must be paid like any other. A buy that fails leaves the cash to the
    next.
    """
    flow = np.where(qty != 0, qty * price, 0.0) + fee
    buys = qty > 0
    left = cash - np.where(buys, 0.0, flow).sum(axis=-1)
    paid = np.ones(qty.shape, dtype=bool)
    if every(np.where(buys, flow, 0.0).sum(axis=-1) <= left):
        return paid
    for n in np.flatnonzero(buys.any(axis=0)):
        paid[:, n] = ~buys[:, n] | (flow[:, n] <= left)
        left = left - np.where(buys[:, n] & paid[:, n], flow[:, n], 0.0)
    return paid


def short_fraction(orders: Orders, book: Book) -> np.ndarray:
    """Return where an order would leave a fraction of a share sold short: (B, N); none may."""
    fraction = (orders.qty != 0) & (orders.qty != np.rint(orders.qty))
    short: np.ndarray = fraction & (book.qty + orders.qty < -DUST)
    return short


def unusable(orders: Orders) -> np.ndarray:
    """Return where an order cannot mean anything: (B, N); NaN, inf, unknown kind, missing price."""
    kind = orders.kind
    limited, stopped = (kind == LIMIT) | (kind == STOP_LIMIT), (kind == STOP) | (kind == STOP_LIMIT)
    bad: np.ndarray = ~np.isfinite(orders.qty) | (kind < MARKET) | (kind > STOP_LIMIT)
    bad |= limited & ~(np.isfinite(orders.limit) & (orders.limit > 0))
    bad |= stopped & ~(np.isfinite(orders.stop) & (orders.stop > 0))
    return bad
