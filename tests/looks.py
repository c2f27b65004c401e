"""For tests of the schedule: a cycle that only keeps a diary, and the exchange's hours."""

import warnings
from datetime import UTC, datetime, timedelta
from functools import cache

from engine.run.paper.result import CycleResult


@cache
def exchange_hours(start, end):
    """Return (session, open, close) from exchange_calendars, asked directly; times in UTC."""
    import exchange_calendars

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        table = exchange_calendars.get_calendar("XNYS", start=start, end=end)
    return [
        (day.date(), opens.to_pydatetime(), closes.to_pydatetime())
        for day, opens, closes in zip(table.sessions, table.opens, table.closes, strict=True)
    ]


class Messages:
    """A notifier that keeps what it was told."""

    def __init__(self):
        self.told = []

    def send(self, message):
        self.told.append(message)


class Diary:
    """A cycle that writes down when it was called, and answers what the script says, then closed."""

    def __init__(self, clock, *script):
        self.clock, self.script, self.looks = clock, list(script), []

    def __call__(self):
        self.looks.append(self.clock.now())
        answer = self.script.pop(0) if self.script else "closed"
        if isinstance(answer, BaseException):
            raise answer
        return CycleResult(answer, None, f"look {len(self.looks)}")


class Decider:
    """A cycle that decides as the real one must: a session once, in its window, else never.

    Its book outlives a process, as the journal does, so one Decider may serve several schedules.
    """

    def __init__(self, clock, first, last):
        self.clock, self.hours = clock, exchange_hours(first, last)
        self.decided, self.looks = [], []

    def __call__(self):
        now = self.clock.now()
        self.looks.append(now)
        for (day, _, closed), (_, next_open, _) in zip(self.hours, self.hours[1:], strict=False):
            opens, shuts = closed + timedelta(minutes=20), next_open - timedelta(minutes=5)
            if opens <= now < shuts and day not in [d for d, _ in self.decided]:
                self.decided.append((day, now))
        return CycleResult("closed", None, "looked")


class SetClock:
    """A clock that a person may set, back too."""

    def __init__(self, at):
        self.at = at

    def now(self):
        return self.at

    def sleep(self, seconds):
        self.at += timedelta(seconds=seconds)


def utc(text):
    """Return a time in UTC from `2019-03-05 21:20`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
