"""Where episodes meet inside a rollout: nothing of one reaches the next, not by a bar, not by a memory."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.on_policy import Batch
from agents.ppo import loss_of
from agents.sequences import Rollout, evaluate
from engine.settings_learners import PPOSettings
from tests.rollouts import BOOKS, EPISODE, SETUPS, STEPS, Bug, Parts, never_reset, reset_late

NAMES = ("carry", "two layers", "gaps", "stepwise", "stepwise, window")


def scored(parts: Parts, rollout: Rollout) -> Tensor:
    """Log-probabilities and values, (2, S, B)."""
    books = torch.arange(BOOKS)
    with torch.no_grad():
        log_prob, _, value = evaluate(parts.net, parts.spec.action, rollout, books)
    return torch.stack([log_prob, value])


def noisy_start(rollout: Rollout) -> Rollout:
    first, *rest = rollout.segments
    torch.manual_seed(1)
    noise = replace(first, memory=first.memory + torch.randn_like(first.memory))
    return replace(rollout, segments=(noise, *rest))


def last_bar_changed(rollout: Rollout) -> Rollout:
    first, *rest = rollout.segments
    rows = first.rows.clone()
    rows[-1] += 1.0
    return replace(rollout, segments=(replace(first, rows=rows), *rest))


def rollout_of(name: str) -> tuple[Parts, Rollout]:
    # Six bars of one episode, two whole ones, and the six bars at the start of another.
    parts = Parts(**SETUPS[name])
    parts.collector.collect(EPISODE // 2)
    return parts, parts.collector.collect(STEPS)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", [noisy_start, last_bar_changed])
def test_an_episode_in_company_is_scored_as_it_is_alone(
    name: str, change: Callable[[Rollout], Rollout]
) -> None:
    # R1, R2: whatever the first episode's memory was and its last bar showed
    parts, rollout = rollout_of(name)
    expected, found = scored(parts, rollout), scored(parts, change(rollout))
    assert not torch.equal(found[:, :6], expected[:, :6])
    assert torch.equal(found[:, 6:], expected[:, 6:])
    alone = replace(
        rollout,
        segments=rollout.segments[1:2],
        **{name: getattr(rollout, name)[6:18] for name in ("book", "raw", "ready")},
    )
    assert (scored(parts, alone) - expected[:, 6:18]).abs().max() <= 1e-6


@pytest.mark.parametrize("change", [noisy_start, last_bar_changed])
@pytest.mark.parametrize("bug", [never_reset, reset_late])
def test_an_episode_that_hears_the_one_before_it_would_be_caught(
    bug: Bug, change: Callable[[Rollout], Rollout]
) -> None:
    # planted bugs P2 and P3, each under R1 and R2
    parts, rollout = rollout_of("carry")
    wrong = bug(rollout, parts.net)
    other = bug(change(rollout), parts.net)
    assert (scored(parts, wrong) - scored(parts, other))[:, 6:].abs().max() > 1e-4


def test_episodes_begin_where_the_one_before_has_ended_and_nowhere_else() -> None:
    # R3, facts V6: done after steps 0 0 1 0 0 0, the rollout before ended with done = 1
    parts = Parts()
    parts.plan = replace(parts.plan, episode_steps=3)
    collector = parts.play(parts.net)
    collector.collect(3)
    rollout = collector.collect(6)
    flags = np.concatenate([[1] + [0] * (len(s.rows) - 1) for s in rollout.segments])
    assert flags.tolist() == [1, 0, 0, 1, 0, 0]
    assert rollout.ended[:, 0].tolist() == [False, False, True, False, False, True]


def test_kl_estimate_agrees_with_the_closed_forms_of_gaussians() -> None:
    # R31, facts V7: KL(N(0,1), N(1,1)) = 0.5 and KL(N(0,1), N(0,2^2)) = 0.31814718, by 400,000 draws
    torch.manual_seed(0)
    x = torch.randn(400_000, 1, dtype=torch.float64)
    old = torch.distributions.Normal(0.0, 1.0)
    mask, zero = torch.ones(x.shape, dtype=torch.bool), torch.zeros_like(x)
    batch = Batch(old.log_prob(x), zero, zero, zero, mask, mask)
    for new, expected in (((1.0, 1.0), 0.5), ((0.0, 2.0), 0.31814718)):
        log_prob = torch.distributions.Normal(*new).log_prob(x)
        watched = loss_of(log_prob, zero, zero, batch, PPOSettings(), 0.0)[1]
        assert watched["kl"] == pytest.approx(expected, abs=0.02)
