"""AlpacaVenue on a stage: the real desk and journal, and a venue of one SimVenue behind them.

The gateway answers as Alpaca would for orders that a SimVenue accepts, refuses, fills and ends.
"""

import tempfile
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from brokers.alpaca.desk import Desk
from brokers.alpaca.lines import Line, apply
from brokers.alpaca.notes import Notes
from brokers.alpaca.records import Accepted, Answer, Intent, OrderState, Refused
from brokers.alpaca.venue import KINDS, AlpacaVenue
from engine import clock as time
from engine.bars import MarketRow
from engine.book import Book, Outcome
from engine.clock import FakeClock
from engine.costs import Costs
from engine.journal import Journal
from engine.venue import Orders, SimVenue, VenueSettings
from tests.sessions import FIRST

DAYS = time.sessions("XNYS", FIRST, FIRST + 400)
CODES = {word: code for code, word in KINDS.items()}


@dataclass
class SimGateway:
    """Alpaca's side of the talk about orders, with a simulated market behind it."""

    sim: SimVenue
    symbols: tuple[str, ...]
    clock: FakeClock
    orders: dict[str, OrderState] = field(default_factory=dict)

    def post(self, intent: Intent) -> Answer:
        column = self.symbols.index(intent.symbol)
        orders = Orders.none(1, len(self.symbols))
        orders.qty[0, column], orders.kind[0, column] = intent.qty, CODES[intent.kind]
        orders.limit[0, column] = np.nan if intent.limit is None else intent.limit
        orders.stop[0, column] = np.nan if intent.stop is None else intent.stop
        orders.day[0, column] = intent.day
        if self.sim.submit(orders)[0, column]:
            return Refused(403, 40310000, "insufficient buying power")
        order = OrderState(
            id=f"id-{len(self.orders)}", client_order_id=intent.client_order_id,
            symbol=intent.symbol, qty=intent.qty, filled_qty=0.0, filled_price=0.0,
            status="accepted", kind=intent.kind, limit=intent.limit, stop=intent.stop,
            time_in_force="day" if intent.day else "gtc", submitted_at=self.clock.now(),
            filled_at=None,
        )  # fmt: skip
        self.orders[intent.client_order_id] = order
        return Accepted(order)

    def order_by_client_id(self, cid: str) -> OrderState | None:
        return self.orders.get(cid)

    def orders_since(self, at: datetime) -> list[OrderState]:
        return list(self.orders.values())

    def cancel(self, order_id: str) -> None:
        for cid, order in self.orders.items():
            if order.id == order_id and not order.over:
                where = np.array([[symbol == order.symbol for symbol in self.symbols]])
                self.sim.cancel(where)
                self.orders[cid] = replace(order, status="canceled")

    def happened(self, outcome: Outcome) -> None:
        """Tell of every live order what a session did to it."""
        for cid, order in self.orders.items():
            n = self.symbols.index(order.symbol)
            if order.over:
                continue
            if outcome.filled[0, n]:
                size, price = abs(float(outcome.filled[0, n])), float(outcome.price[0, n])
                done = {"filled_qty": size, "filled_price": price, "status": "filled"}
                qty = float(outcome.filled[0, n])
                self.orders[cid] = replace(order, qty=qty, filled_at=self.clock.now(), **done)
            elif outcome.refused[0, n]:
                self.orders[cid] = replace(order, status="expired")
            else:  # a split resizes what waits
                self.orders[cid] = replace(order, qty=float(self.sim.pending.qty[0, n]))


class AlpacaStage:
    """A venue, and `happen`, which lets one session take place and hands its row over."""

    def __init__(self, cash: float, symbols: int) -> None:
        self._folder = tempfile.TemporaryDirectory()
        names = tuple(f"S{n}" for n in range(symbols))
        free, rules = Costs(slippage_bps=0.0), VenueSettings()
        self.clock = FakeClock(time.opening(DAYS[0], "XNYS") - timedelta(hours=1))
        self.gateway = SimGateway(SimVenue(cash, (1, symbols), free, rules), names, self.clock)
        lines: dict[str, Line] = {}
        self.journal = Journal(Path(self._folder.name) / "journal.sqlite")
        notes = Notes(self.journal, self.clock, lambda entry: apply(lines, entry))
        desk = Desk(self.gateway, notes, self.clock, lines)
        book = Book.start(cash, 1, symbols)
        self.venue = AlpacaVenue(desk, names, book, free, rules, "test-abc123")

    def happen(self, row: MarketRow) -> Outcome:
        """Let the session of `row` happen on the next day of the exchange."""
        day = DAYS[int((row.session[0] - FIRST).astype(int))]
        row = replace(row, session=np.array([day]))
        self.clock.set(time.closing(day, "XNYS") + timedelta(minutes=1))
        self.gateway.happened(self.gateway.sim.advance(row))
        return self.venue.advance(row)

    def close(self) -> None:
        """Let go of the journal."""
        self.journal.close()
        self._folder.cleanup()
