"""Actions and their probabilities, of every kind, against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.policy import _START, action_of, bounded, draw, score
from engine.policy import ActionSpace, beta_shape, greedy

DISCRETE = ActionSpace()
LEVELS = ActionSpace(kind="levels", levels=(-1.0, 0.0, 0.5, 1.0))
GAUSSIAN = ActionSpace(kind="continuous")
STATE = ActionSpace(kind="continuous", spread="state")
BETA = ActionSpace(kind="continuous", distribution="beta")
SQUASHED = {"gaussian": GAUSSIAN, "state": STATE, "beta": BETA}
SPACES = {"discrete": DISCRETE, "levels": LEVELS, **SQUASHED}
LOG_STD = 0.4
AT_2_3 = [math.log(math.e - 1), math.log(math.e**2 - 1)]  # 1 + softplus gives alpha 2, beta 3


def scored(head: Tensor, raw: Tensor, space: ActionSpace, log_std: float = LOG_STD) -> Tensor:
    """Log-probabilities, in the precision of `head`."""
    return score(head, raw, torch.tensor([log_std], dtype=head.dtype), space)[0]


def raw_of(a: Tensor, space: ActionSpace) -> Tensor:
    """Invert `action_of` for a in (-1, 1)."""
    return torch.atanh(a) * (2.0 if space.distribution == "beta" else 1.0)


def log_slope_of(raw: Tensor, space: ActionSpace) -> Tensor:
    """log(da / du): what planted bug P10 leaves out. 1 - tanh(x)^2 = 4 / (e^x + e^-x)^2."""
    half = space.distribution == "beta"
    x = (raw / 2 if half else raw).abs()
    slope = math.log(4.0) - 2.0 * x - 2.0 * torch.log1p(torch.exp(-2.0 * x))
    return slope - math.log(2.0) if half else slope


def integral(of: Tensor, u: Tensor, space: ActionSpace) -> float:
    """Integrate over a in [-1, 1], in even steps of u: mass near an edge is not missed."""
    return float((of * log_slope_of(u, space).exp() * (u[1] - u[0])).sum())


def heads(space: ActionSpace, rows: int = 500) -> np.ndarray:
    rng = np.random.default_rng(4)
    return (3 * rng.normal(size=(rows, space.width))).astype(np.float32)


def test_squashed_gaussian_is_the_same_whoever_says_its_deviation() -> None:
    # facts V5: mean 0, deviation 1, u = 0.5; -1.5 + 3.5 tanh(x + start) = 0 at x = atanh(3/7) - start
    at_one = math.atanh(3.0 / 7.0) - _START
    u = torch.tensor([0.5]).double()
    state = score(torch.tensor([[0.0, at_one]], dtype=torch.float64), u, None, STATE)
    globally = score(torch.zeros(1, 1).double(), u, torch.zeros(1).double(), GAUSSIAN)
    for log_prob, entropy in (state, globally):
        assert log_prob.item() == pytest.approx(-0.80370952, abs=1e-8)
        assert entropy.item() == pytest.approx(1.41893853, abs=1e-8)


def test_deviation_that_depends_on_the_bar_starts_like_the_global_one_and_stays_in_bounds() -> None:
    outputs = torch.tensor([0.0, -2.0, 2.0, -30.0, 30.0]).double().requires_grad_()
    log_std = bounded(outputs)
    assert log_std[0].item() == pytest.approx(-0.5, abs=1e-12)
    assert log_std.min() >= -5.0
    assert log_std.max() <= 2.0
    log_std[:3].sum().backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    assert (outputs.grad[:3] > 0).all()


def test_beta_has_the_log_probability_and_entropy_worked_out_by_hand() -> None:
    # Beta(2, 3) at x = 1/4: 12 x (1 - x)^2 = 1.6875 over x, half of it over a = 2x - 1.
    # Entropy over x: log B - psi(2) - 2 psi(3) + 3 psi(5) with B = 1/12, psi(2) = 0.42278434,
    # psi(3) = psi(2) + 1/2, psi(5) = psi(3) + 1/3 + 1/4: -0.23490665; over a: + log 2.
    head, u = (
        torch.tensor([AT_2_3], dtype=torch.float64),
        torch.tensor([-math.log(3.0)], dtype=torch.float64),
    )
    log_prob, entropy = score(head, u, None, BETA)
    assert action_of(u.numpy(), BETA)[0] == pytest.approx(-0.5)
    assert log_prob.item() == pytest.approx(math.log(0.84375), abs=1e-12)
    assert entropy.item() == pytest.approx(-0.23490665 + math.log(2), abs=1e-8)
    assert greedy(head.numpy(), BETA)[0] == pytest.approx(-0.2)  # mean 2/5, on [-1, 1]


def test_beta_with_nothing_to_say_is_uniform() -> None:
    head, u = torch.full((3, 2), -40.0).double(), torch.tensor([-3.0, 0.1, 9.0]).double()
    log_prob, entropy = score(head, u, None, BETA)
    assert log_prob.tolist() == pytest.approx([-math.log(2)] * 3, abs=1e-9)
    assert entropy.tolist() == pytest.approx([math.log(2)] * 3, abs=1e-9)


CASES = [
    (space, row)
    for space in SQUASHED.values()
    for row in ([0.0, 0.0], [0.7, -0.4], [-1.3, 0.9], [4.0, 1.0], AT_2_3)
]


@pytest.mark.parametrize(("space", "row"), CASES, ids=str)
def test_density_integrates_to_one_over_the_action(space: ActionSpace, row: list[float]) -> None:
    # R23
    u = torch.linspace(-60, 60, 60_001, dtype=torch.float64)
    head = torch.tensor([row[: space.width]], dtype=torch.float64).expand(len(u), -1)
    log_prob = scored(head, u, space)
    assert integral(log_prob.exp(), u, space) == pytest.approx(1.0, abs=1e-3)
    wrong = log_prob + log_slope_of(u, space)  # planted bug P10
    assert integral(wrong.exp(), u, space) != pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("space", [DISCRETE, LEVELS], ids=["discrete", "levels"])
def test_probabilities_of_choices_sum_to_one(space: ActionSpace) -> None:
    head = torch.from_numpy(heads(space)).double()
    each = [scored(head, torch.full((500,), n), space) for n in range(space.width)]
    assert torch.stack(each).exp().sum(0).numpy() == pytest.approx(np.ones(500), abs=1e-12)
    assert head.exp().sum(-1).numpy() != pytest.approx(np.ones(500), abs=1e-2)  # not normalised


@pytest.mark.parametrize("space", SQUASHED.values(), ids=SQUASHED)
def test_log_probability_and_gradient_stay_finite_at_the_edges(space: ActionSpace) -> None:
    near = raw_of(torch.tensor([-1 + 1e-7, 1 - 1e-7]).double(), space)
    for raw in (near, torch.tensor([-30.0, 30.0]).double(), torch.tensor([-90.0, 90.0]).double()):
        head = torch.zeros(2, space.width).double().requires_grad_()
        log_prob = scored(head, raw, space)
        assert torch.isfinite(log_prob).all()
        log_prob.sum().backward()
        assert head.grad is not None
        assert torch.isfinite(head.grad).all()


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_stored_action_scores_what_it_was_drawn_with(space: ActionSpace) -> None:
    # R24, and P9: an action that is limited before it is stored scores something else
    head = heads(space)
    raw, log_prob = draw(head, LOG_STD, space, np.random.default_rng(4))
    again = scored(torch.from_numpy(head), torch.from_numpy(raw), space).numpy()
    assert np.abs(again - log_prob).max() < 1e-5
    limited = np.clip(raw, 1, 2) if space.names else np.clip(raw, -1, 1)
    wrong = scored(torch.from_numpy(head), torch.from_numpy(limited), space).numpy()
    assert np.abs(wrong - log_prob).max() > 0.1


def test_narrow_beta_scores_its_draws_as_exactly_as_a_wide_one() -> None:
    head = np.tile(np.array([[2_000.0, 3_000.0]], dtype=np.float32), (200, 1))
    raw, log_prob = draw(head, 0.0, BETA, np.random.default_rng(1))
    again, _ = score(torch.from_numpy(head), torch.from_numpy(raw), None, BETA)
    assert np.abs(again.numpy() - log_prob).max() < 1e-5


def test_beta_is_drawn_with_its_mean_and_variance() -> None:
    # Beta(2, 3): mean 2/5, variance 6 / (25 x 6) = 0.04; three standard errors of 100,000 draws
    raw, _ = draw(np.tile(AT_2_3, (100_000, 1)), 0.0, BETA, np.random.default_rng(0))
    x = (action_of(raw.astype(np.float64), BETA) + 1) / 2
    assert x.mean() == pytest.approx(0.4, abs=3 * 0.2 / math.sqrt(100_000))
    assert x.var() == pytest.approx(0.04, rel=0.02)


def test_gaussian_is_drawn_with_the_deviation_of_its_bar() -> None:
    outputs = np.repeat([[0.3, 0.0], [0.3, 0.4]], 100_000, axis=0)
    raw, _ = draw(outputs, 9.9, STATE, np.random.default_rng(0))
    for part, output in zip(np.split(raw, 2), (0.0, 0.4), strict=True):
        deviation = float(bounded(torch.tensor(output).double()).exp())
        assert part.std() == pytest.approx(deviation, rel=0.01)
        assert part.mean() == pytest.approx(0.3, abs=3 * deviation / math.sqrt(100_000))


@pytest.mark.parametrize(
    ("mean", "log_std", "expected"), [(1.0, 0.0, 0.5), (0.0, math.log(2.0), 0.31814718)]
)
def test_kl_of_gaussians_is_its_closed_form(mean: float, log_std: float, expected: float) -> None:
    # facts V7: squashing both alike leaves the divergence as it is
    u = torch.linspace(-15, 15, 60_001, dtype=torch.float64)
    p = scored(torch.zeros(len(u), 1).double(), u, GAUSSIAN, 0.0)
    q = scored(torch.full((len(u), 1), mean).double(), u, GAUSSIAN, log_std)
    assert integral(p.exp() * (p - q), u, GAUSSIAN) == pytest.approx(expected, abs=1e-6)


def test_kl_and_entropy_of_betas_are_their_closed_forms() -> None:
    # KL(Beta(2, 3) | Beta(3, 2)) = psi(3) - psi(2) = 1/2, since B(2, 3) = B(3, 2)
    u = torch.linspace(-40, 40, 60_001, dtype=torch.float64)
    head = torch.tensor(AT_2_3, dtype=torch.float64).expand(len(u), -1)
    p, entropy = score(head, u, None, BETA)
    q, _ = score(head.flip(-1), u, None, BETA)
    assert integral(p.exp() * (p - q), u, BETA) == pytest.approx(0.5, abs=1e-6)
    assert integral(-p.exp() * p, u, BETA) == pytest.approx(entropy[0].item(), abs=1e-6)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_gradients_of_log_probability_and_entropy_pass_the_check_in_float64(
    space: ActionSpace,
) -> None:
    # R33
    head = torch.from_numpy(heads(space, 5)).double().requires_grad_()
    raw = torch.tensor([0, 1, 2, 1, 0]) if space.names else torch.linspace(-3, 3, 5).double()
    log_std = torch.tensor([LOG_STD]).double().requires_grad_()
    inputs = (head, log_std) if space.learned_spreads else (head,)

    def both(*given: Tensor) -> tuple[Tensor, Tensor]:
        return score(given[0], raw, given[1] if len(given) > 1 else None, space)

    assert torch.autograd.gradcheck(both, inputs)


def test_entropy_of_equal_levels_is_the_logarithm_of_their_number() -> None:
    _, entropy = score(torch.zeros(1, 4), torch.zeros(1), None, LEVELS)
    assert entropy.item() == pytest.approx(math.log(4))


def test_greedy_play_is_the_same_in_torch_for_every_kind() -> None:
    for space in SPACES.values():
        head = heads(space)
        there = torch.from_numpy(head).double()
        if space.names:
            expected = torch.distributions.Categorical(logits=there).probs.argmax(-1)
        elif space is BETA:
            shape = 1 + torch.nn.functional.softplus(there)
            expected = 2 * torch.distributions.Beta(shape[:, 0], shape[:, 1]).mean - 1
        else:
            expected = torch.tanh(there[:, 0])
        assert np.abs(greedy(head, space) - expected.numpy()).max() < 1e-6


def test_gaussian_plays_the_tanh_of_its_mean_bit_by_bit() -> None:
    head = heads(GAUSSIAN)
    assert np.array_equal(greedy(head, GAUSSIAN), np.tanh(head[:, 0]))


def test_beta_shapes_stay_above_one_and_finite() -> None:
    alpha, beta = beta_shape(np.array([[-1e4, 1e4], [0.0, 0.0]], dtype=np.float32))
    assert alpha.tolist() == pytest.approx([1.0, 1 + math.log(2)])
    assert beta.tolist() == pytest.approx([10_001.0, 1 + math.log(2)])
