"""Backtrader orders in the words of the engine: one slot of Orders each, one status for each refusal.

Plain functions; they keep nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import backtrader as bt
import numpy as np

from engine.errors import VenueError
from engine.reasons import Reason, explain
from engine.venue import LIMIT, MARKET, STOP, STOP_LIMIT, Orders

KINDS = {
    bt.Order.Market: MARKET,
    bt.Order.Limit: LIMIT,
    bt.Order.Stop: STOP,
    bt.Order.StopLimit: STOP_LIMIT,
}
NO_MONEY = Reason.BUYING_POWER | Reason.CASH_SHORT


def require_plain(exectype: int | None, valid: Any, extras: Mapping[str, Any]) -> None:
    """Refuse what no venue of ours can do, before an order exists.

    Raises: VenueError for other kinds of orders, other lifetimes than a day or for good, brackets.
    """
    asked = [name for name, value in extras.items() if value is not None]
    if asked:
        raise VenueError(f"{asked[0]}: expected a single order, found a linked or trailing one; "
                         "send plain orders and cancel them yourself")  # fmt: skip
    if exectype not in (None, *KINDS):
        raise VenueError(
            "exectype: expected Market, Limit, Stop or StopLimit, found "
            f"{bt.Order.ExecTypes[exectype or 0]}; use one of those"
        )
    if valid:
        raise VenueError(
            f"valid: expected None (good till cancelled) or Order.DAY, found {valid!r}; "
            "cancel the order on the day you want it to end"
        )


def batch(orders: Iterable[tuple[int, bt.Order]], symbols: int) -> Orders:
    """Return one book's Orders from (column, order) pairs, at most one a column."""
    out = Orders.none(1, symbols)
    for column, order in orders:
        kind = KINDS[order.exectype]
        out.qty[0, column] = order.size
        out.kind[0, column] = kind
        out.day[0, column] = order.info.day
        out.weight[0, column] = order.info.get("weight", np.nan)
        out.fractional[0, column] = order.info.get("fractional", False)
        if kind in (LIMIT, STOP_LIMIT):
            price = order.created.price if kind == LIMIT else order.created.pricelimit
            out.limit[0, column] = price
        if kind in (STOP, STOP_LIMIT):
            out.stop[0, column] = order.created.price
    return out


def refuse(order: bt.Order, bits: int) -> None:
    """End an order that the venue did not fill; its reasons stay on `order.info`."""
    order.addinfo(reason=Reason(int(bits)), why="; ".join(explain(bits)))
    if bits & NO_MONEY:
        order.margin()
    elif bits & Reason.EXPIRED:
        order.status = bt.Order.Expired
    else:
        order.reject()


def whole(shares: float) -> int | float:
    """Return an int where it is one: `len(position)` fails on floats."""
    return int(shares) if shares == int(shares) else float(shares)


def resize(order: bt.Order, size: float, ratio: float = 1.0) -> None:
    """Turn a waiting order into new shares, after a split or at its fill; `size` are left of it."""
    order.size = order.created.size = order.executed.remsize = whole(size)
    order.created.price /= ratio
    order.created.pricelimit /= ratio
