"""What companies do to the account: splits, dividends, the end of a symbol.

The arithmetic is that of `engine.events`; here it meets orders with ids and the activities.
"""

from datetime import datetime

import numpy as np

from brokers.exchange.money import as_arrays
from brokers.exchange.orders import Order
from brokers.exchange.state import State
from brokers.exchange.wire import number
from engine.bars import MarketRow
from engine.book import Book, Orders
from engine.events import apply_split, new_shares, pay_dividend, settle_ended


def before_open(state: State, row: MarketRow, at: datetime) -> None:
    """Let splits change positions and resting orders, and pay dividends where that is set."""
    if (row.split != 1.0).any() and not state.switches.ignore_splits:
        _split_positions(state, row.split, at)
        _split_orders(state, row.split, at)
    if state.settings.pay_dividends and row.dividend.any():
        pay_dividend(state.book, row.dividend)
        for column in np.flatnonzero(row.dividend[0] * state.book.qty[0]).tolist():
            each, held = float(row.dividend[0, column]), state.held(column)
            _record(state, "DIV", column, held * each, at, held, per_share_amount=number(each))


def end_symbols(state: State, row: MarketRow, at: datetime) -> None:
    """Close positions of delisted symbols at their last close, and cancel their orders."""
    if not row.ended.any():
        return
    closed = settle_ended(state.book, row.ended)
    for column in np.flatnonzero(closed[0]).tolist():
        shares = float(closed[0, column])
        _record(state, "JNLC", column, shares * state.price(column), at, -shares)
    for order in list(state.live.values()):
        if row.ended[0, order.column]:
            state.finish(order, "canceled", at)


def _split_positions(state: State, ratio: np.ndarray, at: datetime) -> None:
    book, before = state.book, state.book.qty.copy()
    mark = book.mark / ratio
    apply_split(book, Orders.none(*book.qty.shape), ratio)
    for column in np.flatnonzero((ratio[0] != 1.0) & (before[0] != 0)).tolist():
        whole = float(new_shares(before[0, column], ratio[0, column]))
        in_lieu = (whole - state.held(column)) * float(mark[0, column])
        _record(state, "SPLIT", column, in_lieu, at, state.held(column) - float(before[0, column]))
    if state.ends:  # yesterday's closes, in the shares of today
        state.ends[-1].marks = state.ends[-1].marks / ratio[0]
        state.ends[-1].held = new_shares(state.ends[-1].held, ratio[0])


def _split_orders(state: State, ratio: np.ndarray, at: datetime) -> None:
    orders = [
        order
        for order in state.live.values()
        if ratio[0, order.column] != 1.0 and order.qty is not None
    ]
    if not orders:
        return
    columns = [order.column for order in orders]
    left = as_arrays(state, orders)
    apply_split(Book.start(0.0, 1, len(orders)), left, ratio[:, columns])
    for n, order in enumerate(orders):
        share = float(ratio[0, order.column])
        _restate(order, abs(float(left.qty[0, n])), share)
        order.updated_at = state.stamp(at)
        if order.left == 0.0:
            state.finish(order, "canceled", at)


def _restate(order: Order, left: float, ratio: float) -> None:
    order.filled = float(new_shares(order.filled, ratio))
    order.qty = order.filled + left
    order.average = None if order.average is None else order.average / ratio
    order.limit = None if order.limit is None else order.limit / ratio
    order.stop = None if order.stop is None else order.stop / ratio


def _record(
    state: State, kind: str, column: int, dollars: float, at: datetime, shares: float, **more: str
) -> None:
    symbol = state.bars.symbols[column]
    state.record(kind, at, symbol=symbol, qty=number(shares), net_amount=number(dollars), **more)
