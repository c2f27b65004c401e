"""Learn Echo(k) and see what came of it on bars never seen: how each rule is asked to, in one place.

`python -m tests.learning.echo_table` runs all of it; the tests run the cheap part.
"""

from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from agents.checkpoint import describe
from agents.evaluate import play, step_returns
from agents.train import train
from engine.checkpoint import TrainedOn
from engine.policy import ActionSpace
from engine.settings import AgentSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from engine.step import StepPolicy
from engine.trader import TraderSpec
from tests.learning.echo import OPTIMUM, echo_bars, echo_env, echo_spec

FRESH_SEED = 1_000_003
BOOKS, EPISODE, FRESH_DAYS = 64, 128, 900
# PPO and A2C sell, hold or buy; DDPG wishes exposures, with no band around what is held.
SPACES = {
    "ppo": ActionSpace(),
    "a2c": ActionSpace(),
    "ddpg": ActionSpace(kind="continuous", band=0.0),
}
COMMON: dict[str, dict[str, Any]] = {
    "ppo": {"rollout_steps": 128, "learning_rate": 3e-3},
    "a2c": {"rollout_steps": 32, "learning_rate": 3e-3},
    "ddpg": {"rollout_steps": 32, "episode_steps": EPISODE, "ddpg": {"warmup_steps": 2_000}},
}


@dataclass(frozen=True)
class Recipe:
    """How a rule is asked to learn Echo(k): so many updates, and what is not as usual for it."""

    updates: int
    own: dict[str, Any] = field(default_factory=dict)


# Past k = 2 an entropy weight of 0.1 keeps a policy trying to turn for a single day, and a discount of
# 0.5 says that what is paid tomorrow was earned today.
SURE: dict[str, Any] = {"entropy_weight": 0.003}
TRYING: dict[str, Any] = {"entropy_weight": 0.1}
A2C_TRYING: dict[str, Any] = {**TRYING, "optimiser": "adam"}
RECIPES: dict[tuple[str, int], Recipe] = {
    ("ppo", 2): Recipe(50, {"ppo": SURE}),
    ("a2c", 2): Recipe(90, {"a2c": SURE}),
    ("ddpg", 2): Recipe(12),
    ("ppo", 5): Recipe(80, {"gamma": 0.5, "ppo": TRYING}),
    ("a2c", 5): Recipe(400, {"gamma": 0.5, "a2c": A2C_TRYING}),
    ("ddpg", 5): Recipe(30),
    ("ppo", 10): Recipe(160, {"gamma": 0.5, "ppo": TRYING}),
    ("a2c", 10): Recipe(900, {"gamma": 0.5, "a2c": A2C_TRYING}),
    ("ddpg", 10): Recipe(60, {"gamma": 0.5}),
}


def settings(rule: str, seed: int, updates: int, own: dict[str, Any]) -> TrainSettings:
    """Return the settings of one training; `own` goes over what the rule has in common."""
    tree = {"algorithm": rule, "gamma": 0.9, "seed": seed, "updates": updates}
    common = {**COMMON[rule], **own}
    table = {**COMMON[rule].get(rule, {}), **own.get(rule, {})}
    return TrainSettings.model_validate({**tree, "validate_every": updates, **common, rule: table})


def spec_for(rule: str) -> TraderSpec:
    """Return what an agent of this rule sees and may do."""
    return replace(echo_spec(), action=SPACES[rule])


def on_fresh_bars(rule: str, k: int, policy: StepPolicy) -> float:
    """Return the mean simple return a day, greedy, on 64 paths of 900 days it has never seen."""
    bars, generator = echo_bars(k, FRESH_SEED), np.random.default_rng(0)
    env = echo_env(bars, spec_for(rule), BOOKS, FRESH_DAYS, generator, policy)
    return float(step_returns(play(env)).mean())


def share_of_optimum(
    rule: str,
    k: int,
    memory: str,
    updates: int,
    folder: Path,
    seed: int = 0,
    **own: Any,
) -> float:
    """Train one agent of 32 units; return what it earns on fresh bars as a share of the optimum."""
    spec = spec_for(rule)
    agent = AgentSettings.model_validate(
        {
            "memory": memory,
            "burn_in": spec.burn_in,
            "action": spec.action,
            "network": {"hidden_size": 32, "heads": (32,)},
        }
    )
    day = date(2000, 1, 3)
    trained_on = TrainedOn(
        digest="", source="echo", price_basis="raw", symbols=(), start=day, end=day
    )
    done = train(
        echo_env(echo_bars(k, seed + 1), spec, BOOKS, EPISODE, np.random.default_rng(seed)),
        describe(spec, agent, trained_on, seed),
        settings(rule, seed, updates, own),
        RewardSettings(kind="step_return"),
        folder,
        validate=lambda policy: on_fresh_bars(rule, k, policy),
    )
    score = on_fresh_bars(rule, k, StepPolicy.load(done.best))
    assert score == done.score  # the file decides as the network did
    return score / OPTIMUM
