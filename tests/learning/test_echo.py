"""Echo(k): the real environment pays what only memory can know, and the agent finds it."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.checkpoint import describe
from agents.evaluate import play, step_returns
from agents.train import train
from engine.checkpoint import TrainedOn
from engine.policy import BUY, HOLD, SELL, ActionSpace, Wish, decode
from engine.settings import AgentSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from engine.step import StepPolicy
from tests.learning.echo import OPTIMUM, echo_bars, echo_env, echo_spec

FRESH_SEED = 1_000_003


def settings(updates: int, seed: int, **other: Any) -> TrainSettings:
    # The hyperparameters of the measured reference: 64 paths x 128 steps an update of PPO.
    rule = {"rollout_steps": 128, "ppo": {"gae_lambda": 0.9, "entropy_weight": 0.003}}
    if other.get("algorithm") == "a2c":
        rule = {"rollout_steps": 32, "a2c": {"entropy_weight": 0.003}}
    plain = {"seed": seed, "updates": updates, "validate_every": updates}
    return TrainSettings.model_validate(
        {"learning_rate": 3e-3, "gamma": 0.9, **plain, **rule, **other}
    )


def on_fresh_bars(k: int, policy: StepPolicy) -> float:
    """Mean simple return a day, greedy, on 64 paths of 900 days it has never seen."""
    env = echo_env(echo_bars(k, FRESH_SEED), echo_spec(), 64, 900, np.random.default_rng(0), policy)
    return float(step_returns(play(env)).mean())


def trained_score(
    k: int, memory: str, updates: int, folder: Path, seed: int = 0, **other: Any
) -> float:
    agent = AgentSettings.model_validate(
        {
            "memory": memory,
            "burn_in": 8,
            "network": {"hidden_size": 32, "heads": (32,), "book_input": "heads"},
        }
    )
    env = echo_env(echo_bars(k, seed + 1), echo_spec(), 64, 128, np.random.default_rng(seed))
    trained_on = TrainedOn(
        digest="",
        source="echo",
        price_basis="raw",
        symbols=(),
        start=date(2000, 1, 3),
        end=date(2003, 1, 3),
    )
    done = train(
        env,
        describe(env.spec, agent, trained_on, seed),
        settings(updates, seed, **other),
        RewardSettings(kind="step_return"),
        folder,
        validate=lambda policy: on_fresh_bars(k, policy),
    )
    score = on_fresh_bars(k, StepPolicy.load(done.best))
    assert score == done.score  # the file decides as the network did
    return score


class Rule:
    """A policy written by hand: act on the coin `lag` days back, kept in the memory."""

    memory_width = 3

    def __init__(self, lag: int) -> None:
        self.lag = lag

    def act(self, obs: object, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        coin = obs.market[..., :1]  # type: ignore[attr-defined]
        after = np.concatenate([coin, memory[..., :-1]], axis=-1)
        known = after[..., self.lag]
        action = np.where(known > 0, BUY, np.where(known < 0, SELL, HOLD))
        return decode(action, ActionSpace(), allow_short=True), after


@pytest.mark.parametrize("k", [1, 2])
def test_environment_pays_the_known_optimum_to_who_knows(k: int) -> None:
    env = echo_env(
        echo_bars(k, FRESH_SEED), echo_spec(), 64, 900, np.random.default_rng(0), Rule(k - 1)
    )
    daily = step_returns(play(env))
    # 57,600 days at 1 % noise: standard error 0.00004
    assert daily.mean() == pytest.approx(OPTIMUM, abs=0.0002)


def test_environment_pays_nothing_to_who_acts_a_day_late() -> None:
    env = echo_env(
        echo_bars(2, FRESH_SEED), echo_spec(), 64, 900, np.random.default_rng(0), Rule(2)
    )
    assert step_returns(play(env)).mean() < 0.0


def test_echo_1_is_learned_to_95_percent(tmp_path: Path) -> None:
    assert trained_score(1, "carry", 30, tmp_path) >= 0.95 * OPTIMUM


@pytest.mark.parametrize("memory", ["carry", "window(4)"])
def test_echo_2_is_learned_to_95_percent(tmp_path: Path, memory: str) -> None:
    assert trained_score(2, memory, 50, tmp_path) >= 0.95 * OPTIMUM


@pytest.mark.parametrize(("k", "updates"), [(1, 40), (2, 90)])
def test_a2c_learns_echo_to_95_percent(tmp_path: Path, k: int, updates: int) -> None:
    # A quarter of the bars an update: 90 rollouts of A2C are fewer bars than 30 of PPO.
    assert trained_score(k, "carry", updates, tmp_path, algorithm="a2c") >= 0.95 * OPTIMUM


@pytest.mark.slow
def test_echo_5_is_learned_to_95_percent(tmp_path: Path) -> None:
    # With an entropy weight of 0.003 it stops at 70-90 %: it remembers every coin and no
    # longer tries to turn for a single day. A weight of 0.1 keeps it trying until it knows.
    own = {"gae_lambda": 0.9, "entropy_weight": 0.1}
    assert trained_score(5, "carry", 80, tmp_path, ppo=own) >= 0.95 * OPTIMUM


def test_without_memory_echo_2_earns_nothing(tmp_path: Path) -> None:
    # Greedy: a memoryless agent that draws its actions can use "hold" as a memory of its own and
    # does learn to (0.002 a day while training); one that always does the likeliest thing cannot.
    assert trained_score(2, "window(1)", 100, tmp_path) < 0.03 * OPTIMUM
