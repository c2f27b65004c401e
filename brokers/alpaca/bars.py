"""Daily bars and events from Alpaca: raw prices, the feed always named, closed sessions only.

A bar is stamped midnight New York time of its session, so it is keyed by that date, and known only
when that session has closed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Protocol

import numpy as np

from brokers.alpaca.actions import events_of
from engine import clock
from engine.bars import Bars
from engine.clock import Clock
from engine.data import history, tables
from engine.data.history import History, ZeroVolume
from engine.data.sheets import Sheet
from engine.errors import VenueUnavailable
from engine.settings_paper import Feed

CALENDAR = "XNYS"
# Actions are listed by the day they are processed: a split some days before its ex-date at the
# earliest, a dividend when it is paid, weeks after.
EARLY, LATE = timedelta(days=30), timedelta(days=120)
_FIELDS = {"date": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}


class BarSource(Protocol):
    """What this module needs of the gateway: both calls follow all pages."""

    def bars(
        self, symbols: list[str], first: date, last: date, feed: Feed
    ) -> Mapping[str, list[dict[str, Any]]]:
        """Return the raw daily bars of each symbol that has any; both dates inclusive."""
        ...

    def corporate_actions(
        self, symbols: list[str], first: date, last: date
    ) -> Mapping[str, list[dict[str, Any]]]:
        """Return actions by kind; both dates inclusive, of the day they are processed."""
        ...


def source_name(feed: str) -> str:
    """Return vendor and feed in one word: what bars, caches and checkpoints are marked with."""
    return f"alpaca:{feed}"


def download(
    gateway: BarSource,
    symbols: Sequence[str],
    first: date,
    last: date,
    feed: Feed,
    at: Clock,
    zero_volume: ZeroVolume = "not_traded",
) -> Bars:
    """Return the bars of the sessions from `first` to `last` that have closed by the clock.

    Every session of the range is there, with or without a bar.
    Raises: DataError for a row or an action that is not what it must be, and what the gateway
    raises.
    """
    sessions = closed_sessions(first, last, at)
    found = histories(gateway, symbols, sessions, feed)
    return history.bars(found, CALENDAR, zero_volume, source_name(feed), sessions)


def histories(
    gateway: BarSource, symbols: Sequence[str], sessions: np.ndarray, feed: Feed
) -> list[History]:
    """Return each symbol's bars and events of some sessions in a row, in the order asked.

    Raises: as `download`.
    """
    if len(sessions) == 0:
        return [history.empty(symbol) for symbol in symbols]
    start, end = sessions[0].item(), sessions[-1].item()
    rows = gateway.bars(list(symbols), start, end, feed)
    actions = gateway.corporate_actions(list(symbols), start - EARLY, end + LATE)
    after = clock.previous_session(sessions[0], CALENDAR) + 1
    found = []
    for symbol in symbols:
        plain = _plain(rows.get(symbol, []), symbol, feed, sessions)
        events, notes = events_of(actions, symbol, after, sessions[-1])
        found.append(replace(history.with_events(plain, events, sessions), notes=notes))
    return found


def closed_sessions(first: date, last: date, at: Clock) -> np.ndarray:
    """List the sessions of a range that have closed by the clock. Shapes: (T,) datetime64[D]."""
    end = min(clock.as_day(last), clock.last_closed(at.now(), CALENDAR))
    if end < clock.as_day(first):
        return np.empty(0, dtype="datetime64[D]")
    return clock.sessions(CALENDAR, first, end)


def _plain(rows: Any, symbol: str, feed: str, sessions: np.ndarray) -> History:
    # The cells go through the same reading and judging as those of a file.
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise VenueUnavailable(
            f"{symbol}: expected a list of bars, found {str(rows)[:80]!r}; nothing was kept"
        )
    if not rows:
        return history.empty(symbol)
    columns = {role: tuple(_text(row.get(key)) for row in rows) for role, key in _FIELDS.items()}
    sheet = Sheet(f"{source_name(feed)} {symbol}", columns, np.arange(1, len(rows) + 1))
    (found,) = tables.from_sheet(sheet, symbol)
    outside = (found.days < sessions[0]) | (found.days > sessions[-1])  # unreadable dates stay
    return history.judged(found.take(~outside), CALENDAR)


def _text(cell: Any) -> str:
    # repr keeps every bit of a float.
    return cell if isinstance(cell, str) else "" if cell is None else repr(cell)
