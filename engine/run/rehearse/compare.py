"""A rehearsal against the backtest of the same bars: row by row, number by number.

Where the exchange did not fill an order whole, the backtest is run a second time with just those
shares cut from its orders, as the exchange counted them; nothing else is forgiven.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.run.backtest import through_backtrader
from engine.run.evaluation import deployed
from engine.run.paper.arrays import unpack
from engine.run.paper.lived import Cut, Cuts, CutVenue, kept_of, wishes_of
from engine.run.record import Recorder
from engine.run.rehearse.agents import id_of, never_decided, turns_of
from engine.run.rehearse.run import Play, Rehearsed
from engine.run.relay import Turn, relay
from engine.trader import Trader

CENT = 0.005
Row = dict[str, np.ndarray]
FIELDS = {
    "decisions": ("exposure", "keep", "target", "reasons"),
    "orders": ("order_qty",),
    "fills": ("filled", "price"),
    "fees": ("fee",),
    "memory": ("memory",),
    "observations": ("market", "book"),
    "equity": ("equity",),
}


@dataclass(frozen=True)
class Line:
    """One thing compared: how many numbers, how many differ, by how much, and first where."""

    what: str
    compared: int
    differ: int
    largest: float
    session: str = ""


@dataclass(frozen=True)
class Agreement:
    """Whether the rehearsal did what the backtest does, and what it is explained by."""

    lines: tuple[Line, ...]
    decided: int
    fills: int
    missed: tuple[str, ...]
    cuts: tuple[Cut, ...]
    unexplained: tuple[str, ...]
    agents: tuple[tuple[str, str], ...]  # the first session of each, and its id
    cost_of_cuts: float  # dollars of equity at the end, against a backtest without them

    @property
    def holds(self) -> bool:
        """Tell whether every row agrees."""
        same = all(line.differ == 0 for line in self.lines)
        return same and not self.unexplained


def compare(play: Play, found: Rehearsed) -> Agreement:
    """Run the backtest of the same sessions and compare; with the shares cut that were not filled."""
    decided = found.entries["decision"]
    symbols = play.bars.symbols
    missed = _missed(play, found)
    cuts, unexplained = _cuts(play, found)
    turns = turns_of(play, found)
    unexplained += never_decided(play, found, turns[-1].checkpoint)
    plain = _backtest(play, turns, {})
    kept = kept_of(cuts, symbols) | {day: np.zeros(len(symbols)) for day in missed}
    explained = _backtest(play, turns, kept) if kept else plain
    count = min(len(decided), explained.complete())
    expected = explained.rows[:count]
    rows = [_row(entry.body, row) for entry, row in zip(decided, expected, strict=False)]
    lines = _lines(rows, expected, play.sessions) if count else []
    if count != len(play.sessions):
        unexplained.append(f"{count} of {len(play.sessions)} sessions were decided on")
    gap = 0.0
    if count:
        lines.append(_cash(found, explained, count))
        gap = float(explained.rows[count - 1]["equity"] - plain.rows[count - 1]["equity"])
    if any(line.differ for line in lines):
        unexplained += _in_parts(found)
    return Agreement(
        lines=tuple(lines),
        decided=count,
        fills=sum(int((row["filled"] != 0).sum()) for row in rows),
        missed=tuple(str(day) for day in missed),
        cuts=tuple(cuts),
        unexplained=tuple(unexplained),
        agents=tuple((str(play.bars.sessions[x.first]), id_of(x.checkpoint)) for x in turns),
        cost_of_cuts=gap,
    )


def _backtest(play: Play, turns: list[Turn], kept: Cuts) -> Recorder:
    settings, symbols = play.settings, len(play.bars.symbols)
    venue = CutVenue(settings.backtest.cash, (1, symbols), settings.costs, settings.venue)
    venue.kept = kept
    if len(turns) > 1:
        return relay(settings, play.bars, turns, venue)
    spec, policy = deployed(settings, turns[0].checkpoint, play.bars)
    trader = Trader(spec, policy, symbols)
    return through_backtrader(play.bars, trader, venue, play.first, play.last)


def _row(body: dict[str, Any], expected: Row) -> Row:
    # A decision of the journal, which may be of another agent than the one before it. Of a session
    # that was only caught up on, no memory is kept.
    row = {name: array[0] for name, array in wishes_of([body]).items()}
    row |= {name: unpack(body[f"seen_{name}"]) for name in ("market", "book")}
    none = np.full_like(expected["memory"], np.nan)
    return row | {"memory": unpack(body["memory"])[0] if "memory" in body else none}


def _lines(rows: list[Row], expected: list[Row], sessions: np.ndarray) -> list[Line]:
    found = []
    for what, names in FIELDS.items():
        pairs = zip(rows, expected, strict=True)
        gaps = [np.concatenate([_gap(x, one[x], other[x]) for x in names]) for one, other in pairs]
        wrong = np.array([int((gap > 0.0).sum()) for gap in gaps])
        first = np.flatnonzero(wrong)
        where = str(sessions[first[0]]) if len(first) else ""
        largest = max(float(gap.max(initial=0.0)) for gap in gaps)
        found.append(Line(what, sum(gap.size for gap in gaps), int(wrong.sum()), largest, where))
    return found


def _cash(found: Rehearsed, expected: Recorder, count: int) -> Line:
    # What the exchange holds is ours before the modelled costs.
    fees = sum(float(row["fee"].sum()) for row in expected.rows[:count])
    gap = abs(found.cash - float(expected.rows[count - 1]["cash"]) - fees)
    return Line("cash at the exchange", 1, int(gap > CENT), gap)


def _gap(name: str, mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    if mine.shape != theirs.shape:  # of another agent
        return np.full(theirs.size, np.inf)
    one, other = mine.astype(np.float64), theirs.astype(np.float64)
    gap = np.abs(one - other)
    unknown = np.isnan(one) & np.isnan(other)
    if name in ("order_qty", "memory"):  # not told for sessions that were caught up on
        unknown |= np.isnan(one)
    return np.where(unknown, 0.0, np.nan_to_num(gap, nan=np.inf)).ravel()


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
