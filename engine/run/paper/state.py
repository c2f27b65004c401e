"""What a paper account's journal adds up to: the state, folded entry by entry.

Nothing else is remembered between two runs. A restart folds the same entries and stands where the
last process stood; replaying the whole file gives the same state as going on from a part of it.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np

from brokers.alpaca.lines import KINDS, Line, apply
from engine.book import Book
from engine.journal import Entry

BOOK_FIELDS = ("cash", "qty", "basis", "mark", "since", "fees")


@dataclass
class State:
    """One account: who it is, what was decided last, which orders are about, why it stands still.

    `decided` is the last session decided on (or caught up on), `closed` the last whose orders are
    done with, `sent` whether the orders of the last decision became intents.
    """

    number: int = 0  # of the last entry taken in
    opened: dict[str, Any] | None = None
    halted: str | None = None
    checkpoint: str | None = None  # digest of the agent that decides
    since: str = ""  # the session or day from which on it does
    event: int = 0  # of the registry, the last one that was acted on
    changed: date | None = None  # the session before whose decision the agent last changed
    proof: dict[str, Any] | None = None  # of the memory that it began with
    declined: dict[str, Any] | None = None  # the champion that was not taken up, and why
    fresh_memory: bool = True  # memory starts from a burn-in, not from the last decision
    decided: date | None = None
    decision: dict[str, Any] = field(default_factory=dict)
    sent: bool = True
    closed: date | None = None
    skipped: date | None = None
    rebased: datetime | None = None  # when a person last took the venue's books for ours
    forgiven: date | None = None  # the session whose loss a person has looked at
    last_bars: date | None = None
    book: Book | None = None
    peak: float = 0.0
    fills: int = 0  # since the cash was last the venue's own: each may round a cent differently
    runner: dict[str, Any] | None = None  # who began a look and has not ended it
    lines: dict[str, Line] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Take one further entry in."""
        self.number = entry.number
        if entry.kind in KINDS:
            apply(self.lines, entry)
            self.sent |= entry.kind == "intent"
            self.fills += entry.kind == "fill"
        elif (step := getattr(self, f"_on_{entry.kind}", None)) is not None:
            step(entry)

    def _on_opened(self, entry: Entry) -> None:
        self.opened = entry.body
        self._turn_to(entry)
        self.book = book_from(entry.body["book"])
        self.peak = float(self.book.equity()[0])

    def _on_begun(self, entry: Entry) -> None:
        self.runner = entry.body

    def _on_ended(self, entry: Entry) -> None:
        self.runner = None

    def _on_bars(self, entry: Entry) -> None:
        self.last_bars = date.fromisoformat(entry.session)

    def _on_decision(self, entry: Entry) -> None:
        self.decided, self.decision = date.fromisoformat(entry.session), entry.body
        self.peak = max(self.peak, entry.body["equity"])
        if entry.body["caught_up"]:  # a later one of the same transaction holds book and memory
            return
        self.book = book_from(entry.body["book"])
        self.sent = not any(entry.body["orders"])
        self.fresh_memory = False
        for cid, count in entry.body["booked"].items():
            self.lines[cid].booked = count
        over = [x.cid for x in self.lines.values() if x.over and x.booked == len(x.fills)]
        for cid in over:
            del self.lines[cid]

    def _on_closed(self, entry: Entry) -> None:
        self.closed = date.fromisoformat(entry.session)

    def _on_skipped(self, entry: Entry) -> None:
        self.skipped, self.sent = date.fromisoformat(entry.session), True

    def _on_halted(self, entry: Entry) -> None:
        self.halted = entry.body["reason"]

    def _on_resumed(self, entry: Entry) -> None:
        self.halted = None
        self.forgiven = date.fromisoformat(entry.session) if entry.session else None
        if entry.body.get("checkpoint"):
            self._turn_to(entry)
        if entry.body.get("book"):  # re-based on what the venue holds
            self.book = book_from(entry.body["book"])
            self.rebased = datetime.fromisoformat(entry.body["at"])
            self.fills = 0
            for line in self.lines.values():
                line.booked = len(line.fills)
        if entry.body.get("peak"):
            self.peak = entry.body["peak"]

    def _on_promoted(self, entry: Entry) -> None:
        self._turn_to(entry)
        self.changed, self.proof = date.fromisoformat(entry.session), entry.body["proof"]

    def _on_declined(self, entry: Entry) -> None:
        self.declined = entry.body

    def _turn_to(self, entry: Entry) -> None:
        # Another agent: no memory of its own yet, and its history is asked for anew.
        body = entry.body
        self.checkpoint, self.event = body["checkpoint"], body.get("event", self.event)
        self.since = entry.session or body["at"][:10]
        self.fresh_memory, self.last_bars = True, None
        self.proof = self.declined = None


def book_body(book: Book) -> dict[str, Any]:
    """Return a book of one account as lists that JSON keeps bit for bit."""
    return {name: getattr(book, name).tolist() for name in BOOK_FIELDS}


def book_from(body: dict[str, Any]) -> Book:
    """Return the book that `book_body` wrote."""
    arrays = {name: np.array(body[name], dtype=np.float64) for name in BOOK_FIELDS}
    arrays["since"] = arrays["since"].astype(np.int64)
    return Book(**arrays)
