"""Actions that can do nothing: never drawn, never learned from, never played, the same for everyone."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.policy import draw, score
from agents.sequences import evaluate
from engine.bars import Bars
from engine.book import Book
from engine.costs import Costs
from engine.errors import CheckpointError, SettingsError
from engine.limits import Limits
from engine.masks import finite
from engine.observation import Observation
from engine.policy import BUY, HOLD, SELL, ActionSpace, decode, greedy, valid_actions
from engine.reasons import Reason
from engine.run.check.parity import through_environment
from engine.settings import build
from engine.step import StepPolicy
from engine.trader import Trader
from tests.markets import made_up
from tests.policies import Constant
from tests.rollouts import BOOKS, SETUPS, STEPS, Parts

MASKED = ActionSpace(mask=True)
LEVELS = ActionSpace(kind="levels", levels=(-1.0, 0.0, 0.5, 1.0), mask=True)
LOGITS = np.log(np.array([0.2, 0.5, 0.3]))
NO_SELL = np.array([False, True, True])


def test_selling_is_valid_only_with_something_to_sell() -> None:
    held = np.array([[0.0, 10.0, -5.0]])
    found = valid_actions(MASKED, held, allow_short=False)
    assert found is not None
    assert found[0].tolist() == [[False, True, True], [True, True, True], [True, True, True]]
    assert valid_actions(MASKED, held, allow_short=True).all()  # type: ignore[union-attr]
    assert valid_actions(ActionSpace(), held, allow_short=False) is None


def test_levels_below_zero_are_valid_only_with_shorts() -> None:
    held = np.zeros((2, 1))
    found = valid_actions(LEVELS, held, allow_short=False)
    assert found is not None
    assert found[1, 0].tolist() == [False, True, True, True]
    assert valid_actions(LEVELS, held, allow_short=True).all()  # type: ignore[union-attr]
    below = ActionSpace(kind="levels", levels=(-1.0, -0.5), mask=True)
    with pytest.raises(SettingsError, match="a level of 0 or more"):
        valid_actions(below, held, allow_short=False)


def test_masked_actions_share_out_their_probability_and_are_never_drawn() -> None:
    # 0.5 and 0.3 of 0.8: 0.625 and 0.375
    rows = np.tile(LOGITS, (100_000, 1))
    valid = np.broadcast_to(NO_SELL, rows.shape)
    raw, log_prob = draw(rows, 0.0, MASKED, np.random.default_rng(0), valid)
    shares = np.bincount(raw, minlength=3) / 100_000
    assert shares[SELL] == 0.0
    assert shares[BUY] == pytest.approx(0.375, abs=0.0046)  # three standard errors
    assert np.exp(log_prob[raw == HOLD]) == pytest.approx(0.625)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_masked_probability_is_exactly_zero_at_every_place(at: int) -> None:
    # Also where the masked logit is by far the largest.
    head = np.zeros((1_000, 3), dtype=np.float32)
    head[:, at] = 80.0
    valid = np.ones(head.shape, dtype=bool)
    valid[:, at] = False
    raw, _ = draw(head, 0.0, MASKED, np.random.default_rng(1), valid)
    assert set(raw.tolist()) == {0, 1, 2} - {at}
    every = torch.full((1_000,), at)
    log_prob, _ = score(torch.from_numpy(head), every, None, MASKED, torch.from_numpy(valid))
    assert (log_prob.exp() == 0.0).all()


def test_masked_scores_and_entropy_are_those_of_the_rest() -> None:
    # entropy of (0.625, 0.375): -0.625 ln 0.625 - 0.375 ln 0.375 = 0.66156324
    head = torch.from_numpy(LOGITS)[None].requires_grad_()
    mask = torch.from_numpy(NO_SELL)[None]
    log_prob, entropy = score(head, torch.tensor([BUY]), None, MASKED, mask)
    assert log_prob.item() == pytest.approx(math.log(0.375), abs=1e-12)
    assert entropy.item() == pytest.approx(0.66156324, abs=1e-8)
    (log_prob + entropy).sum().backward()
    assert head.grad is not None
    assert head.grad[0, SELL].item() == 0.0
    # d/dz_hold of log p_buy is -0.625; of the entropy -p (ln p + H)
    by_hand = -0.625 - 0.625 * (math.log(0.625) + 0.66156324)
    assert head.grad[0, HOLD].item() == pytest.approx(by_hand, abs=1e-8)


def test_gradients_with_a_mask_pass_the_check_in_float64() -> None:
    head = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, True, True], [False, True, True, True]]).repeat(3, 1)
    raw = torch.tensor([0, 1, 2, 3, 1, 2])
    assert torch.autograd.gradcheck(lambda x: score(x, raw, None, LEVELS, mask), (head,))


def test_a_mask_that_allows_everything_changes_no_bit() -> None:
    head = np.random.default_rng(2).normal(size=(500, 3)).astype(np.float32)
    valid = np.ones(head.shape, dtype=bool)
    left = draw(head, 0.0, MASKED, np.random.default_rng(3), valid)
    right = draw(head, 0.0, ActionSpace(), np.random.default_rng(3))
    assert all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))
    raw, rows = torch.from_numpy(left[0]), torch.from_numpy(head)
    ours = score(rows, raw, None, MASKED, torch.from_numpy(valid))
    theirs = score(rows, raw, None, ActionSpace())
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_greedy_play_takes_the_best_of_the_valid() -> None:
    head = np.array([[3.0, 1.0, 2.0], [3.0, 2.0, 2.0], [1.0, 5.0, 2.0]])
    assert greedy(head, MASKED, np.tile(NO_SELL, (3, 1))).tolist() == [BUY, HOLD, HOLD]
    assert greedy(head, ActionSpace()).tolist() == [SELL, SELL, HOLD]
    with pytest.raises(CheckpointError, match="found none"):
        greedy(head, MASKED)


class AlwaysSell(StepPolicy):
    """The deployed policy with the network taken out: sell before buy before hold."""

    def __init__(self, parts: Parts) -> None:
        self.info = parts.info

    def run(
        self, market: np.ndarray, book: np.ndarray, memory: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return np.broadcast_to([3.0, 1.0, 2.0], (*memory.shape[:-1], 3)), memory


def test_a_deployed_policy_that_wants_to_sell_nothing_takes_its_next_best() -> None:
    parts = Parts(action={"kind": "discrete", "mask": True}, shorts=False)
    env = parts.env(AlwaysSell(parts))
    env.reset()
    wishes = []
    for _ in range(4):  # flat: buy; long: sell; flat again: buy
        obs = env.observe()
        wish = env.trader.act(obs)
        wishes.append(float(wish.exposure[0, 0]))
        env.step(obs, wish)
    assert wishes == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize("name", ["masked", "masked levels, stepwise portfolio"])
def test_masks_of_a_rollout_are_those_of_the_books_and_hold_in_the_update(name: str) -> None:
    parts = Parts(**SETUPS[name])
    env, held, space = parts.collector.env, [], parts.spec.action
    step = env.step

    def noted(*args: Any) -> Any:
        held.append(env.venue.book.qty.copy())
        return step(*args)

    env.step = noted  # type: ignore[method-assign]
    rollout = parts.collector.collect(STEPS)
    assert rollout.valid is not None
    valid, raw = rollout.valid.numpy(), rollout.raw.numpy()
    expected = [valid_actions(space, x, allow_short=False) for x in held]
    assert np.array_equal(valid, np.stack(expected).reshape(valid.shape))  # type: ignore[arg-type]
    assert 0 < (~valid).mean() < 0.5
    assert np.take_along_axis(valid, raw[..., None], -1).all()  # none was drawn
    heads: list[torch.Tensor] = []
    hook = parts.net.actor[-1].register_forward_hook(lambda *args: heads.append(args[2]))
    log_prob, entropy, _ = evaluate(parts.net, space, rollout, torch.arange(BOOKS))
    hook.remove()
    heads[-1].retain_grad()
    (log_prob.sum() + entropy.sum()).backward()
    gradient = heads[-1].grad
    assert gradient is not None
    gradient = gradient.reshape(rollout.valid.shape)
    assert torch.isfinite(gradient).all()
    assert (gradient[~rollout.valid] == 0.0).all()
    assert (gradient[rollout.valid] != 0.0).any()


def test_an_update_that_forgets_the_mask_is_caught() -> None:
    # planted bug: the masks are lost between rollout and update
    parts = Parts(**SETUPS["masked"])
    rollout = parts.collector.collect(STEPS)
    stored = torch.from_numpy(rollout.log_prob)

    def off(rollout: Any) -> float:
        with torch.no_grad():
            log_prob, _, _ = evaluate(parts.net, parts.spec.action, rollout, torch.arange(BOOKS))
        return float((log_prob - stored).abs().max())

    assert off(rollout) < 1e-5
    assert off(replace(rollout, valid=None)) > 1e-2


def flat_prices() -> Bars:
    return made_up(3, sessions=60, symbols=1, kind="flat", gaps=0.0, events=0.0)


def test_levels_are_bought_and_kept_share_by_share() -> None:
    # 100,000 dollars at 33.37: half of it is 1,498.35 shares, all of it 2,996.70. A held 0.49988 is
    # within the band of 0.5. The day after each decision is the day of its fill.
    parts = Parts(
        action={"kind": "levels", "levels": (0, 0.5, 1)},
        shorts=False,
        bars=flat_prices(),
        burn_in=0,
    )
    parts.spec = replace(parts.spec, costs=Costs(slippage_bps=0.0))
    env, ordered, why = parts.env(), [], []
    env.reset()
    for action in (1, 1, 2, 2, 0, 0):
        wish = decode(np.full((BOOKS, 1), action), parts.spec.action, allow_short=False)
        result = env.step(env.observe(), wish)
        ordered.append(float(result.decision.orders.qty[0, 0]))
        why.append(int(result.decision.reasons[0, 0]))
    assert ordered == [1498.0, 0.0, 1498.0, 0.0, -2996.0, 0.0]
    assert [bool(x & Reason.BAND) for x in why] == [False, True, False, True, False, False]


def test_a_level_below_zero_without_shorts_is_cut_to_flat_and_says_so() -> None:
    # With masks off it can be wished; the limits answer.
    parts = Parts(action={"kind": "levels", "levels": (-1, 0, 1)}, shorts=False, burn_in=0)
    trader = Trader(parts.spec, Constant(-1.0), 1)
    book = Book.start(1e5, 1, 1)
    book.qty[:], book.mark[:] = 100.0, 10.0
    market, fresh = np.zeros((1, 1, 2), np.float32), np.ones((1, 1), dtype=bool)
    decision = trader.step(market, fresh, fresh, book, np.zeros((1, 1)))
    assert decision.orders.qty[0, 0] == -100.0
    assert decision.target[0, 0] == 0.0
    assert decision.reasons[0, 0] & Reason.SHORT_OFF


def test_masks_are_part_of_what_parity_compares() -> None:
    class Unmasked:
        memory_width = 0

        def act(self, obs: Observation, memory: np.ndarray) -> Any:
            assert obs.valid is not None
            return decode(greedy(np.zeros(3), MASKED, obs.valid), MASKED, False), memory

    parts = Parts(action={"kind": "discrete", "mask": True}, shorts=False)
    bars = made_up(5, sessions=60, events=0.0)
    record = through_environment(bars, parts.spec, Unmasked(), 20, 59, 1e5).arrays()
    assert record["valid"].shape == (39, 3, 3)
    assert np.array_equal(record["valid"][..., SELL], record["qty"] != 0)
    plain = replace(parts.spec, action=ActionSpace(), limits=Limits())
    record = through_environment(bars, plain, Constant(1.0), 20, 59, 1e5).arrays()
    assert record["valid"].shape == (39, 3, 0)


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ({"kind": "levels", "levels": (0.5,)}, "two or more exposures"),
        ({"kind": "levels", "levels": (0.5, 0.0)}, "rising order"),
        ({"kind": "levels", "levels": (0.0, 1.5)}, "from -1 to 1"),
        ({"distribution": "beta"}, 'is for kind = "continuous"'),
        ({"kind": "levels", "spread": "state"}, 'is for kind = "continuous"'),
        ({"kind": "continuous", "mask": True}, "leave mask out"),
    ],
)
def test_an_action_space_that_means_nothing_is_refused(action: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        ActionSpace.model_validate(action)


def test_levels_below_zero_without_shorts_need_a_mask_in_settings() -> None:
    tree: dict[str, Any] = {"agent": {"action": {"kind": "levels", "levels": [-1, 0, 1]}}}
    with pytest.raises(SettingsError, match=r"limits\.allow_short = true"):
        build(tree, "mine.toml")
    assert build(tree | {"limits": {"allow_short": True}}, "mine.toml").limits.allow_short
    tree["agent"]["action"]["mask"] = True
    assert build(tree, "mine.toml").agent.action.mask


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.sampled_from([np.float32, np.float64]),
    st.integers(0, 40),
    st.lists(st.tuples(st.integers(0, 39), st.sampled_from([np.nan, np.inf, -np.inf, 3e38, 0.0]))),
)
def test_finite_is_false_only_where_a_number_is_not(dtype, size, put) -> None:
    numbers = np.linspace(-2.0, 2.0, size).astype(dtype)
    for at, value in put:
        numbers[at % size if size else slice(0)] = value
    expected = all(math.isfinite(float(x)) for x in numbers)  # 3e38 is, its square is not
    assert finite(numbers) is expected
    assert finite(numbers[::-2]) is all(math.isfinite(float(x)) for x in numbers[::-2])
    assert finite(numbers.reshape(1, -1, 1)) is expected
