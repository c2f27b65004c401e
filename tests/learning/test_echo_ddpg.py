"""Echo(k) with continuous exposures: DDPG finds what only memory can know, by both ways."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.checkpoint import describe
from agents.evaluate import play, step_returns
from agents.train import train
from engine.checkpoint import TrainedOn
from engine.policy import ActionSpace
from engine.settings import AgentSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from engine.step import StepPolicy
from tests.learning.echo import OPTIMUM, echo_bars, echo_env, echo_spec

FRESH_SEED = 1_000_003
# Exposures as they are wished: no band around what is held.
SPACE = ActionSpace(kind="continuous", band=0.0)


def on_fresh_bars(k: int, policy: StepPolicy) -> float:
    """Mean simple return a day, greedy, on 64 paths of 900 days it has never seen."""
    spec = replace(echo_spec(), action=SPACE)
    env = echo_env(echo_bars(k, FRESH_SEED), spec, 64, 900, np.random.default_rng(0), policy)
    return float(step_returns(play(env)).mean())


def trained_score(k: int, memory: str, updates: int, folder: Path, **ddpg: Any) -> float:
    spec = replace(echo_spec(), action=SPACE)
    agent = AgentSettings.model_validate(
        {
            "memory": memory,
            "burn_in": spec.burn_in,
            "action": SPACE,
            "network": {"hidden_size": 32, "heads": (32,)},
        }
    )
    own: dict[str, Any] = {"warmup_steps": 2_000, **ddpg}
    settings = TrainSettings.model_validate(
        {"algorithm": "ddpg", "rollout_steps": 32, "episode_steps": 128, "gamma": 0.9}
        | {"updates": updates, "validate_every": updates, "ddpg": own}
    )
    day = date(2000, 1, 3)
    trained_on = TrainedOn(
        digest="", source="echo", price_basis="raw", symbols=(), start=day, end=day
    )
    done = train(
        echo_env(echo_bars(k, 1), spec, 64, 128, np.random.default_rng(0)),
        describe(spec, agent, trained_on, 0),
        settings,
        RewardSettings(kind="step_return"),
        folder,
        validate=lambda policy: on_fresh_bars(k, policy),
    )
    score = on_fresh_bars(k, StepPolicy.load(done.best))
    assert score == done.score  # the file decides as the network did
    return score


@pytest.mark.parametrize(
    ("k", "memory", "updates", "ddpg"),
    [
        (1, "carry", 6, {}),
        (2, "carry", 12, {}),
        (2, "carry", 12, {"memory_start": "stored", "burn_in_steps": 4, "noise": "ou"}),
        (2, "window(4)", 16, {}),
    ],
    ids=["1-carry", "2-carry", "2-stored-ou", "2-window"],
)
def test_echo_is_learned_to_95_percent(
    tmp_path: Path, k: int, memory: str, updates: int, ddpg: dict[str, Any]
) -> None:
    assert trained_score(k, memory, updates, tmp_path, **ddpg) >= 0.95 * OPTIMUM


def test_without_memory_echo_2_earns_nothing(tmp_path: Path) -> None:
    assert trained_score(2, "window(1)", 12, tmp_path) < 0.03 * OPTIMUM
