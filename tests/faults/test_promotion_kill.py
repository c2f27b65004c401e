"""SIGKILL around a change of agents: the same one decides, once, with the same memory."""

from dataclasses import replace

import pytest

from tests.kill_oracle import violations
from tests.kill_points import AFTER, BEFORE, CHANGES, REBUILT
from tests.kill_trials import Scenario, Trial, moment_of, scenario_of
from tests.registries import cousin

CHANGED = 2  # a promotion and a rollback


@pytest.fixture(scope="session")
def agents(tmp_path_factory, agent):
    """Two agents that trade often."""
    return agent, cousin(agent, tmp_path_factory.mktemp("agents") / "second", 1)


def changing(seed: int, agents) -> Scenario:
    """Three decisions: promoted while the second session trades, rolled back as the third closes."""
    plain = scenario_of(seed, decisions=3)
    row = plain.bars.index_of(plain.start)
    second, third = (plain.bars.sessions[row + n].item() for n in (1, 2))
    changes = ((moment_of(second, open=15), 1), (moment_of(third, close=20), None))
    return replace(plain, agents=agents, changes=changes)


def count(whole: Trial, point: str) -> int:
    """How often an undisturbed life comes to a point; the first agent's own memory left out."""
    return whole.results[-1]["counts"][point] - (point == REBUILT)


def died(lived, whole: Trial, point: str, nth: int) -> Trial:
    """The same life, killed at the nth change."""
    return lived(whole.scenario, [(point, nth + (point == REBUILT))])


def require_changed(trial: Trial) -> None:
    days = [on for on, _ in trial.rows("decision")]
    changes = trial.rows("promoted")
    assert [on for on, _ in changes] == days[1:3]
    assert [body["event"] for _, body in changes] == [4, 5]
    deciders = [body["checkpoint"] for _, body in trial.rows("decision")]
    assert deciders[0] == deciders[2] != deciders[1]


def test_undisturbed_life_with_a_promotion_and_a_rollback_keeps_every_invariant(
    undisturbed, agents
):
    whole = undisturbed(changing(3, agents))
    require_changed(whole)
    assert len(whole.sent) > 3
    assert [count(whole, point) for point in CHANGES] == [CHANGED] * len(CHANGES)


@pytest.mark.parametrize("point", [BEFORE, AFTER, REBUILT])  # `make test-all` tries all, often
def test_killed_around_a_change_it_is_as_if_never_killed(lived, undisturbed, agents, point):
    whole = undisturbed(changing(3, agents))
    killed = died(lived, whole, point, 1 + CHANGES.index(point) % CHANGED)
    assert killed.died_at == [point]
    assert violations(killed, whole) == []


@pytest.mark.very_slow
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", CHANGES)
def test_killed_around_a_change_in_many_lives_it_is_as_if_never_killed(
    lived, undisturbed, agents, seeds, point, nth
):
    broken = {}
    for seed in seeds:
        whole = undisturbed(changing(seed, agents))
        require_changed(whole)
        killed = died(lived, whole, point, nth)
        found = violations(killed, whole)
        if found or killed.died_at != [point]:
            broken[seed] = found or killed.died_at
    assert broken == {}


@pytest.mark.very_slow
@pytest.mark.parametrize("first", CHANGES)
def test_killed_twice_around_a_change_it_is_as_if_never_killed(lived, undisturbed, agents, first):
    broken, twice = {}, 0
    whole = undisturbed(changing(3, agents))
    for second in CHANGES:
        kills = [(first, 1 + (first == REBUILT)), (second, 1)]
        trial = lived(whole.scenario, kills)
        twice += len(trial.died_at) == 2
        if found := violations(trial, whole):
            broken[second] = found
    assert broken == {}
    assert twice >= 3


def test_runner_dead_for_a_day_after_a_change_goes_on_with_who_is_champion_then(
    lived, undisturbed, agents
):
    # The second session is missed; its agent never decided, and the champion of the third is there.
    scenario = changing(3, agents)
    third = scenario.changes[1][0]
    trial = lived(replace(scenario, back=third, rules=()), [(AFTER, 1)])
    assert trial.died_at == [AFTER]
    assert violations(trial) == []
    whole = undisturbed(scenario)
    ours, theirs = trial.rows("decision"), whole.rows("decision")
    assert [on for on, _ in ours] == [on for on, _ in theirs]
    assert [on for on, _ in trial.rows("promoted")] == [on for on, _ in whole.rows("promoted")]
    assert ours[-1][1]["checkpoint"] == theirs[-1][1]["checkpoint"]
    assert ours[1][1]["caught_up"]
