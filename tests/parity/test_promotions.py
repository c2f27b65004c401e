"""Promotions: the live loop over several agents is the backtest made of their turns, bit for bit."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from engine.checkpoint import read
from engine.cli import run
from engine.registry import Registry
from engine.run.paper import decide, pickup
from engine.run.paper.against import told
from engine.run.paper.arrays import unpack
from engine.run.paper.compare import life_of
from engine.run.paper.look import Look
from engine.run.paper.state import State
from engine.run.rehearse.agents import turns_of
from engine.run.rehearse.chaos import Chaos
from engine.run.rehearse.commands import HASTY
from engine.run.rehearse.compare import compare
from engine.run.rehearse.run import Play, Promotion, rehearse
from engine.settings import Settings
from engine.trader import Trader
from tests.kill_oracle import violations
from tests.paper_account import COSTS, sample_bars
from tests.registries import cousin
from tests.rehearsed_trial import rehearse_seen

BEGIN = date(2009, 12, 31)
SESSIONS, CHANGES = 8, (2, 4, 6)  # rows from the first session on whose decision is another's


@pytest.fixture(scope="module")
def agents(tmp_path_factory, agent):
    """Three agents that trade often; the second looks further back than the others."""
    folder = tmp_path_factory.mktemp("agents")
    longer = read(agent).burn_in + 20
    return [
        agent,
        cousin(agent, folder / "second", 1, burn_in=longer),
        cousin(agent, folder / "third", 2),
    ]


def play_of(agents, sessions=SESSIONS, changes=CHANGES):
    """Two promotions, and a rollback to the first of them."""
    bars = sample_bars()
    first = bars.index_of(BEGIN)
    chosen = {"costs": COSTS, "exchange": {"partial_fills": 0.0}, "data": {"source": "sample"}}
    promotions = tuple(
        Promotion(bars.sessions[first + at].item(), folder)
        for at, folder in zip(changes, [agents[1], agents[2], None], strict=False)
    )
    settings = Settings.model_validate(chosen)
    return Play(settings, agents[0], bars, first, first + sessions - 1, promotions)


@pytest.fixture(scope="module")
def lived(tmp_path_factory, agents):
    return rehearse_seen(play_of(agents), tmp_path_factory.mktemp("rehearsal"))


def test_two_promotions_and_a_rollback_equal_the_relayed_backtest_bit_for_bit(lived, agents):
    agreement = compare(lived.play, lived.found)
    assert agreement.holds, agreement
    assert {line.differ for line in agreement.lines} == {0}
    assert agreement.decided == SESSIONS
    compared = {line.what: line.compared for line in agreement.lines}
    assert compared["orders"] == 4 * SESSIONS
    assert compared["memory"] == 4 * SESSIONS * 32
    assert agreement.fills >= 2 * SESSIONS
    rows = lived.play.first + np.array([0, *CHANGES])
    days = [str(lived.play.bars.sessions[row]) for row in rows]
    order = [0, 1, 2, 1]
    ids = [read(agents[n]).digest[:12] for n in order]
    assert agreement.agents == tuple(zip(days, ids, strict=True))
    by_agent = np.split(np.arange(SESSIONS), CHANGES)
    orders = [entry.body["orders"] for entry in lived.found.entries["decision"]]
    for turn in by_agent:  # none of them stands idle
        assert any(any(orders[at]) for at in turn)


def test_two_promotions_and_a_rollback_keep_every_invariant(lived):
    found = violations(lived.trial)
    # The orders of its last decision wait for an open that is not lived any more.
    assert [x for x in found if not x.startswith("I9: expected it to end closed, found wait")] == []
    assert len(lived.trial.sent) > SESSIONS


@pytest.mark.very_slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_faults_over_promotions_changes_nothing(tmp_path, agents, seed):
    stormy = play_of(agents)
    found = rehearse(stormy, tmp_path, lambda clock: Chaos(seed, clock), HASTY)
    agreement = compare(stormy, found)
    assert agreement.holds, agreement
    assert len(agreement.agents) == 1 + len(CHANGES)
    assert sum(found.faults.values()) > SESSIONS


def test_each_change_is_written_down_with_its_event_and_a_proof_that_holds(lived, agents):
    history = Registry(lived.trial.folder / "account" / "registry").history()
    champions = {event.number: event for event in history if event.kind != "added"}
    changes = lived.found.entries["promoted"]
    assert [champions[x.body["event"]].kind for x in changes] == [
        "promoted", "promoted", "rolled_back",
    ]  # fmt: skip
    decisions = {entry.session: entry for entry in lived.found.entries["decision"]}
    before = read(agents[0]).digest
    for change in changes:
        body = change.body
        assert body["from"] == before
        before = body["checkpoint"]
        decision = decisions[change.session]
        assert decision.number > change.number
        assert decision.body["checkpoint"] == before
        assert (
            rebuilt(lived.play, agents, change) == unpack(decision.body["memory_before"]).tobytes()
        )


def rebuilt(play, agents, change):
    """The memory by a burn-in over the bars of the play itself."""
    from engine.run.evaluation import deployed

    folder = next(x for x in agents if read(x).digest == change.body["checkpoint"])
    spec, policy = deployed(play.settings, folder, play.bars)
    trader = Trader(spec, policy, len(play.bars.symbols))
    trader.prime(play.bars.between(None, np.datetime64(change.session) - 1))
    return trader.memory.tobytes()


def test_backtest_whose_turns_are_a_session_off_does_not_agree(lived, monkeypatch):
    def shifted(play, found):
        turns = turns_of(play, found)
        ends = [turn.last + 1 for turn in turns[:-1]]
        starts = [turns[0].first, *(end + 1 for end in ends)]
        return [
            replace(turn, first=start, last=end)
            for turn, start, end in zip(turns, starts, [*ends, turns[-1].last], strict=True)
        ]

    monkeypatch.setattr("engine.run.rehearse.compare.turns_of", shifted)
    agreement = compare(lived.play, lived.found)
    differ = {line.what: line.session for line in agreement.lines if line.differ}
    assert differ["memory"] == str(lived.play.sessions[CHANGES[0]])


def carried(monkeypatch):
    """Plant: the memory of the old agent goes on in the new one."""
    real = State._on_promoted

    def promoted(self, entry):
        real(self, entry)
        self.fresh_memory = False

    monkeypatch.setattr(State, "_on_promoted", promoted)


def short_burn_in(monkeypatch):
    """Plant: the cycle's own burn-in is a bar shorter than the one that was proven."""
    real = decide.Trader

    def trader(spec, *args):
        return real(replace(spec, burn_in=spec.burn_in - 1), *args)

    monkeypatch.setattr(decide, "Trader", trader)


def at_any_look(monkeypatch):
    """Plant: a promotion is taken up at once, also while orders are about."""
    real = Look.work

    def work(self):
        state = self.state
        if state.decided is not None:
            pickup.pick_up(self.room, self.notes, state, state.decided)
        return real(self)

    monkeypatch.setattr(Look, "work", work)


def test_memory_carried_from_the_old_agent_is_caught(tmp_path, agents, monkeypatch):
    carried(monkeypatch)
    short = play_of(agents, sessions=3, changes=(1,))
    agreement = compare(short, rehearse(short, tmp_path))
    differ = {line.what: line.session for line in agreement.lines if line.differ}
    assert differ["memory"] == str(short.sessions[1])


@pytest.mark.very_slow
def test_memory_that_is_not_the_one_proven_halts(tmp_path, agents, monkeypatch):
    short = play_of(agents, sessions=3, changes=(1,))
    short_burn_in(monkeypatch)  # the first agent has no proof to be compared with
    found = rehearse(short, tmp_path)
    assert "was taken up with" in str(found.halted)
    assert len(found.entries["decision"]) == 1


def test_change_in_the_middle_of_a_session_is_caught(tmp_path, agents, monkeypatch):
    at_any_look(monkeypatch)
    short = play_of(agents, sessions=3, changes=(1,))
    seen = rehearse_seen(short, tmp_path)
    found = violations(seen.trial)
    assert [text for text in found if text.startswith("I7: the agent changed in the middle")], found


def test_command_rehearses_promotions_and_says_who_decided(tmp_path, agents, capsys):
    config = tmp_path / "own.toml"
    config.write_text(
        f'name = "own"\nruns_dir = "{tmp_path / "runs"}"\n[data]\nsource = "sample"\n'
        "[split]\ntest = { start = 2010-01-04 }\n[exchange]\npartial_fills = 0.0\n"
    )
    chosen = ["rehearse", str(config), "--checkpoint", str(agents[0]), "--to", "2010-01-06"]
    changes = ["--promote", "2010-01-06=rollback", "--promote", f"2010-01-05={agents[2]}"]
    assert run([*chosen, *changes]) == 0
    told = capsys.readouterr().out.splitlines()
    first, third = (read(agents[n]).digest[:12] for n in (0, 2))
    agents_line = f"{first} from 2010-01-04, {third} from 2010-01-05, {first} from 2010-01-06"
    assert f"  agents: {agents_line}" in told
    assert told[-1] == "the rehearsal agrees with the backtest"


def test_champion_that_was_declined_is_told_even_after_a_rollback(tmp_path, agents, capsys):
    config = tmp_path / "own.toml"
    config.write_text(
        f'name = "own"\nruns_dir = "{tmp_path / "runs"}"\n[data]\nsource = "sample"\n'
    )
    limits = read(agents[0]).limits.model_copy(update={"allow_short": True})
    unfit = cousin(agents[0], tmp_path / "unfit", 9, limits=limits.model_dump(mode="json"))
    chosen = ["--checkpoint", str(agents[0]), "--from", "2010-01-04", "--to", "2010-01-06"]
    changes = ["--promote", f"2010-01-05={unfit}", "--promote", "2010-01-06=rollback"]
    run(["rehearse", str(config), *chosen, *changes])
    said = f"  {read(unfit).digest[:12]} was not taken up on 2010-01-05: limits.allow_short"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("soon=x", "expected DATE=FOLDER"),
        ("2010-01-04=rollback", "expected a date after the first session 2010-01-04"),
        ("2010-01-06=nowhere", "no such folder"),
    ],
)
def test_promotions_that_cannot_be_rehearsed_are_refused(tmp_path, agents, capsys, given, said):
    chosen = ["--set", f"runs_dir={tmp_path}", "--from", "2010-01-04", "--to", "2010-01-08"]
    assert (
        run(["rehearse", "demo", "--checkpoint", str(agents[0]), *chosen, "--promote", given]) == 2
    )
    assert said in capsys.readouterr().err


def test_journal_alone_tells_that_every_agent_decided_as_its_backtest_does(lived, agents):
    account = lived.trial.folder / "account"
    registry = lived.play.settings.registry.model_copy(update={"dir": str(account / "registry")})
    found, _ = told(life_of(account), lived.play.settings.model_copy(update={"registry": registry}))
    assert found["agreement"]["plain"]["actions"] == [4 * SESSIONS, 4 * SESSIONS]
    assert found["tracking"]["error"] == pytest.approx(0.0, abs=1e-12)
    ids = [read(agents[n]).digest[:12] for n in (0, 1, 2, 1)]
    assert [agent["id"] for agent in found["agents"]] == ids
    assert [agent["how"] for agent in found["agents"]] == ["first", *["promoted"] * 3]
