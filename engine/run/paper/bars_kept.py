"""Accepted bars in the journal and back: whatever was decided on can be decided on again."""

from collections.abc import Iterable
from datetime import date
from typing import Any

import numpy as np

from engine.bars import Bars
from engine.journal import Entry

ARRAYS = ("ohlcv", "traded", "split", "dividend")


def bars_body(bars: Bars) -> dict[str, Any]:
    """Return bars as a journal entry's body; a price that does not exist is null."""
    body: dict[str, Any] = {name: getattr(bars, name).tolist() for name in ARRAYS}
    body["ohlcv"] = [
        [[None if x != x else x for x in row] for row in session] for session in body["ohlcv"]
    ]
    body["sessions"] = [str(day) for day in bars.sessions]
    about = {"symbols": list(bars.symbols), "basis": bars.price_basis, "source": bars.source}
    return body | about | {"digest": bars.digest()}


def bars_from(entries: Iterable[Entry]) -> Bars | None:
    """Return all bars that a journal's entries hold, oldest first; None where there are none.

    An entry that starts anew takes the place of all before it.
    """
    bodies: list[dict[str, Any]] = []
    for entry in entries:
        if entry.body.get("anew"):
            bodies.clear()
        bodies.append(entry.body)
    if not bodies:
        return None
    last = bodies[-1]
    symbols = tuple(last["symbols"])
    joined = {name: [row for body in bodies for row in body[name]] for name in ARRAYS}
    sessions = [day for body in bodies for day in body["sessions"]]
    return Bars(
        sessions=np.array(sessions, dtype="datetime64[D]"),
        symbols=symbols,
        ohlcv=np.array(joined["ohlcv"], dtype=np.float64),
        traded=np.array(joined["traded"], dtype=bool),
        split=np.array(joined["split"], dtype=np.float64),
        dividend=np.array(joined["dividend"], dtype=np.float64),
        ended=np.full(len(symbols), np.datetime64("NaT"), dtype="datetime64[D]"),
        price_basis=last["basis"],
        source=last["source"],
    )


def day(session: np.datetime64) -> date:
    """Return a session as a date."""
    return date.fromisoformat(str(session))
