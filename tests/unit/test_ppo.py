"""PPO's mathematics against numbers worked out by hand, each with a planted bug that must fail."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import a2c
from agents.on_policy import Batch
from agents.policy import action_of, draw, log_slope, score
from agents.ppo import clipped_objective, loss_of, squared_error
from agents.returns import advantages, explained_variance, normalise
from engine.policy import ActionSpace
from engine.settings_learners import A2CSettings, PPOSettings

DISCRETE, CONTINUOUS = ActionSpace(), ActionSpace(kind="continuous")

BONUS = 0.005
Loss = Callable[..., tuple[torch.Tensor, dict[str, float]]]
LOSSES: dict[str, Loss] = {
    "ppo": lambda *x: loss_of(*x, PPOSettings(), BONUS),
    "ppo, values clipped": lambda *x: loss_of(*x, PPOSettings(value_clip=0.2), BONUS),
    "a2c": lambda *x: a2c.loss_of(*x, A2CSettings(), BONUS),
}
every_loss = pytest.mark.parametrize("loss_of_rule", LOSSES.values(), ids=LOSSES)

# facts V1: r = 1; V = 5 5 5 2 2 2; truncated at t = 2 with V(final observation) = 6; then V = 3
REWARD = np.ones((6, 1))
VALUE = np.array([5.0, 5, 5, 2, 2, 2])[:, None]
AFTER = np.array([5.0, 5, 6, 2, 2, 3])[:, None]
NONE = np.zeros((6, 1), dtype=bool)
AT_2 = np.arange(6)[:, None] == 2


def gae(after: np.ndarray = AFTER, terminated: np.ndarray = NONE, lam: float = 0.8) -> list[float]:
    found = advantages(REWARD, VALUE, after, terminated, AT_2, gamma=0.9, lam=lam)
    return [float(x) for x in found[:, 0]]


def test_gae_treats_truncation_as_truncation() -> None:
    # A[2] = 1 + 0.9 x 6 - 5 = 1.4; A[1] = 0.5 + 0.72 x 1.4; nothing crosses t = 2 | 3
    expected = [1.58576, 1.508, 1.4, 2.25728, 2.024, 1.7]
    assert gae() == pytest.approx(expected, abs=1e-9)


def test_gae_drops_the_value_after_ruin_only() -> None:
    # V2, and planted bug P6 (truncation as termination) gives the same wrong numbers
    expected = [-1.2136, -2.3800, -4.0000, 2.2573, 2.0240, 1.7000]
    assert gae(terminated=AT_2) == pytest.approx(expected, abs=1e-4)
    assert gae(terminated=AT_2)[0] != pytest.approx(gae()[0], abs=0.1)


def test_gae_with_the_next_episodes_value_would_be_caught() -> None:
    # planted bug P7: V after the last step of the episode is the next episode's first
    wrong = gae(after=np.array([5.0, 5, 2, 2, 2, 3])[:, None])
    assert wrong[:3] == pytest.approx([-0.2805, -1.0840, -2.2000], abs=1e-4)


def test_gae_with_lambda_0_is_the_td_error() -> None:
    assert gae(lam=0.0) == pytest.approx([0.5, 0.5, 1.4, 0.8, 0.8, 1.7], abs=1e-9)


def test_gae_with_lambda_1_is_the_return_less_the_value() -> None:
    expected = [2.084, 1.760, 1.400, 2.897, 2.330, 1.700]
    assert gae(lam=1.0) == pytest.approx(expected, abs=1e-9)


def by_definition(
    reward: np.ndarray,
    value: np.ndarray,
    after: np.ndarray,
    terminated: np.ndarray,
    ended: np.ndarray,
    gamma: float,
    lam: float,
) -> np.ndarray:
    """Oracle, O(S^2): the discounted sum of TD errors up to the end of the episode."""
    steps = len(reward)
    result = np.zeros(steps)
    for t in range(steps):
        weight = 1.0
        for later in range(t, steps):
            bootstrap = 0.0 if terminated[later] else after[later]
            result[t] += weight * (reward[later] + gamma * bootstrap - value[later])
            if ended[later]:
                break
            weight *= gamma * lam
    return result


@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 30))
@settings(max_examples=300, deadline=None)
def test_gae_equals_its_definition(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    reward, value, after = rng.normal(size=(3, steps, 4))
    terminated = rng.random((steps, 4)) < 0.2
    ended = terminated | (rng.random((steps, 4)) < 0.2)
    gamma, lam = rng.random(2)
    fast = advantages(reward, value, after, terminated, ended, gamma, lam)
    for b in range(4):
        columns = (x[:, b] for x in (reward, value, after, terminated, ended))
        assert np.abs(fast[:, b] - by_definition(*columns, gamma, lam)).max() < 1e-10


def test_advantages_are_normalised_over_valid_steps_only() -> None:
    # facts V4: sample deviation 1.2910; six steps of padding
    x = np.array([1.0, 2, 3, 4] + [0.0] * 6)[:, None]
    valid = np.arange(10)[:, None] < 4
    expected = [-1.1619, -0.3873, 0.3873, 1.1619] + [0.0] * 6
    assert normalise(x, valid)[:, 0] == pytest.approx(expected, abs=1e-4)
    wrong = normalise(x, np.ones_like(valid))[:, 0]  # planted bug P8
    assert wrong[:4] == pytest.approx([0.0, 0.6708, 1.3416, 2.0125], abs=1e-4)


def test_one_valid_step_has_no_advantage() -> None:
    assert normalise(np.ones((3, 1)), np.array([[True], [False], [False]])).tolist() == [[0.0]] * 3


def test_clipped_objective_is_pessimistic() -> None:
    # facts V10
    ratio, advantage = torch.tensor([1.5, 1.5, 0.5, 0.5]), torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert clipped_objective(ratio, advantage, 0.2).tolist() == pytest.approx(
        [1.2, -1.5, 0.5, -0.8]
    )


def test_value_clipping_takes_the_larger_error() -> None:
    # facts V8: clip 0.2, old 0; Stable-Baselines3 takes the second row, CleanRL and we the third
    new, target = torch.tensor([0.5, -0.5, 0.5]), torch.tensor([1.0, 1.0, 0.1])
    old = torch.zeros(3)
    assert squared_error(new, old, target, None).tolist() == pytest.approx([0.25, 2.25, 0.16])
    clipped = (new.clamp(-0.2, 0.2) - target) ** 2
    assert clipped.tolist() == pytest.approx([0.64, 1.44, 0.01])
    assert squared_error(new, old, target, 0.2).tolist() == pytest.approx([0.64, 2.25, 0.16])


@given(st.lists(st.tuples(*[st.floats(-5, 5)] * 3), min_size=1), st.floats(0.01, 3))
def test_value_clipping_equals_its_definition(rows: list[tuple[float, ...]], clip: float) -> None:
    def oracle(new: float, old: float, target: float) -> float:
        moved = new - old
        if moved > clip:
            held = old + clip
        elif moved < -clip:
            held = old - clip
        else:
            held = new
        return max((new - target) ** 2, (held - target) ** 2)

    new, old, target = torch.tensor(rows, dtype=torch.float64).unbind(1)
    found = squared_error(new, old, target, clip)
    assert found.tolist() == pytest.approx([oracle(*row) for row in rows], abs=1e-9)


def random_batch(steps: int, books: int) -> tuple[list[torch.Tensor], Batch]:
    torch.manual_seed(3)
    log_prob, entropy, value = (torch.randn(steps, books).double() for _ in range(3))
    old = log_prob + 0.3 * torch.randn(steps, books).double()
    everywhere = torch.ones(steps, books, dtype=torch.bool)
    others = [torch.randn(steps, books).double() for _ in range(2)]
    played = value + 0.3 * torch.randn(steps, books).double()
    return [log_prob, entropy, value], Batch(old, played, *others, everywhere, everywhere)


@every_loss
def test_padding_changes_no_loss_and_no_gradient(loss_of_rule: Loss) -> None:
    # R11, R12: padded steps filled with 1e6
    current, batch = random_batch(5, 3)
    for x in current:
        x.requires_grad_()
    loss, watched = loss_of_rule(*current, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    off = torch.zeros(4, 3, dtype=torch.bool)
    full = torch.full((4, 3), 1e6).double()
    padded = [torch.cat([x.detach(), full]).requires_grad_() for x in current]
    wide = Batch(
        torch.cat([batch.log_prob, -full]),
        torch.cat([batch.value, -full]),
        torch.cat([batch.advantage, full]),
        torch.cat([batch.target, -full]),
        torch.cat([batch.acts, off]),
        torch.cat([batch.alive, off]),
    )
    padded_loss, padded_watched = loss_of_rule(*padded, wide)
    padded_loss.backward()  # type: ignore[no-untyped-call]
    assert padded_loss.item() == pytest.approx(loss.item(), rel=1e-12)
    assert padded_watched == pytest.approx(watched, rel=1e-12)
    for x, wider in zip(current, padded, strict=True):
        assert x.grad is not None
        assert wider.grad is not None
        assert torch.allclose(wider.grad[:5], x.grad, rtol=1e-12)
        assert (wider.grad[5:] == 0).all()


@every_loss
def test_loss_gradient_is_the_numerical_one(loss_of_rule: Loss) -> None:
    # R33: finite differences in double precision on five steps
    current, batch = random_batch(5, 1)
    for x in current:
        x.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda *x: loss_of_rule(*x, batch)[0], tuple(current), atol=1e-6
    )


@every_loss
def test_loss_rewards_entropy_and_punishes_value_errors(loss_of_rule: Loss) -> None:
    current, batch = random_batch(4, 2)
    base = loss_of_rule(*current, batch)[0]
    more_entropy = loss_of_rule(current[0], current[1] + 1, current[2], batch)[0]
    assert (base - more_entropy).item() == pytest.approx(BONUS)
    there = dataclasses.replace(batch, value=batch.target)
    exact = loss_of_rule(current[0], current[1], batch.target, there)[1]
    assert exact["value_loss"] == 0.0


def test_kl_estimate_and_clip_fraction_are_the_closed_forms() -> None:
    # facts V7: (r - 1) - log r at r = 1.5 is 0.09453489
    new, zero = torch.tensor([[math.log(1.5)], [0.0]]), torch.zeros(2, 1)
    mask = torch.ones(2, 1, dtype=torch.bool)
    batch = Batch(zero, zero, zero, zero, mask, mask)
    watched = loss_of(new, zero, zero, batch, PPOSettings(clip_ratio=0.2), BONUS)[1]
    assert watched["kl"] == pytest.approx(0.09453489 / 2, abs=1e-7)
    assert watched["clip_fraction"] == 0.5


def test_squashed_gaussian_has_the_log_probability_worked_out_by_hand() -> None:
    # facts V5: mean 0, deviation 1, u = 0.5
    head, u = torch.zeros(1, 1).double(), torch.tensor([0.5]).double()
    log_prob, entropy = score(head, u, torch.zeros(1).double(), CONTINUOUS)
    assert action_of(u.numpy(), CONTINUOUS)[0] == pytest.approx(0.46211716, abs=1e-8)
    assert log_prob.item() == pytest.approx(-0.80370952, abs=1e-8)
    assert entropy.item() == pytest.approx(1.41893853, abs=1e-8)
    without = log_prob.item() + log_slope(u).item()  # planted bug P10
    assert without == pytest.approx(-1.04393853, abs=1e-8)


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, 0.0), (0.7, -0.5), (-0.3, 0.3)])
def test_squashed_gaussian_integrates_to_one(mean: float, log_std: float) -> None:
    a = torch.linspace(-1, 1, 2_000_003, dtype=torch.float64)[1:-1]
    u, width = torch.atanh(a), a[1] - a[0]
    head = torch.full((len(a), 1), mean).double()
    log_prob, _ = score(head, u, torch.tensor([log_std]).double(), CONTINUOUS)
    assert (log_prob.exp().sum() * width).item() == pytest.approx(1.0, abs=1e-3)
    without = (log_prob + log_slope(u)).exp().sum() * width  # planted bug P10
    assert without.item() != pytest.approx(1.0, abs=1e-2)


def test_log_probability_stays_finite_at_the_edge() -> None:
    u = torch.atanh(torch.tensor([-1 + 1e-7, 1 - 1e-7]).double())
    far = torch.tensor([-30.0, 30.0]).double()
    for x in (u, far):
        log_prob, _ = score(torch.zeros(2, 1).double(), x, torch.zeros(1).double(), CONTINUOUS)
        assert torch.isfinite(log_prob).all()


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS])
def test_stored_action_scores_what_it_was_drawn_with(space: ActionSpace) -> None:
    rng = np.random.default_rng(4)
    head = (3 * rng.normal(size=(500, space.width))).astype(np.float32)
    raw, log_prob = draw(head, 0.4, space, rng)
    scored, _ = score(torch.from_numpy(head), torch.from_numpy(raw), torch.tensor([0.4]), space)
    assert np.abs(scored.numpy() - log_prob).max() < 1e-5


def test_storing_the_clipped_action_would_be_caught() -> None:
    # planted bug P9: what is stored is cut at 3 before its probability is asked for again
    rng = np.random.default_rng(4)
    head = (3 * rng.normal(size=(500, 1))).astype(np.float32)
    raw, log_prob = draw(head, 0.4, CONTINUOUS, rng)
    cut = torch.from_numpy(np.clip(raw, -3, 3))
    scored, _ = score(torch.from_numpy(head), cut, torch.tensor([0.4]), CONTINUOUS)
    assert np.abs(scored.numpy() - log_prob).max() > 0.1


def test_discrete_actions_are_drawn_with_their_probabilities() -> None:
    logits = np.log(np.array([0.2, 0.5, 0.3]))
    raw, log_prob = draw(np.tile(logits, (100_000, 1)), 0.0, DISCRETE, np.random.default_rng(0))
    # three standard errors of 100,000 draws: 0.0047
    assert np.bincount(raw) / 100_000 == pytest.approx([0.2, 0.5, 0.3], abs=0.0047)
    assert np.exp(log_prob[:5]) == pytest.approx(np.array([0.2, 0.5, 0.3])[raw[:5]])


def test_discrete_entropy_is_its_closed_form() -> None:
    _, entropy = score(torch.zeros(1, 3), torch.zeros(1), None, DISCRETE)
    assert entropy.item() == pytest.approx(math.log(3))


def test_impossible_actions_are_never_drawn() -> None:
    head = np.tile(np.array([-np.inf, 0.0, -np.inf]), (1000, 1))
    raw, log_prob = draw(head, 0.0, DISCRETE, np.random.default_rng(0))
    assert (raw == 1).all()
    assert (log_prob == 0).all()


def test_explained_variance_is_one_for_a_perfect_critic_and_zero_for_a_constant() -> None:
    target = np.array([[1.0], [2.0], [4.0], [99.0]])
    valid = np.array([[True], [True], [True], [False]])
    assert explained_variance(target.copy(), target, valid) == 1.0
    assert explained_variance(np.ones_like(target), target, valid) == pytest.approx(0.0)
    assert explained_variance(target, np.ones_like(target), valid) == 0.0
