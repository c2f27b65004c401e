"""The only module that asks what time it is, and which days the exchange is open.

`now` is the time; a `FakeClock` stands in for it in tests and rehearsals. Sessions are New York
dates (datetime64[D]); closing times are UTC. A day past the last known session raises: it is not
simply "closed".
"""

import time
import warnings
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Protocol

import numpy as np

from engine.errors import DataError

CALENDARS = ("XNYS",)
KNOWN_AHEAD = timedelta(days=365)  # exchanges publish holidays about that far ahead
_FIRST_YEAR = 1990
_EARLIEST = np.datetime64("1900-01-01")


class Clock(Protocol):
    """Whatever tells the time and waits: the computer's clock, or a FakeClock."""

    def now(self) -> datetime:
        """Return the time, aware and in UTC."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let some seconds pass."""
        ...


class SystemClock:
    """The computer's clock."""

    def now(self) -> datetime:
        """Return the time, aware and in UTC."""
        return now()

    def sleep(self, seconds: float) -> None:
        """Let some seconds pass."""
        time.sleep(max(seconds, 0.0))


class FakeClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, at: datetime) -> None:
        if at.tzinfo is None:
            raise ValueError(f"expected an aware datetime, found {at!r}; add tzinfo=UTC")
        self._at = at.astimezone(UTC)

    def now(self) -> datetime:
        """Return the time, aware and in UTC."""
        return self._at

    def advance(self, by: timedelta) -> None:
        """Move forward; a clock never runs backwards."""
        if by < timedelta(0):
            raise ValueError(f"expected a step forward, found {by}")
        self._at += by

    def sleep(self, seconds: float) -> None:
        """Move forward instead of waiting."""
        self.advance(timedelta(seconds=max(seconds, 0.0)))

    def set(self, at: datetime) -> None:
        """Jump forward to a time."""
        self.advance(at - self._at)


def now() -> datetime:
    """Return the time, aware and in UTC."""
    return datetime.now(UTC)


def sessions(calendar: str, start: date | np.datetime64, end: date | np.datetime64) -> np.ndarray:
    """List the sessions from `start` to `end`, both inclusive.

    Shapes: (T,) datetime64[D].
    Raises: DataError where `end` lies past the last day the calendar knows.
    """
    first, last = as_day(start), as_day(end)
    days = _known(calendar, first, last)[0]
    return days[np.searchsorted(days, first) : np.searchsorted(days, last, side="right")]


def covers(calendar: str, days: np.ndarray) -> np.ndarray:
    """Tell which dates the calendar can judge. Shapes: (n,) -> (n,) bool; NaT is not covered."""
    if calendar == "none":
        return ~np.isnat(days)
    return np.asarray((days >= _EARLIEST) & (days <= as_day(_known_until())))


def opens_at(sessions_on: np.ndarray, calendar: str) -> np.ndarray:
    """Return when each session opens. Shapes: (T,) in and out. Units: datetime64[s] in UTC.

    Raises: DataError where a date is not a session of the calendar.
    """
    return _hours(sessions_on, calendar, 1)


def closes_at(sessions_on: np.ndarray, calendar: str) -> np.ndarray:
    """Return when each session's bar is complete.

    Shapes: (T,) in and out. Units: datetime64[s] in UTC, early closes included.
    For calendar "none" a date is complete when it is over in UTC; the true close is not known.
    Raises: DataError where a date is not a session of the calendar.
    """
    if calendar == "none":
        return np.asarray(
            (np.asarray(sessions_on, dtype="datetime64[D]") + 1).astype("datetime64[s]")
        )
    return _hours(sessions_on, calendar, 2)


def is_session(day: date | np.datetime64, calendar: str) -> bool:
    """Tell whether the exchange opens on `day`."""
    return len(sessions(calendar, day, day)) == 1


def next_session(day: date | np.datetime64, calendar: str) -> np.datetime64:
    """Return the first session after `day`."""
    found = sessions(calendar, as_day(day) + 1, as_day(day) + 14)
    return as_day(found[0])


def previous_session(day: date | np.datetime64, calendar: str) -> np.datetime64:
    """Return the last session before `day`."""
    found = sessions(calendar, as_day(day) - 14, as_day(day) - 1)
    return as_day(found[-1])


def last_closed(at: datetime, calendar: str) -> np.datetime64:
    """Return the newest session whose bar is complete at `at`."""
    moment = np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "s")
    today = as_day(moment)
    recent = sessions(calendar, today - 14, today)
    return as_day(recent[closes_at(recent, calendar) <= moment][-1])


def last_opened(at: datetime, calendar: str) -> np.datetime64:
    """Return the newest session that has opened at `at`."""
    moment = np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "s")
    today = as_day(moment)
    recent = sessions(calendar, today - 14, today)
    return as_day(recent[opens_at(recent, calendar) <= moment][-1])


def opening(session_on: date | np.datetime64, calendar: str) -> datetime:
    """Return when one session opens, aware and in UTC."""
    return _aware(opens_at(np.array([as_day(session_on)]), calendar))


def closing(session_on: date | np.datetime64, calendar: str) -> datetime:
    """Return when one session closes, aware and in UTC."""
    return _aware(closes_at(np.array([as_day(session_on)]), calendar))


def as_day(day: date | np.datetime64) -> np.datetime64:
    """Return a date as numpy counts days."""
    return np.datetime64(str(day)[:10], "D")


def _aware(moments: np.ndarray) -> datetime:
    found: datetime = moments[0].astype("datetime64[s]").item()
    return found.replace(tzinfo=UTC)


def _hours(sessions_on: np.ndarray, calendar: str, column: int) -> np.ndarray:
    asked = np.asarray(sessions_on, dtype="datetime64[D]")
    if asked.size == 0:
        return asked.astype("datetime64[s]")
    known = _known(calendar, asked.min(), asked.max())
    days = known[0]
    where = np.minimum(np.searchsorted(days, asked), len(days) - 1)
    wrong = days[where] != asked
    if wrong.any():
        raise DataError(
            f"{asked[wrong][0]} is not a session of {calendar}; "
            'remove the row or set calendar = "none"'
        )
    return np.asarray(known[column][where])


def _known_until() -> date:
    return now().date() + KNOWN_AHEAD


def _known(calendar: str, first: np.datetime64, last: np.datetime64) -> tuple[np.ndarray, ...]:
    if calendar not in CALENDARS:
        raise DataError(
            f'expected a calendar of {CALENDARS}, found "{calendar}"; it lists no sessions'
        )
    end = _known_until()
    if last > np.datetime64(end, "D"):
        raise DataError(
            f"{calendar} is known to {end} only, asked for {last}; ask for an earlier date"
        )
    year = min(_FIRST_YEAR, int(str(first)[:4]) // 10 * 10)
    return _build(calendar, f"{year}-01-01", str(end))


@lru_cache(maxsize=8)
def _build(calendar: str, start: str, end: str) -> tuple[np.ndarray, ...]:
    import exchange_calendars

    try:
        with warnings.catch_warnings():
            # The library uses what pandas 3.1 deprecates; nothing a user could act on.
            warnings.simplefilter("ignore", DeprecationWarning)
            table = exchange_calendars.get_calendar(calendar, start=start, end=end)
    except ValueError as error:
        raise DataError(f"{calendar} has no sessions from {start} to {end}: {error}") from error
    hours = (x.dt.tz_localize(None).to_numpy() for x in (table.opens, table.closes))
    days = table.sessions.to_numpy().astype("datetime64[D]")
    known = (days, *(x.astype("datetime64[s]") for x in hours))
    for array in known:
        array.setflags(write=False)  # shared by every caller
    return known
