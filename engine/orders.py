"""From target exposures to orders: whole shares, closes before opens, buys cut to the buying power.

The only place where shares are sized and rounded. It knows the book at its marks; it sends nothing.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from pydantic import BaseModel, Field

from engine.book import arrays
from engine.costs import CostRules
from engine.limits import Limits, check_orders
from engine.market import reserve_price
from engine.masks import every, some
from engine.reasons import Reason, mark
from engine.sizes import DECIMALS, NEAR, units
from engine.venue import Book, Orders, VenueSettings, buying_power, opening


class Sizing(BaseModel, frozen=True, extra="forbid"):
    """How exposures become shares."""

    fractional: bool = Field(False, description="allow fractions of a share (never for shorts)")
    flip: Literal["close_first", "one_order"] = Field(
        "close_first", description="from long to short: close, open next session; or in one order"
    )
    decimals: int = Field(4, ge=1, le=12, description="wanted exposures are rounded to this")
    min_order_value: float = Field(
        0.0, ge=0, description="smaller orders are not sent, dollars; closing ones always are"
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send, and why it is not more. Shapes: (B, N)."""

    orders: Orders
    reasons: np.ndarray


def plan(
    target: np.ndarray,
    trade: np.ndarray,
    reasons: np.ndarray,
    book: Book,
    open_qty: np.ndarray,
    sizing: Sizing,
    limits: Limits,
    costs: CostRules,
    venue: VenueSettings,
) -> Plan:
    """Turn target exposures into market orders that the venue will accept.

    Shapes: all (B, N). Units: `target` fraction of equity, `open_qty` signed shares in open orders.
    Only symbols with `trade` get an order; one whose order is still open, or that has no price yet,
    waits. Sizes are in shares at the last close, rounded towards zero.
    """
    reasons = reasons.copy()
    equity = book.equity()
    alive = equity > 0.0
    if not every(alive):
        mark(reasons, np.broadcast_to(~alive[:, None], reasons.shape), Reason.RUINED)
        trade = trade & alive[:, None]
    trade = trade & (book.mark > 0.0)
    if some(open_qty):
        waiting = trade & (open_qty != 0.0)
        mark(reasons, waiting, Reason.ORDER_OPEN)
        trade = trade & ~waiting
    if not some(trade):
        return Plan(Orders(*_nothing(reasons.shape)), reasons)
    target = _closed_first(target, trade, book, sizing, reasons)
    qty = asked = np.where(trade, _sized(target, equity, book, sizing), 0.0)
    checked, cuts = check_orders(qty, book.qty, open_qty, book.mark, equity, limits)
    if some(cuts):
        reasons |= cuts
        qty = _inward(checked, qty, book.qty, sizing)
    qty = _within_cash(qty, book, open_qty, equity, sizing, limits, costs, venue, reasons)
    small = trade & (qty == 0.0)
    if sizing.min_order_value:
        tiny = (np.abs(qty) * book.mark < sizing.min_order_value) & (book.qty + qty != 0)
        small |= trade & tiny
        qty = np.where(tiny, 0.0, qty)
    mark(reasons, small, Reason.TOO_SMALL)
    orders = Orders.market(qty)
    if venue.size == "fill":
        reached = (book.qty + qty) * book.mark / np.where(equity > 0, equity, np.inf)[:, None]
        orders.weight = np.where(qty == asked, target, reached)  # what was cut stays cut
        orders.fractional |= sizing.fractional
    return Plan(orders, reasons)


@cache
def _nothing(shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    # No orders at all, what most bars send: made once, and so that nobody can change it for the next.
    made = tuple(arrays("", Orders.none(*shape)).values())
    for array in made:
        array.flags.writeable = False
    return made


def _closed_first(
    target: np.ndarray, trade: np.ndarray, book: Book, sizing: Sizing, reasons: np.ndarray
) -> np.ndarray:
    # From long to short, or back: to nothing first, unless one order may do it.
    flips = trade & (book.qty * target < 0.0)
    if sizing.flip == "one_order" or not some(flips):
        return target
    mark(reasons, flips, Reason.CLOSE_FIRST)
    return np.where(flips, 0.0, target)


def _sized(target: np.ndarray, equity: np.ndarray, book: Book, sizing: Sizing) -> np.ndarray:
    # Shares to trade so that the position is worth target x equity at its mark, and no more.
    price = np.where(book.mark > 0.0, book.mark, 1.0)
    qty: np.ndarray = units(target * equity[:, None] / price, sizing.fractional) - book.qty
    return qty


def _inward(cut: np.ndarray, qty: np.ndarray, held: np.ndarray, sizing: Sizing) -> np.ndarray:
    # Round a cut order to units; an untouched one stays as it is (it may close a fraction).
    short = held + cut < 0
    whole: np.ndarray = np.trunc(cut + np.copysign(NEAR, cut))
    if sizing.fractional:
        whole = np.where(short, whole, np.trunc(cut * 10.0**DECIMALS) / 10.0**DECIMALS)
    return np.where(cut == qty, qty, whole)


def _within_cash(
    qty: np.ndarray,
    book: Book,
    open_qty: np.ndarray,
    equity: np.ndarray,
    sizing: Sizing,
    limits: Limits,
    costs: CostRules,
    venue: VenueSettings,
    reasons: np.ndarray,
) -> np.ndarray:
    # Opening orders share what there is in proportion; closing ones are never cut. Fees are
    # counted at full size, so that the cut orders fit whatever the minimum fee is.
    opens = opening(qty, book.qty)
    if not some(opens):
        return qty
    waiting = Orders.market(open_qty) if some(open_qty) else None
    budget = buying_power(book, waiting, venue)
    price = reserve_price(book, venue)
    fee = costs.commission(opens, price).sum(axis=-1)
    ask = (opens * price).sum(axis=-1)
    qty, opens = _cut(qty, opens, budget - fee, ask, book, sizing, reasons, Reason.BUYING_POWER)
    if limits.cash_reserve:
        buys = np.where(qty > 0, opens, 0.0)
        spent = ((qty + open_qty) * book.mark).sum(axis=-1) + fee
        ask = (buys * book.mark).sum(axis=-1)
        budget = book.cash - spent + ask - limits.cash_reserve * equity
        qty, _ = _cut(qty, buys, budget, ask, book, sizing, reasons, Reason.CASH_RESERVE)
    return qty


def _cut(
    qty: np.ndarray,
    opens: np.ndarray,
    budget: np.ndarray,
    ask: np.ndarray,
    book: Book,
    sizing: Sizing,
    reasons: np.ndarray,
    reason: Reason,
) -> tuple[np.ndarray, np.ndarray]:
    # `ask` (B,) dollars are wanted for `opens` shares, `budget` (B,) are there.
    over = ask > np.maximum(budget, 0.0)
    if not some(over):
        return qty, opens
    factor = np.where(over, np.maximum(budget, 0.0) / np.where(over, ask, 1.0), 1.0)[:, None]
    hit = over[:, None] & (opens > 0)
    mark(reasons, hit, reason)
    smaller = np.copysign(opens * factor, qty)
    closing = qty - np.copysign(opens, qty)
    cut = _inward(closing + smaller, qty, book.qty, sizing)
    qty = np.where(hit, cut, qty)
    return qty, opening(qty, book.qty)
