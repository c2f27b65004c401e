"""Limits between what an agent wants and what a book may hold.

`constrain` knows exposures only (fractions of equity): no prices, no cash, no venue.
`check_orders` looks at the final orders once more, in dollars.
"""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, Field

from engine.masks import some
from engine.reasons import Reason, mark

DUST = 1e-9  # fraction of equity: what is smaller is rounding, never a reason to trade


class Limits(BaseModel, frozen=True, extra="forbid"):
    """What a book may hold and do. Units: fractions of equity unless said otherwise."""

    max_exposure: float = Field(1.0, gt=0, description="largest |exposure| in one symbol")
    max_gross: float = Field(1.0, gt=0, description="largest sum of |exposure|")
    max_net: float = Field(1.0, gt=0, description="largest |sum of exposure|")
    max_positions: int | None = Field(None, ge=1, description="most symbols held at once")
    max_order_value: float | None = Field(None, gt=0, description="largest single order, dollars")
    max_turnover: float | None = Field(
        None, gt=0, description="largest sum of |change of exposure| in one session"
    )
    allow_short: bool = Field(False, description="let exposures go below zero")
    cash_reserve: float = Field(0.0, ge=0, lt=1, description="cash that buys must leave untouched")
    drift: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="how far prices may carry a kept position past a limit before it is cut back",
    )


@dataclass(frozen=True, slots=True)
class Constrained:
    """What the limits left of a wish.

    Shapes: all (B, N). Units: `target` fraction of equity; `reasons` Reason bits. `trade` is
    False where the target is what is held.
    """

    target: np.ndarray
    trade: np.ndarray
    reasons: np.ndarray


def constrain(
    wanted: np.ndarray, keep: np.ndarray, held: np.ndarray, limits: Limits
) -> Constrained:
    """Return the exposures nearest to the wish that the limits allow.

    Shapes: all (B, N). Units: fractions of equity. A kept position trades only when a limit is
    broken by more than `drift`, and then just back to the limit. Wishes give way before kept
    positions; holdings before new positions. A forced reduction outranks the turnover limit; new
    positions then get what turnover is left.
    """
    reasons = np.zeros(wanted.shape, dtype=np.int32)
    target = _levels(np.where(keep, held, wanted), keep, held, limits, reasons)
    if limits.max_turnover is not None:
        target = _turnover(target, keep, held, limits, reasons)
    trade = np.abs(target - held) > DUST
    return Constrained(np.where(trade, target, held), trade, reasons)


def _levels(
    target: np.ndarray, keep: np.ndarray, held: np.ndarray, limits: Limits, reasons: np.ndarray
) -> np.ndarray:
    # Each rule only moves exposures towards zero, so a later rule cannot break an earlier one,
    # except that cutting one side moves the net: it comes last and cuts the heavier side.
    if not limits.allow_short:
        short = target < -DUST
        if some(short):
            mark(reasons, short, Reason.SHORT_OFF)
            target = np.where(short, 0.0, target)
    target = _exposure(target, keep, limits, reasons)
    if limits.max_positions is not None:
        target = _positions(target, held, limits.max_positions, reasons)
    size = np.abs(target)
    excess = size.sum(axis=-1) - limits.max_gross
    if some(excess > DUST):
        target = _give_way(
            target, held, size, keep, excess, limits.drift, reasons, Reason.MAX_GROSS
        )
    net = target.sum(axis=-1)
    excess = np.abs(net) - limits.max_net
    if some(excess > DUST):
        heavy = np.sign(target) == np.sign(net)[:, None]
        size = np.where(heavy, np.abs(target), 0.0)
        target = _give_way(target, held, size, keep, excess, limits.drift, reasons, Reason.MAX_NET)
    return target


def _exposure(
    target: np.ndarray, keep: np.ndarray, limits: Limits, reasons: np.ndarray
) -> np.ndarray:
    size = np.abs(target)
    if not some(size > limits.max_exposure + DUST):
        return target
    allowed = limits.max_exposure + np.where(keep, limits.drift, DUST)
    over = size > allowed
    mark(reasons, over, Reason.MAX_EXPOSURE)
    return np.where(over, np.copysign(limits.max_exposure, target), target)


def _positions(target: np.ndarray, held: np.ndarray, most: int, reasons: np.ndarray) -> np.ndarray:
    # Holdings first, then the larger wish; the earlier symbol on a tie.
    wished = np.abs(target) > DUST
    if not some(wished.sum(axis=-1) > most):
        return target
    new = np.abs(held) <= DUST
    order = np.lexsort((-np.abs(target), new, ~wished), axis=-1)
    rank = np.argsort(order, axis=-1, kind="stable")
    dropped = wished & (rank >= most)
    mark(reasons, dropped, Reason.MAX_POSITIONS)
    return np.where(dropped, 0.0, target)


def _give_way(
    target: np.ndarray,
    held: np.ndarray,
    size: np.ndarray,
    keep: np.ndarray,
    excess: np.ndarray,
    drift: float,
    reasons: np.ndarray,
    reason: Reason,
) -> np.ndarray:
    # Take `excess` (B,) out of `size`: first out of what would grow, then, beyond the drift, out of
    # the other wishes, then out of kept positions; within each in proportion.
    before = np.where(held * target > 0.0, np.abs(held), 0.0)
    growing = (excess > DUST)[:, None] & ~keep
    grown = np.where(growing, np.maximum(size - before, 0.0), 0.0)
    if not some(grown) and not some(excess > drift + DUST):
        return target  # kept, and prices have not carried it far
    cut = np.zeros(target.shape)
    kept = np.where(keep, size, 0.0)
    for part, slack in ((grown, 0.0), (size - kept - grown, drift), (kept, drift)):
        over = excess > slack + DUST
        if not some(over):
            break
        total = part.sum(axis=-1)
        take = np.where(over, np.minimum(excess, total), 0.0)
        cut += part * (take / np.where(total > 0.0, total, 1.0))[:, None]
        excess = excess - take
    mark(reasons, cut > DUST, reason)
    smaller: np.ndarray = target - np.copysign(cut, target)
    return smaller


def _turnover(
    target: np.ndarray, keep: np.ndarray, held: np.ndarray, limits: Limits, reasons: np.ndarray
) -> np.ndarray:
    most = limits.max_turnover or 0.0
    change = target - held
    turnover = np.abs(change).sum(axis=-1)
    if not some(turnover > most + DUST):
        return target
    factor = np.minimum(1.0, most / np.maximum(turnover, DUST))[:, None]
    scaled = np.where(factor < 1.0, held + factor * change, target)
    mark(reasons, np.abs(scaled - target) > DUST, Reason.MAX_TURNOVER)
    # What still breaks a level is cut whatever it costs in turnover, at the expense of the
    # increases.
    level = _levels(scaled, keep, held, limits, reasons)
    growth = np.where(np.abs(level) > np.abs(held), level - held, 0.0)
    spent = np.abs(level - held - growth).sum(axis=-1)
    wanted = np.abs(growth).sum(axis=-1)
    room = np.clip(most - spent, 0.0, wanted) / np.where(wanted > 0, wanted, 1.0)
    cut = level - growth * (1.0 - room[:, None])
    mark(reasons, np.abs(cut - level) > DUST, Reason.MAX_TURNOVER)
    level = _levels(cut, keep, held, limits, reasons)
    return _without_growth(level, keep, held, most, limits, reasons)


def _without_growth(
    level: np.ndarray,
    keep: np.ndarray,
    held: np.ndarray,
    most: float,
    limits: Limits,
    reasons: np.ndarray,
) -> np.ndarray:
    # Cutting growth may leave the net out of balance and force more out: then nothing grows.
    over = np.abs(level - held).sum(axis=-1, keepdims=True) > most + DUST
    grows = over & (np.abs(level) > np.abs(held) + DUST)
    if not some(grows):
        return level
    mark(reasons, grows, Reason.MAX_TURNOVER)
    still = _levels(np.where(grows, held, level), keep, held, limits, reasons)
    return np.where(over, still, level)


def check_orders(
    qty: np.ndarray,
    held_qty: np.ndarray,
    open_qty: np.ndarray,
    price: np.ndarray,
    equity: np.ndarray,
    limits: Limits,
) -> tuple[np.ndarray, np.ndarray]:
    """Cut orders to the limits at `price`, open orders counted as filled; say why.

    Shapes: `equity` (B,), the rest (B, N); returns two (B, N). Units: signed shares, dollars; the
    quantities returned are not rounded. Only growth is cut: an order that reduces always passes,
    but for `max_order_value`, which binds every order.
    """
    reasons = np.zeros(qty.shape, dtype=np.int32)
    if limits.max_order_value is not None:
        most = limits.max_order_value / np.where(price > 0, price, 1.0)
        over = np.abs(qty) > most * (1.0 + DUST)
        mark(reasons, over, Reason.MAX_ORDER_VALUE)
        qty = np.where(over, np.copysign(most, qty), qty)
    if not some(open_qty):
        return qty, reasons  # the targets were within the limits already, and rounding goes inwards
    base = held_qty + open_qty
    worth = price / np.where(equity > 0, equity, np.inf)[:, None]
    after = (base + qty) * worth
    grows = np.abs(after) > np.abs(base * worth) + DUST
    cuts = np.zeros(qty.shape, dtype=np.int32)
    bound = _levels(np.where(grows, after, base * worth), ~grows, base * worth, limits, cuts)
    allowed = np.where(worth > 0, bound / np.where(worth > 0, worth, 1.0) - base, 0.0)
    # Only books with an open order: a batch beside them must not change what another book may do.
    concerned = grows & open_qty.any(axis=-1, keepdims=True)
    over = concerned & (np.abs(bound - after) > DUST)
    reasons |= np.where(over, cuts, np.int32(0))
    cut = np.where(over, allowed, qty)
    return np.where(np.sign(cut) == np.sign(qty), cut, 0.0), reasons
