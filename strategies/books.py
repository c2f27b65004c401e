"""The book a strategy decides on: the venue's own, or one read from Backtrader's stock broker.

Reading only; what a book is worth is `engine.book`.
"""

from typing import Any

import backtrader as bt
import numpy as np

from engine.bars import CLOSE
from engine.venue import Book


class VenueBook:
    """The book and the open orders of the venue behind a VenueBroker."""

    def __init__(self, broker: Any) -> None:
        self.venue = broker.venue

    def told(self, order: bt.Order, column: int) -> None:
        """Take in a notification: nothing to do, the venue's book has it."""

    def read(
        self, strategy: bt.Strategy, ohlcv: np.ndarray, traded: np.ndarray
    ) -> tuple[Book, np.ndarray]:
        """Return the book after this bar, and shares in open orders (1, N)."""
        return self.venue.book, self.venue.pending.qty


class StockBook:
    """A book made from what the stock broker says, marked at the closes seen.

    Shapes: as `engine.book.Book`, with one book.
    """

    def __init__(self, symbols: int) -> None:
        self.book = Book.start(0.0, 1, symbols)
        self._filled = np.zeros((1, symbols), dtype=bool)
        self._open: dict[int, tuple[int, float]] = {}  # order ref: column, signed shares left

    def told(self, order: bt.Order, column: int) -> None:
        """Take in a notification: what filled, what it cost, what is still open."""
        for bit in order.executed.iterpending():
            self._filled[0, column] = True
            self.book.fees[0] += bit.comm
        self._open.pop(order.ref, None)
        if order.alive():
            self._open[order.ref] = column, order.executed.remsize

    def read(
        self, strategy: bt.Strategy, ohlcv: np.ndarray, traded: np.ndarray
    ) -> tuple[Book, np.ndarray]:
        """Return the book after this bar, and shares in open orders (1, N)."""
        book = self.book
        positions = [strategy.getposition(data) for data in strategy.datas]
        book.cash[0] = strategy.broker.getcash()
        book.qty[0] = [position.size for position in positions]
        book.basis[0] = [position.price for position in positions]
        book.mark[0, traded] = ohlcv[traded, CLOSE]
        book.since += book.since >= 0
        book.since[self._filled] = 0
        self._filled[:] = False
        open_qty = np.zeros(book.qty.shape)
        for column, shares in self._open.values():
            open_qty[0, column] += shares
        return book, open_qty
