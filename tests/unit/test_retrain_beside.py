"""A retraining beside the daily cycle: it crashes, is killed or hangs, and trading never notices."""

import json
import os
import signal
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.clock import FakeClock
from engine.run.retrain.beside import (
    ANSWER,
    ASKED,
    STATE,
    Retrainer,
    beside,
    last_retraining,
    retrainer_of,
)
from engine.run.schedule.loop import run_virtual
from engine.run.schedule.timetable import Schedule
from engine.settings import Settings, build, load
from engine.settings_paper import ScheduleSettings
from engine.settings_retrain import RetrainSchedule
from tests.looks import Diary, Messages, utc

HANGS = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(1, flush=True)
time.sleep(600)
"""
ANSWERS = """
import json
print(json.dumps({"promoted": None, "champion": "abc", "scored": True, "reason": "too few sessions"}))
"""
ENDS_WHEN_ASKED = f"""
import signal, sys
def end(number, frame):
    {ANSWERS.strip().replace(chr(10), chr(10) + "    ")}
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print(flush=True)
while True:
    signal.pause()
"""
MINUTE = timedelta(minutes=1)


@contextmanager
def child(tmp_path, program, hours=2.0, environment=None):
    """A retrainer whose process runs a few lines of Python, its clock and what was told."""
    clock, messages = FakeClock(utc("2026-01-03 11:00")), Messages()
    retrainer = Retrainer(
        [sys.executable, "-c", program],
        tmp_path,
        timedelta(hours=hours),
        clock,
        messages,
        os.environ if environment is None else environment,
    )
    try:
        yield retrainer, clock, messages
    finally:
        retrainer.stop()


def finish(retrainer):
    """Wait for the process, then look after it once."""
    retrainer.child.wait(30)
    retrainer.watch()


def test_answer_of_a_retraining_is_told_and_kept(tmp_path):
    with child(tmp_path, ANSWERS) as (retrainer, _, messages):
        retrainer.start()
        assert last_retraining(tmp_path).startswith("running at 2026-01-03T11:00:00+00:00: process")
        finish(retrainer)
        assert messages.told == [
            "retraining: Not promoted, the champion abc stays: too few sessions."
        ]
        assert last_retraining(tmp_path).startswith("done at")
        retrainer.watch()
        assert len(messages.told) == 1


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("import os; os._exit(3)", "failed with exit code 3; trading goes on with the agent"),
        ("raise ValueError('no bars')", "last line of retraining.log: ValueError: no bars"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL"),
        ("print('no json')", "its answer cannot be read"),
    ],
)
def test_retraining_that_dies_is_told_and_the_next_one_starts(tmp_path, program, told):
    with child(tmp_path, program) as (retrainer, _, messages):
        for count in (1, 2):
            retrainer.start()
            finish(retrainer)
            assert len(messages.told) == count
            assert told in messages.told[-1]


def test_retraining_that_hangs_past_its_budget_is_asked_then_ended(tmp_path):
    with child(tmp_path, HANGS) as (retrainer, clock, messages):
        retrainer.start()
        process = retrainer.child
        while not (tmp_path / ANSWER).read_bytes():  # until it ignores SIGTERM
            assert process.poll() is None
        clock.advance(timedelta(hours=2) - MINUTE)
        retrainer.watch()
        assert messages.told == []
        clock.advance(MINUTE)
        retrainer.watch()  # asks
        retrainer.watch()
        assert process.poll() is None
        clock.advance(MINUTE)
        retrainer.watch()  # ends
        assert process.wait(30) == -signal.SIGKILL
        retrainer.watch()
        assert "was ended after 2 hours; trading goes on" in messages.told[0]
        assert last_retraining(tmp_path).startswith("failed at 2026-01-03T13:01:00")


def test_answer_counts_even_where_it_comes_while_the_retraining_is_asked_to_end(tmp_path):
    with child(tmp_path, ENDS_WHEN_ASKED) as (retrainer, clock, messages):
        retrainer.start()
        while not (tmp_path / ANSWER).read_bytes():  # until it hears SIGTERM
            assert retrainer.child.poll() is None
        clock.advance(timedelta(hours=2))
        retrainer.watch()  # asks
        finish(retrainer)
        assert messages.told == [
            "retraining: Not promoted, the champion abc stays: too few sessions."
        ]


def test_second_one_is_not_started_beside_the_first(tmp_path):
    with child(tmp_path, HANGS) as (retrainer, _, messages):
        retrainer.start()
        first = retrainer.child
        retrainer.start()
        assert retrainer.child is first
        assert messages.told == ["the retraining before is still at work; none was started"]


def test_program_that_cannot_be_started_is_told_and_raises_nothing(tmp_path):
    clock, messages = FakeClock(utc("2026-01-03 11:00")), Messages()
    retrainer = Retrainer(["/no/such/program"], tmp_path, MINUTE, clock, messages, {})
    retrainer.start()
    retrainer.watch()
    assert messages.told[0].startswith("the retraining could not be started")


def test_runner_that_ends_takes_it_along_with_its_own_children(tmp_path):
    fork = "import os, time; os.fork(); print(os.getpid(), flush=True); time.sleep(600)"
    with child(tmp_path, fork) as (retrainer, _, _told):
        retrainer.start()
        while (tmp_path / ANSWER).read_bytes().count(b"\n") < 2:
            assert retrainer.child.poll() is None
        group = [int(line) for line in (tmp_path / ANSWER).read_text().split()]
        retrainer.stop()
    for process in group:
        stat = Path(f"/proc/{process}/stat")  # gone, or a zombie that nobody has asked about yet
        assert not stat.exists() or stat.read_text().split()[2] == "Z"
    assert last_retraining(tmp_path).startswith("stopped at")


def test_it_starts_weekly_at_new_yorks_time_in_summer_and_winter(tmp_path):
    with child(tmp_path, ANSWERS) as (retrainer, clock, _):
        trigger = beside(retrainer, RetrainSchedule(weekly=True), clock)["retraining"][0]
        told, at = [], None
        for _ in range(3):
            at = trigger.get_next_fire_time(at, at or utc("2026-02-27 12:00"))
            told.append(at.astimezone(UTC))
    # Saturdays, 06:00; clocks go forward on 2026-03-08.
    assert told == [utc("2026-02-28 11:00"), utc("2026-03-07 11:00"), utc("2026-03-14 10:00")]


def looks_with(tmp_path, program):
    """A fortnight of looks, with a retraining beside them or without."""
    clock, messages = FakeClock(utc("2026-01-02 12:00")), Messages()
    diary, retrainer = Diary(clock), None
    jobs = None
    if program:
        command = [sys.executable, "-c", program] if isinstance(program, str) else program
        retrainer = Retrainer(command, tmp_path, timedelta(hours=12), clock, messages, os.environ)
        jobs = beside(retrainer, RetrainSchedule(weekly=True), clock)
        if program is ANSWERS:
            jobs["retraining"] = (jobs["retraining"][0], broken)
    health = tmp_path / "health.json"
    schedule = Schedule(
        ScheduleSettings(heartbeat=720), diary, clock, messages, health=health, beside=jobs
    )
    run_virtual(schedule, utc("2026-01-16 12:00"))
    coming = json.loads(health.read_text())["next_look"]
    schedule.close()
    if retrainer:
        retrainer.stop()
    return diary.looks, coming, messages.told


def broken():
    raise RuntimeError("a mistake of ours")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The looks of a fortnight without any retraining."""
    return looks_with(tmp_path_factory.mktemp("alone"), None)


@pytest.mark.parametrize(
    "program",
    [
        "import os; os._exit(1)",
        pytest.param(
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            marks=pytest.mark.very_slow,
        ),
        HANGS,
        pytest.param(["/no/such/program"], marks=pytest.mark.very_slow),
        ANSWERS,
    ],
    ids=["crashes", "killed", "hangs", "absent", "mistake"],
)
def test_looks_are_the_same_whatever_becomes_of_a_retraining(tmp_path, alone, program):
    looks, coming, told = looks_with(tmp_path, program)
    assert (looks, coming) == alone[:2]
    assert len(looks) > 27  # three a session and the start
    if program is ANSWERS:  # a mistake of ours is told and is no trouble of the account
        assert told == ["retraining failed: RuntimeError('a mistake of ours')"] * 2


def test_it_is_given_the_merged_settings_its_budget_and_no_secret_it_does_not_need(tmp_path):
    settings = build({"name": "mine", "retrain": {"threads": 2, "schedule": {"hours": 3}}}, "")
    world = {"APCA_API_KEY_ID": "k", "BARWISE_NOTIFY": "mailto://x", "PATH": "/bin"}
    clock = FakeClock(datetime(2026, 1, 3, tzinfo=UTC))
    made = retrainer_of(settings, tmp_path, clock, Messages(), world)
    assert load(tmp_path / ASKED) == settings
    assert made._command[-3:] == ["retrain", str(tmp_path / ASKED), "--json"]
    assert made._budget == timedelta(hours=3)
    assert made._environment == {"PATH": "/bin", "OMP_NUM_THREADS": "2"}
    downloads = build({"data": {"source": "alpaca", "symbols": ["SPY"]}}, "")
    needs = retrainer_of(downloads, tmp_path, clock, Messages(), world)
    assert needs._environment["APCA_API_KEY_ID"] == "k"
    assert "BARWISE_NOTIFY" not in needs._environment


def test_real_command_that_is_refused_says_why_in_the_message(tmp_path):
    # The whole way, as `barwise paper run` goes it: settings, process, message.
    settings = Settings(registry={"dir": str(tmp_path / "registry")}, runs_dir=str(tmp_path))
    settings = settings.model_copy(
        update={"retrain": settings.retrain.model_copy(update={"held_back": 5000})}
    )
    messages = Messages()
    clock = FakeClock(datetime(2026, 1, 3, tzinfo=UTC))
    made = retrainer_of(settings, tmp_path, clock, messages, os.environ)
    made.start()
    made.child.wait(120)
    made.watch()
    assert "failed with exit code 1" in messages.told[0]
    assert "go on with" in messages.told[0] or "error: retrain: 5000 sessions" in messages.told[0]


def test_state_that_cannot_be_read_is_said_so_and_none_is_none(tmp_path):
    assert last_retraining(tmp_path) is None
    (tmp_path / STATE).write_text("{")
    assert last_retraining(tmp_path).startswith("cannot be read")
