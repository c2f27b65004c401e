"""When to look: so many minutes from every open or close of the exchange.

The times come from engine.clock alone, so early closes, holidays and summer time are those of the
calendar. All arithmetic is in UTC: no time of day is ever built, so none can be missing or double.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np
from apscheduler.triggers.base import BaseTrigger

from engine import clock
from engine.settings_paper import ScheduleSettings

Anchor = Literal["open", "close"]
CALENDAR = "XNYS"
# The longest closure since 1990 is six days; offsets add less than one.
_LOOK_AHEAD_DAYS = 14
_INSTANT = timedelta(microseconds=1)


class SessionTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """Fire a fixed offset from every open or close.

    It never ends: sessions are asked for a fortnight ahead of each fire time, so a process that
    runs for years keeps seeing what the calendar knows by then. Nothing is cached in here, and
    what a slept-through moment means is left to APScheduler (coalesce, misfire grace): every fire
    time after the previous one is told, in order, and none twice where the clock was set back.
    """

    __slots__ = ("anchor", "calendar", "offset")

    def __init__(self, anchor: Anchor, offset: timedelta, calendar: str = CALENDAR) -> None:
        self.anchor, self.offset, self.calendar = anchor, offset, calendar

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime:
        """Return the first fire time after `previous`, or at or after `now` where there is none.

        Raises: DataError where that lies past what the calendar knows (a year from today).
        """
        return next_time(self.anchor, self.offset, previous or now - _INSTANT, self.calendar)

    def __getstate__(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        return f"{self.anchor} {self.offset.total_seconds() / 60:+.0f} min"


def next_time(
    anchor: Anchor, offset: timedelta, after: datetime, calendar: str = CALENDAR
) -> datetime:
    """Return the first open or close, plus the offset, that lies after a moment; in UTC."""
    moment = np.datetime64((after.astimezone(UTC) - offset).replace(tzinfo=None), "us")
    day = clock.as_day(moment)
    days = clock.sessions(calendar, day - 1, day + _LOOK_AHEAD_DAYS)
    hours = (clock.opens_at if anchor == "open" else clock.closes_at)(days, calendar)
    first = hours[hours > moment][0].astype("datetime64[us]")
    return first.item().replace(tzinfo=UTC) + offset


def triggers(settings: ScheduleSettings) -> dict[str, SessionTrigger]:
    """Return when to look, by the name of the job."""
    return {
        "decide": SessionTrigger("close", timedelta(minutes=settings.decide_after_close)),
        "check": SessionTrigger("open", -timedelta(minutes=settings.check_before_open)),
        "book": SessionTrigger("open", timedelta(minutes=settings.book_after_open)),
    }


def window_shuts(settings: ScheduleSettings, after: datetime) -> datetime:
    """Return when the window that is open after a moment, or opens next, shuts."""
    return next_time("open", -timedelta(minutes=settings.submit_until_open), after)
