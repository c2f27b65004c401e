"""Watch a run bar by bar at its two seams: the trader's decisions and the venue's answers.

The same recorder fits the environment, the plain replay and Backtrader, so that their records can be
compared field by field. One book, or several that are told apart afterwards.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from engine.bars import MarketRow
from engine.journal import Journal
from engine.masks import some
from engine.reasons import REFUSALS, explain
from engine.trader import Decision, Trader
from engine.venue import Book, Orders, Outcome, Venue

FLUSH = 250  # bars kept back before they are written to the journal

FIELDS = (
    "market", "book", "valid", "memory", "exposure", "keep", "target", "reasons", "order_qty",
    "rejected", "refused", "unfilled", "filled", "price", "fee", "settled", "qty", "mark", "cash",
    "equity",
)  # fmt: skip

SEEN = ("market", "book", "valid", "memory")  # left out of a record of several books
OUTCOME = ("refused", "unfilled", "filled", "price", "fee", "settled")


class Recorder:
    """Keep one row of named arrays for each bar.

    Shapes: (N, .) or (N,) for a row; `cash` and `equity` are scalars. `rejected`: Reason bits of the
    orders sent on this bar that were not accepted; `refused`: of those that ended unfilled on it.
    With `several` books every shape has them in front, and `apart` takes them apart.
    """

    def __init__(
        self,
        journal: Journal | None = None,
        symbols: tuple[str, ...] = (),
        several: bool = False,
    ) -> None:
        self.sessions: list[np.datetime64] = []
        self._rows: list[dict[str, Any]] = []
        # Of a book taken from several, until its rows are asked for.
        self._stacked: dict[str, np.ndarray] | None = None
        self._at = slice(None) if several else 0
        self._journal, self._symbols, self._written = journal, symbols, 0

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a bar, the last one perhaps without its decision."""
        if self._stacked is not None:
            columns = zip(*self._stacked.values(), strict=True)
            self._rows = [dict(zip(self._stacked, row, strict=True)) for row in columns]
            self._stacked = None
        return self._rows

    def watch(self, trader: Trader, venue: Venue) -> "WatchedVenue":
        """Follow both; use the returned venue in place of the one given."""
        trader.observer = lambda decision: self._decided(decision, trader.memory)
        return WatchedVenue(venue, self)

    def start(self, session: np.datetime64, book: Book) -> None:
        """Open the row of a bar on which nothing could fill yet."""
        shape = book.qty.shape
        day = np.array([session], dtype="datetime64[D]")
        self.advanced(Outcome.nothing(day, *shape), book)

    def advanced(self, outcome: Outcome, book: Book) -> None:
        """Open the row of a bar with what the venue did on it."""
        if len(self._rows) - self._written >= FLUSH:
            self.flush()
        self.sessions.append(outcome.session[0].astype("datetime64[D]"))
        # A book changes in place and is copied; what a bar hands out is made for it and stays.
        at = self._at
        row = {
            "qty": book.qty[at].copy(),
            "mark": book.mark[at].copy(),
            "cash": book.cash[at].copy(),
        }
        row |= {"equity": book.equity()[at], "rejected": np.zeros_like(outcome.refused[at])}
        row |= {name: getattr(outcome, name)[at] for name in OUTCOME}
        self._rows.append(row)

    def apart(self) -> list["Recorder"]:
        """Return the record of each of several books, without what it has seen."""
        whole = self.arrays()
        return [self._alone(whole, book) for book in range(whole["cash"].shape[1])]

    def _alone(self, whole: Mapping[str, np.ndarray], book: int) -> "Recorder":
        alone = Recorder()
        alone.sessions = self.sessions[: len(whole["cash"])]
        alone._stacked = {name: values[:, book] for name, values in whole.items()}
        return alone

    def submitted(self, refused: np.ndarray) -> None:
        """Add what was not accepted to the bar of its decision."""
        if some(refused):
            self._rows[-1]["rejected"] = self._rows[-1]["rejected"] | refused[self._at]

    def complete(self) -> int:
        """Return how many bars are complete: those with a decision; an interrupt may leave one not."""
        return sum("exposure" in row for row in self.rows)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every field stacked over bars, (T, ...)."""
        if self._stacked is not None:
            return {name: values.copy() for name, values in self._stacked.items()}
        kept = [row for row in self.rows if "exposure" in row]
        there = [name for name in FIELDS if kept and name in kept[0]]
        return {name: np.stack([row[name] for row in kept]) for name in there}

    def flush(self) -> None:
        """Write the rows that are complete to the journal, the last one included."""
        if self._journal is not None:
            for at in range(self._written, len(self.rows)):
                _enter(self._journal, str(self.sessions[at]), self.rows[at], self._symbols)
            self._written = len(self.rows)
            self._journal.commit()

    def _decided(self, decision: Decision, memory: np.ndarray) -> None:
        obs, wish, at = decision.obs, decision.wish, self._at
        self._rows[-1] |= {
            "exposure": wish.exposure[at],
            "keep": wish.keep[at],
            "target": decision.target[at],
            "reasons": decision.reasons[at],
            "order_qty": decision.orders.qty[at],
        }
        if at == 0:
            masked = np.empty((*obs.fresh.shape, 0), dtype=bool) if obs.valid is None else obs.valid
            seen = (obs.market, obs.book, masked, memory)
            self._rows[-1] |= {name: array[0] for name, array in zip(SEEN, seen, strict=True)}


def refusals(row: Mapping[str, np.ndarray]) -> Iterator[tuple[int, int, float]]:
    """Yield symbol, Reason bits and shares of everything refused or cut on one bar.

    Units: shares not bought or sold; for a cut, the shares that were ordered all the same.
    """
    if "exposure" in row:
        cut = row["reasons"] & int(REFUSALS)
        for bits, qty in ((cut, row["order_qty"]), (row["rejected"], row["order_qty"])):
            yield from _some(bits, qty)
    yield from _some(row["refused"], row["unfilled"])


def _some(bits: np.ndarray, qty: np.ndarray) -> Iterator[tuple[int, int, float]]:
    for n in np.flatnonzero(bits):
        yield int(n), int(bits[n]), float(qty[n])


def _enter(journal: Journal, session: str, row: dict[str, Any], symbols: tuple[str, ...]) -> None:
    # One entry a bar for the account, one for the decision, one for each fill and refusal.
    account = {"cash": float(row["cash"]), "equity": float(row["equity"])}
    journal.append("account", session, account | {"qty": row["qty"].tolist()})
    for n, symbol in enumerate(symbols):
        moves = (("filled", row["filled"][n], "price"), ("settled", -row["settled"][n], "mark"))
        for kind, qty, at in moves:
            if qty:
                body = {"symbol": symbol, "qty": float(qty), "price": float(row[at][n])}
                fee = float(row["fee"][n]) if kind == "filled" else 0.0
                journal.append(kind, session, body | {"fee": fee})
    for n, bits, qty in refusals(row):
        body = {"symbol": symbols[n], "qty": qty, "why": explain(bits)}
        journal.append("refused", session, body)
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
