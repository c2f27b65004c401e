"""How far gradients reach back, and how stale a stored memory gets: neither may change a result."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from agents.sequences import Rollout, evaluate, refreshed
from engine.errors import SettingsError
from tests.rollouts import BOOKS, EPISODE, SETUPS, STEPS, Parts

ALL = torch.arange(BOOKS)


def scored(parts: Parts, rollout: Rollout, books: Tensor = ALL, bptt: int | None = None) -> Any:
    return evaluate(parts.net, parts.spec.action, rollout, books, bptt)


def reach(parts: Parts, rollout: Rollout, t: int, bptt: int | None, books: Tensor = ALL) -> Tensor:
    """|d log-probability[t] / d row| for every row of the segment that holds bar t, (L, R)."""
    segments = [replace(s, rows=s.rows.clone().requires_grad_()) for s in rollout.segments]
    log_prob, _, value = scored(parts, replace(rollout, segments=tuple(segments)), books, bptt)
    (log_prob[t] + value[t]).sum().backward()
    found = [s.rows.grad for s in segments if s.rows.grad is not None and s.rows.grad.any()]
    assert len(found) == 1  # no gradient reaches another episode
    return found[0].abs().sum(-1)


@pytest.mark.parametrize("name", ["carry", "two layers", "window", "stepwise"])
@pytest.mark.parametrize(("t", "first"), [(0, 0), (3, 0), (4, 4), (6, 4), (11, 8)])
def test_gradient_reaches_the_start_of_its_chunk_and_no_further(
    name: str, t: int, first: int
) -> None:
    # R15: chunks of 4 bars from the start of the episode; t counts from there
    parts = Parts(**SETUPS[name])
    rollout = parts.collector.collect(STEPS)
    found = reach(parts, rollout, EPISODE + t, bptt=4)
    assert (found[first : t + 1] > 0).any(dim=1).all()
    assert not found[:first].any()
    assert not found[t + 1 :].any()


def test_gradient_reaches_the_start_of_the_rollout_without_a_limit() -> None:
    parts = Parts()
    rollout = parts.collector.collect(STEPS)
    found = reach(parts, rollout, EPISODE + 11, bptt=None)
    assert (found > 0).any(dim=1).all()


def test_chunks_are_the_same_in_a_longer_rollout_and_in_another_minibatch() -> None:
    short, long = Parts(), Parts()
    few, many = short.collector.collect(EPISODE), long.collector.collect(STEPS)
    expected = reach(short, few, 6, bptt=4)
    assert torch.allclose(reach(long, many, 6, bptt=4), expected, atol=1e-7)
    alone = reach(short, few, 6, bptt=4, books=torch.tensor([3]))
    assert torch.allclose(alone[:, 3], expected[:, 3], atol=1e-7)
    assert not alone[:, [0, 1, 2, 4]].any()


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
@pytest.mark.parametrize("bptt", [1, 4, 5])
def test_cutting_gradients_changes_no_value(setup: dict[str, Any], bptt: int) -> None:
    parts = Parts(**setup)
    parts.collector.collect(5)
    rollout = parts.collector.collect(STEPS)
    for whole, cut in zip(scored(parts, rollout), scored(parts, rollout, bptt=bptt), strict=True):
        assert (whole - cut).abs().max() <= 1e-5


@pytest.mark.parametrize("rule", ["ppo", "a2c"])
def test_a_rule_cuts_its_gradients_where_the_setting_says(rule: str) -> None:
    parts = Parts()
    rollout = parts.collector.collect(STEPS)

    def steps(bptt: int | None) -> Iterator[Tensor]:
        learner = parts.learner(rule, bptt_steps=bptt)
        learner.learn(rollout)
        return learner.net.parameters()

    for plain, long in zip(steps(None), steps(1000), strict=True):
        assert torch.equal(plain, long)
    assert not all(torch.equal(x, y) for x, y in zip(steps(None), steps(2), strict=True))


def test_memory_built_again_with_the_same_weights_is_the_stored_one() -> None:
    for name in ("carry", "two layers", "gaps", "window", "portfolio"):
        parts = Parts(**SETUPS[name])
        parts.collector.collect(5)
        rollout = parts.collector.collect(STEPS)
        fresh, watched = refreshed(parts.net, rollout)
        for old, new in zip(rollout.segments, fresh.segments, strict=True):
            assert (old.memory - new.memory).abs().max() <= 1e-6
        assert watched["memory_drift"] <= 1e-6
        assert watched["memory_cosine"] == pytest.approx(1.0, abs=1e-6)


def test_drift_is_the_distance_worked_out_by_hand() -> None:
    # stored = 2 x the true memory: |2m - m| / |m| = 1, same direction; the opposite: 2 and -1
    parts = Parts()
    parts.collector.collect(5)
    rollout = parts.collector.collect(7)
    (segment,) = rollout.segments
    for factor, drift, cosine in ((2.0, 1.0, 1.0), (-1.0, 2.0, -1.0)):
        other = replace(rollout, segments=(replace(segment, memory=factor * segment.memory),))
        watched = refreshed(parts.net, other)[1]
        assert watched["memory_drift"] == pytest.approx(drift, abs=1e-5)
        assert watched["memory_cosine"] == pytest.approx(cosine, abs=1e-5)


def watched_over(memory: str, epochs: int, learning_rate: float = 1e-3) -> dict[str, float]:
    parts = Parts()
    parts.collector.collect(5)
    rollout = parts.collector.collect(STEPS)
    own = {"epochs": epochs, "minibatches": 2, "memory": memory}
    learner = parts.learner("ppo", ppo=own, learning_rate=learning_rate)
    found: dict[str, float] = learner.learn(rollout)
    return found


def test_stored_memory_goes_stale_over_the_epochs_and_within_bounds() -> None:
    # R13. Measured here: 5 % of its length before the second epoch, 14 % before the fourth, which is
    # the last by default (cosine 0.990), 29 % before the eighth; a larger step adds to it.
    few, many = watched_over("measured", 2), watched_over("measured", 4)
    assert 0 < few["memory_drift"] < many["memory_drift"] < 0.25
    assert 1 > few["memory_cosine"] > many["memory_cosine"] > 0.97
    assert watched_over("measured", 2, learning_rate=1e-2)["memory_drift"] > few["memory_drift"]


def test_measuring_changes_nothing_and_refreshing_does() -> None:
    stored, measured = watched_over("stored", 3), watched_over("measured", 3)
    assert "memory_drift" not in stored
    assert stored == {name: measured[name] for name in stored}
    refreshed_ = watched_over("refreshed", 3)
    assert refreshed_["loss"] != measured["loss"]
    assert refreshed_["memory_drift"] < measured["memory_drift"]  # of one epoch, not of two


def test_memory_that_saw_the_book_cannot_be_refreshed() -> None:
    with pytest.raises(SettingsError, match='expected "stored", found "refreshed"'):
        Parts(**SETUPS["stepwise"]).learner("ppo", ppo={"memory": "refreshed"})
