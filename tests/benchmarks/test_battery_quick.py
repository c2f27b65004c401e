"""The battery's table comes out, its tasks are what they say, and memory is what solves them."""

import json
from functools import cache
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from agents.sequences import evaluate
from tests.benchmarks.battery import (
    PLANS,
    QUICK,
    SYSTEMS,
    Result,
    WholeEpisodes,
    battery,
    learner_of,
    main,
    table,
)
from tests.benchmarks.tasks import TWO, AutoReset, PocMemory, Recall, TaskEnv

pytestmark = pytest.mark.bench
ALL = np.ones(4, dtype=bool)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@cache
def results() -> dict[str, Result]:
    return {result.learner: result for result in battery(QUICK, 1)}


def test_ppo_recalls_over_five_blanks_and_its_memoryless_twin_does_not():
    assert results()["PPO"].success >= 0.95
    assert results()["PPO, no memory"].success == pytest.approx(0.5, abs=0.1)


def test_every_system_has_its_line_in_the_table():
    there = SYSTEMS if find_spec("sb3_contrib") else SYSTEMS[:-1]
    assert tuple(results()) == there
    lines = table(list(results().values())).splitlines()
    assert lines[0] == "| task | learner | seed | success | steps | seconds |"
    assert len(lines) == 2 + len(there)
    assert all(result.steps >= QUICK[0].steps for result in results().values())
    assert all(0.0 <= result.success <= 1.0 for result in results().values())


def test_json_holds_every_line(monkeypatch, capsys):
    monkeypatch.setattr(
        "tests.benchmarks.battery.battery", lambda plans, seeds: list(results().values())
    )
    main(["--quick", "--json"])
    told = json.loads(capsys.readouterr().out)["results"]
    assert [line["learner"] for line in told] == list(results())


def test_an_unknown_task_is_refused():
    with pytest.raises(SystemExit):
        main(["Recall-6"])


def test_recall_shows_the_cue_first_and_pays_for_it_last():
    task = Recall(3, 4, rng())
    task.reset(ALL)
    cue = task.look()[:, 0].copy()
    assert set(np.abs(cue)) == {1.0}
    for _ in range(4):
        assert not task.act(cue).any()
        assert not task.look()[:, 0].any()
    assert (task.look()[:, 1] == 1.0).all()
    side = cue * np.array([1, 1, -1, -1])
    np.testing.assert_array_equal(task.act(side), [1, 1, 0, 0])
    assert task.over.all()


def test_poc_memory_pays_twelve_tenths_at_best_and_hides_the_cue_before_the_first_move():
    task = PocMemory(4, rng())
    task.reset(ALL)
    task.place[:] = 0
    total, good = np.zeros(4), task.good.copy()
    for step in range(7):
        seen = task.look()
        np.testing.assert_array_equal(seen[:, 2], good if step < 2 else 0 * good)
        np.testing.assert_array_equal(seen[:, 0], -seen[:, 2])
        total += task.act(good)
    assert task.won.all()
    np.testing.assert_allclose(total, 1.2)
    assert not task.act(good).any()  # over is over


def test_poc_memory_is_truncated_after_a_hundred_moves():
    env = AutoReset(PocMemory(4, rng()))
    env.reset()
    for step in range(102):  # two that show the cue, a hundred to and fro
        *_, terminated, truncated, _ = env.step(np.full(4, step % 2))
        assert not terminated.any()
        assert truncated.all() == (step == 101)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
@pytest.mark.parametrize("memory", ["carry", "window(1)"])
def test_an_update_first_sees_what_was_played(plan, memory):
    learner = learner_of(plan, "ppo", memory, 0)
    with torch.no_grad():
        learner.net.actor[-1].weight.mul_(100.0)
    rollout = learner.collector.collect(120)
    log_prob, _, value = evaluate(learner.net, TWO, rollout, torch.arange(rollout.books))
    on = rollout.alive
    np.testing.assert_allclose(log_prob.detach().numpy()[on], rollout.log_prob[on], atol=1e-4)
    np.testing.assert_allclose(value.detach().numpy()[on], rollout.value[on], atol=1e-4)
    if isinstance(learner.collector, WholeEpisodes):
        assert (rollout.ended & on).sum() == rollout.books * len(rollout.segments)
        assert len(rollout.segments) > 1


@pytest.mark.parametrize("plan", PLANS[:3], ids=lambda plan: plan.name)
def test_what_is_known_ahead_is_what_is_seen(plan):
    env = TaskEnv(plan.task(4, 0))
    ahead, index, fresh = env.sequence(env.last)
    assert fresh.all()
    for step in range(env.last):
        np.testing.assert_array_equal(ahead[index[step, 0, 0]][:, 0], env.observe().market[:, 0])
        env.task.act(np.ones(4))
        env.steps = env.steps + 1
