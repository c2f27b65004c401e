"""Rewards against numbers worked by hand, and the running scale that only training moves."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from agents.env import BookEnv, BookPlan
from agents.evaluate import play
from agents.panel import Panel
from agents.rewards import FLOOR, Rewards
from engine.features import FeatureSet
from engine.limits import Limits
from engine.observation import Observation, Scaler
from engine.policy import ActionSpace, Wish
from engine.settings_reward import RewardSettings
from engine.trader import TraderSpec
from engine.venue import VenueSettings
from tests.markets import made_up

PLAIN: dict[str, Any] = {"scale": 1.0, "clip": None}


def paid(equity: list[float], **settings: Any) -> list[float]:
    """Return what one book is paid along an equity curve."""
    rewards = Rewards(RewardSettings.model_validate(PLAIN | settings), 1)
    rewards.begin(np.array(equity[:1]))
    pairs = pairwise(equity)
    return [float(rewards.pay(np.array([a]), np.array([b]))[0]) for a, b in pairs]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("step_return", [0.10, -0.10]),  # 110 / 100 - 1, 99 / 110 - 1
        ("log_return", [math.log(1.1), math.log(0.9)]),
        ("pnl", [0.10, -0.11]),  # 10 / 100, -11 / 100: of the episode's start, not of the bar's
    ],
)
def test_reward_is_the_change_of_equity(kind: str, expected: list[float]) -> None:
    assert paid([100.0, 110.0, 99.0], kind=kind) == pytest.approx(expected)


def test_differential_sharpe_follows_moody_and_saffell() -> None:
    # A = 0, B = 1e-4. r = 0.01: (1e-4 x 0.01 - 0) / (1e-4)^1.5 = 1; then A = 0.001, B = 1e-4.
    # r = -0.02: (1e-4 x -0.021 - 0.001 x 3e-4 / 2) / (9.9e-5)^1.5 = -2.25e-6 / 9.8504e-7
    found = paid([100.0, 101.0, 98.98], kind="differential_sharpe", decay=0.1)
    assert found == pytest.approx([1.0, -2.28418], abs=1e-5)


def test_differential_downside_follows_moody_and_saffell() -> None:
    # D^2 = 1e-4. r = 0.01: 0.01 / 0.01 = 1; then A = 0.001, D^2 = 9e-5, D = 0.00948683.
    # r = -0.02: (-0.02 - 0.0005) / D - 0.001 x 4e-4 / (2 D^3) = -2.16089 - 0.23424
    found = paid([100.0, 101.0, 98.98], kind="differential_downside", decay=0.1)
    assert found == pytest.approx([1.0, -2.39513], abs=1e-5)


@pytest.mark.parametrize("kind", ["differential_sharpe", "differential_downside"])
def test_differential_reward_is_the_ratios_derivative_by_the_decay(kind: str) -> None:
    # oracle: move both averages by a tiny decay and see what becomes of A / spread
    mean, square, change, tiny = 0.002, 3e-4, -0.013, 1e-7
    rewards = Rewards(RewardSettings.model_validate(PLAIN | {"kind": kind}), 1)
    rewards.mean[:], rewards.square[:] = mean, square
    seen = change**2 if kind == "differential_sharpe" else min(change, 0.0) ** 2

    def ratio(decay: float) -> float:
        a, b = mean + decay * (change - mean), square + decay * (seen - square)
        return a / math.sqrt(b - a * a if kind == "differential_sharpe" else b)

    slope = (ratio(tiny) - ratio(-tiny)) / (2 * tiny)
    got = float(rewards.pay(np.array([1.0]), np.array([1.0 + change]))[0])
    assert got == pytest.approx(slope, rel=1e-6)


def test_volatility_penalty_is_the_guides_return_minus_lambda_times_volatility() -> None:
    # returns 1 %, -1 %, 2 % in windows of 2: deviations -, 0.0141421, 0.0212132
    curve = [100.0, 101.0, 99.99, 101.9898]
    found = paid(curve, kind="step_return", volatility_weight=0.5, volatility_window=2)
    assert found == pytest.approx([0.01, -0.0170711, 0.0093934], abs=1e-7)


def test_drawdown_penalty_is_the_fall_from_the_episodes_peak() -> None:
    # falls: 0, (110 - 99) / 110 = 0.1, (110 - 104.5) / 110 = 0.05
    found = paid([100.0, 110.0, 99.0, 104.5], kind="step_return", drawdown_weight=2.0)
    assert found == pytest.approx([0.10, -0.10 - 0.2, 5.5 / 99 - 0.1])


def test_turnover_penalty_is_the_value_traded_over_equity() -> None:
    settings = RewardSettings.model_validate(
        PLAIN | {"kind": "step_return", "turnover_weight": 0.02}
    )
    rewards = Rewards(settings, 2)
    traded = np.array([0.5, 2.0])
    found = rewards.pay(np.full(2, 100.0), np.full(2, 101.0), turnover=traded)
    assert found.tolist() == pytest.approx([0.01 - 0.01, 0.01 - 0.04])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # half in each: 1 -> 0.5 x 1.1 + 0.5 = 1.05 -> 0.55 x 1.1 + 0.5 = 1.105
        ("step_return", [0.02 - 0.05, 0.03 - 0.055 / 1.05]),
        ("log_return", [math.log(1.02 / 1.05), math.log(1.03 * 1.05 / 1.105)]),
        ("pnl", [0.02 - 0.05, 1.02 * 0.03 - 0.055]),
    ],
)
def test_over_a_benchmark_pays_what_buying_and_holding_did_not(
    kind: str, expected: list[float]
) -> None:
    settings = RewardSettings.model_validate(PLAIN | {"kind": kind, "over_benchmark": True})
    rewards = Rewards(settings, 1)
    rewards.begin(np.array([100.0]))
    growth = np.array([[1.1, 1.0]])
    first = rewards.pay(np.array([100.0]), np.array([102.0]), growth=growth)
    second = rewards.pay(np.array([102.0]), np.array([102.0 * 1.03]), growth=growth)
    assert [float(first[0]), float(second[0])] == pytest.approx(expected)


def test_terms_add_up() -> None:
    # 99 / 110 - 1 = -0.1; deviation of (0.1, -0.1) = 0.1414214; fall 0.1
    found = paid([100.0, 110.0, 99.0], kind="step_return", volatility_weight=1, drawdown_weight=3)
    assert found[1] == pytest.approx(-0.1 - 0.1414214 - 0.3, abs=1e-7)


def test_reward_is_clipped_after_scaling() -> None:
    assert paid([100.0, 90.0], kind="step_return", scale=100.0, clip=5.0) == [-5.0]
    assert paid([100.0, 104.0], kind="step_return", scale=100.0, clip=5.0) == [pytest.approx(4.0)]


def test_ruin_is_paid_once_and_finite() -> None:
    assert paid([100.0, -5.0, -9.0]) == pytest.approx([math.log(FLOOR), 0.0])


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({}, 100.0),
        ({"scale": 7.0}, 7.0),
        ({"kind": "differential_sharpe"}, 1.0),
        ({"scaling": "running"}, 1.0),
    ],
)
def test_scale_is_100_for_returns_and_1_for_ratios_unless_it_is_given(
    settings: dict[str, Any], factor: float
) -> None:
    assert RewardSettings.model_validate(settings).factor == factor


def test_running_scale_divides_by_the_root_mean_square_so_far() -> None:
    settings = RewardSettings(kind="step_return", scaling="running")
    rewards = Rewards(settings, 2)
    # 0.03 and 0.04: sqrt(0.0025 / 2) = 0.0353553; then 0 and 0.05: sqrt(0.005 / 4)
    found = rewards.pay(np.full(2, 100.0), np.array([103.0, 104.0]))
    assert found.tolist() == pytest.approx([0.848528, 1.131371], abs=1e-6)
    found = rewards.pay(np.full(2, 100.0), np.array([100.0, 105.0]))
    assert found.tolist() == pytest.approx([0.0, 1.414214], abs=1e-6)


def test_running_scale_outlives_episodes_and_stands_still_while_frozen() -> None:
    # R19
    rewards = Rewards(RewardSettings(kind="step_return", scaling="running"), 2)
    rewards.pay(np.full(2, 100.0), np.array([103.0, 104.0]))
    seen = rewards.seen.copy()
    rewards.begin(np.full(2, 100.0))
    rewards.frozen = True
    for _ in range(3):
        found = rewards.pay(np.full(2, 100.0), np.array([103.0, 190.0]))
    assert found[0] == pytest.approx(0.848528, abs=1e-6)
    assert np.array_equal(rewards.seen, seen)


EVERYTHING: dict[str, Any] = {
    "over_benchmark": True, "volatility_weight": 0.3, "volatility_window": 3,
    "drawdown_weight": 0.1, "turnover_weight": 0.01, "scaling": "running",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["differential_sharpe", "differential_downside", "log_return"])
def test_a_restored_state_goes_on_bit_for_bit(kind: str) -> None:
    settings = RewardSettings.model_validate(EVERYTHING | {"kind": kind})
    rng = np.random.default_rng(0)
    steps = [rng.uniform(0.9, 1.1, (2, 4)) for _ in range(9)]
    growths = [rng.uniform(0.9, 1.1, (4, 2)) for _ in range(9)]

    def walk(rewards: Rewards, some: range) -> list[np.ndarray]:
        return [
            rewards.pay(steps[i][0], steps[i][1], np.full(4, 0.1), growths[i]).copy() for i in some
        ]

    whole, half, rest = (Rewards(settings, 4) for _ in range(3))
    found = walk(whole, range(9))
    walk(half, range(4))
    rest.restore(half.state())
    assert np.array_equal(walk(rest, range(4, 9)), found[4:])


def test_the_start_of_an_episode_forgets_the_one_before() -> None:
    settings = RewardSettings.model_validate(
        EVERYTHING | {"kind": "log_return", "scaling": "constant"}
    )
    one, two = Rewards(settings, 1), Rewards(settings, 1)
    one.begin(np.array([50.0]))
    step = (np.array([50.0]), np.array([40.0]), np.array([0.3]), np.array([[1.1, 0.8]]))
    one.pay(*step)
    for rewards in (one, two):
        rewards.begin(np.array([50.0]))
    assert np.array_equal(one.pay(*step), two.pay(*step))


class HalfIn:
    """Wishes half a sleeve in everything, every bar."""

    memory_width = 0

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        shape = obs.fresh.shape
        return Wish(np.full(shape, 0.5), np.zeros(shape, dtype=bool)), memory


def market_env(dividends: bool, policy: Any = None) -> BookEnv:
    bars = made_up(3, sessions=260, gaps=0.1, late=30, events=0.1)
    features = FeatureSet(("log_return",))
    spec = TraderSpec(
        features=features,
        scaler=Scaler.none(1),
        book_inputs=("position",),
        action=ActionSpace(kind="continuous"),
        limits=Limits(),
        venue=VenueSettings(pay_dividends=dividends),
        allocation=1 / 3,
    )
    panel = Panel.of(bars, features, spec.scaler)
    plan = BookPlan(3, "portfolio", 60)
    return BookEnv(panel, spec, plan, np.random.default_rng(2), policy=policy or HalfIn())


@pytest.mark.parametrize("dividends", [False, True])
def test_growth_is_that_of_the_venues_own_marks(dividends: bool) -> None:
    env = market_env(dividends)
    env.reset()
    seen = 0
    for _ in range(60):
        obs, mark, qty = env.observe(), env.venue.book.mark.copy(), env.venue.book.qty.copy()
        result = env.step(obs, env.trader.act(obs))
        split = env.panel.bars.split[env.at[:, None], env.symbol]
        listed = mark > 0
        ratio = np.where(listed, env.venue.book.mark * split / np.where(listed, mark, 1.0), 1.0)
        paid_out = env.panel.bars.dividend[env.at[:, None], env.symbol] > 0
        plain = listed & ~(paid_out & dividends)
        assert env.growth()[plain] == pytest.approx(ratio[plain], rel=1e-12)
        if dividends and (paid_out & (qty > 0)).any():
            at, n = np.argwhere(paid_out & (qty > 0))[0]
            owed = env.panel.bars.dividend[env.at[at], env.symbol[at, n]]
            grown = (env.venue.book.mark[at, n] + owed) * split[at, n] / mark[at, n]
            assert env.growth()[at, n] == pytest.approx(grown, rel=1e-12)
            seen += 1
        assert (result.turnover() >= 0).all()
    assert seen or not dividends


def test_turnover_counts_what_the_venue_filled() -> None:
    env = market_env(False)
    env.reset()
    obs = env.observe()
    result = env.step(obs, env.trader.act(obs))
    filled = np.nan_to_num(result.outcome.filled * result.outcome.price)
    assert result.turnover() == pytest.approx(np.abs(filled).sum(axis=1) / 100_000.0)
    assert (result.turnover() > 0).any()


def test_evaluation_returns_are_those_of_the_environment_whatever_the_reward() -> None:
    # R20: play() is given no reward at all, and equals stepping the environment by hand
    env, twin = market_env(False), market_env(False)
    curve = play(env, 30)
    twin.reset()
    for step in range(30):
        obs = twin.observe()
        result = twin.step(obs, twin.trader.act(obs))
        assert np.array_equal(curve[step + 1], result.equity_after)
