"""AlpacaVenue: the Venue protocol over an Alpaca paper account, or over the loopback exchange.

The book is our own, moved by the kernels of the simulated market from the fills that the venue
reports; modelled commissions are booked in it and never at the venue. What the venue says of cash
and positions is compared elsewhere, not copied.
"""

import hashlib
import re
from dataclasses import replace
from datetime import date

import numpy as np

from brokers.alpaca.desk import Desk, fills_of
from brokers.alpaca.lines import MISSED, REFUSED, Line
from brokers.alpaca.records import Intent
from brokers.alpaca.wire import price, shares
from engine.bars import MarketRow
from engine.book import LIMIT, MARKET, STOP, STOP_LIMIT, Book, Orders, Outcome
from engine.costs import Costs
from engine.errors import VenueError
from engine.events import apply_split, pay_dividend
from engine.market import VenueSettings, apply_fills, short_fraction, unusable
from engine.reasons import Reason, mark

KINDS = {MARKET: "market", LIMIT: "limit", STOP: "stop", STOP_LIMIT: "stop_limit"}
ID_LENGTH = 48
NO_POWER = "buying power"  # in the venue's words


class AlpacaVenue:
    """One account as a venue of one book.

    Shapes: B = 1. `label` begins every client order id: strategy and account. With `sends` False
    every order is refused as MISSED: bars that are caught up on trade nothing.
    """

    def __init__(
        self,
        desk: Desk,
        symbols: tuple[str, ...],
        book: Book,
        costs: Costs,
        settings: VenueSettings,
        label: str,
        sends: bool = True,
    ) -> None:
        self.desk, self.symbols, self.book = desk, symbols, book
        self.costs, self.settings, self.label, self.sends = costs, settings, label, sends
        self._session: date | None = None

    @property
    def pending(self) -> Orders:
        """Orders that are at the venue or on their way to it, and what is left of them."""
        orders = Orders.none(1, len(self.symbols))
        codes = {word: code for code, word in KINDS.items()}
        for line in self.desk.lines.values():
            if line.over:
                continue
            at = (0, self.symbols.index(line.intent.symbol))
            orders.qty[at] += line.left
            orders.kind[at] = codes[line.intent.kind]
            orders.limit[at] = np.nan if line.intent.limit is None else line.intent.limit
            orders.stop[at] = np.nan if line.intent.stop is None else line.intent.stop
            orders.day[at] = line.intent.day
        return orders

    def submit(self, orders: Orders) -> np.ndarray:
        """Send one batch, sales first; return Reason bits (1, N) of what was not accepted."""
        refused = np.zeros(orders.qty.shape, dtype=np.int32)
        sent = orders.qty != 0
        if not self.sends:
            mark(refused, sent, Reason.MISSED)
            return refused
        if self._session is None:
            raise VenueError("expected a session before the first order; call advance first")
        mark(refused, sent & (self.pending.qty != 0), Reason.ORDER_OPEN)
        mark(refused, sent & unusable(orders), Reason.BAD_ORDER)
        mark(refused, sent & short_fraction(orders, self.book), Reason.SHORT_FRACTION)
        taken = replace(orders, qty=np.where(refused == 0, orders.qty, 0.0))
        intents = intents_of(taken, self.symbols, self._session, self.label)
        self.desk.intend(intents)
        self.desk.send()
        for intent in intents:
            column = self.symbols.index(intent.symbol)
            refused[0, column] = _reason(self.desk.lines[intent.client_order_id])
        return refused

    def advance(self, row: MarketRow) -> Outcome:
        """Take one session into the book: its events, the fills reported, its closing prices."""
        self.desk.poll()
        self._session = row.session[0].astype("datetime64[D]").item()
        outcome = Outcome.nothing(row.session, 1, len(self.symbols))
        if (row.split != 1.0).any():
            outcome.split_cash = apply_split(self.book, self.pending, row.split)
        if self.settings.pay_dividends and row.dividend.any():
            outcome.dividends = pay_dividend(self.book, row.dividend)
        self.book.since += self.book.since >= 0
        self._book_fills(row, outcome)
        np.copyto(self.book.mark, row.close, where=row.traded)
        return outcome

    def cancel(self, where: np.ndarray) -> None:
        """Ask for waiting orders to be canceled; `where` (1, N)."""
        chosen = {self.symbols[n] for n in np.flatnonzero(where[0])}
        self.desk.cancel(x for x in self.desk.lines.values() if x.intent.symbol in chosen)

    def _book_fills(self, row: MarketRow, outcome: Outcome) -> None:
        value = np.zeros(outcome.filled.shape)
        for line, fill in fills_of(self.desk.lines.values()):
            if np.datetime64(fill.session) > row.session[0]:
                continue
            at = (0, self.symbols.index(line.intent.symbol))
            outcome.filled[at] += fill.qty
            value[at] += fill.qty * fill.price
            outcome.price[at] = fill.price
            line.booked += 1
        done = outcome.filled != 0
        several = done & (outcome.filled * outcome.price != value)
        np.divide(value, outcome.filled, out=outcome.price, where=several)
        if done.any():
            outcome.fee = self.costs.fee(outcome.filled, outcome.price, row.session[:, None])
            apply_fills(self.book, outcome.filled, outcome.price, outcome.fee)
        self._tell_ends(outcome)

    def _tell_ends(self, outcome: Outcome) -> None:
        for line in self.desk.lines.values():
            if line.over and line.left and not line.told:
                at = (0, self.symbols.index(line.intent.symbol))
                outcome.refused[at] |= _reason(line) or int(Reason.EXPIRED)
                outcome.unfilled[at] = line.left
            line.told = line.over


def intents_of(orders: Orders, symbols: tuple[str, ...], session: date, label: str) -> list[Intent]:
    """Return a batch as intents, sales before buys, then in symbol order.

    The client id is made of the decision alone, so that every restart arrives at the same one.
    """
    qty = orders.qty[0]
    columns = [*np.flatnonzero(qty < 0), *np.flatnonzero(qty > 0)]
    return [
        Intent(
            client_order_id=client_order_id(label, session, symbols[n]),
            session=session,
            symbol=symbols[n],
            qty=float(shares(qty[n])),
            kind=KINDS[int(orders.kind[0, n])],
            limit=_price(orders.limit[0, n], qty[n]),
            stop=_price(orders.stop[0, n], qty[n]),
            day=bool(orders.day[0, n]),
        )
        for n in columns
    ]


def client_order_id(label: str, session: date, symbol: str, leg: int = 1, attempt: int = 1) -> str:
    """Return the client order id of one order: strategy, account, session, symbol, leg, attempt.

    Never the time, the size or a random number. `attempt` grows only after a definite end.
    """
    plain = re.fullmatch(r"[A-Z0-9.]{1,12}", symbol)
    name = symbol if plain else hashlib.sha256(symbol.encode()).hexdigest()[:8]
    made = f"{label}-{session:%Y%m%d}-{name}-{leg}-{attempt}"
    if len(made) > ID_LENGTH:
        raise VenueError(
            f"client order id {made}: expected at most {ID_LENGTH} characters, found {len(made)}; "
            "choose a shorter paper.strategy"
        )
    return made


def _reason(line: Line) -> int:
    if line.status == REFUSED and NO_POWER in line.why:
        return int(Reason.BUYING_POWER)
    known = {REFUSED: Reason.VENUE, MISSED: Reason.MISSED, "rejected": Reason.VENUE}
    return int(known.get(line.status, Reason(0)))


def _price(value: float, qty: float) -> float | None:
    return None if np.isnan(value) else float(price(value, buy=bool(qty > 0)))
