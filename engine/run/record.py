"""Watch a run bar by bar at its two seams: the trader's decisions and the venue's answers.

The same recorder fits the environment, the plain replay and Backtrader, so that their records can be
compared field by field. Books: 1.
"""

import hashlib
from typing import Any

import numpy as np

from engine.bars import MarketRow
from engine.journal import Journal
from engine.reasons import explain
from engine.trader import Decision, Trader
from engine.venue import Book, Orders, Outcome, Venue

FLUSH = 250  # bars kept back before they are written to the journal

FIELDS = (
    "market", "book", "memory", "exposure", "keep", "target", "reasons", "order_qty",
    "refused", "filled", "price", "fee", "settled", "qty", "mark", "cash", "equity",
)  # fmt: skip


class Recorder:
    """Keep one row of named arrays for each bar.

    Shapes: (N, .) or (N,) for a row; `cash` and `equity` are scalars.
    """

    def __init__(self, journal: Journal | None = None, symbols: tuple[str, ...] = ()) -> None:
        self.sessions: list[np.datetime64] = []
        self.rows: list[dict[str, Any]] = []
        self._journal, self._symbols, self._written = journal, symbols, 0

    def watch(self, trader: Trader, venue: Venue) -> "WatchedVenue":
        """Follow both; use the returned venue in place of the one given."""
        trader.observer = lambda decision: self._decided(decision, trader.memory)
        return WatchedVenue(venue, self)

    def start(self, session: np.datetime64, book: Book) -> None:
        """Open the row of a bar on which nothing could fill yet."""
        shape = book.qty.shape
        self._open(session, book)
        self._note("refused", np.zeros(shape, dtype=np.int32))
        for name in ("filled", "price", "fee", "settled"):
            self._note(name, np.full(shape, np.nan if name == "price" else 0.0))

    def advanced(self, outcome: Outcome, book: Book) -> None:
        """Open the row of a bar with what the venue did on it."""
        self._open(outcome.session[0], book)
        self._note("refused", outcome.refused)
        for name in ("filled", "price", "fee", "settled"):
            self._note(name, getattr(outcome, name))

    def submitted(self, refused: np.ndarray) -> None:
        """Add what was refused at acceptance to the bar of its decision."""
        self.rows[-1]["refused"] = self.rows[-1]["refused"] | refused[0]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every field stacked over bars, (T, ...)."""
        kept = [row for row in self.rows if "exposure" in row]
        return {name: np.stack([row[name] for row in kept]) for name in FIELDS if kept}

    def flush(self) -> None:
        """Write the rows that are complete to the journal, the last one included."""
        if self._journal is not None:
            for at in range(self._written, len(self.rows)):
                _enter(self._journal, str(self.sessions[at]), self.rows[at], self._symbols)
            self._written = len(self.rows)
            self._journal.commit()

    def _open(self, session: np.datetime64, book: Book) -> None:
        if len(self.rows) - self._written >= FLUSH:
            self.flush()
        self.sessions.append(session.astype("datetime64[D]"))
        self.rows.append({})
        for name in ("qty", "mark", "cash"):
            self._note(name, getattr(book, name))
        self._note("equity", book.equity())

    def _decided(self, decision: Decision, memory: np.ndarray) -> None:
        obs, wish = decision.obs, decision.wish
        for name, array in (
            ("market", obs.market),
            ("book", obs.book),
            ("memory", memory),
            ("exposure", wish.exposure),
            ("keep", wish.keep),
            ("target", decision.target),
            ("reasons", decision.reasons),
            ("order_qty", decision.orders.qty),
        ):
            self._note(name, array)

    def _note(self, name: str, array: np.ndarray) -> None:
        self.rows[-1][name] = np.array(array[0])


def _enter(journal: Journal, session: str, row: dict[str, Any], symbols: tuple[str, ...]) -> None:
    # One entry a bar for the account, one for the decision, one for each fill and refusal.
    account = {"cash": float(row["cash"]), "equity": float(row["equity"])}
    journal.append("account", session, account | {"qty": row["qty"].tolist()})
    for n, symbol in enumerate(symbols):
        for kind in ("filled", "settled"):
            if row[kind][n]:
                price = row["price"][n] if kind == "filled" else row["mark"][n]
                body = {"symbol": symbol, "qty": float(row[kind][n]), "price": float(price)}
                journal.append(kind, session, body | {"fee": float(row["fee"][n])})
        if row["refused"][n]:
            why = explain(row["refused"][n])
            journal.append("refused", session, {"symbol": symbol, "why": why})
    if "exposure" in row:
        seen = (row["market"], row["book"], row["memory"])
        digest = hashlib.sha256(b"".join(array.tobytes() for array in seen)).hexdigest()
        names = ("exposure", "keep", "target", "order_qty", "reasons")
        journal.append("decision", session, {n: row[n].tolist() for n in names} | {"seen": digest})


class WatchedVenue:
    """A venue whose answers are recorded; everything else passes through."""

    def __init__(self, venue: Venue, recorder: Recorder) -> None:
        self._venue, self._recorder = venue, recorder

    def submit(self, orders: Orders) -> np.ndarray:
        """Submit, and record what was refused."""
        refused = self._venue.submit(orders)
        self._recorder.submitted(refused)
        return refused

    def advance(self, row: MarketRow) -> Outcome:
        """Advance, and record what happened."""
        outcome = self._venue.advance(row)
        self._recorder.advanced(outcome, self._venue.book)
        return outcome

    def __getattr__(self, name: str) -> Any:
        return getattr(self._venue, name)
