"""Backtrader's own records of what a venue did: notifications, positions, open trades.

It copies; it decides nothing. Columns are those of the venue's book.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import backtrader as bt

from brokers.translate import whole
from engine.events import new_shares
from engine.market import DUST
from engine.reasons import Reason
from engine.venue import Book

FRACTION = "fraction of a share left by a split, paid in cash"


class Records:
    """What Backtrader has been told, and the positions and trades it knows of."""

    def __init__(self, comminfo: Callable[[Any], bt.CommInfoBase]) -> None:
        self.told: deque[bt.Order] = deque()
        self.datas: dict[int, Any] = {}
        self.positions: dict[int, bt.Position] = {}
        self.last_order: dict[int, bt.Order] = {}
        self.stamp = 0.0  # the session being reported, as Backtrader counts days
        self._comminfo = comminfo
        self._cerebro: bt.Cerebro | None = None

    def start(self, cerebro: bt.Cerebro, datas: dict[int, Any]) -> None:
        """Begin a run over these feeds, by column."""
        self._cerebro, self.datas = cerebro, datas
        self.positions = {column: bt.Position() for column in datas}

    def tell(self, order: bt.Order) -> None:
        """Queue a notification: a clone, which marks the fills that are new."""
        self.told.append(_clone(order))

    def fill(self, column: int, order: bt.Order, qty: float, price: float, fee: float) -> None:
        """Note a fill: in the order, in the position, and through the order in the trades."""
        held = self.positions[column]
        basis = held.price
        size, average, opened, closed = held.update(whole(qty), price)
        closing_fee = fee * abs(closed) / abs(qty)
        order.execute(
            self.stamp,
            whole(qty),
            price,
            closed,
            -closed * basis,
            closing_fee,
            opened,
            opened * price,
            fee - closing_fee,
            None,
            -closed * (price - basis),
            size,
            average,
        )
        if abs(order.executed.remsize) < DUST:
            order.completed()  # 0.1 + 0.2 is not 0.3 for Backtrader
        self.tell(order)

    def split(self, column: int, ratio: float, kept: float, price: float) -> None:
        """Turn a position and its open trades into new shares; `kept` are left of them.

        The difference was paid in cash at `price` and is noted as a fill.
        """
        held = self.positions[column]
        if not held.size:
            return
        for trade in self._open_trades(column):
            trade.size = whole(float(new_shares(trade.size, ratio)))
            trade.price /= ratio
        held.size = whole(float(new_shares(held.size, ratio)))
        held.price = held.price / ratio
        if abs(held.size - kept) > DUST:
            self.event(column, kept - held.size, price, FRACTION)

    def event(
        self, column: int, qty: float, price: float, note: str, reason: Reason | None = None
    ) -> None:
        """Note a fill nobody ordered, as an order of its own that is told as completed.

        `info.note` says what it was.
        """
        last, data = self.last_order.get(column), self.datas[column]
        order = (bt.BuyOrder if qty > 0 else bt.SellOrder)(
            owner=last.owner if last is not None else self._strategies()[0],
            data=data,
            size=whole(abs(qty)),
            tradeid=last.tradeid if last is not None else 0,
        )
        order.addinfo(note=note, reason=reason, day=False)
        order.addcomminfo(self._comminfo(data))
        order.accept()
        self.fill(column, order, qty, price, 0.0)

    def follow(self, book: Book) -> None:
        """Make the positions those of the book: its arithmetic is the one that counts."""
        qty, basis = book.qty[0].tolist(), book.basis[0].tolist()
        for column, held in self.positions.items():
            if held.size or qty[column]:
                held.size, held.price = whole(qty[column]), basis[column]

    def _strategies(self) -> list[Any]:
        return list(self._cerebro.runningstrats) if self._cerebro is not None else []

    def _open_trades(self, column: int) -> Iterator[bt.Trade]:
        for strategy in self._strategies():
            for trades in strategy._trades.get(self.datas[column], {}).values():
                if trades and trades[-1].isopen:
                    yield trades[-1]


def _clone(order: bt.Order) -> bt.Order:
    # What `Order.clone` does, without `copy.copy` asking each object how it wants to be copied.
    order.executed.markpending()
    cloned, executed = _alike(order), _alike(order.executed)
    cloned.executed = executed
    return cloned


def _alike(thing: Any) -> Any:
    made = object.__new__(type(thing))
    made.__dict__.update(thing.__dict__)
    return made
