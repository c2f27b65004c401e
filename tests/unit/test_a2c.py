"""A2C: its returns by hand, its step, and that it is PPO with one epoch, one batch and no clipping."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from agents.descent import Descent
from agents.returns import advantages, n_step_advantages
from agents.sequences import join
from tests.rollouts import EPISODE, SETUPS, STEPS, Parts

# facts V1: r = 1; V = 5 5 5 2 2 2; truncated at t = 2 with V(final observation) = 6; then V = 3
REWARD = np.ones((6, 1))
VALUE = np.array([5.0, 5, 5, 2, 2, 2])[:, None]
AFTER = np.array([5.0, 5, 6, 2, 2, 3])[:, None]
NONE = np.zeros((6, 1), dtype=bool)
AT_2 = np.arange(6)[:, None] == 2


def n_step(steps: int, terminated: np.ndarray = NONE) -> list[float]:
    found = n_step_advantages(REWARD, VALUE, AFTER, terminated, AT_2, gamma=0.9, steps=steps)
    return [float(x) for x in found[:, 0]]


def test_one_step_return_is_the_td_error() -> None:
    assert n_step(1) == pytest.approx([0.5, 0.5, 1.4, 0.8, 0.8, 1.7])


def test_two_step_returns_stop_at_the_end_of_the_episode_and_of_the_rollout() -> None:
    # t=0: 1 + .9 + .81 x 5 - 5; t=1: 1 + .9 + .81 x 6 - 5; t=2: 1 + .9 x 6 - 5, cut;
    # t=3: 1.9 + .81 x 2 - 2; t=4: 1.9 + .81 x 3 - 2; t=5: 1 + .9 x 3 - 2, end of the rollout
    assert n_step(2) == pytest.approx([0.95, 1.76, 1.4, 1.52, 2.33, 1.7])


@pytest.mark.parametrize("steps", [6, 100])
def test_returns_over_the_whole_rollout_are_gae_with_lambda_1(steps: int) -> None:
    assert n_step(steps) == pytest.approx([2.084, 1.760, 1.400, 2.897, 2.330, 1.700])


def test_n_step_returns_drop_the_value_after_ruin_only() -> None:
    # t=1: 1 + .9 - 5; t=2: 1 - 5. Truncation taken for ruin would give the same wrong numbers.
    assert n_step(2, terminated=AT_2)[1:3] == pytest.approx([-3.1, -4.0])


@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 12), n=st.integers(1, 15))
@settings(max_examples=200, deadline=None)
def test_n_step_returns_equal_their_definition(seed: int, steps: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    reward, value, after = rng.normal(size=(3, steps, 3))
    terminated = rng.random((steps, 3)) < 0.15
    ended = terminated | (rng.random((steps, 3)) < 0.15)
    found = n_step_advantages(reward, value, after, terminated, ended, 0.9, n)
    for b in range(3):
        for t in range(steps):
            total = 0.0
            for at in range(t, min(t + n, steps)):
                total += 0.9 ** (at - t) * reward[at, b]
                if ended[at, b]:
                    break
            bootstrap = 0.0 if terminated[at, b] else after[at, b]
            total += 0.9 ** (at - t + 1) * bootstrap
            assert found[t, b] == pytest.approx(total - value[t, b], abs=1e-10)


def gradients(learner: Any) -> list[torch.Tensor]:
    return [x.grad for x in learner.net.parameters() if x.grad is not None]


@pytest.mark.parametrize("name", ["carry", "two layers", "gaps", "stepwise", "continuous"])
def test_a2c_is_ppo_with_one_epoch_one_batch_and_no_clipping(name: str) -> None:
    # R30: gradients within 1e-6, and the same weights after a step of the same optimiser
    parts = Parts(**SETUPS[name])
    parts.collector.collect(EPISODE // 2)
    rollout = parts.collector.collect(STEPS)
    common: dict[str, Any] = {"gae_lambda": 0.8, "value_weight": 0.3, "entropy_weight": 0.02}
    a2c = parts.learner("a2c", a2c={**common, "n_steps": 0, "optimiser": "adam"})
    one = {"epochs": 1, "minibatches": 1, "clip_ratio": 1e6}
    ppo = parts.learner("ppo", ppo={**common, **one})
    a2c.learn(rollout)
    ppo.learn(rollout)
    for left, right in zip(gradients(a2c), gradients(ppo), strict=True):
        assert left.abs().max() > 0
        assert (left - right).abs().max() <= 1e-6
    for left, right in zip(a2c.net.parameters(), ppo.net.parameters(), strict=True):
        assert torch.allclose(left, right, atol=1e-6)


def test_another_weight_in_either_rule_would_break_the_equality() -> None:
    # negative control: the gradients are compared, not both zero
    parts = Parts()
    rollout = parts.collector.collect(STEPS)
    a2c = parts.learner("a2c", a2c={"n_steps": 0, "entropy_weight": 0.02})
    ppo = parts.learner("ppo", ppo={"epochs": 1, "minibatches": 1, "entropy_weight": 0.03})
    a2c.learn(rollout)
    ppo.learn(rollout)
    pairs = zip(gradients(a2c), gradients(ppo), strict=True)
    assert max(float((left - right).abs().max()) for left, right in pairs) > 1e-5


@pytest.mark.parametrize("name", ["carry", "stepwise", "gaps, window"])
def test_memory_goes_on_from_rollout_to_rollout_and_starts_anew_with_the_episode(name: str) -> None:
    # Ten rollouts of three bars are one of thirty: two of them end episodes, one holds an end inside.
    whole = Parts(**SETUPS[name]).collector.collect(STEPS)
    short = Parts(**SETUPS[name]).collector
    parts = join([short.collect(3) for _ in range(STEPS // 3)])
    assert torch.equal(whole.raw, parts.raw)
    assert np.abs(whole.log_prob - parts.log_prob).max() <= 1e-5
    assert np.abs(whole.value - parts.value).max() <= 1e-5


def test_a_memory_lost_between_rollouts_would_be_caught() -> None:
    whole = Parts(**SETUPS["stepwise"]).collector.collect(STEPS)
    short = Parts(**SETUPS["stepwise"]).collector
    found = []
    for _ in range(STEPS // 3):
        found.append(short.collect(3))
        short.memory = torch.zeros_like(short.memory)
    lost = join(found)
    assert np.abs(whole.log_prob - lost.log_prob).max() > 1e-3


def test_rmsprop_takes_the_step_worked_out_by_hand() -> None:
    # square average 0.01 g^2 = 0.04 for g = 2, step 0.1 x 2 / (0.2 + 1e-5); then decay 0.1 x 0.5
    weight = nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    norm = Descent([weight], 0.1, 10.0, weight_decay=0.5, kind="rmsprop").step(2.0 * weight.sum())
    assert norm == pytest.approx(2.0)
    assert weight.item() == pytest.approx(3.0 * (1 - 0.1 * 0.5) - 0.1 * 2 / (0.2 + 1e-5), abs=1e-9)


def test_adam_takes_the_step_worked_out_by_hand() -> None:
    # the first step of Adam is the learning rate, whatever the gradient; decay is decoupled
    weight = nn.Parameter(torch.tensor([3.0], dtype=torch.float64))
    Descent([weight], 0.1, 10.0, weight_decay=0.5).step(2.0 * weight.sum())
    assert weight.item() == pytest.approx(3.0 * (1 - 0.1 * 0.5) - 0.1 * 2 / (2 + 1e-5), abs=1e-9)


@pytest.mark.parametrize(("limit", "expected"), [(10.0, (3.0, 4.0)), (0.5, (0.3, 0.4))])
def test_a_gradient_longer_than_its_limit_is_cut_to_it(
    limit: float, expected: tuple[float, float]
) -> None:
    # the gradient (3, 4) has length 5; its direction stays
    weight = nn.Parameter(torch.zeros(2))
    descent = Descent([weight], 0.1, limit)
    assert descent.step((weight * torch.tensor([3.0, 4.0])).sum()) == pytest.approx(5.0)
    assert weight.grad is not None
    assert weight.grad.tolist() == pytest.approx(expected, abs=1e-5)


def test_gae_is_used_where_n_steps_is_0() -> None:
    parts = Parts()
    rollout = parts.collector.collect(STEPS)
    seen = (rollout.reward, rollout.value, rollout.after, rollout.terminated, rollout.ended)
    for own, expected in (
        ({"n_steps": 0, "gae_lambda": 0.7}, advantages(*seen, 0.97, 0.7)),
        ({"n_steps": 3}, n_step_advantages(*seen, 0.97, 3)),
    ):
        learner = parts.learner("a2c", a2c={**own, "normalise": False})
        batch, _ = learner.batch(rollout)
        assert torch.allclose(batch.advantage, torch.from_numpy(expected).float())
        assert torch.allclose(
            batch.target, torch.from_numpy(expected + rollout.value).float(), atol=1e-6
        )
