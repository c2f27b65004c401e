"""The battery's tables come out, its tasks are what they say, and memory is what solves them."""

from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from agents.ddpg import ACTOR
from agents.rollout import Collector
from agents.sequences import evaluate
from tests.benchmarks.battery import (
    EPISODES,
    battery,
    current,
    digest,
    exam,
    found,
    learner_of,
    main,
)
from tests.benchmarks.control import Control
from tests.benchmarks.plan import TWIN, Gate, Plan
from tests.benchmarks.plans import PLANS, QUICK
from tests.benchmarks.task_env import REAL, TWO, AutoReset, OwnEpisodes, TaskEnv
from tests.benchmarks.tasks import PocMemory, Recall
from tests.benchmarks.verdict import Result, judged, lower_bound, table

pytestmark = pytest.mark.bench
ALL = np.ones(4, dtype=bool)
CARTPOLE = ("CartPole-v1", (0, 2))
PENDULUM = ("Pendulum-v1", (0, 1))
NAMED = {plan.name: plan for plan in PLANS}
ON_POLICY = [(plan, name) for plan in PLANS for name in plan.ours if name[:4] != "DDPG"]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@cache
def results(tmp: Any) -> dict[str, Result]:
    return {result.learner: result for result in battery(QUICK, 1, tmp / "battery.jsonl", "PPO")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("battery")


def test_ppo_recalls_over_five_blanks(folder):
    assert results(folder)["PPO"].score >= 0.95
    assert results(folder)["PPO"].steps >= QUICK[0].steps


def test_a_stopped_battery_learns_nothing_twice(folder, monkeypatch):
    before = results(folder)
    monkeypatch.setattr("tests.benchmarks.battery.learned", None)
    again = battery(QUICK, 1, folder / "battery.jsonl", "PPO")
    assert {result.learner: result for result in again} == before


def test_a_result_of_other_settings_does_not_count(folder):
    results(folder)
    kept = found(folder / "battery.jsonl")
    assert len(current(kept, QUICK, 1)) == 1
    assert current(kept, (NAMED["Recall-5"],), 1) == []  # more steps
    assert current(kept, QUICK, 0) == []


def test_where_a_training_runs_is_no_other_setting():
    (plan,) = QUICK
    for own, same in (({"executor": "ray", "workers": 4}, True), ({"gamma": 0.5}, False)):
        other = replace(plan, ours={**plan.ours, "PPO": {**plan.ours["PPO"], **own}})
        assert (digest(other, "PPO") == digest(plan, "PPO")) is same


def test_the_table_is_made_from_what_was_found(folder, capsys):
    results(folder)
    main(["--quick", "--table", "--out", str(folder / "battery.jsonl")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| task | learner | score of each seed | mean | gate | verdict |")
    assert lines[2].startswith("| Recall-5 | PPO | 1.00 | 1.00 |")
    assert len(lines) == 3


def test_an_unknown_task_is_refused():
    with pytest.raises(SystemExit):
        main(["Recall-6"])


def test_a_gate_is_met_missed_reported_or_waits_for_its_seeds():
    high, low = Gate("PPO", ">=", 475.0, "x"), Gate("PPO", "<=", 100.0)
    assert judged(high, np.array([500.0, 450.0]), 2) == "pass"
    assert judged(high, np.array([500.0, 449.0]), 2) == "short"
    assert judged(high, np.array([500.0]), 2) == "1 of 2 seeds"
    assert judged(low, np.array([500.0, 449.0]), 2) == "reported (short)"


def test_the_bound_on_a_difference_of_means_is_the_one_counted_by_hand():
    # Two scores against a fixed one: the mean drawn is 0, 1/2 or 1 with 1/4, 1/2, 1/4; 5 % lies at 0.
    assert lower_bound(np.array([0.0, 1.0]), np.array([0.25])) == -0.25
    assert lower_bound(np.full(5, 3.0), np.full(5, 1.0)) == 2.0
    # All five draws the one bad score: 1/3125; four of them: 20/3125; three: 160/3125, 5.8 % in all.
    assert lower_bound(np.array([0, 1, 1, 1, 1.0]), np.zeros(5)) == pytest.approx(0.4)


def test_ours_beside_a_peer_is_judged_by_five_percent_of_the_range():
    plan = Plan("x", PocMemory, 1, {"PPO": {}}, 0.0, 1.0, (), {"RecurrentPPO": {}})
    for score, word in ((0.96, "pass"), (0.94, "short")):
        told = [
            Result("x", "PPO", 0, score, 1, 1.0, ""),
            Result("x", "RecurrentPPO", 0, 1, 1, 1, ""),
        ]
        assert table(told, (plan,), 1).splitlines()[-1].endswith(f"| -0.05 | {word} |")


def test_recall_shows_the_cue_first_and_pays_for_it_last():
    task = Recall(3, 4, rng())
    task.reset(ALL)
    cue = task.look()[:, 0].copy()
    assert set(np.abs(cue)) == {1.0}
    for _ in range(4):
        assert not task.act(cue).any()
        assert not task.look()[:, 0].any()
    assert (task.look()[:, 1] == 1.0).all()
    side = 0.3 * cue * np.array([1, 1, -1, -1])  # DDPG's actions count by their sign
    np.testing.assert_array_equal(task.act(side), [1, 1, 0, 0])
    assert task.over.all()


def test_who_remembers_the_cue_recalls_always_and_who_does_not_half_of_the_time():
    for memory, mean in ((1.0, 1.0), (0.0, 0.5)):
        task = Recall(20, 4_000, rng())
        task.reset(np.ones(4_000, dtype=bool))
        cue = memory * task.look()[:, 0] + (1.0 - memory)
        for _ in range(task.limit):
            task.act(cue)
        assert task.score.mean() == pytest.approx(mean, abs=0.025)  # three deviations


@pytest.mark.parametrize("shown", [2, 3])
def test_poc_memory_pays_twelve_tenths_at_best_and_shows_the_cue_for_so_long(shown):
    task = PocMemory(4, rng(), shown)
    task.reset(ALL)
    task.place[:] = 0
    total, good = np.zeros(4), task.good.copy()
    for step in range(7):
        seen = task.look()
        np.testing.assert_array_equal(seen[:, 2], good if step < shown else 0 * good)
        np.testing.assert_array_equal(seen[:, 0], -seen[:, 2])
        total += task.act(good)
    assert task.score.all()
    np.testing.assert_allclose(total, 1.2)
    assert not task.act(good).any()  # over is over


def test_poc_memory_is_truncated_after_a_hundred_moves():
    env = AutoReset(PocMemory(4, rng()))
    env.reset()
    for step in range(102):  # two that show the cue, a hundred to and fro
        *_, terminated, truncated, _ = env.step(np.full(4, step % 2))
        assert not terminated.any()
        assert truncated.all() == (step == 101)


@pytest.mark.parametrize(("name", "shown"), [CARTPOLE, PENDULUM], ids=["cartpole", "pendulum"])
def test_a_control_task_is_gymnasiums_and_hides_velocity(name, shown):
    task, env = Control(name, shown, 1, rng()), gym.make(name)
    task.reset(np.ones(1, dtype=bool))
    seen, _ = env.reset(seed=int(rng().integers(2**31)))
    side, paid, over = np.linspace(-1.0, 1.0, 300), 0.0, False
    for step in range(300):
        np.testing.assert_array_equal(task.look()[0], seen[list(shown)])
        pushed = int(side[step] > 0) if task.reach is None else np.float32([2.0 * side[step]])
        seen, reward, over, cut, _ = env.step(pushed)
        assert task.act(side[[step]])[0] == reward
        paid += float(reward)
        assert (task.over[0], task.cut[0]) == (over, cut)
        assert task.cut[0] == (task.steps[0] == task.limit and not over)
        if over or cut:
            break
    assert over or cut
    assert task.score[0] == pytest.approx(paid, abs=1e-9)
    assert not task.act(side[:1]).any()  # over is over


def test_a_task_may_show_each_book_its_own_last_push_and_none_at_the_start():
    plain, told = (
        Control("Pendulum-v1", (2,), 2, rng()),
        Control("Pendulum-v1", (2,), 2, rng(), True),
    )
    for task in (plain, told):
        task.reset(np.ones(2, dtype=bool))
    assert (plain.inputs, told.inputs) == (1, 2)
    np.testing.assert_array_equal(told.look()[:, 1], 0.0)
    for task in (plain, told):
        task.act(np.array([0.25, -3.0]))
    np.testing.assert_array_equal(told.look()[:, 1], [0.25, -1.0])  # what was pushed, not asked
    np.testing.assert_array_equal(told.look()[:, 0], plain.look()[:, 0])
    told.reset(np.array([True, False]))
    np.testing.assert_array_equal(told.look()[:, 1], [0.0, -1.0])


def test_ours_see_inputs_in_their_unit_and_peers_as_they_are():
    made = [Control("Pendulum-v1", (1, 2), 4, rng()) for _ in range(2)]
    env, raw = TaskEnv(made[0], REAL, (0.5, 8.0)), AutoReset(made[1]).reset()[0]["market"]
    np.testing.assert_array_equal(env.observe().market[:, 0], raw / np.float32([0.5, 8.0]))


def test_books_of_a_control_task_differ_and_a_seed_repeats_them():
    first, again = (Control(*PENDULUM, 4, rng()) for _ in range(2))
    for task in (first, again):
        task.reset(ALL)
    np.testing.assert_array_equal(first.look(), again.look())
    assert len(np.unique(first.look()[:, 0])) == 4


def test_books_that_end_alone_start_alone_and_forget_alone():
    learner = learner_of(NAMED["CartPole, no velocity"], "PPO", 0)
    table, env = learner.collector, learner.collector.env
    for _ in range(60):
        table.collect(1)
        fresh = env.steps == 0
        np.testing.assert_array_equal(table.memory.abs().sum(-1).numpy() == 0, fresh)
        assert table.alive.all()
        if fresh.any():
            break
    assert fresh.any()
    assert not fresh.all()
    assert (np.abs(env.task.look()[fresh]) <= 0.05).all()  # CartPole starts within 0.05 of upright


def test_a_time_limit_keeps_the_value_of_the_last_observation_and_a_fall_drops_it():
    learner = learner_of(NAMED["Pendulum, no velocity"], "PPO", 0)
    rollout = learner.collector.collect(210)
    last = np.argwhere(rollout.ended & rollout.alive)
    assert len(last) == 32
    assert not rollout.terminated.any()
    batch, _ = learner.batch(rollout)
    step, book = last[0]
    hoped = rollout.reward[step, book] + 0.9 * rollout.after[step, book]
    assert batch.target[step, book].item() == pytest.approx(hoped, rel=1e-5)
    assert rollout.after[step, book] != 0.0
    fallen = learner_of(NAMED["CartPole, no velocity"], "PPO", 0)
    rollout = fallen.collector.collect(60)
    last = np.argwhere(rollout.terminated & rollout.alive)
    batch, _ = fallen.batch(rollout)
    assert len(last)
    assert batch.target[*last[0]].item() == pytest.approx(0.1)  # the last step's 1, scaled


@pytest.mark.parametrize(("plan", "name"), ON_POLICY, ids=lambda x: getattr(x, "name", x))
def test_an_update_first_sees_what_was_played(plan, name):
    learner = learner_of(plan, name, 0)
    with torch.no_grad():
        learner.net.actor[-1].weight.mul_(100.0 if plan.space(name) == TWO else 10.0)
    rollout = learner.collector.collect(120)
    books = torch.arange(rollout.books)
    log_prob, _, value = evaluate(learner.net, plan.space(name), rollout, books)
    on = rollout.alive
    np.testing.assert_allclose(log_prob.detach().numpy()[on], rollout.log_prob[on], atol=2e-4)
    np.testing.assert_allclose(value.detach().numpy()[on], rollout.value[on], atol=1e-4)
    if isinstance(learner.collector, OwnEpisodes):
        assert on.sum() == 120 * learner.settings.books
        # A piece ends with its episode or with the rollout, and padding follows.
        ends = np.where(on, np.arange(len(on))[:, None], -1).max(axis=0)
        assert not (rollout.ended & on)[:-1][on[1:]].any()
        assert on.sum() == (ends + 1).sum()


@pytest.mark.parametrize("name", ["Recall-5", "Recall-20", "Recall-50"])
def test_what_is_known_ahead_is_what_is_seen(name):
    env = TaskEnv(NAMED[name].task(4, 0))
    ahead, index, fresh = env.sequence(env.last)
    assert fresh.all()
    for step in range(env.last):
        np.testing.assert_array_equal(ahead[index[step, 0, 0]][:, 0], env.observe().market[:, 0])
        env.task.act(np.ones(4))
        env.steps = env.steps + 1


def test_ddpg_bootstraps_over_the_time_limit_of_pendulum():
    learner = learner_of(NAMED["Pendulum"], "DDPG" + TWIN, 0)
    learner.explorer.play(201)
    starts = learner.replay.starts(1, 1)
    batch = learner.replay.sample(starts[199:200], 1, 1)  # the last step of the first episode
    assert not batch.terminated.any()
    seen = learner.unrolled(learner.target_net, batch, ACTOR)
    assert seen.shape[0] == 2  # the final observation is there, and is not the next episode's first
    assert batch.rows[1, 0].tolist() == pytest.approx(
        learner.replay.ring["rows"][200, 0, 0].tolist()
    )
    assert (learner.target(batch) != batch.reward).all()


@pytest.mark.parametrize("name", ["Recall-20", "Pendulum, velocity alone"])
def test_ddpg_learns_from_sequences_that_begin_with_their_own_memory(name):
    learner = learner_of(NAMED[name], "DDPG", 0)
    learner.explorer.play(230)
    starts = learner.replay.starts(learner.steps, learner._depth())
    batch = learner.replay.sample(starts[-8:], learner.steps, learner._depth())
    before = learner.net.lstm.weight_hh_l0.detach().clone()
    assert all(np.isfinite(value) for value in learner.learn(batch).values())
    assert not torch.equal(before, learner.net.lstm.weight_hh_l0)  # the memory is learned
    # The sequence is the book's own: its last row is what the book saw so many bars later.
    bar, book = starts[-1]
    ring = learner.replay.ring["rows"]
    np.testing.assert_array_equal(batch.rows[-1, -1], ring[bar + learner.steps, book, 0])


def test_the_exam_of_an_untrained_policy_is_that_of_a_bad_one():
    plan = NAMED["CartPole, no velocity"]
    learner = learner_of(plan, "PPO", 0)
    score = exam(learner.net, TaskEnv(plan.task(EPISODES, 0), TWO, plan.unit))
    assert 8.0 <= score <= 50.0


def test_a_peer_is_given_the_same_task():
    if find_spec("sb3_contrib") is None:
        pytest.skip("the extra `bench` is not installed")
    from tests.benchmarks.peer import peer_of

    plan = NAMED["Pendulum, no velocity"]
    settings = {**plan.peers["RecurrentPPO"], "n_steps": 4}
    env = AutoReset(plan.task(4, 0))
    model = peer_of("RecurrentPPO", env, settings, 0)
    assert model.learning_rate == 1e-3
    assert env.single_action_space.high[0] == 2.0
    own = TaskEnv(plan.task(4, 0), REAL)
    np.testing.assert_array_equal(env.reset()[0]["market"], own.observe().market[:, 0])


def test_a_peer_leaves_its_settings_as_they_are_so_that_its_results_keep_their_name():
    if find_spec("sb3_contrib") is None:
        pytest.skip("the extra `bench` is not installed")
    from tests.benchmarks.peer import peer_of

    plan = NAMED["Pendulum"]
    name = digest(plan, "SB3 DDPG")
    peer_of("SB3 DDPG", AutoReset(plan.task(1, 0)), plan.peers["SB3 DDPG"], 0)
    assert digest(plan, "SB3 DDPG") == name


def test_the_usual_collector_plays_where_all_episodes_are_as_long():
    assert type(learner_of(NAMED["Recall-5"], "PPO", 0).collector) is Collector
