"""What a look at a whole series finds: holes, missing days, unlisted splits, false prints, odd events.

Nothing here stops a load: a series may be unusual and right. Rows are judged in engine.data.rows.
"""

from dataclasses import dataclass

import numpy as np

from engine import clock
from engine.bars import CLOSE, HIGH, LOW, OPEN
from engine.data import adjustment, jumps
from engine.data.findings import Finding, Severity, several

FALSE_PRINT = 1.6  # a price this many times off both closes around it
LARGE = 1.4  # a day's move worth a line
UNEXPLAINED = 0.15  # what an event may leave of a move before it is doubted
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Series:
    """One symbol, one bar a session, in rising order, events known.

    Shapes: `days` (n,), `ohlcv` (n, 5); `trusted` (n,) bool: the vendor's events cover the bar, so a
    move without an event is a move; `owner` (n,) int: which security a bar belongs to.
    """

    file: str
    symbol: str
    days: np.ndarray
    ohlcv: np.ndarray
    events: adjustment.Events
    trusted: np.ndarray
    owner: np.ndarray

    def finding(
        self, kind: str, severity: Severity, at: np.ndarray, message: str, remedy: str
    ) -> Finding:
        """Make a finding for the bars `at` (indices)."""
        days = tuple(str(d) for d in self.days[at])
        return Finding(self.file, self.symbol, kind, severity, message, remedy, days=days)


def check(series: Series, calendar: str) -> list[Finding]:
    """List what is unusual about a series. With calendar "none" no day is missing."""
    if len(series.days) == 0:
        return []
    gaps = _gaps(series, calendar)
    return [
        *_missing(series, calendar, gaps),
        *_holes(series, gaps),
        *_owners(series),
        *_splits(series, gaps),
        *_false_prints(series),
        *_large_moves(series, gaps),
        *_odd_events(series),
        *_listed_events(series),
    ]


def _gaps(series: Series, calendar: str) -> np.ndarray:
    # Sessions without a bar before each bar: (n,). Without a calendar, weekdays stand in.
    if calendar == "none":
        between = np.busday_count(series.days[:-1], series.days[1:]) - 1
    else:
        sessions = clock.sessions(calendar, series.days[0], series.days[-1])
        between = np.diff(np.searchsorted(sessions, series.days)) - 1
    return np.concatenate([[0], np.maximum(between, 0)])


def _missing(series: Series, calendar: str, gaps: np.ndarray) -> list[Finding]:
    if calendar == "none":
        return []
    sessions = clock.sessions(calendar, series.days[0], series.days[-1])
    row = np.searchsorted(series.days, sessions)
    absent = sessions[~np.isin(sessions, series.days) & (gaps[row] < jumps.HOLE)]
    if len(absent) == 0:
        return []
    days = tuple(str(d) for d in absent)
    message = f"no bar on {several(len(absent), 'day')} the exchange was open: {_some(days)}"
    remedy = "they load as not traded; get the days from another source if they were traded"
    return [
        Finding(series.file, series.symbol, "missing_days", "warning", message, remedy, days=days)
    ]


def _holes(series: Series, gaps: np.ndarray) -> list[Finding]:
    found = []
    for t in np.where(gaps >= jumps.HOLE)[0]:
        before, after = series.ohlcv[t - 1, CLOSE], series.ohlcv[t, OPEN]
        message = (
            f"no bar for {several(int(gaps[t]), 'session')} before {series.days[t]}, and the price goes from "
            f"{before:g} to {after:g} ({after / before - 1:+,.1%}): a ticker used again, or renamed"
        )
        remedy = "use start or end to keep one company; the step is no return"
        found.append(series.finding("hole", "warning", np.array([t]), message, remedy))
    return found


def _owners(series: Series) -> list[Finding]:
    found = []
    for t in np.where(_changed(series))[0]:
        move = series.ohlcv[t, OPEN] / series.ohlcv[t - 1, CLOSE] - 1
        message = (
            f"bars before {series.days[t]} belong to another security that had the same ticker; the step "
            f"of {move:+,.1%} is no return"
        )
        remedy = "use start or end to keep one security"
        found.append(series.finding("other_security", "warning", np.array([t]), message, remedy))
    return found


def _changed(series: Series) -> np.ndarray:
    return np.concatenate([[False], series.owner[1:] != series.owner[:-1]])


def _splits(series: Series, gaps: np.ndarray) -> list[Finding]:
    found = []
    doubted = ~series.trusted & (gaps < jumps.HOLE) & ~_changed(series)
    for jump in jumps.suspects(series.days, series.ohlcv, series.events.split):
        if doubted[jump.index]:
            remedy = "look the split up and add it in a split column, or get adjusted prices"
            at, text = np.array([jump.index]), jump.text()
            found.append(series.finding("unlisted_split", "warning", at, text, remedy))
    return found


def _false_prints(series: Series) -> list[Finding]:
    close = series.ohlcv[:, CLOSE]
    step = adjustment.implied(close, series.events.split, series.events.dividend)
    before = np.concatenate([close[:1], close[:-1]]) / step
    parts = np.log(series.ohlcv[:, (OPEN, HIGH, LOW)])
    limit = np.log(FALSE_PRINT)
    off = np.abs(parts - np.log(close)[:, None]) > limit
    off &= np.abs(parts - np.log(before)[:, None]) > limit
    found = []
    for t in np.where(off.any(axis=1))[0]:
        name = ("open", "high", "low")[int(np.argmax(off[t]))]
        o, h, low, c, _ = series.ohlcv[t]
        message = (
            f"the {name} is far from the closes around it: open {o:g}, high {h:g}, low {low:g}, "
            f"close {c:g}, previous close {before[t]:g}"
        )
        remedy = "compare with another source; a false print fills limit and stop orders"
        found.append(series.finding("false_print", "warning", np.array([t]), message, remedy))
    return found


def _moves(series: Series) -> np.ndarray:
    # Log return of each session with its events taken out: (n,), 0 at the first.
    close = series.ohlcv[:, CLOSE]
    step = adjustment.implied(close, series.events.split, series.events.dividend)
    return np.concatenate([[0.0], np.log(close[1:] / close[:-1] * step[1:])])


def _has_event(series: Series) -> np.ndarray:
    dividend = series.events.dividend / series.ohlcv[:, CLOSE]
    return np.asarray((series.events.split != 1.0) | (dividend > 0.2))


def _large_moves(series: Series, gaps: np.ndarray) -> list[Finding]:
    moves = _moves(series)
    plain = ~_has_event(series) & (gaps < jumps.HOLE) & ~_changed(series)
    at = np.where((np.abs(moves) > np.log(LARGE)) & plain)[0]
    if len(at) == 0:
        return []
    shown = _some(tuple(f"{series.days[t]} {np.expm1(moves[t]):+.1%}" for t in at))
    message = f"{several(len(at), 'move')} of more than {LARGE - 1:.0%} without an event: {shown}"
    return [series.finding("large_move", "info", at, message, "look up what happened that day")]


def _odd_events(series: Series) -> list[Finding]:
    moves = _moves(series)
    found = []
    for t in np.where(_has_event(series) & (np.abs(moves) > UNEXPLAINED))[0]:
        raw = series.ohlcv[t, CLOSE] / series.ohlcv[t - 1, CLOSE] - 1
        message = (
            f"the price moved {raw:+.1%} and the listed event makes that {np.expm1(moves[t]):+.1%}: "
            "a large move on the same day, or a wrong event"
        )
        remedy = "check the event against another source"
        found.append(series.finding("odd_event", "warning", np.array([t]), message, remedy))
    return found


def _listed_events(series: Series) -> list[Finding]:
    found = []
    for t in np.where(series.events.split != 1.0)[0]:
        message = f"split {jumps.ratio_text(series.events.split[t])} on {series.days[t]}"
        found.append(series.finding("split", "info", np.array([t]), message, "nothing to do"))
    paid = np.where(series.events.dividend > 0)[0]
    if len(paid):
        message = (
            f"{several(len(paid), 'dividend')}, {series.days[paid[0]]} to {series.days[paid[-1]]}"
        )
        found.append(series.finding("dividends", "info", paid, message, "nothing to do"))
    return found


def _some(items: tuple[str, ...]) -> str:
    more = f", and {len(items) - _SHOWN:,} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
