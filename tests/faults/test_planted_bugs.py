"""The checks must bite: each bug of the protocol, planted into the real code, is seen by them.

The same scenario without the bug breaks nothing. M12, a fixed closing time, is in the tests of the
schedule.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from brokers.exchange.exchange import Exchange
from brokers.exchange.faults import Rule
from engine.journal import Journal
from engine.run.paper.room import JOURNAL
from tests.kill_oracle import violations
from tests.kill_points import POSTED
from tests.kill_runner import Runner
from tests.kill_trials import (
    ORDERS,
    Arrange,
    Kill,
    Scenario,
    moment_of,
    run_trial,
    scenario_of,
)
from tests.planted_bugs import BUGS, plant

POSITIONS = "/v2/positions"


def hide_orders(exchange: Exchange, label: str) -> None:
    # Every order is invisible to its first look-up.
    for session in exchange.bars.sessions:
        for symbol in exchange.bars.symbols:
            exchange.hide_order(f"{label}-{session.item():%Y%m%d}-{symbol}-1-1")


def stick_cancels(exchange: Exchange, label: str) -> None:
    for symbol in exchange.bars.symbols:
        exchange.stick_cancel(symbol)


@dataclass(frozen=True)
class Case:
    """What brings a bug to light, and the invariant that it breaks."""

    breaks: str
    kills: tuple[Kill, ...] = ()
    rules: tuple[Rule, ...] = ()
    arrange: Arrange | None = None
    early: bool = False  # look while orders are filled in part, and again once the rest is


LOST_ANSWER = Rule(action="accept_then_504", method="POST", path=ORDERS)
CASES = {
    "M1": Case("I4"),
    "M2": Case("I1"),
    "M3": Case("I1"),
    "M4": Case("I2", kills=((POSTED, 1),), arrange=hide_orders),
    "M5": Case("I2", rules=(LOST_ANSWER,), arrange=hide_orders),
    "M6": Case("I2", early=True),
    "M7": Case("I1", rules=(LOST_ANSWER,)),
    "M8": Case("I7", rules=(
        Rule(action="status", status=200, body=[], method="GET", path=POSITIONS, nth=4, times=2),
    )),
    "M9": Case("I7", kills=(("inside B4", 1),)),
    "M10": Case("I7", kills=(("after B4", 1),)),
    "M11": Case("I3", arrange=stick_cancels),
    "M14": Case("I5", rules=(
        Rule(action="redirect", to="http://127.0.0.1:9/", method="POST", path=ORDERS),
    )),
}  # fmt: skip


def scenario_for(case: Case) -> Scenario:
    """Four symbols, two decisions, every order filled in part first."""
    plain = scenario_of(3, partial=1.0)
    looks = [plain.looks[0], plain.looks[-3], plain.looks[-2], plain.looks[-1]]
    if case.early:
        first, second = (at.date() for at in (looks[1], looks[3]))
        looks[1], looks[3] = moment_of(first, open=5), moment_of(second, open=5)
        looks.append(moment_of(second, close=5))
    return replace(plain, looks=tuple(looks), rules=case.rules, arrange=case.arrange)


@pytest.mark.parametrize("name", CASES)
def test_a_planted_bug_is_caught_and_the_same_without_it_breaks_nothing(lived, name):
    case = CASES[name]
    scenario = scenario_for(case)
    whole = lived(replace(scenario, rules=(), arrange=stick_cancels if name == "M11" else None))
    right = lived(scenario, case.kills)
    assert violations(right, whole) == []
    found = violations(lived(scenario, case.kills, name), whole)
    assert [text for text in found if text.startswith(case.breaks)], found


def test_every_planted_bug_has_a_case():
    assert set(BUGS) == set(CASES) | {"M13"}


def synchronous(path: Path) -> int:
    """What the journal's own connection says about waiting for the disk."""
    with Journal(path) as journal, journal._engine.connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar())


def test_a_commit_waits_for_the_disk_and_one_that_does_not_is_seen(tmp_path, monkeypatch):
    assert synchronous(tmp_path / "journal.sqlite") == 2
    plant("M13", tmp_path, monkeypatch.setattr)
    assert synchronous(tmp_path / "journal.sqlite") == 1


@pytest.fixture
def traced(tmp_path):
    """Say under strace, for every order sent, whether the journal had unsynced writes by then."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed; the order of syncs and sends cannot be seen")

    def trace(agent: Path, bug: str | None = None) -> list[bool]:
        found = tmp_path / f"trace{bug}"
        calls = "trace=pwrite64,fdatasync,fsync,sendto"
        runner = Runner((program, "-f", "-qq", "-y", "-s", "40", "-e", calls, "-o", str(found)))
        scenario = scenario_of(3, decisions=1)
        one_look = replace(scenario, looks=scenario.looks[:1], rules=())
        try:
            trial = run_trial(runner, tmp_path / f"trial{bug}", agent, one_look, bug=bug)
        finally:
            runner.close()
        dirty = dirty_sends(found.read_text().splitlines())
        assert len(dirty) == len(trial.sent) > 1
        return dirty

    return trace


def dirty_sends(lines: list[str]) -> list[bool]:
    """Read a trace: at each POST of an order, was something written to the log and not synced?"""
    dirty, sends = False, []
    for line in lines:
        if f"{JOURNAL}-wal>" in line:
            dirty = "pwrite64(" in line
        elif '"POST /v2/orders' in line:
            sends.append(dirty)
    return sends


def test_every_intent_is_on_the_disk_before_its_order_is_sent(traced, agent):
    assert not any(traced(agent))
    assert all(traced(agent, "M13")[:1])
