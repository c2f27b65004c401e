"""A training of a tiny agent on a made-up market, in well under a second an update."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from agents.checkpoint import describe, load_network
from agents.curriculum import Curriculum, part_of, stages_of
from agents.env import BookEnv, BookPlan
from agents.panel import Panel
from agents.train import Trained, train
from engine.checkpoint import TrainedOn
from engine.features import FeatureSet
from engine.limits import Limits
from engine.observation import Scaler
from engine.policy import ActionSpace
from engine.settings import AgentSettings
from engine.settings_course import StageSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from engine.step import StepPolicy
from engine.trader import TraderSpec
from tests.markets import made_up

FEATURES = FeatureSet(("log_return", "high_low_range"))
BARS = made_up(5, sessions=200, gaps=0.0, late=0, events=0.0)


def run(
    folder: Path,
    updates: int = 4,
    seed: int = 0,
    validate: Callable[[StepPolicy], Any] = lambda policy: 1.0,
    network: dict[str, Any] | None = None,
    action: str = "discrete",
    reward: dict[str, Any] | None = None,
    train_settings: dict[str, Any] | None = None,
    **options: Any,
) -> Trained:
    """Train a tiny agent; episodes of 12 bars end inside and between rollouts of 10."""
    rows, ready = FEATURES.history(BARS)
    spec = TraderSpec(
        features=FEATURES,
        scaler=Scaler.fit(rows, ready),
        book_inputs=("position", "cash"),
        action=ActionSpace.model_validate({"kind": action}),
        limits=Limits(allow_short=True),
        burn_in=4,
    )
    settings = {"hidden_size": 8, "heads": (8,), **(network or {})}
    agent = AgentSettings.model_validate({"burn_in": 4, "network": settings})
    trained_on = TrainedOn(
        digest="", source="", price_basis="raw", symbols=(), start="2001-01-01", end="2002-01-01"
    )
    plain = {"seed": seed, "updates": updates, "rollout_steps": 10, "validate_every": 2}
    chosen = {"ppo": {"minibatches": 2}, "episode_steps": 12, **plain, **(train_settings or {})}
    asked = TrainSettings.model_validate(chosen)
    panel, generator = Panel.of(BARS, FEATURES, spec.scaler), np.random.default_rng(seed)

    def make(stage: StageSettings) -> BookEnv:
        assert stage.episode_steps
        charged = replace(spec, costs=part_of(spec.costs, stage.costs))
        return BookEnv(panel, charged, BookPlan(6, "single", stage.episode_steps), generator)

    return train(
        Curriculum(stages_of(asked), make),
        describe(spec, agent, trained_on, seed),
        asked,
        RewardSettings.model_validate(reward or {}),
        folder,
        validate,
        **options,
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_network(folder)[0].state_dict())


def same(left: Path, right: Path) -> bool:
    a, b = weights(left), weights(right)
    return all(torch.equal(a[name], b[name]) for name in a)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
