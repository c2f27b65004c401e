"""Champions that are not taken up: unfit, damaged, gone, without a history; the agent stays."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine import checkpoint
from engine.checkpoint import POLICY
from engine.errors import UsageError
from engine.registry_story import HISTORY
from engine.run.paper.export import export
from tests.fault_account import EVENING, account, few_bars
from tests.followed import FIRST, SECOND, changes, deciders, name_of, next_session, shown
from tests.registries import LINEAGE, cousin

VERY_SLOW = pytest.mark.very_slow


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
    days = [day.item() for day in sessions[sessions >= np.datetime64(FIRST)]]
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


def unreadable(registry, folder):
    (registry.path / HISTORY).unlink()
    (registry.path / HISTORY).mkdir()


@pytest.mark.parametrize(
    "spoil", [pytest.param(damaged, marks=VERY_SLOW), deleted, edited, unreadable]
)
def test_registry_that_cannot_be_trusted_changes_nothing_and_halts_nothing(
    acc, registry, agents, spoil
):
    acc.filled()
    second = name_of(agents[1])
    registry.promote(second, "won", "rules")
    spoil(registry, registry.place(checkpoint.read(agents[1]).digest))
    found = next_session(acc, FIRST)
    assert found.state == "waiting", found.message
    assert "was not taken up, the agent stays" in found.news
    assert "not followed" in shown(acc)["promotion"]
    assert deciders(acc) == [name_of(agents[0])] * 2


def test_older_copy_of_the_registry_is_not_followed(acc, registry, agents):
    first, second, _ = map(name_of, agents)
    acc.filled()
    before = (registry.path / HISTORY).read_text()
    registry.promote(second, "won", "rules")
    next_session(acc, FIRST)
    (registry.path / HISTORY).write_text(before)
    found = next_session(acc, SECOND)
    assert "an older copy of the registry" in found.news
    assert deciders(acc) == [first, second, second]


def test_history_of_the_registry_that_is_gone_is_told_and_the_agent_goes_on(acc, registry, agents):
    acc.filled()
    (registry.path / HISTORY).unlink()
    found = next_session(acc, FIRST)
    assert found.state == "waiting"
    assert "found none as the last" in found.news
    assert "not followed: expected events of the registry after number" in shown(acc)["promotion"]
    assert deciders(acc) == [name_of(agents[0])] * 2


def test_agent_whose_copy_is_gone_halts_until_it_is_back(acc, registry, agents, tmp_path):
    acc.filled()
    folder = registry.place(checkpoint.read(agents[0]).digest)
    folder.rename(tmp_path / "aside")
    sent = len(acc.posts)
    found = next_session(acc, FIRST)
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
    assert next_session(acc, FIRST).state == "waiting"
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
        found = next_session(acc, FIRST)
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
    found = next_session(acc, FIRST)
    assert found.state == "waiting", found.message
    assert f"the promotion of {second} was not taken up" in found.news
    assert deciders(acc) == [first, first]
    acc.faults.clear()
    next_session(acc, SECOND)
    assert deciders(acc) == [first, first, second]


def test_registry_without_a_champion_is_refused_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = "expected a champion in registry, found none"
    with pytest.raises(UsageError, match=said), account(tmp_path / "paper", Path("champion")):
        pass
    assert os.listdir(tmp_path / "paper") == []


@VERY_SLOW
def test_tables_tell_changes_and_what_was_declined(acc, registry, agents, tmp_path):
    name = registry.add(unfit(agents[0], tmp_path / "unfit", "feed"), LINEAGE)
    acc.filled()
    registry.promote(name_of(agents[1]), "won", "rules")
    next_session(acc, FIRST)
    registry.promote(name, "won", "rules")
    next_session(acc, SECOND)
    export(acc.settings, tmp_path / "out", as_json=True)
    events = (tmp_path / "out" / "events.csv").read_text()
    assert f"{FIRST},promoted,{name_of(agents[1])}" in events
    assert f"{SECOND},declined," in events
    assert json.loads(json.dumps(shown(acc)))["promotion"].startswith(name)
