"""Which agent decides on which session while the registry changes under a paper account."""

import subprocess
import sys
from pathlib import Path

import pytest

from brokers.alpaca.keys import Keys
from engine.run.paper import look
from engine.run.paper.room import furnish
from tests.fault_account import EVENING, account
from tests.followed import FIRST, SECOND, changes, deciders, name_of, next_session, shown

VERY_SLOW = pytest.mark.very_slow
ROOT = Path(__file__).resolve().parents[2]


def test_promotion_waits_while_orders_are_about_and_decides_after_the_next_close(
    acc, registry, agents
):
    first, second, _ = map(name_of, agents)
    acc.decided()
    assert shown(acc)["checkpoint"] == first
    assert shown(acc)["since"] == str(EVENING)
    assert shown(acc)["promotion"] == "none waits"
    event = registry.promote(second, "won", "rules")
    acc.look()  # its orders wait for the open
    acc.open_plus(FIRST)
    assert acc.look().state == "closed"  # they are filled and booked
    assert changes(acc) == []
    assert shown(acc)["promotion"].startswith(f"{second} of {event.at} waits")
    acc.close_plus(FIRST)
    found = acc.look()
    assert found.state == "waiting"
    assert f"agent {second} decides from here on, {first} did before" in found.news
    assert changes(acc) == [(str(FIRST), second)]
    assert deciders(acc) == [first, second]
    told = shown(acc)
    assert (told["checkpoint"], told["since"]) == (second, str(FIRST))
    assert told["promotion"] == "none waits"
    acc.require_sound()


PROMOTE = """
import sys
from pathlib import Path
from engine.registry import Registry
Registry(Path(sys.argv[1])).promote(sys.argv[2], "meanwhile", "person")
"""


def test_promotion_by_another_process_in_the_moment_of_a_decision_takes_effect_at_the_next(
    acc, registry, agents
):
    first, second, _ = map(name_of, agents)

    def promote(_):
        path = str(registry.path.resolve())
        command = [sys.executable, "-c", PROMOTE, path, second]
        subprocess.run(command, cwd=ROOT, check=True)

    acc.faults.on("GET", "/v2/assets/[A-Z]+", 1, "before", promote)  # asked while it decides
    acc.decided()
    assert registry.champion().id == second
    assert deciders(acc) == [first]
    assert changes(acc) == []
    next_session(acc, FIRST)
    assert deciders(acc) == [first, second]
    assert changes(acc) == [(str(FIRST), second)]


@VERY_SLOW
def test_promotion_while_another_is_being_taken_up_waits_a_session(acc, registry, agents):
    first, second, third = map(name_of, agents)
    acc.filled()
    registry.promote(second, "won", "rules")
    # The first request is for the bars of the session, the next for the history of the second.
    acc.faults.on(
        "GET", "/v2/stocks/bars", 2, "before", lambda _: registry.promote(third, "won", "rules")
    )
    next_session(acc, FIRST)
    assert deciders(acc) == [first, second]
    next_session(acc, SECOND)
    assert deciders(acc) == [first, second, third]


def test_of_two_promotions_between_two_sessions_the_last_counts(acc, registry, agents):
    first, second, third = map(name_of, agents)
    acc.filled()
    registry.promote(second, "won", "rules")
    event = registry.promote(third, "better", "person")
    next_session(acc, FIRST)
    assert deciders(acc) == [first, third]
    (change,) = acc.entries("promoted")
    assert change.body["event"] == event.number
    assert [x.body["id"] for x in registry.history() if x.kind == "promoted"] == [
        first, second, third,
    ]  # fmt: skip


@VERY_SLOW
def test_promotion_and_its_rollback_between_two_sessions_change_nothing(acc, registry, agents):
    acc.filled()
    registry.promote(name_of(agents[1]), "won", "rules")
    registry.rollback("not yet")
    next_session(acc, FIRST)
    assert changes(acc) == []
    assert deciders(acc) == [name_of(agents[0])] * 2


class Killed(BaseException):
    """The process ends here."""


def test_restart_rebuilds_from_the_journal_when_the_registry_has_moved_on(
    acc, registry, agents, monkeypatch
):
    first, second, third = map(name_of, agents)
    acc.filled()
    registry.promote(second, "won", "rules")
    acc.open_plus(FIRST)
    acc.look()
    acc.close_plus(FIRST)

    def dies(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(look, "decide", dies)
        with pytest.raises(Killed):
            acc.look()
    assert changes(acc) == [(str(FIRST), second)]
    registry.promote(third, "better", "rules")
    keys = Keys(acc.exchange.key_id, acc.exchange.secret)
    acc.room = furnish(acc.settings, keys, acc.clock)  # another process
    assert acc.look().state == "waiting"
    assert deciders(acc) == [first, second]
    next_session(acc, SECOND)
    assert deciders(acc) == [first, second, third]
    assert changes(acc) == [(str(FIRST), second), (str(SECOND), third)]


def test_person_may_begin_with_the_champion_before_the_next_session(acc, registry, agents):
    first, second, _ = map(name_of, agents)
    acc.filled()
    registry.promote(second, "won", "rules")
    acc.resume(new_checkpoint=True)
    assert acc.entries("resumed")[-1].body["event"] == registry.champion().number
    next_session(acc, FIRST)
    assert deciders(acc) == [first, second]
    assert changes(acc) == []  # it was a person


@VERY_SLOW
def test_account_that_began_with_a_folder_can_go_on_with_the_champion(tmp_path, registry, agents):
    with account(tmp_path / "paper", agents[2]) as acc:
        acc.filled()
        paper = acc.settings.paper.model_copy(update={"checkpoint": "champion"})
        acc.settings = acc.settings.model_copy(update={"paper": paper})
        keys = Keys(acc.exchange.key_id, acc.exchange.secret)
        acc.room = furnish(acc.settings, keys, acc.clock)
        assert next_session(acc, FIRST).state == "waiting"
        assert deciders(acc) == [name_of(agents[2]), name_of(agents[0])]
