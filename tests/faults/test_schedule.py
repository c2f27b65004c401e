"""Faults of time: clocks set back, suspended machines, summer time, half days, a runner that was down.

The oracle is exchange_calendars itself, with arithmetic of its own, and dates worked out by hand.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from engine import clock
from engine.clock import FakeClock
from engine.run.schedule.loop import run_virtual
from engine.run.schedule.timetable import Schedule
from engine.settings_paper import ScheduleSettings
from tests.looks import Decider, Diary, Messages, SetClock, exchange_hours, utc

QUIET = ScheduleSettings(heartbeat=720)
NEW_YORK = ZoneInfo("America/New_York")
ZONES = ("UTC", "America/New_York", "Europe/Berlin", "Asia/Kolkata", "Pacific/Apia")


@pytest.fixture
def far_calendar(monkeypatch):
    """Let the calendar be asked to the end of 2030, as it will be able to by then."""
    monkeypatch.setattr(clock, "KNOWN_AHEAD", date(2031, 1, 31) - clock.now().date())


@pytest.fixture
def host_zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def looks_between(start, end):
    """Return when a schedule looks, its first look aside."""
    fake = FakeClock(start)
    diary = Diary(fake)
    run_virtual(Schedule(QUIET, diary, fake, Messages()), end)
    assert diary.looks[0] == start
    return diary.looks[1:]


def require_looks_of_the_exchange(start, end):
    """Check every look from `start` to `end` against the exchange's hours; return the sessions."""
    hours = [row for row in exchange_hours("1998-01-01", "2030-12-31") if start < row[1] < end]
    expected = []
    for _, opens, closes in hours:
        expected.append(opens - timedelta(minutes=30))
        expected.append(opens + timedelta(minutes=15))
        expected.append(closes + timedelta(minutes=20))
    assert looks_between(start, end) == expected
    return hours


def test_f26_every_session_from_1998_to_2030_is_looked_at_at_its_own_times(far_calendar):
    hours = require_looks_of_the_exchange(utc("1998-01-01 00:00"), utc("2031-01-01 00:00"))
    assert len(hours) == 8298
    half_days = [day for day, _, closes in hours if closes.astimezone(NEW_YORK).hour == 13]
    assert len(half_days) > 60


def test_f26_the_published_list_of_sessions_gives_one_decision_each(shared_data, far_calendar):
    path = shared_data / "nyse-calendar" / "xnys-trading-days-1990-2027.csv"
    with path.open() as file:
        closes = [datetime.fromisoformat(row["close_utc"]) for row in csv.DictReader(file)]
    start, end = utc("2018-01-01 00:00"), utc("2027-07-01 00:00")
    due = {at + timedelta(minutes=20) for at in closes if start < at < end}
    looks = looks_between(start, end)
    assert len(due) > 2300
    assert len(looks) == 3 * len(due)
    assert due <= set(looks)


@pytest.mark.parametrize("host_zone", ZONES, indirect=True)
def test_f26_the_zone_of_the_host_changes_nothing(host_zone, far_calendar):
    require_looks_of_the_exchange(utc("2012-10-01 00:00"), utc("2013-04-01 00:00"))
    require_looks_of_the_exchange(utc("2025-01-01 00:00"), utc("2025-12-31 00:00"))


@pytest.mark.parametrize(
    ("last", "coming", "why"),
    [
        ("2001-09-10 20:20", "2001-09-17 20:20", "shut for four sessions, unannounced"),
        ("2012-10-26 20:20", "2012-10-31 20:20", "a hurricane"),
        ("2018-12-04 21:20", "2018-12-06 21:20", "a day of mourning"),
        ("2025-01-08 21:20", "2025-01-10 21:20", "a day of mourning"),
        ("2026-03-06 21:20", "2026-03-09 20:20", "summer time begins"),
        ("2026-10-30 20:20", "2026-11-02 21:20", "summer time ends"),
        ("2025-11-26 21:20", "2025-11-28 18:20", "Thanksgiving, then a half day"),
        ("2024-07-03 17:20", "2024-07-05 20:20", "a half day, then Independence Day"),
    ],
)
def test_f27_f28_closures_half_days_and_summer_time_by_hand(last, coming, why):
    fake = FakeClock(utc(last) - timedelta(minutes=30))
    schedule = Schedule(QUIET, Diary(fake), fake, Messages())
    assert schedule.next_times()["decide"] == utc(last)
    run_virtual(schedule, utc(last))
    assert schedule.next_times()["decide"] == utc(coming), why


def test_f28_a_decision_of_a_half_day_is_made_after_its_own_close_and_in_its_window():
    half = [row for row in exchange_hours("1998-01-01", "2030-12-31") if row[0].year == 2025]
    half = [day for day, _, closes in half if closes.astimezone(NEW_YORK).hour == 13]
    assert half == [date(2025, 7, 3), date(2025, 11, 28), date(2025, 12, 24)]
    for day in half:
        start = datetime(day.year, day.month, day.day, 13, tzinfo=NEW_YORK)
        assert start + timedelta(minutes=20) in looks_between(start, start + timedelta(hours=8))


def test_planted_bug_m12_a_fixed_close_at_16_00_is_caught(monkeypatch):
    def fixed_close(days, calendar):
        local = [
            datetime.combine(day.item(), datetime.min.time(), NEW_YORK).replace(hour=16)
            for day in days
        ]
        return np.array([at.astimezone(ZoneInfo("UTC")).replace(tzinfo=None) for at in local])

    span = utc("2019-11-20 00:00"), utc("2019-12-10 00:00")
    assert len(require_looks_of_the_exchange(*span)) == 13
    monkeypatch.setattr(clock, "closes_at", lambda d, c: fixed_close(d, c).astype("datetime64[s]"))
    with pytest.raises(AssertionError):
        require_looks_of_the_exchange(*span)
    require_looks_of_the_exchange(utc("2019-12-01 00:00"), utc("2019-12-10 00:00"))  # no half day


# F29 and F25: sessions of the week of 2019-03-04, each 14:30-21:00 UTC; windows 21:20-14:25.
def decisions_from(start, until="2019-03-12 00:00"):
    """Run with the cycle's own rule of what is due; return the decisions as (day, time)."""
    fake = FakeClock(utc(start))
    decider = Decider(fake, "2019-03-01", "2019-03-15")
    run_virtual(Schedule(QUIET, decider, fake, Messages()), utc(until))
    return [(day.day, f"{at:%d %H:%M}") for day, at in decider.decided]


@pytest.mark.parametrize(
    ("start", "first_decisions"),
    [
        ("2019-03-05 20:50", [(5, "05 21:20"), (6, "06 21:20")]),  # close - 10 min
        ("2019-03-05 21:01", [(5, "05 21:20"), (6, "06 21:20")]),  # close + 1 min
        ("2019-03-05 23:00", [(5, "05 23:00"), (6, "06 21:20")]),  # inside the window: at once
        ("2019-03-06 14:24", [(5, "06 14:24"), (6, "06 21:20")]),  # its last minute
        ("2019-03-06 14:29", [(6, "06 21:20"), (7, "07 21:20")]),  # open - 1 min: the 5th is lost
        ("2019-03-06 14:31", [(6, "06 21:20"), (7, "07 21:20")]),  # open + 1 min
        ("2019-03-08 20:50", [(8, "08 21:20"), (11, "11 20:20")]),  # three days later
    ],
)
def test_f29_a_runner_that_was_down_decides_once_inside_the_window_or_not_at_all(
    start, first_decisions
):
    decisions = decisions_from(start)
    assert decisions[:2] == first_decisions
    days = [day for day, _ in decisions]
    assert days == sorted(set(days))


def test_f29_ten_starts_in_one_evening_make_one_decision():
    fake = FakeClock(utc("2019-03-05 21:15"))
    decider = Decider(fake, "2019-03-01", "2019-03-15")
    for _ in range(10):  # each as after a crash: nothing but the journal is left
        run_virtual(Schedule(QUIET, decider, fake, Messages()), fake.now() + timedelta(minutes=2))
    assert [(day.day, f"{at:%H:%M}") for day, at in decider.decided] == [(5, "21:20")]


def test_f25_a_clock_set_back_makes_no_second_decision_and_is_told():
    set_clock, messages = SetClock(utc("2019-03-05 21:00")), Messages()
    decider = Decider(set_clock, "2019-03-01", "2019-03-15")
    schedule = Schedule(QUIET, decider, set_clock, messages)
    run_virtual(schedule, utc("2019-03-05 21:25"))
    set_clock.at = utc("2019-03-05 20:55")
    run_virtual(schedule, utc("2019-03-05 21:25"))
    assert [f"{t:%H:%M}" for t in decider.looks] == ["21:00", "21:20", "20:55", "21:20"]
    assert len(decider.decided) == 1
    assert messages.told == [
        "the clock was set back from 2019-03-05 21:20:00 to 2019-03-05 20:55:00 UTC"
    ]


def test_f25_a_clock_that_leapt_ahead_and_came_back_does_not_silence_the_schedule():
    set_clock = SetClock(utc("2019-03-05 21:00"))
    decider = Decider(set_clock, "2019-03-01", "2019-03-15")
    schedule = Schedule(QUIET, decider, set_clock, Messages())
    schedule.turn()
    set_clock.at = utc("2019-08-01 00:00")
    schedule.turn()
    set_clock.at = utc("2019-03-05 21:01")
    run_virtual(schedule, utc("2019-03-06 22:00"))
    assert [(day.day, f"{at:%d %H:%M}") for day, at in decider.decided] == [
        (5, "05 21:20"),
        (6, "06 21:20"),
    ]


def test_f25_a_correction_of_a_second_is_no_news():
    set_clock, messages = SetClock(utc("2019-03-05 21:00")), Messages()
    schedule = Schedule(QUIET, Diary(set_clock), set_clock, messages)
    schedule.turn()
    set_clock.at -= timedelta(seconds=1)
    schedule.turn()
    assert messages.told == []


def test_f25_after_a_long_suspend_the_newest_time_counts_and_older_ones_make_no_decision():
    # Suspended from Tuesday before the close to Friday 22:00: Friday's decision is 40 min late,
    # within the grace of six hours; Friday's looks around the open are too late and are told.
    set_clock, messages = SetClock(utc("2019-03-05 20:00")), Messages()
    decider = Decider(set_clock, "2019-03-01", "2019-03-15")
    schedule = Schedule(QUIET, decider, set_clock, messages)
    schedule.turn()
    set_clock.at = utc("2019-03-08 22:00")
    run_virtual(schedule, utc("2019-03-08 23:00"))
    assert [(day.day, f"{at:%d %H:%M}") for day, at in decider.decided] == [(8, "08 22:00")]
    late = [f"{name} was missed; looking now" for name in ("check", "book")]
    assert messages.told[:2] == late
    assert set(decider.looks[1:]) == {utc("2019-03-08 22:00")}


RUNNER = """
import sys
from datetime import UTC, datetime
from engine.clock import SystemClock
from engine.run.schedule.notify import LogNotifier
from engine.run.paper.result import CycleResult
from engine.run.schedule.timetable import Schedule
from engine.run.schedule.loop import run
from engine.settings_paper import ScheduleSettings

def say(text):
    sys.stdout.write(text + "\\n")
    sys.stdout.flush()

def job():
    say("at work")
    for line in sys.stdin:
        if line == "end\\n":
            break
        say("stopping" if schedule.stopping else "going on")
    say("done")
    return CycleResult("closed", None, "looked")

schedule = Schedule(ScheduleSettings(), job, SystemClock(), LogNotifier())
run(schedule)
say("left")
"""


@pytest.fixture
def runner():
    child = subprocess.Popen(
        [sys.executable, "-c", RUNNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    yield child
    child.kill()
    child.communicate()


def heard(child, *lines):
    assert [child.stdout.readline().strip() for _ in lines] == list(lines)


def ask(child, line):
    child.stdin.write(line + "\n")
    child.stdin.flush()


def test_f61_sigterm_lets_the_job_finish_and_the_runner_leaves_with_0(runner):
    heard(runner, "at work")
    runner.send_signal(signal.SIGTERM)
    ask(runner, "still there?")
    heard(runner, "stopping")
    ask(runner, "end")
    heard(runner, "done", "left")
    assert runner.wait(30) == 0


def test_f61_a_second_signal_ends_the_runner_at_once(runner):
    heard(runner, "at work")
    runner.send_signal(signal.SIGINT)
    ask(runner, "still there?")
    heard(runner, "stopping")
    runner.send_signal(signal.SIGTERM)
    assert runner.wait(30) == 128 + signal.SIGTERM
    assert runner.stdout.read() == ""


def test_f61_a_runner_that_waits_leaves_at_sigterm_too(runner):
    heard(runner, "at work")
    ask(runner, "end")
    heard(runner, "done")
    runner.send_signal(signal.SIGTERM)
    heard(runner, "left")
    assert runner.wait(30) == 0
