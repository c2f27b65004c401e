"""From dollars to shares: the one rounding rule, and sizes found at the price of the fill.

It knows books, prices and costs; what may be wanted is `engine.limits`, what is sent `engine.orders`.
"""

import numpy as np

from engine.book import Book, Orders
from engine.costs import CostRules
from engine.masks import some

NEAR = 1e-6  # shares: 999.9999999 is a thousand
DECIMALS = 9  # of a fractional share, the finest a venue takes
ROUNDS = 12  # of fees on fees; each one leaves at most a tenth of the error


def units(shares: np.ndarray, fractional: bool | np.ndarray) -> np.ndarray:
    """Return shares in units that can be traded, towards zero.

    Fractions are for long positions only: no venue lends a fraction of a share.
    """
    whole: np.ndarray = np.trunc(shares + np.copysign(NEAR, shares))
    if not some(np.asarray(fractional)):
        return whole
    scale = 10.0**DECIMALS
    parts = np.trunc(shares * scale + NEAR) / scale
    return np.where(fractional & (shares > 0), parts, whole)


def at_fill(
    orders: Orders, book: Book, price: np.ndarray, costs: CostRules, session: np.ndarray
) -> np.ndarray:
    """Return the shares that bring each weighted order to its weight at the price of the fill.

    Shapes: `price` (B, N) before slippage, `session` (B,). Units: signed shares. The weights are
    those of the equity after all costs of these fills: a weight of 1 leaves no debt. Orders
    without a weight keep their shares.
    """
    weighted = (orders.qty != 0) & ~np.isnan(orders.weight) & (price > 0)
    paid = np.where(price > 0, price, 1.0)
    weight = np.where(weighted, orders.weight, 0.0)
    equity = book.cash + (book.qty * paid).sum(axis=-1)
    left = equity
    for _ in range(ROUNDS):
        shares = weight * np.maximum(left, 0.0)[:, None] / paid
        qty = np.where(weighted, shares - book.qty, 0.0)
        slip = qty * (costs.slipped(paid, qty) - paid)
        left = equity - (slip + costs.fee(qty, paid, session[:, None])).sum(axis=-1)
    return np.where(weighted, units(shares, orders.fractional) - book.qty, orders.qty)
