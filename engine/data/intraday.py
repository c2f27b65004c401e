"""Bars within the day: does each session start, end and fill up as the calendar says.

Stamps are left edges, as all known vendors write them: a bar at 15:59 ends at 16:00.
"""

from datetime import UTC

import numpy as np

from engine import clock
from engine.bars import CLOSE, HIGH, LOW, OPEN, VOLUME
from engine.data.cells import NEW_YORK
from engine.data.findings import Finding, several
from engine.data.rows import when
from engine.data.tables import Table

LATE_S = 1800  # a session that starts or stops this much off its hours is not whole
LARGE = 1.4  # open and close of one bar this many times apart


def check(table: Table) -> list[Finding]:
    """List what is wrong with the hours of one table of NYSE bars, sorted and without copies."""
    sessions = clock.sessions("XNYS", table.days.min(), table.days.max())
    inside = np.isin(table.days, sessions)
    table = table.take(inside)
    if len(table.lines) == 0:
        return []
    step = step_s(table)
    session, opens, closes = _hours(table, sessions)
    since_open = (table.stamps - opens[session]).astype(np.int64)
    to_close = (closes[session] - table.stamps).astype(np.int64)
    regular = (since_open + step > 0) & (to_close > 0)
    return [
        *_length(table, step),
        *_extended(table, ~regular, to_close <= 0),
        *_partial(table, session, since_open, to_close, regular, step),
        *_two_scales(table),
    ]


def step_s(table: Table) -> int:
    """Return the usual distance between bars, in seconds."""
    apart = np.diff(table.stamps).astype(np.int64)
    apart = apart[(apart > 0) & (apart < 6 * 3600)]
    if len(apart) == 0:
        return 60
    values, counts = np.unique(apart, return_counts=True)
    return int(values[np.argmax(counts)])


def to_daily(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Aggregate regular-hours bars to sessions: days (d,), ohlcv (d, 5)."""
    sessions = clock.sessions("XNYS", table.days.min(), table.days.max())
    table = table.take(np.isin(table.days, sessions))
    if len(table.lines) == 0:
        return table.days, table.ohlcv
    session, opens, closes = _hours(table, sessions)
    kept = table.stamps + np.timedelta64(step_s(table), "s") > opens[session]
    table = table.take(kept & (table.stamps < closes[session]))
    days, first = np.unique(table.days, return_index=True)
    if len(days) == 0:
        return days, table.ohlcv[:0]
    last = np.append(first[1:], len(table.days)) - 1
    return days, np.stack(
        [
            table.ohlcv[first, OPEN],
            np.maximum.reduceat(table.ohlcv[:, HIGH], first),
            np.minimum.reduceat(table.ohlcv[:, LOW], first),
            table.ohlcv[last, CLOSE],
            np.add.reduceat(table.ohlcv[:, VOLUME], first),
        ],
        axis=1,
    )


def _hours(table: Table, sessions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Each bar's session number, and the sessions' opening and closing times in New York.
    hours = (clock.opens_at(sessions, "XNYS"), clock.closes_at(sessions, "XNYS"))
    opens, closes = (
        np.array(
            [t.replace(tzinfo=UTC).astimezone(NEW_YORK).replace(tzinfo=None) for t in utc.tolist()],
            dtype="datetime64[s]",
        )
        for utc in hours
    )
    return np.searchsorted(sessions, table.days), opens, closes


def _length(table: Table, step: int) -> list[Finding]:
    message = f"bars of {several(step // 60, 'minute')}, {several(len(table.lines), 'row')}: not daily bars"
    remedy = "make daily bars of them before loading"
    return [Finding(table.file, table.symbol, "intraday", "info", message, remedy)]


def _extended(table: Table, outside: np.ndarray, late: np.ndarray) -> list[Finding]:
    at = np.where(outside)[0]
    if len(at) == 0:
        return []
    message = (
        f"{several(len(at), 'bar')} outside trading hours, {int(late.sum()):,} after the close: "
        f"first {when(table, at[:1])[0]}, last {when(table, at[-1:])[0]}"
    )
    return [_finding(table, "outside_hours", at, message, "keep 09:30 to the close of that day")]


def _partial(
    table: Table,
    session: np.ndarray,
    since_open: np.ndarray,
    to_close: np.ndarray,
    regular: np.ndarray,
    step: int,
) -> list[Finding]:
    late, short, counts = [], [], []
    for one in np.unique(session[regular]):
        rows = np.where(regular & (session == one))[0]
        if since_open[rows[0]] >= LATE_S:
            late.append(rows[0])
        if to_close[rows[-1]] - step >= LATE_S:
            short.append(rows[-1])
        else:
            counts.append(-(-to_close[rows[0]] // step) - len(rows))
    found = []
    if late:
        text = f"{several(len(late), 'session')} with a late start: "
        text += ", ".join(when(table, np.array(late[:4])))
        found.append(_finding(table, "late_start", np.array(late), text, "leave the session out"))
    if short:
        text = f"{several(len(short), 'session')} cut short, last bars: "
        text += ", ".join(when(table, np.array(short[:4])))
        found.append(
            _finding(table, "truncated_day", np.array(short), text, "leave the session out")
        )
    holes = int(np.maximum(counts, 0).sum()) if counts else 0
    if holes:
        text = f"{several(holes, 'bar')} absent in {several(len(counts), 'session')}"
        remedy = "an absent bar is a bar without trades; do not fill it"
        found.append(Finding(table.file, table.symbol, "absent_bars", "info", text, remedy))
    return found


def _two_scales(table: Table) -> list[Finding]:
    apart = np.abs(np.log(table.ohlcv[:, OPEN] / table.ohlcv[:, CLOSE]))
    at = np.where(apart > np.log(LARGE))[0]
    if len(at) == 0:
        return []
    o, c = table.ohlcv[at[0], OPEN], table.ohlcv[at[0], CLOSE]
    message = (
        f"a bar opens at {o:g} and closes at {c:g}: two price scales in one bar, or a false print"
    )
    return [
        _finding(table, "two_scales", at, message, "leave the bar out, or mend it by the split")
    ]


def _finding(table: Table, kind: str, at: np.ndarray, message: str, remedy: str) -> Finding:
    rows = tuple(int(n) for n in table.lines[at])
    return Finding(
        table.file, table.symbol, kind, "warning", message, remedy, rows, when(table, at)
    )
