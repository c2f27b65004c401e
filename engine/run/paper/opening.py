"""The first entry of an account's journal: who it is, what it holds, and who trades it."""

from importlib import metadata

import numpy as np

from brokers.alpaca.notes import Notes
from brokers.alpaca.records import Account
from engine import VERSION
from engine import clock as time
from engine.book import Book
from engine.errors import UsageError
from engine.run.paper.reconcile import require_ours, splits_since_decision
from engine.run.paper.room import CALENDAR, Room
from engine.run.paper.state import State, book_body

LIBRARIES = ("alpaca-py", "backtrader", "numpy", "onnxruntime")


def open_account(room: Room, notes: Notes, account: Account) -> None:
    """Write the account down as it stands; from here on every share and dollar is accounted for.

    Raises: UsageError for open orders, or positions without `paper.adopt`; TradingHalted.
    """
    waiting = room.gateway.open_orders()
    if waiting:
        raise UsageError(
            f"account {account.number}: expected no open order, found {len(waiting)}, the first in "
            f"{waiting[0].symbol}; cancel them before the agent starts"
        )
    book = venue_book(room, account)
    if book.qty.any() and not room.settings.paper.adopt:
        raise UsageError(
            f"account {account.number}: expected no position, found some in the symbols of the agent; "
            "close them, or set paper.adopt = true to start from them"
        )
    body = {
        **room.choose(),
        "account": account.id,
        "number": account.number,
        "symbols": list(room.symbols),
        "feed": room.settings.paper.feed,
        "book": book_body(book),
        "versions": {name: metadata.version(name) for name in LIBRARIES} | {"barwise": VERSION},
    }
    notes.note("opened", None, body)
    notes.commit()


def venue_book(room: Room, account: Account) -> Book:
    """Return what the venue holds as a book of our own. Raises: TradingHalted for other symbols."""
    positions = room.gateway.positions()
    require_ours(room, positions)
    book = Book.start(account.cash, 1, len(room.symbols))
    for n, symbol in enumerate(room.symbols):
        if symbol in positions:
            position = positions[symbol]
            book.qty[0, n], book.basis[0, n] = position.qty, position.entry_price
            priced = np.isfinite(position.price)  # nobody may have traded it today
            book.mark[0, n] = position.price if priced else position.entry_price
            book.since[0, n] = 0
    return book


def rebased_book(room: Room, state: State, account: Account) -> Book:
    """Return what the venue holds, less our modelled costs, in shares of the last decision.

    The splits since are taken out, because whoever reads the book puts them in again.
    Raises: as `venue_book`.
    """
    book = venue_book(room, account)
    split = splits_since_decision(room, state, time.last_opened(room.clock.now(), CALENDAR))
    if state.book is not None:
        book.fees = state.book.fees.copy()
        book.cash -= book.fees
    book.qty, book.basis, book.mark = book.qty / split, book.basis * split, book.mark * split
    return book
