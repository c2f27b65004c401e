"""What a paper account lived through, as its journal tells it and as a backtest would record it.

`Lived` begins where the books last began: at the opening of the account, or when a person last took
the venue's books for ours. A comparison reads this; nothing here asks a venue.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brokers.alpaca.lines import KINDS, Line, apply
from engine.bars import CLOSE, Bars
from engine.book import Book, Orders
from engine.errors import UsageError
from engine.journal import Entry
from engine.reasons import Reason
from engine.run.paper.arrays import unpack
from engine.run.paper.bars_kept import ARRAYS, bars_from
from engine.run.paper.state import book_from
from engine.run.record import Recorder
from engine.venue import SimVenue

Cuts = Mapping[np.datetime64, np.ndarray]
Rows = dict[str, np.ndarray]


@dataclass(frozen=True)
class Cut:
    """Shares of one order that did not fill. Units: signed shares of the order."""

    session: np.datetime64
    symbol: str
    ordered: float
    kept: float  # in the shares of the day of the order


class CutVenue(SimVenue):
    """A simulated market that forgets some shares of orders it has accepted.

    `kept` says, by the session of the decision, what is left of each order; NaN = all of it.
    """

    kept: Cuts

    def submit(self, orders: Orders) -> np.ndarray:
        """Accept or refuse as ever, then forget."""
        refused = super().submit(orders)
        kept = self.kept.get(self._session[0])
        if kept is not None:
            wanted = (self.pending.qty != 0) & ~np.isnan(kept)
            self.pending.qty = np.where(wanted, kept, self.pending.qty)
            self.cancel(self.pending.qty == 0)
        return refused


@dataclass(frozen=True)
class Lived:
    """One stretch of an account's life: every session has a decision, made or caught up on."""

    book: Book  # before the first decision
    bars: Bars  # every accepted bar, as it was when it was decided on
    decided: list[Entry]
    entries: list[Entry]  # of every kind, since the books began
    agents: list[str]  # the digest of the one that made each decision

    @property
    def sessions(self) -> np.ndarray:
        """The sessions decided on."""
        return np.array([entry.session for entry in self.decided], dtype="datetime64[D]")

    @property
    def missed(self) -> list[np.datetime64]:
        """The sessions whose orders were never sent."""
        skipped = {entry.session for entry in self.entries if entry.kind == "skipped"}
        return [
            np.datetime64(entry.session)
            for entry in self.decided
            if entry.body["caught_up"] or entry.session in skipped
        ]

    @property
    def lines(self) -> dict[str, Line]:
        """Every order by its client id, as its last entry left it."""
        found: dict[str, Line] = {}
        for entry in self.entries:
            known = entry.kind == "intent" or entry.body.get("cid") in found
            if entry.kind in KINDS and known:
                apply(found, entry)
        return found


def lived(entries: Sequence[Entry]) -> Lived:
    """Return the newest stretch of a journal. Raises: UsageError before the first decision."""
    began = [at for at, x in enumerate(entries) if x.kind == "opened" or _rebased(x)]
    since = list(entries[began[-1] :]) if began else []
    decided = [entry for entry in since if entry.kind == "decision"]
    if not decided:
        raise UsageError(
            "expected a paper account that has decided on a session, found none in its journal; "
            "`barwise paper once` after a close makes the first decision"
        )
    book = book_from(since[0].body["book"])
    return Lived(book, _bars(entries), decided, since, _agents(decided))


def rows_of(decided: Sequence[Entry]) -> Rows:
    """Return decisions under the names of a recorder's fields. Shapes: (T, ...) each."""
    bodies = [entry.body for entry in decided]
    if not bodies:
        return {}
    packed = {
        name: [unpack(body[f"seen_{name}"]) for body in bodies] for name in ("market", "book")
    }
    return wishes_of(bodies) | {
        **{name: np.stack(arrays) for name, arrays in packed.items()},
        "memory": _memory(bodies),
    }


def wishes_of(bodies: Sequence[dict[str, Any]]) -> Rows:
    """Return what was wanted, ordered and filled, whichever agents decided. Shapes: (T, N) each."""
    plain = ("exposure", "keep", "target", "reasons", "filled", "price", "fee", "equity")
    rows = {name: np.array([body[name] for body in bodies], dtype=np.float64) for name in plain}
    width = rows["filled"].shape[1]
    orders = [body["orders"] or [np.nan] * width for body in bodies]  # caught up: none were sent
    return rows | {"order_qty": np.array(orders, dtype=np.float64)}


def kept_of(cuts: Iterable[Cut], symbols: tuple[str, ...]) -> dict[np.datetime64, np.ndarray]:
    """Return what is left of each order, as `CutVenue` takes it."""
    kept: dict[np.datetime64, np.ndarray] = {}
    for cut in cuts:
        row = kept.setdefault(cut.session, np.full(len(symbols), np.nan))
        row[symbols.index(cut.symbol)] = cut.kept
    return kept


def record_of(life: Lived) -> Recorder:
    """Return the account's life as a recorder has it, without what its agents saw and remembered.

    Positions of a session that was only caught up on follow from its fills and splits.
    """
    rows, record = wishes_of([entry.body for entry in life.decided]), Recorder()
    qty, mark = life.book.qty[0].copy(), life.book.mark[0].copy()
    for t, entry in enumerate(life.decided):
        at = life.bars.index_of(np.datetime64(entry.session))
        split, traded = life.bars.split[at], life.bars.traded[at]
        qty = qty * split + rows["filled"][t]
        if "book" in entry.body:
            qty = book_from(entry.body["book"]).qty[0]
        mark = np.where(traded, life.bars.ohlcv[at, :, CLOSE], mark / split)
        record.sessions.append(np.datetime64(entry.session, "D"))
        record.rows.append(_row({k: array[t] for k, array in rows.items()}, entry.body, qty, mark))
    return record


def _row(row: Rows, body: Mapping[str, Any], qty: np.ndarray, mark: np.ndarray) -> dict[str, Any]:
    none = np.zeros(len(qty), dtype=np.int32)
    unfilled = np.array(body["unfilled"], dtype=np.float64)
    nothing = dict.fromkeys(("market", "book", "valid", "memory"), np.empty((len(qty), 0)))
    return {
        **row,
        **nothing,
        "keep": row["keep"].astype(bool),
        "reasons": row["reasons"].astype(np.int32),
        "order_qty": np.nan_to_num(row["order_qty"]),
        "qty": qty,
        "mark": mark,
        "cash": np.float64(row["equity"] - qty @ mark),
        "unfilled": unfilled,
        "refused": np.where(unfilled != 0, np.int32(Reason.EXPIRED), none),
        "rejected": none,
        "settled": np.zeros(len(qty)),
    }


def _rebased(entry: Entry) -> bool:
    return entry.kind == "resumed" and bool(entry.body.get("book"))


def _agents(decided: Sequence[Entry]) -> list[str]:
    # A session that was caught up on was decided by the agent of the decision after it.
    found: list[str] = []
    agent = ""
    for entry in reversed(decided):
        agent = str(entry.body.get("checkpoint", agent))
        found.append(agent)
    return found[::-1]


def _memory(bodies: list[dict[str, Any]]) -> np.ndarray:
    # Of a session that was only caught up on, no memory is kept.
    found = [unpack(body["memory"])[0] if "memory" in body else None for body in bodies]
    shape = next(array.shape for array in found if array is not None)
    none = np.full(shape, np.nan, dtype=np.float32)
    return np.stack([none if array is None else array for array in found])


def _bars(entries: Iterable[Entry]) -> Bars:
    # A new agent asks for its history anew; what was decided on stays as it was then.
    blocks: dict[str, dict[str, Any]] = {}
    decided: set[str] = set()
    last: Entry | None = None
    for entry in entries:
        if entry.kind == "decision":
            decided.add(entry.session)
        elif entry.kind == "bars":
            last = entry
            for at, session in enumerate(entry.body["sessions"]):
                if session not in decided or session not in blocks:
                    blocks[session] = {name: entry.body[name][at] for name in ARRAYS}
    assert last is not None
    days = sorted(blocks)
    joined = {name: [blocks[day][name] for day in days] for name in ARRAYS}
    whole = Entry(last.number, last.session, "bars", last.body | joined | {"sessions": days})
    bars = bars_from([whole])
    assert bars is not None
    return bars
