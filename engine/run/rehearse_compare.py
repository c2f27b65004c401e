"""A rehearsal against the backtest of the same bars: row by row, number by number.

Where the exchange did not fill an order whole, the backtest is run a second time with just those
shares cut from its orders, as the exchange counted them; nothing else is forgiven.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.book import Orders
from engine.journal import Entry
from engine.run.backtest import through_backtrader
from engine.run.evaluation import deployed
from engine.run.paper.decide import unpack
from engine.run.record import Recorder
from engine.run.rehearse import Play, Rehearsed
from engine.trader import Trader
from engine.venue import SimVenue

CENT = 0.005
FIELDS = {
    "decisions": ("exposure", "keep", "target", "reasons"),
    "orders": ("order_qty",),
    "fills": ("filled", "price"),
    "fees": ("fee",),
    "memory": ("memory",),
    "observations": ("market", "book"),
    "equity": ("equity",),
}
Cuts = Mapping[np.datetime64, np.ndarray]
Rows = dict[str, np.ndarray]


@dataclass(frozen=True)
class Line:
    """One thing compared: how many numbers, how many differ, by how much, and first where."""

    what: str
    compared: int
    differ: int
    largest: float
    session: str = ""


@dataclass(frozen=True)
class Cut:
    """Shares of one order that the exchange did not fill. Units: signed shares of the order."""

    session: np.datetime64
    symbol: str
    ordered: float
    kept: float  # in the shares of the day of the order


@dataclass(frozen=True)
class Agreement:
    """Whether the rehearsal did what the backtest does, and what it is explained by."""

    lines: tuple[Line, ...]
    decided: int
    fills: int
    missed: tuple[str, ...]
    cuts: tuple[Cut, ...]
    unexplained: tuple[str, ...]
    cost_of_cuts: float  # dollars of equity at the end, against a backtest without them

    @property
    def holds(self) -> bool:
        """Tell whether every row agrees."""
        same = all(line.differ == 0 for line in self.lines)
        return same and not self.unexplained


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


def compare(play: Play, found: Rehearsed) -> Agreement:
    """Run the backtest of the same sessions and compare; with the shares cut that were not filled."""
    decided = found.entries["decision"]
    symbols = play.bars.symbols
    missed = _missed(play, found)
    cuts, unexplained = _cuts(play, found)
    plain = _backtest(play, {})
    kept = _kept(cuts, symbols) | {day: np.zeros(len(symbols)) for day in missed}
    explained = _backtest(play, kept) if kept else plain
    rows = _rows(decided)
    count = min(len(decided), explained.complete())
    lines = _lines(rows, explained.arrays(), play.sessions, count) if count else []
    if count != len(play.sessions):
        unexplained.append(f"{count} of {len(play.sessions)} sessions were decided on")
    gap = 0.0
    if count:
        lines.append(_cash(found, explained, count))
    if any(line.differ for line in lines):
        unexplained += _in_parts(found)
        gap = float(explained.rows[count - 1]["equity"] - plain.rows[count - 1]["equity"])
    return Agreement(
        lines=tuple(lines),
        decided=count,
        fills=int((rows["filled"] != 0).sum()) if count else 0,
        missed=tuple(str(day) for day in missed),
        cuts=tuple(cuts),
        unexplained=tuple(unexplained),
        cost_of_cuts=gap,
    )


def _backtest(play: Play, kept: Cuts) -> Recorder:
    spec, policy = deployed(play.settings, play.checkpoint, play.bars)
    symbols = len(play.bars.symbols)
    trader = Trader(spec, policy, symbols)
    venue = CutVenue(play.settings.backtest.cash, (1, symbols), spec.costs, spec.venue)
    venue.kept = kept
    return through_backtrader(play.bars, trader, venue, play.first, play.last)


def _rows(decided: list[Entry]) -> Rows:
    # The journal's decisions under the names of a recorder's fields.
    bodies = [entry.body for entry in decided]
    if not bodies:
        return {}
    plain = ("exposure", "keep", "target", "reasons", "filled", "price", "fee", "equity")
    rows = {name: np.array([body[name] for body in bodies], dtype=np.float64) for name in plain}
    width = rows["filled"].shape[1]
    orders = [body["orders"] or [np.nan] * width for body in bodies]  # caught up: none were sent
    packed = {
        name: [unpack(body[f"seen_{name}"]) for body in bodies] for name in ("market", "book")
    }
    return rows | {
        "order_qty": np.array(orders),
        **{name: np.stack(arrays) for name, arrays in packed.items()},
        "memory": _memory(bodies),
    }


def _memory(bodies: list[dict[str, Any]]) -> np.ndarray:
    # Of a session that was only caught up on, no memory is kept.
    found = [unpack(body["memory"])[0] if "memory" in body else None for body in bodies]
    shape = next(array.shape for array in found if array is not None)
    none = np.full(shape, np.nan, dtype=np.float32)
    return np.stack([none if array is None else array for array in found])


def _lines(rows: Rows, expected: Rows, sessions: np.ndarray, count: int) -> list[Line]:
    found = []
    for what, names in FIELDS.items():
        gaps = [_gap(name, rows[name][:count], expected[name][:count]) for name in names]
        gap = np.concatenate([each.reshape(count, -1) for each in gaps], axis=1)
        wrong = gap > 0.0
        first = np.flatnonzero(wrong.any(axis=1))
        where = str(sessions[first[0]]) if len(first) else ""
        largest = float(gap.max(initial=0.0))
        found.append(Line(what, int(gap.size), int(wrong.sum()), largest, where))
    return found


def _cash(found: Rehearsed, expected: Recorder, count: int) -> Line:
    # What the exchange holds is ours before the modelled costs.
    fees = sum(float(row["fee"].sum()) for row in expected.rows[:count])
    gap = abs(found.cash - float(expected.rows[count - 1]["cash"]) - fees)
    return Line("cash at the exchange", 1, int(gap > CENT), gap)


def _gap(name: str, mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    one, other = mine.astype(np.float64), theirs.astype(np.float64)
    gap = np.abs(one - other)
    unknown = np.isnan(one) & np.isnan(other)
    if name in ("order_qty", "memory"):  # not told for sessions that were caught up on
        unknown |= np.isnan(one)
    return np.where(unknown, 0.0, np.nan_to_num(gap, nan=np.inf))


def _missed(play: Play, found: Rehearsed) -> list[np.datetime64]:
    skipped = {np.datetime64(entry.session) for entry in found.entries["skipped"]}
    decided = found.entries["decision"]
    skipped |= {np.datetime64(entry.session) for entry in decided if entry.body["caught_up"]}
    return [day for day in play.sessions if day in skipped]


def _cuts(play: Play, found: Rehearsed) -> tuple[list[Cut], list[str]]:
    # By what the exchange says of its orders; the journal only knows which session they belong to.
    intents = {entry.body["client_order_id"]: entry for entry in found.entries["intent"]}
    cuts, odd = [], []
    seen = set()
    for order in found.orders:
        cid = order["client_order_id"]
        seen.add(cid)
        if cid not in intents:
            odd.append(f"{cid}: the exchange has an order that the journal does not know")
            continue
        intent = intents[cid]
        session, column = np.datetime64(intent.session), play.bars.symbols.index(order["symbol"])
        left = float(order["qty"]) - float(order["filled_qty"])
        if left and order["status"] in ("canceled", "expired"):
            row = play.bars.index_of(session) + 1
            ratio = play.bars.split[row, column]
            sign = 1.0 if order["side"] == "buy" else -1.0
            kept = sign * float(order["filled_qty"]) / ratio
            cuts.append(Cut(session, order["symbol"], float(intent.body["qty"]), kept))
    late = {entry.body["cid"] for entry in found.entries["missed"]}
    for cid in late - seen:
        entry = intents[cid]
        qty = float(entry.body["qty"])
        cuts.append(Cut(np.datetime64(entry.session), entry.body["symbol"], qty, 0.0))
    refused = {entry.body.get("cid") for entry in found.entries["refused"]}
    lost = sorted(set(intents) - seen - late - refused)
    odd += [f"{cid}: the journal has an order that the exchange never saw" for cid in lost]
    return cuts, odd


def _in_parts(found: Rehearsed) -> list[str]:
    # The rest of an order that nobody canceled in time fills at the close; a backtest fills once.
    parts = Counter(entry.body["cid"] for entry in found.entries["fill"])
    return [
        f"{cid}: filled in {count} parts, at the open and at the close; a backtest fills once"
        for cid, count in parts.items()
        if count > 1
    ]


def _kept(cuts: Iterable[Cut], symbols: tuple[str, ...]) -> dict[np.datetime64, np.ndarray]:
    kept: dict[np.datetime64, np.ndarray] = {}
    for cut in cuts:
        row = kept.setdefault(cut.session, np.full(len(symbols), np.nan))
        row[symbols.index(cut.symbol)] = cut.kept
    return kept
