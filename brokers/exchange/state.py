"""Everything the exchange remembers: the book, the orders, what happened, and when.

It stamps times, makes ids and tells listeners; the rules of acceptance and of fills stand elsewhere.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from brokers.exchange.hours import Hours
from brokers.exchange.orders import Order
from brokers.exchange.switches import Switches
from brokers.exchange.wire import moment, number
from engine.bars import Bars
from engine.book import Book, Orders
from engine.costs import Costs
from engine.events import apply_split
from engine.settings_paper import ExchangeSettings

Wire = dict[str, Any]


@dataclass(slots=True)
class DayEnd:
    """The account at one close. Shapes: `marks` and `held` (N,), in shares and prices of today."""

    session: date
    at: datetime
    equity: float
    maintenance: float
    marks: np.ndarray
    held: np.ndarray


class State:
    """One account. `live` holds the orders that are not over, in the order they came.

    `row` is the session that opens next, or is open; times given out never repeat.
    """

    def __init__(
        self, bars: Bars, hours: Hours, settings: ExchangeSettings, start: int, now: datetime
    ) -> None:
        self.bars = bars
        self.hours = hours
        self.settings = settings
        self.switches = Switches()
        self.costs = Costs(slippage_bps=settings.spread_bps)
        self.columns = {symbol: n for n, symbol in enumerate(bars.symbols)}
        self.random = np.random.default_rng(settings.seed)
        self._of_events = np.random.default_rng([settings.seed, 1])  # who listens changes no id
        self.listeners: list[Callable[[Wire], None]] = []
        self.resets = 0
        self.row = start
        self.is_open = False
        self.last_stamp = now - timedelta(microseconds=1)
        self.book = Book.start(0.0, 1, len(bars.symbols))
        self.book.mark = _marks_before(bars, start)
        self.begin(now)

    def begin(self, now: datetime) -> None:
        """Open a new account with nothing but the starting cash; the market stays where it is."""
        marks = self.book.mark
        self.resets += 1
        self.account_id = self.make_id()
        self.number = f"PA3SIM{self.resets:06d}"
        self.created_at = now
        self.book = Book.start(self.settings.cash, 1, len(self.bars.symbols))
        self.book.mark = marks
        self.configuration: Wire = {}
        self.orders: dict[str, Order] = {}
        self.by_client_id: dict[str, Order] = {}
        self.live: dict[str, Order] = {}
        self.activities: list[Wire] = []
        self.ends: list[DayEnd] = [self.day_end(self.row - 1)] if self.row else []

    def make_id(self) -> str:
        """Return a new UUID."""
        return _uuid(self.random)

    def stamp(self, at: datetime) -> datetime:
        """Return `at`, or a microsecond after the last stamp where that is later.

        Pages of orders start after a time, so two orders must not share one.
        """
        self.last_stamp = max(at, self.last_stamp + timedelta(microseconds=1))
        return self.last_stamp

    def day_end(self, row: int, maintenance: float = 0.0) -> DayEnd:
        """Return the account as it stands, as the end of the session in this row."""
        return DayEnd(
            session=self.hours.days[row],
            at=self.hours.closes[row],
            equity=self.equity(),
            maintenance=maintenance,
            marks=self.book.mark[0].copy(),
            held=self.book.qty[0].copy(),
        )

    def equity(self) -> float:
        """Return cash plus positions at their last prices."""
        return float(self.book.equity()[0])

    def held(self, column: int) -> float:
        """Return the signed shares of one symbol."""
        return float(self.book.qty[0, column])

    def price(self, column: int) -> float:
        """Return the last price of one symbol, 0 before its first."""
        return float(self.book.mark[0, column])

    def add(self, order: Order) -> None:
        """Remember a new order."""
        self.orders[order.id] = self.by_client_id[order.client_order_id] = order
        self.live[order.id] = order

    def finish(self, order: Order, status: str, at: datetime) -> None:
        """Let an order end, and say so."""
        order.end(status, self.stamp(at))
        self.live.pop(order.id, None)
        self.tell(order, status)

    def tell(self, order: Order, event: str, **fill: Any) -> None:
        """Send a trade update to every listener."""
        if not self.listeners:
            return
        data = {
            "event": event,
            "timestamp": moment(order.updated_at),
            "execution_id": _uuid(self._of_events),
            **fill,
            "order": order.wire(),
        }
        for listener in self.listeners:
            listener({"stream": "trade_updates", "data": data})

    def record(self, kind: str, at: datetime, **more: Any) -> None:
        """Put a line that is no trade into the account's activities."""
        at = self.stamp(at)
        line = {"id": activity_id(at, self.make_id()), "activity_type": kind}
        self.activities.append(
            {**line, "date": at.date().isoformat(), "status": "executed", **more}
        )


def activity_id(at: datetime, execution_id: str) -> str:
    """Return the id of an activity: its time to the millisecond, and an id."""
    return f"{at:%Y%m%d%H%M%S}{at.microsecond // 1000:03d}::{execution_id}"


def fill_activity(order: Order, shares: float, price: float, execution_id: str) -> Wire:
    """Return one fill as the account's activities show it."""
    at = order.updated_at
    return {
        "id": activity_id(at, execution_id),
        "activity_type": "FILL",
        "type": "fill" if order.status == "filled" else "partial_fill",
        "transaction_time": moment(at),
        "order_id": order.id,
        "symbol": order.symbol,
        "side": order.side if order.intent != "sell_to_open" else "sell_short",
        "qty": number(shares),
        "cum_qty": number(order.filled),
        "leaves_qty": number(order.left),
        "price": number(price),
        "order_status": order.status,
    }


def _uuid(random: np.random.Generator) -> str:
    return str(uuid.UUID(bytes=random.bytes(16), version=4))


def _marks_before(bars: Bars, start: int) -> np.ndarray:
    # The last closes before the first session that may be traded, in shares of that time.
    book = Book.start(0.0, 1, len(bars.symbols))
    nothing = Orders.none(1, len(bars.symbols))
    for t in range(start):
        row = bars.row(t)
        if (row.split != 1.0).any():
            apply_split(book, nothing, row.split)
        np.copyto(book.mark, row.close, where=row.traded)
    return book.mark
