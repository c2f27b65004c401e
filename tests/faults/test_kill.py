"""SIGKILL at every boundary of the cycle, many scenarios each; afterwards every invariant holds.

F1 to F9: whatever dies, an order is sent once, a decision is made once, every fill is booked once.
"""

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from tests.kill_oracle import violations
from tests.kill_points import POINTS, POSTED, UNWRITTEN
from tests.kill_trials import Scenario, Trial, scenario_of

PARTIAL = "after a partial B7"
ASKED = ("after B4", "after B5", POSTED)  # first deaths of two that every test run tries
pytestmark = pytest.mark.slow


def asked(points):
    """Give every point as a parameter; those that only `make test-all` tries are marked."""
    return [
        pytest.param(point, marks=() if point in ASKED else pytest.mark.very_slow)
        for point in points
    ]


class Deaths:
    """Kills every seed's scenario at one point and keeps what does not hold, by seed."""

    def __init__(self, lived, undisturbed, seeds):
        self.lived, self.undisturbed, self.seeds = lived, undisturbed, seeds
        self.broken: dict[int, list[str]] = {}

    def at(self, point: str) -> list[tuple[Trial, Trial]]:
        """Return (killed, undisturbed) of every seed; each must have died there, once."""
        return [self._pair(seed, point) for seed in self.seeds]

    def _pair(self, seed: int, point: str) -> tuple[Trial, Trial]:
        partial = 1.0 if point == PARTIAL else None
        for draw in range(seed, seed + 5000, 1000):  # a few scenarios never come to this point
            scenario = scenario_of(draw, partial)
            whole = self.undisturbed(scenario)
            reached = occurrences(whole, point)
            if reached:
                break
        killed = self.lived(scenario, [(point, 1 + seed % reached)])
        assert killed.died_at == [point], f"seed {seed}"
        found = violations(killed, whole)
        if found:
            self.broken[seed] = found
        return killed, whole


def occurrences(whole: Trial, point: str) -> int:
    """How often an undisturbed life comes to a point."""
    if point == POSTED:
        return len(whole.books["orders"])
    return whole.results[-1]["counts"].get(point, 0)


def posts(trial: Trial) -> Counter[str]:
    """How often each client order id was sent."""
    return Counter(sent.cid for sent in trial.sent)


@pytest.fixture
def deaths(lived, undisturbed, seeds):
    return Deaths(lived, undisturbed, seeds)


@pytest.mark.parametrize("point", POINTS[:4])
def test_f1_killed_before_the_decision_the_cycle_is_done_again_and_orders_once(deaths, point):
    for killed, whole in deaths.at(point):
        assert posts(killed) == posts(whole)
    assert deaths.broken == {}


def test_f2_killed_inside_the_decision_there_is_no_trace_of_it_and_the_same_comes_out(deaths):
    for killed, whole in deaths.at("inside B4"):
        assert len(killed.asked) == len(whole.asked) + 1
    assert deaths.broken == {}


def test_f3_killed_after_the_decision_the_policy_is_not_asked_again(deaths):
    for killed, whole in deaths.at("after B4"):
        assert killed.asked == whole.asked
    assert deaths.broken == {}


def test_f4_killed_between_intent_and_post_the_stored_intent_is_sent_once(deaths):
    for killed, whole in deaths.at("after B5"):
        assert posts(killed) == posts(whole)
    assert deaths.broken == {}


def test_f5_killed_with_the_post_accepted_the_order_is_adopted_and_not_sent_again(deaths):
    for killed, whole in deaths.at(POSTED):
        assert posts(killed) == posts(whole)
    assert deaths.broken == {}


@pytest.mark.very_slow
def test_killed_after_an_acknowledgement_the_others_are_sent_and_this_one_is_not(deaths):
    for killed, whole in deaths.at("after B6"):
        assert posts(killed) == posts(whole)
    assert deaths.broken == {}


def test_f6_killed_with_a_part_filled_the_whole_is_never_ordered_again(deaths):
    for killed, whole in deaths.at(PARTIAL):
        assert posts(killed) == posts(whole)
    assert deaths.broken == {}


def test_f7_killed_before_a_fill_is_written_it_is_booked_once_from_the_sum(deaths):
    for killed, whole in deaths.at(UNWRITTEN):
        assert [body["qty"] for _, body in killed.rows("fill")] == [
            body["qty"] for _, body in whole.rows("fill")
        ]
    assert deaths.broken == {}


@pytest.mark.parametrize("point", ["after the last B7", "after B8"])
def test_f8_killed_around_the_close_of_a_session_nothing_is_traded_and_it_closes_once(
    deaths, point
):
    for killed, whole in deaths.at(point):
        assert posts(killed) == posts(whole)
        assert [on for on, _ in killed.rows("closed")] == [on for on, _ in whole.rows("closed")]
    assert deaths.broken == {}


@pytest.mark.parametrize("point", asked(POINTS))
def test_a_runner_that_stays_dead_for_a_day_sends_nothing_late_and_its_memory_is_the_same(
    lived, undisturbed, point
):
    # It dies in or after its second decision and comes back for the third, when the orders of the
    # second have long met their open: those that were not sent by then are missed.
    scenario = replace(scenario_of(3, partial=1.0, decisions=3), rules=())
    looks = scenario.looks
    second, third = [n for n, at in enumerate(looks) if at.hour > 19][1:3]
    whole = undisturbed(scenario)
    before = whole.results[second - 1]["counts"].get(point, 0)
    if point == POSTED:
        before = sum(sent.at < looks[second] for sent in whole.sent)
    trial = lived(replace(scenario, back=looks[third]), [(point, before + 1)])
    assert trial.died_at == [point]
    assert violations(trial) == []
    ours, theirs = trial.rows("decision"), whole.rows("decision")
    assert [on for on, _ in ours] == [on for on, _ in theirs]
    assert ours[-1][1]["memory"] == theirs[-1][1]["memory"]


def deep(depth: int) -> list[tuple[str, ...]]:
    """Every sequence of kill points of this length."""
    return list(product(POINTS, repeat=depth))


@pytest.mark.parametrize("first", asked(POINTS))
def test_f9_killed_again_while_recovering_it_is_as_killed_once(lived, undisturbed, first):
    # Every pair of points; where the second life does not come to its point, it ends the trial.
    broken, twice = {}, 0
    scenario = quick(POINTS.index(first))
    whole = undisturbed(scenario)
    for second in POINTS:
        trial = lived(scenario, [(first, 1), (second, 1)])
        twice += len(trial.died_at) == 2
        found = violations(trial, whole)
        if found or trial.died_at[:1] != [first]:
            broken[second] = found or trial.died_at
    assert broken == {}
    assert twice >= 3


@pytest.mark.very_slow
def test_f9_killed_three_times_it_is_as_killed_once(lived, undisturbed, seeds):
    broken, thrice = {}, 0
    triples = deep(3)
    for seed in seeds:
        scenario = quick(seed)
        points = triples[(seed * 89) % len(triples)]
        trial = lived(scenario, [(point, 1) for point in points])
        thrice += len(trial.died_at) == 3
        found = violations(trial, undisturbed(scenario))
        if found:
            broken[seed, points] = found
    assert broken == {}
    assert thrice >= len(seeds) // 4


def quick(seed: int) -> Scenario:
    """A scenario with one decision, two looks, and orders that all fill in part first."""
    plain = scenario_of(seed, partial=1.0, decisions=1)
    return replace(plain, looks=(plain.looks[0], plain.looks[-1]))
