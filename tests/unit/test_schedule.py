"""The schedule: what it does with answers, errors and time. 2019-03-05 is a Tuesday, close 21:00Z."""

import ast
import inspect
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import apscheduler.executors.base
import apscheduler.executors.debug
import apscheduler.job
import apscheduler.jobstores.memory
import apscheduler.schedulers.base
import pytest

from engine.clock import FakeClock, now
from engine.errors import DataError, TradingHalted, UsageError, VenueUnavailable
from engine.run.schedule.health import read_health
from engine.run.schedule.loop import run_virtual
from engine.run.schedule.timetable import Schedule
from engine.run.schedule.trigger import SessionTrigger, window_shuts
from engine.settings_paper import ScheduleSettings
from tests.looks import Diary, Messages, utc

NIGHT = "2019-03-05 21:10"  # of Tuesday, ten minutes before its decision


def scheduled(start, *script, settings=None, **options):
    clock = FakeClock(utc(start))
    diary, messages = Diary(clock, *script), Messages()
    settings = settings or ScheduleSettings(heartbeat=720)
    return Schedule(settings, diary, clock, messages, **options), diary, messages


def test_trigger_fires_after_each_close_and_knows_half_days_and_summer_time():
    trigger = SessionTrigger("close", timedelta(minutes=20))
    told, at = [], None
    for _ in range(3):
        at = trigger.get_next_fire_time(at, utc("2025-11-26 12:00"))
        told.append(at)
    assert told == [utc("2025-11-26 21:20"), utc("2025-11-28 18:20"), utc("2025-12-01 21:20")]
    before_open = SessionTrigger("open", timedelta(minutes=-30))
    assert before_open.get_next_fire_time(None, utc("2026-03-06 20:00")) == utc("2026-03-09 13:00")


def test_trigger_fires_now_where_now_is_the_time_and_never_twice():
    trigger, at = SessionTrigger("close", timedelta(minutes=20)), utc("2019-03-05 21:20")
    assert trigger.get_next_fire_time(None, at) == at
    earlier = at - timedelta(hours=3)  # as after a clock was set back
    assert trigger.get_next_fire_time(at, earlier) == utc("2019-03-06 21:20")


def test_trigger_tells_every_time_that_was_slept_through():
    # APScheduler takes the last of them, so the newest is judged for lateness, not the oldest.
    trigger = SessionTrigger("close", timedelta(minutes=20))
    next_one = trigger.get_next_fire_time(utc("2019-03-05 21:20"), utc("2019-03-11 12:00"))
    assert next_one == utc("2019-03-06 21:20")


def test_trigger_goes_on_for_as_long_as_the_calendar_goes_and_then_says_so():
    trigger, today = SessionTrigger("open", timedelta(minutes=15)), now()
    at = trigger.get_next_fire_time(None, today + timedelta(days=340))
    assert at > today + timedelta(days=340)
    with pytest.raises(DataError, match="known to"):
        trigger.get_next_fire_time(None, today + timedelta(days=360))


def test_trigger_survives_pickling():
    trigger = pickle.loads(pickle.dumps(SessionTrigger("open", timedelta(minutes=-30))))  # noqa: S301
    assert trigger.get_next_fire_time(None, utc("2019-03-05 12:00")) == utc("2019-03-05 14:00")
    assert str(trigger) == "open -30 min"


def test_window_shuts_before_the_next_open():
    settings = ScheduleSettings(submit_until_open=5)
    assert window_shuts(settings, utc("2019-03-05 21:20")) == utc("2019-03-06 14:25")
    assert window_shuts(settings, utc("2019-03-08 21:20")) == utc("2019-03-11 13:25")


def test_a_day_has_a_look_before_the_open_after_it_and_after_the_close():
    schedule, diary, messages = scheduled("2019-03-05 00:00")
    run_virtual(schedule, utc("2019-03-06 00:00"))
    times = ["00:00", "14:00", "14:45", "21:20"]  # the first because it has just started
    assert diary.looks == [utc(f"2019-03-05 {t}") for t in times]
    assert messages.told == []
    assert schedule.clock.now() == utc("2019-03-06 00:00")


def test_virtual_time_goes_on_where_it_stopped():
    schedule, diary, _ = scheduled("2019-03-05 00:00")
    for until in ("2019-03-05 14:00", "2019-03-05 21:19", "2019-03-06 14:00"):
        run_virtual(schedule, utc(until))
    assert [f"{t:%d %H:%M}" for t in diary.looks] == [
        "05 00:00",
        "05 14:00",
        "05 14:45",
        "05 21:20",
        "06 14:00",
    ]


def test_no_usable_answer_is_asked_for_again_with_growing_waits():
    schedule, diary, messages = scheduled(NIGHT, "closed", *["retry"] * 6)
    run_virtual(schedule, utc("2019-03-06 00:00"))
    times = ["21:10", "21:20", "21:22", "21:26", "21:34", "21:49", "22:04", "22:19"]
    assert diary.looks == [utc(f"2019-03-05 {t}") for t in times]
    assert messages.told == []  # it came right by itself


def test_retries_end_when_the_window_shuts_and_a_person_is_told_once():
    schedule, diary, messages = scheduled(NIGHT, *["retry"] * 500)
    run_virtual(schedule, utc("2019-03-06 14:44"))
    assert max(diary.looks) == utc("2019-03-06 14:24")  # one more, at 14:39, is too late
    assert messages.told == ["no usable answer until the window shut at 2019-03-06 14:25:00 UTC"]
    diary.script.clear()
    run_virtual(schedule, utc("2019-03-06 15:00"))  # the look after the open goes well
    assert messages.told[1:] == [f"well again: look {len(diary.looks)}"]


def test_a_regular_look_does_not_start_a_second_chain_of_retries():
    schedule, diary, _ = scheduled("2019-03-05 13:50", *["retry"] * 500)
    run_virtual(schedule, utc("2019-03-05 14:20"))
    times = ["13:50", "13:52", "13:56", "14:00", "14:04", "14:19"]  # 14:00 is the regular one
    assert diary.looks == [utc(f"2019-03-05 {t}") for t in times]


def test_a_halt_leaves_heartbeats_only_and_is_told_once(tmp_path):
    file = tmp_path / "health.json"
    settings = ScheduleSettings(heartbeat=60)
    schedule, diary, messages = scheduled(NIGHT, "halted", settings=settings, health=file)
    run_virtual(schedule, utc("2019-03-08 21:10"))
    assert diary.looks == [utc(NIGHT)]
    assert messages.told == ["halted, nothing is sent until a person resumes it: look 1"]
    health = read_health(file)
    assert (health.at, health.state) == (utc("2019-03-08 21:10"), "halted")
    assert health.next_look is None


def test_a_resumed_halt_is_seen_by_the_next_heartbeat_which_looks_at_once():
    halted = [True, True, False]
    settings = ScheduleSettings(heartbeat=60)
    schedule, diary, messages = scheduled(
        NIGHT, "halted", settings=settings, still_halted=lambda: halted.pop(0)
    )
    run_virtual(schedule, utc("2019-03-06 14:00"))
    assert [f"{t:%d %H:%M}" for t in diary.looks] == ["05 21:10", "06 00:10", "06 14:00"]
    assert messages.told[1] == "well again: a person has resumed it"


def test_a_heartbeat_that_fails_does_not_resume_a_halted_account():
    def unknown():
        raise OSError("journal busy")

    settings = ScheduleSettings(heartbeat=60)
    schedule, diary, messages = scheduled(NIGHT, "halted", settings=settings, still_halted=unknown)
    run_virtual(schedule, utc("2019-03-06 14:00"))
    assert diary.looks == [utc(NIGHT)]
    assert messages.told[1:] == ["the heartbeat failed: OSError('journal busy')"]


@pytest.mark.parametrize(
    ("error", "looks", "told"),
    [
        (VenueUnavailable("no answer"), 2, []),
        (TradingHalted("cash differs"), 1, ["halted, nothing is sent until a person resumes it:"]),
        (RuntimeError("boom"), 2, ["start-1 failed: RuntimeError: boom", "well again: look 2"]),
        (SystemExit(3), 2, ["start-1 failed: SystemExit: 3", "well again: look 2"]),
    ],
)
def test_an_error_of_the_job_becomes_an_answer_and_the_schedule_lives(error, looks, told):
    schedule, diary, messages = scheduled(NIGHT, error)
    run_virtual(schedule, utc("2019-03-05 21:15"))
    assert len(diary.looks) == looks
    assert len(messages.told) == len(told)
    for message, start in zip(messages.told, told, strict=True):
        assert message.startswith(start)


def test_news_of_a_look_reach_a_person():
    schedule, diary, messages = scheduled(NIGHT)
    schedule._job = lambda: replace(diary(), news=f"look {len(diary.looks)}: bought 3 IBM")
    run_virtual(schedule, utc("2019-03-05 21:15"))
    assert messages.told == ["look 1: bought 3 IBM"]


def test_health_says_where_the_schedule_is_and_that_it_has_ended(tmp_path):
    file = tmp_path / "health.json"
    schedule, _, _ = scheduled(NIGHT, "waiting", health=file)
    run_virtual(schedule, utc("2019-03-05 21:15"))
    assert read_health(file).state == "waiting"
    assert read_health(file).message == "look 1"
    assert read_health(file).next_look == utc("2019-03-05 21:20")
    schedule.close()
    assert read_health(file).state == "stopped"
    assert read_health(file).next_look is None


@pytest.mark.parametrize("kind", [RuntimeError, TradingHalted, VenueUnavailable])
def test_a_secret_in_an_error_reaches_no_message_no_log_and_no_file(tmp_path, caplog, kind):
    file, secret = tmp_path / "health.json", "canary-secret-4711"
    error = kind(f"asked with {secret}")
    schedule, _, messages = scheduled(NIGHT, error, health=file, secrets=[secret])
    run_virtual(schedule, utc("2019-03-05 21:11"))
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("barwise")]
    assert secret not in " ".join([*messages.told, *ours, file.read_text()])
    assert "asked with [hidden]" in read_health(file).message


def test_health_that_cannot_be_written_stops_no_look(tmp_path):
    schedule, diary, _ = scheduled(NIGHT, health=tmp_path / "absent" / "health.json")
    run_virtual(schedule, utc("2019-03-05 21:30"))
    assert len(diary.looks) == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"at": 1, "next_look": null}'])
def test_a_health_file_of_somebody_else_is_refused(tmp_path, text):
    file = tmp_path / "health.json"
    file.write_text(text)
    with pytest.raises(UsageError, match="expected what the runner writes"):
        read_health(file)


def test_a_missing_health_file_says_that_nothing_has_been_started(tmp_path):
    with pytest.raises(UsageError, match="has not been started"):
        read_health(tmp_path / "health.json")


def test_a_time_that_is_missed_beyond_its_grace_is_told_and_looked_at_at_once():
    schedule, diary, messages = scheduled(NIGHT)
    schedule.turn()
    schedule.clock.set(utc("2019-03-06 03:30"))  # suspended; the decision is 6 h 10 min late
    run_virtual(schedule, utc("2019-03-06 04:00"))
    assert diary.looks == [utc(NIGHT), utc("2019-03-06 03:30")]
    assert messages.told == ["decide was missed; looking now", "well again: look 2"]


def test_a_retry_is_never_too_late():
    schedule, diary, messages = scheduled(NIGHT, "retry")
    schedule.turn()
    schedule.clock.set(utc("2019-03-06 04:00"))
    schedule.turn()
    assert diary.looks == [utc(NIGHT), utc("2019-03-06 04:00")]
    assert [text for text in messages.told if "retry" in text] == []


def test_no_look_starts_after_stop():
    schedule, diary, _ = scheduled(NIGHT)
    schedule.stop()
    schedule.turn()
    assert diary.looks == []


def test_a_job_that_takes_long_makes_the_next_look_late_and_drops_none():
    schedule, diary, messages = scheduled("2019-03-05 13:59")

    def slow():
        result = diary()
        schedule.clock.sleep(3600)
        return result

    schedule._job = slow
    run_virtual(schedule, utc("2019-03-05 20:00"))
    # start until 14:59; then the looks of 14:00 and 14:45, one after the other
    assert [f"{t:%H:%M}" for t in diary.looks] == ["13:59", "14:59", "15:59"]
    assert messages.told == []


def test_apscheduler_asks_the_time_only_where_our_clock_stands_in():
    # Rebound: _process_jobs and run_job. _real_add_job asks only where no first time is given
    # (ours always is); the others are never called.
    expected = {
        apscheduler.schedulers.base: {
            "reschedule_job",
            "resume_job",
            "_real_add_job",
            "_process_jobs",
        },
        apscheduler.executors.base: {"run_job", "run_coroutine_job"},
        apscheduler.executors.debug: set(),
        apscheduler.jobstores.memory: set(),
        apscheduler.job: set(),
    }
    for module, functions in expected.items():
        assert asks_the_time(module) == functions


def asks_the_time(module):
    return {
        node.name
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and part.attr in ("now", "utcnow", "today", "time")
    }


def test_the_library_itself_is_left_alone():
    scheduled(NIGHT)
    assert apscheduler.schedulers.base.datetime is datetime
    assert apscheduler.executors.base.datetime is datetime
    assert utc(NIGHT).tzinfo is UTC
