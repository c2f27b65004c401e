"""A paper account against the backtest of the same bars: what agrees, what fills cost, how far apart.

The same agents decide again on the bars that the journal accepted, from the same book on, in the
simulated market. Once as anybody would backtest it; and once more with the shares that the venue did
not fill, and the sessions whose orders were never sent, taken from its orders too: what is still
apart then comes from prices alone.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from engine import measures
from engine.account import Conventions
from engine.checkpoint import RECORD, read
from engine.drift import Gap, gap_of
from engine.errors import CheckpointError, TradingError
from engine.measures import NotComputable
from engine.registry import ID_DIGITS, Registry
from engine.run.paper.drift import gaps_of
from engine.run.paper.lived import Cut, Cuts, CutVenue, Lived, kept_of, wishes_of
from engine.run.paper.reconcile import DIFFER
from engine.run.record import Recorder
from engine.run.relay import Turn, relay
from engine.settings import Settings

Told = dict[str, Any]
SAME = 5e-5  # wishes are rounded to four digits
SHARES = 1e-6
BARS = 21  # of the histogram of gaps
NEWEST = 20  # warnings kept


def replays(life: Lived, settings: Settings) -> tuple[Recorder, Recorder]:
    """Return the backtest as it is, and with the account's own missing shares taken away.

    Raises: CheckpointError where an agent that decided cannot be found, or does not fit.
    """
    turns = _turns(life, settings)
    plain = _replay(life, settings, turns, {})
    symbols = life.bars.symbols
    kept = kept_of(cuts_of(life), symbols)
    kept |= {day: np.zeros(len(symbols)) for day in life.missed}
    return plain, _replay(life, settings, turns, kept) if kept else plain


def cuts_of(life: Lived) -> list[Cut]:
    """Return every order that did not fill whole, by what the journal says of it."""
    symbols, found = life.bars.symbols, []
    for line in life.lines.values():
        if not line.over or not line.left:
            continue
        session = np.datetime64(line.intent.session)
        row = min(life.bars.index_of(session) + 1, len(life.bars.sessions) - 1)
        ratio = float(life.bars.split[row, symbols.index(line.intent.symbol)])
        kept = float(np.sign(line.intent.qty)) * line.filled / ratio
        found.append(Cut(session, line.intent.symbol, line.intent.qty, kept))
    never = [  # left out before they were orders
        Cut(np.datetime64(entry.session), symbol, np.nan, 0.0)
        for entry in life.decided
        for symbol in entry.body.get("refused", {})
    ]
    return [*found, *never]


def told(life: Lived, settings: Settings) -> tuple[Told, Recorder | None]:
    """Return every number of the comparison, as JSON has it, and the backtest.

    A number that cannot be told is None, and `why` has the reason under its name.
    """
    found: Told = {
        "from": str(life.sessions[0]),
        "to": str(life.sessions[-1]),
        "sessions": len(life.decided),
        "agreement": None,
        "tracking": None,
        "gap": None,
        "counts": counts_of(life),
        "agents": agents_of(life),
        "drift": drift_of(life),
        "why": {},
    }
    _tell_gap(found, life, settings)
    try:
        plain, explained = replays(life, settings)
    except TradingError as error:
        found["why"] |= dict.fromkeys(("agreement", "tracking"), str(error))
        return found, None
    found["agreement"] = {
        name: _agreement(life, record)
        for name, record in (("plain", plain), ("explained", explained))
    }
    try:
        found["tracking"] = _tracking(life, plain, explained)
    except NotComputable as error:
        found["why"]["tracking"] = str(error)
    return found, plain


def counts_of(life: Lived) -> dict[str, int]:
    """Return how often what happened: decisions, orders, differences, halts."""
    lines, kinds = life.lines.values(), Counter(entry.kind for entry in life.entries)
    ids = {(entry.body["cid"], entry.body["id"]) for entry in life.entries if entry.kind == "order"}
    halts = [str(entry.body["reason"]) for entry in life.entries if entry.kind == "halted"]
    caught_up = sum(bool(entry.body["caught_up"]) for entry in life.decided)
    return {
        "decisions made": len(life.decided) - caught_up,
        "decisions missed, memory caught up": caught_up,
        "sessions whose orders were never sent": len(life.missed),
        "orders sent": sum(line.order_id is not None for line in lines),
        "filled whole": sum(bool(line.filled) and not line.left for line in lines),
        "filled in part": sum(bool(line.filled) and bool(line.left) for line in lines),
        "ended unfilled": sum(
            line.over and line.order_id is not None and not line.filled for line in lines
        ),
        "refused by the venue": kinds["refused"],
        "too late to send": kinds["missed"],
        "sent twice": len(ids) - len({cid for cid, _ in ids}),
        "reconciliation differences": sum(reason.startswith(DIFFER) for reason in halts),
        "halts": len(halts),
    }


def agents_of(life: Lived) -> list[dict[str, str]]:
    """Return who decided from which session on, and how it came to that."""
    how = {"opened": "first", "promoted": "promoted", "resumed": "set by hand"}
    found: list[dict[str, str]] = []
    for entry, agent in zip(life.decided, life.agents, strict=True):
        if not found or found[-1]["id"] != agent[:ID_DIGITS]:
            before = (  # one that comes back came in its own way each time
                x.kind
                for x in reversed(life.entries)
                if x.number < entry.number and x.body.get("checkpoint") == agent and x.kind in how
            )
            kind = next(before, "opened")
            found.append({"from": entry.session, "id": agent[:ID_DIGITS], "how": how[kind]})
    return found


def drift_of(life: Lived) -> Told:
    """Return the drift of the last decision, and every session that warned."""
    known = [(x.session, x.body["drift"]) for x in life.decided if x.body.get("drift")]
    warned = [f"{on}: {text}" for on, drift in known for text in drift["warnings"]]
    return {
        "last": known[-1][1] if known else None,
        "sessions": len(known),
        "warned": len({text.partition(":")[0] for text in warned}),
        "newest": warned[-NEWEST:],
    }


def _turns(life: Lived, settings: Settings) -> list[Turn]:
    rows = [life.bars.index_of(session) for session in life.sessions]
    starts = [t for t, x in enumerate(life.agents) if t == 0 or life.agents[t - 1] != x]
    ends = [*(start - 1 for start in starts[1:]), len(rows) - 1]
    return [
        Turn(_folder(life.agents[start], settings), rows[start], rows[end])
        for start, end in zip(starts, ends, strict=True)
    ]


def _folder(digest: str, settings: Settings) -> Path:
    # The folder of the settings where it is that agent, otherwise the registry's copy of it.
    named = Path(settings.paper.checkpoint or "")
    if (named / RECORD).is_file() and read(named).digest == digest:
        return named
    copy = Registry(Path(settings.registry.dir)).place(digest)
    if not copy.is_dir():
        raise CheckpointError(
            f"agent {digest[:ID_DIGITS]}: expected its folder as paper.checkpoint or {copy}, found "
            "another or none; name it with --set paper.checkpoint=FOLDER, or registry.dir"
        )
    return copy


def _replay(life: Lived, settings: Settings, turns: list[Turn], kept: Cuts) -> Recorder:
    venue = CutVenue(0.0, (1, len(life.bars.symbols)), settings.costs, settings.venue)
    venue.book, venue.kept = life.book.copy(), kept
    return relay(settings, life.bars, turns, venue)


def _agreement(life: Lived, record: Recorder) -> dict[str, Any]:
    # Of all wishes, those that are the same; of all orders of either side, those of as many shares.
    ours, theirs = wishes_of([entry.body for entry in life.decided]), record.arrays()
    keeps = ours["keep"].astype(bool), theirs["keep"].astype(bool)
    near = np.abs(ours["exposure"] - theirs["exposure"]) < SAME
    actions = (keeps[0] == keeps[1]) & (keeps[0] | near)
    asked = ~np.isnan(ours["order_qty"])
    any_order = asked & ((ours["order_qty"] != 0) | (theirs["order_qty"] != 0))
    same = np.abs(ours["order_qty"] - theirs["order_qty"]) < SHARES
    wrong = np.flatnonzero(~actions.all(axis=1))
    return {
        "actions": [int(actions.sum()), int(actions.size)],
        "orders": [int((same & any_order).sum()), int(any_order.sum())],
        "first": str(life.sessions[wrong[0]]) if len(wrong) else None,
        "symbols": {
            symbol: [int(actions[:, n].sum()), len(actions)]
            for n, symbol in enumerate(life.bars.symbols)
        },
    }


def _tracking(life: Lived, plain: Recorder, explained: Recorder) -> dict[str, float]:
    ours = np.array([entry.body["equity"] for entry in life.decided])
    theirs, fair = plain.arrays()["equity"], explained.arrays()["equity"]
    periods = Conventions().periods
    returns = measures.returns_of(ours)
    return {
        "error": measures.tracking_error(returns, measures.returns_of(theirs), periods),
        "explained": measures.tracking_error(returns, measures.returns_of(fair), periods),
        "end": float(ours[-1] - theirs[-1]),
        "end_explained": float(ours[-1] - fair[-1]),
        "largest": float(np.abs(ours / theirs - 1.0).max()),
    }


def _tell_gap(found: Told, life: Lived, settings: Settings) -> None:
    bodies = [(entry.session, entry.body) for entry in life.decided]
    sessions, columns, gaps = gaps_of(bodies, life.bars, settings.costs)
    if not len(gaps):
        found["why"]["gap"] = "nothing has filled yet"
        return
    overall = gap_of(sessions, gaps)
    if overall is None:
        found["why"]["interval"] = "an interval needs fills of ten sessions"
    named = [(symbol, gaps[columns == n]) for n, symbol in enumerate(life.bars.symbols)]
    heights, edges = np.histogram(gaps, _edges(gaps))
    found["gap"] = {
        "all": _spread(gaps),
        "interval": overall and {name: getattr(overall, name) for name in Gap.__slots__},
        "symbols": {symbol: _spread(mine) for symbol, mine in named if len(mine)},
        "heights": heights.tolist(),
        "edges": edges.tolist(),
    }


def _spread(gaps: np.ndarray) -> dict[str, float]:
    low, middle, high = np.quantile(gaps, (0.05, 0.5, 0.95))
    whole = {"fills": len(gaps), "mean": float(gaps.mean()), "median": float(middle)}
    return whole | {"low": float(low), "high": float(high), "worst": float(gaps.max())}


def _edges(gaps: np.ndarray) -> np.ndarray:
    # As wide as the gaps, zero in the middle of a bar, at least a tenth of a point a bar.
    reach = max(float(np.abs(gaps).max()), 0.05 * BARS)
    return np.linspace(-reach, reach, BARS + 1)
