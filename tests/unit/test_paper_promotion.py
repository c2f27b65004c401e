"""Which agent decides on which session while the registry changes under a paper account."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from brokers.alpaca.keys import Keys
from engine import checkpoint
from engine.checkpoint import POLICY
from engine.errors import UsageError
from engine.registry import HISTORY, Registry
from engine.run.paper import look
from engine.run.paper.room import furnish
from engine.run.paper.status import status
from tests.fault_account import EVENING, account, few_bars
from tests.paper_account import START
from tests.registries import LINEAGE, cousin

SECOND, THIRD = date(2010, 1, 5), date(2010, 1, 6)
VERY_SLOW = pytest.mark.very_slow
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def agents(tmp_path_factory, agent):
    folder = tmp_path_factory.mktemp("agents")
    return [agent, *(cousin(agent, folder / str(seed), seed) for seed in (1, 2))]


@pytest.fixture(scope="module")
def template(tmp_path_factory, agents):
    made = Registry(tmp_path_factory.mktemp("template") / "registry")
    for folder in agents:
        made.add(folder, LINEAGE)
    made.promote(name_of(agents[0]), "the first", "person")
    return made.path


@pytest.fixture
def registry(tmp_path, monkeypatch, template):
    """A registry of three agents in the folder at work; the first is its champion."""
    monkeypatch.chdir(tmp_path)
    return Registry(Path(shutil.copytree(template, "registry")))


@pytest.fixture
def acc(tmp_path, registry):
    """An account that follows it."""
    with account(tmp_path / "paper", Path("champion")) as made:
        yield made


def name_of(folder):
    return checkpoint.read(folder).digest[:12]


def deciders(acc):
    """Who decided on each session, by the journal."""
    return [entry.body["checkpoint"][:12] for entry in acc.entries("decision")]


def next_session(acc, session, last=None):
    """Live from a session's open past its close; return the deciding look."""
    acc.open_plus(session)
    acc.look()
    acc.close_plus(session)
    return acc.look()


def changes(acc):
    return [(entry.session, entry.body["id"]) for entry in acc.entries("promoted")]


def shown(acc):
    return status(acc.settings, as_json=True)


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
    acc.open_plus(START)
    assert acc.look().state == "closed"  # they are filled and booked
    assert changes(acc) == []
    assert shown(acc)["promotion"].startswith(f"{second} of {event.at} waits")
    acc.close_plus(START)
    found = acc.look()
    assert found.state == "waiting"
    assert f"agent {second} decides from here on, {first} did before" in found.news
    assert changes(acc) == [(str(START), second)]
    assert deciders(acc) == [first, second]
    told = shown(acc)
    assert (told["checkpoint"], told["since"]) == (second, str(START))
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
    next_session(acc, START)
    assert deciders(acc) == [first, second]
    assert changes(acc) == [(str(START), second)]


@VERY_SLOW
def test_promotion_while_another_is_being_taken_up_waits_a_session(acc, registry, agents):
    first, second, third = map(name_of, agents)
    acc.filled()
    registry.promote(second, "won", "rules")
    # The first request is for the bars of the session, the next for the history of the second.
    acc.faults.on(
        "GET", "/v2/stocks/bars", 2, "before", lambda _: registry.promote(third, "won", "rules")
    )
    next_session(acc, START)
    assert deciders(acc) == [first, second]
    next_session(acc, SECOND)
    assert deciders(acc) == [first, second, third]


def test_of_two_promotions_between_two_sessions_the_last_counts(acc, registry, agents):
    first, second, third = map(name_of, agents)
    acc.filled()
    registry.promote(second, "won", "rules")
    event = registry.promote(third, "better", "person")
    next_session(acc, START)
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
    next_session(acc, START)
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
    acc.open_plus(START)
    acc.look()
    acc.close_plus(START)

    def dies(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(look, "decide", dies)
        with pytest.raises(Killed):
            acc.look()
    assert changes(acc) == [(str(START), second)]
    registry.promote(third, "better", "rules")
    keys = Keys(acc.exchange.key_id, acc.exchange.secret)
    acc.room = furnish(acc.settings, keys, acc.clock)  # another process
    assert acc.look().state == "waiting"
    assert deciders(acc) == [first, second]
    next_session(acc, SECOND)
    assert deciders(acc) == [first, second, third]
    assert changes(acc) == [(str(START), second), (str(SECOND), third)]


def unfit(agent, folder, what):
    trained = checkpoint.read(agent).trained_on
    known = {
        "symbols": trained.model_copy(update={"symbols": ("GOOG", "IBM")}),
        "feed": trained.model_copy(update={"feed": "alpaca:sip"}),
        "basis": trained.model_copy(update={"price_basis": "total"}),
    }
    record = {"burn_in": 400} if what == "history" else {"features": ["gone:nowhere", "x"]}
    if what in known:
        record = {"trained_on": known[what].model_dump(mode="json")}
    if what == "shorts":
        limits = checkpoint.read(agent).limits.model_copy(update={"allow_short": True})
        record = {"limits": limits.model_dump(mode="json")}
    return cousin(agent, folder, 9, **record)


UNFIT = {
    "symbols": "expected an agent that learned from AAPL, GOOG, IBM, MSFT, found one of GOOG",
    "feed": "the checkpoint was trained on alpaca:sip",
    "basis": "the checkpoint was trained with price basis total, found raw",
    "shorts": "limits.allow_short: the settings say False",
    "history": "expected bars of every session from 2008-",
}


def test_challengers_that_do_not_fit_are_declined_each_once_and_the_agent_goes_on(
    acc, registry, agents, tmp_path
):
    acc.filled()
    sessions = acc.exchange.bars.sessions
    days = [day.item() for day in sessions[sessions >= np.datetime64(START)]]
    for day, (what, said) in zip(days, UNFIT.items(), strict=False):
        name = registry.add(unfit(agents[0], tmp_path / what, what), LINEAGE)
        registry.promote(name, "won", "rules")
        found = next_session(acc, day)
        assert found.state == "waiting", found.message
        assert f"the promotion of {name} was not taken up, the agent stays" in found.news
        assert said in found.news
        assert f"{name} of " in shown(acc)["promotion"]
        assert said in shown(acc)["promotion"]
    assert "not taken up" not in next_session(acc, days[len(UNFIT)]).news  # told once
    assert len(acc.entries("declined")) == len(UNFIT)
    assert changes(acc) == []
    assert deciders(acc) == [name_of(agents[0])] * (2 + len(UNFIT))
    registry.promote(name_of(agents[0]), "none of them fits", "person")
    assert shown(acc)["promotion"] == "none waits"
    acc.require_sound()


def damaged(registry, folder):
    data = bytearray((folder / POLICY).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / POLICY).write_bytes(data)


def deleted(registry, folder):
    shutil.rmtree(folder)


def edited(registry, folder):
    path = registry.path / HISTORY
    path.write_text(path.read_text().replace("won", "lost"))


@pytest.mark.parametrize("spoil", [pytest.param(damaged, marks=VERY_SLOW), deleted, edited])
def test_registry_that_cannot_be_trusted_changes_nothing_and_halts_nothing(
    acc, registry, agents, spoil
):
    acc.filled()
    second = name_of(agents[1])
    registry.promote(second, "won", "rules")
    spoil(registry, registry.place(checkpoint.read(agents[1]).digest))
    found = next_session(acc, START)
    assert found.state == "waiting", found.message
    assert "was not taken up, the agent stays" in found.news
    assert "not followed" in shown(acc)["promotion"]
    assert deciders(acc) == [name_of(agents[0])] * 2


def test_older_copy_of_the_registry_is_not_followed(acc, registry, agents):
    first, second, _ = map(name_of, agents)
    acc.filled()
    before = (registry.path / HISTORY).read_text()
    registry.promote(second, "won", "rules")
    next_session(acc, START)
    (registry.path / HISTORY).write_text(before)
    found = next_session(acc, SECOND)
    assert "an older copy of the registry" in found.news
    assert deciders(acc) == [first, second, second]


def test_agent_whose_copy_is_gone_halts_until_it_is_back(acc, registry, agents, tmp_path):
    acc.filled()
    folder = registry.place(checkpoint.read(agents[0]).digest)
    folder.rename(tmp_path / "aside")
    sent = len(acc.posts)
    found = next_session(acc, START)
    assert found.state == "halted"
    assert str(folder) in found.message
    assert len(acc.posts) == sent
    (tmp_path / "aside").rename(folder)
    acc.resume()
    assert acc.look().state == "waiting"
    assert deciders(acc) == [name_of(agents[0])] * 2


@VERY_SLOW
def test_agent_whose_copy_is_gone_may_be_replaced_by_a_promotion(acc, registry, agents, tmp_path):
    trained = checkpoint.read(agents[1]).trained_on.model_copy(update={"symbols": acc.room.symbols})
    record = {"trained_on": trained.model_dump(mode="json")}
    name = registry.add(cousin(agents[0], tmp_path / "knows", 3, **record), LINEAGE)
    acc.filled()
    shutil.rmtree(registry.place(checkpoint.read(agents[0]).digest))
    registry.promote(name, "the first is lost", "person")
    assert next_session(acc, START).state == "waiting"
    assert deciders(acc) == [name_of(agents[0]), name]


def test_challenger_that_would_sell_what_is_held_for_want_of_bars_is_declined(
    tmp_path, registry, agents
):
    bars = few_bars()
    row, column = bars.index_of(EVENING) - 100, bars.symbols.index("IBM")
    ohlcv, traded = bars.ohlcv.copy(), bars.traded.copy()
    ohlcv[:row, column], traded[:row, column] = np.nan, False  # listed a hundred sessions ago
    late = replace(bars, ohlcv=ohlcv, traded=traded)
    name = registry.add(cousin(agents[0], tmp_path / "longer", 1, burn_in=120), LINEAGE)
    with account(tmp_path / "paper", Path("champion"), late) as acc:
        acc.filled()
        assert acc.held_by_journal()["IBM"] > 0
        registry.promote(name, "won", "rules")
        found = next_session(acc, START)
        assert found.state == "waiting", found.message
        assert "IBM: expected 120 bars of burn-in behind" in found.news
        assert deciders(acc) == [name_of(agents[0])] * 2


def test_history_that_does_not_come_now_costs_no_session_and_is_asked_for_at_the_next(
    acc, registry, agents
):
    first, second, _ = map(name_of, agents)
    acc.filled()
    registry.promote(second, "won", "rules")
    acc.spoil("status", "/v2/stocks/bars", status=503, nth=2, times=30)
    found = next_session(acc, START)
    assert found.state == "waiting", found.message
    assert f"the promotion of {second} was not taken up" in found.news
    assert deciders(acc) == [first, first]
    acc.faults.clear()
    next_session(acc, SECOND)
    assert deciders(acc) == [first, first, second]


def test_person_may_begin_with_the_champion_before_the_next_session(acc, registry, agents):
    first, second, _ = map(name_of, agents)
    acc.filled()
    registry.promote(second, "won", "rules")
    acc.resume(new_checkpoint=True)
    assert acc.entries("resumed")[-1].body["event"] == registry.champion().number
    next_session(acc, START)
    assert deciders(acc) == [first, second]
    assert changes(acc) == []  # it was a person


def test_registry_without_a_champion_is_refused_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = "expected a champion in registry, found none"
    with pytest.raises(UsageError, match=said), account(tmp_path / "paper", Path("champion")):
        pass
    assert os.listdir(tmp_path / "paper") == []


@VERY_SLOW
def test_account_that_began_with_a_folder_can_go_on_with_the_champion(tmp_path, registry, agents):
    with account(tmp_path / "paper", agents[2]) as acc:
        acc.filled()
        paper = acc.settings.paper.model_copy(update={"checkpoint": "champion"})
        acc.settings = acc.settings.model_copy(update={"paper": paper})
        keys = Keys(acc.exchange.key_id, acc.exchange.secret)
        acc.room = furnish(acc.settings, keys, acc.clock)
        assert next_session(acc, START).state == "waiting"
        assert deciders(acc) == [name_of(agents[2]), name_of(agents[0])]


@VERY_SLOW
def test_tables_tell_changes_and_what_was_declined(acc, registry, agents, tmp_path):
    from engine.run.paper.export import export

    name = registry.add(unfit(agents[0], tmp_path / "unfit", "feed"), LINEAGE)
    acc.filled()
    registry.promote(name_of(agents[1]), "won", "rules")
    next_session(acc, START)
    registry.promote(name, "won", "rules")
    next_session(acc, SECOND)
    export(acc.settings, tmp_path / "out", as_json=True)
    events = (tmp_path / "out" / "events.csv").read_text()
    assert f"{START},promoted,{name_of(agents[1])}" in events
    assert f"{SECOND},declined," in events
    assert json.loads(json.dumps(shown(acc)))["promotion"].startswith(name)
