"""A vendor of bars for tests: answers in Alpaca's words, from bars or from rows put in by hand."""

from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from engine.bars import Bars

NEW_YORK = ZoneInfo("America/New_York")
Row = dict[str, Any]


class Vendor:
    """Holds wire rows by symbol and actions by kind; change them and ask again."""

    def __init__(self, bars: Bars | None = None) -> None:
        self.rows: dict[str, list[Row]] = {}
        self.actions: dict[str, list[Row]] = {}
        self.asked: list[tuple[str, date, date]] = []
        if bars is not None:
            self.take(bars)

    def take(self, bars: Bars) -> None:
        """Say what these bars say."""
        for n, symbol in enumerate(bars.symbols):
            on = np.flatnonzero(bars.traded[:, n])
            self.rows[symbol] = [row(bars.sessions[t], *bars.ohlcv[t, n].tolist()) for t in on]
        for t, n in np.argwhere(bars.split != 1.0):
            kind = "forward_splits" if bars.split[t, n] > 1 else "reverse_splits"
            day, ratio = str(bars.sessions[t]), float(bars.split[t, n])
            self.act(kind, symbol=bars.symbols[n], ex_date=day, new_rate=ratio, old_rate=1.0)
        for t, n in np.argwhere(bars.dividend != 0.0):
            day, rate = str(bars.sessions[t]), float(bars.dividend[t, n])
            self.act("cash_dividends", symbol=bars.symbols[n], ex_date=day, rate=rate)

    def act(self, kind: str, **fields: Any) -> Row:
        """Add a corporate action; it is processed on its ex-date unless told otherwise."""
        count = sum(len(group) for group in self.actions.values())
        day = fields.get("ex_date") or fields.get("effective_date")
        action = {"id": f"action-{count}", "process_date": day, **fields}
        self.actions.setdefault(kind, []).append(action)
        return action

    def bars(self, symbols: list[str], first: date, last: date, feed: str) -> dict[str, list[Row]]:
        """Answer with the rows whose stamp lies in the range."""
        self.asked += [(symbol, first, last) for symbol in symbols]
        found = {s: [r for r in self.rows.get(s, []) if _in(r, first, last)] for s in symbols}
        return {symbol: rows for symbol, rows in found.items() if rows}

    def corporate_actions(
        self, symbols: list[str], first: date, last: date
    ) -> dict[str, list[Row]]:
        """Answer with the actions processed in the range that name one of the symbols."""
        found: dict[str, list[Row]] = {}
        for kind, group in self.actions.items():
            for action in group:
                named = {value for key, value in action.items() if key.endswith("symbol")}
                processed = date.fromisoformat(str(action["process_date"])[:10])
                if named & set(symbols) and first <= processed <= last:
                    found.setdefault(kind, []).append(action)
        return found


def row(day: Any, o: Any, h: Any, low: Any, c: Any, v: Any = 1_000) -> Row:
    """Return one daily bar as it comes over the wire."""
    return {"t": stamp(str(day)), "o": o, "h": h, "l": low, "c": c, "v": v, "n": 1, "vw": c}


def stamp(day: str) -> str:
    """Return midnight in New York, in UTC, as Alpaca writes it."""
    local = datetime.combine(date.fromisoformat(day), time(), NEW_YORK)
    return local.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _in(one: Row, first: date, last: date) -> bool:
    # What cannot be read is served all the same.
    try:
        day = datetime.fromisoformat(one["t"]).astimezone(NEW_YORK).date()
    except (KeyError, TypeError, ValueError):
        return True
    return first <= day <= last
