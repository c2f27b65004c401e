"""When the exchange is open: the sessions of the bars, and the calendar past their end."""

from bisect import bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

import numpy as np

from brokers.exchange.wire import NEW_YORK, new_york_date
from engine import clock
from engine.bars import Bars
from engine.errors import DataError


class Hours:
    """Opening and closing times of every session of the bars; rows count as those of the bars."""

    def __init__(self, bars: Bars) -> None:
        if bars.calendar == "none" or not len(bars.sessions):
            raise DataError(
                f'the exchange needs bars of an exchange calendar, found "{bars.calendar}" with '
                f'{len(bars.sessions)} sessions; give it daily bars with calendar = "XNYS"'
            )
        self.calendar = bars.calendar
        self.days: list[date] = bars.sessions.astype("datetime64[D]").tolist()
        self.opens = _aware(clock.opens_at(bars.sessions, bars.calendar))
        self.closes = _aware(bars.closed_at())

    def opened(self, at: datetime) -> int:
        """Return the row of the newest session that has opened, -1 before the first."""
        return bisect_right(self.opens, at) - 1

    def closed(self, at: datetime) -> int:
        """Return the row of the newest session that has closed, -1 before the first."""
        return bisect_right(self.closes, at) - 1

    def is_open(self, at: datetime) -> bool:
        """Tell whether a session of the bars is in progress."""
        return self.opened(at) != self.closed(at)

    def next_open(self, at: datetime) -> datetime:
        """Return when the market opens next; past the bars, when the calendar says it would."""
        row = self.opened(at) + 1
        return self.opens[row] if row < len(self.opens) else self._beyond(at)[0]

    def next_close(self, at: datetime) -> datetime:
        """Return when the market closes next."""
        row = self.closed(at) + 1
        return self.closes[row] if row < len(self.closes) else self._beyond(at)[1]

    def _beyond(self, at: datetime) -> tuple[datetime, datetime]:
        day = max(self.days[-1], new_york_date(at) - timedelta(days=1))
        for found in _coming(day, self.calendar):
            if found[0] > at:
                return found
        raise DataError(f"no session after {day} is known to {self.calendar}")


@lru_cache(maxsize=4)
def _coming(day: date, calendar: str) -> list[tuple[datetime, datetime]]:
    first = clock.next_session(np.datetime64(day), calendar)
    days = clock.sessions(calendar, first, first + 7)
    opens, closes = clock.opens_at(days, calendar), clock.closes_at(days, calendar)
    return list(zip(_aware(opens), _aware(closes), strict=True))


def calendar_days(calendar: str, first: date, last: date) -> list[dict[str, str]]:
    """List the calendar's sessions from `first` to `last`, both inclusive, as the venue does.

    Days before 1990 and past what is known today are left out.
    """
    until = clock.now().date() + clock.KNOWN_AHEAD
    first, last = max(first, date(1990, 1, 1)), min(last, until)
    days = clock.sessions(calendar, first, last) if first <= last else np.array([])
    if not len(days):
        return []
    opens, closes = clock.opens_at(days, calendar), clock.closes_at(days, calendar)
    dates = [str(day) for day in days]
    settled = [*dates[1:], _settlement(calendar, days[-1].item())]
    rows = zip(dates, _aware(opens), _aware(closes), settled, strict=True)
    return [_calendar_day(*row) for row in rows]


def _calendar_day(
    session: str, opens_at: datetime, closes_at: datetime, settled: str
) -> dict[str, str]:
    closes = closes_at.astimezone(NEW_YORK)
    return {
        "date": session,
        "open": f"{opens_at.astimezone(NEW_YORK):%H:%M}",
        "close": f"{closes:%H:%M}",
        "session_open": "0400",
        "session_close": f"{closes + timedelta(hours=4):%H%M}",
        "settlement_date": settled,
    }


@lru_cache(maxsize=1024)
def _settlement(calendar: str, day: date) -> str:
    # One session later; on the last day that the calendar knows, the next weekday stands in.
    try:
        return str(clock.next_session(np.datetime64(day), calendar))
    except (DataError, IndexError):
        return str(np.busday_offset(np.datetime64(day), 1, roll="backward"))


def _aware(moments: np.ndarray) -> list[datetime]:
    return [at.replace(tzinfo=UTC) for at in moments.astype("datetime64[s]").tolist()]
