"""What the rules that learn from their own rollouts share: a collector, one optimiser, schedules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.checkpoint import build
from agents.descent import Descent
from agents.env import BookEnv
from agents.returns import explained_variance, normalise
from agents.rollout import Collector
from agents.sequences import Rollout, mix
from engine.checkpoint import CheckpointInfo
from engine.settings_learners import A2CSettings, PPOSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings


class OnPolicy:
    """A learner that plays a rollout and learns from it; the rule itself is `learn`."""

    def __init__(
        self,
        env: BookEnv,
        info: CheckpointInfo,
        settings: TrainSettings,
        reward: RewardSettings,
    ) -> None:
        self.settings, self.space, self.generator = settings, info.action, env.generator
        self.net = build(info)
        self.net.precision = settings.precision
        self.collector = Collector(env, self.net, reward, self.generator)
        self.descent = Descent(
            self.net.parameters(),
            settings.learning_rate,
            settings.max_grad_norm,
            settings.weight_decay,
            self.optimiser(settings),
        )
        self.rounds = 0

    @staticmethod
    def optimiser(settings: TrainSettings) -> str:
        """Return which optimiser the rule takes its steps with."""
        return "adam"

    def learn(self, rollout: Rollout) -> dict[str, float]:
        """Learn from one rollout; return what to watch. Raises: TradingError; see `Descent`."""
        raise NotImplementedError

    def round(self) -> dict[str, Any]:
        """Play one rollout and learn from it; return what to watch."""
        falls = self.settings.learning_rate_schedule == "linear"
        rate = (1.0 - self.done if falls else 1.0) * self.settings.learning_rate
        self.descent.go_on_with(rate)
        rollout = self.collector.collect(self.settings.rollout_steps)
        self.batch_now = rollout  # the loop saves it when a loss is not finite
        watched = {**mix(rollout, self.space), **self.learn(rollout), "learning_rate": rate}
        self.rounds += 1
        return watched

    @property
    def done(self) -> float:
        """Part of the training that lies behind, from 0 in the first round to just under 1."""
        return min(self.rounds / self.settings.updates, 1.0)

    def entropy_weight(self, own: PPOSettings | A2CSettings) -> float:
        """Return the weight of the entropy bonus in this round."""
        if own.entropy_weight_end is None:
            return own.entropy_weight
        return own.entropy_weight + self.done * (own.entropy_weight_end - own.entropy_weight)

    def state(self) -> dict[str, Any]:
        """Return what changes while learning, weights and generator apart."""
        return {
            "rounds": self.rounds,
            "descent": self.descent.state(),
            "collector": self.collector.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; weights and generator are back in place already."""
        self.rounds = state["rounds"]
        self.descent.restore(state["descent"])
        self.collector.restore(state["collector"])


@dataclass(frozen=True, slots=True)
class Batch:
    """What the loss compares with. Shapes: (S, B) each; `log_prob` and `value` as they were played,
    `acts`: a step whose action counted, `alive`: a step whose book was not ruined."""

    log_prob: Tensor
    value: Tensor
    advantage: Tensor
    target: Tensor
    acts: Tensor
    alive: Tensor

    @classmethod
    def of(cls, rollout: Rollout, advantage: np.ndarray, scaled: bool = True) -> "Batch":
        """Return a rollout with its advantages (S, B); `scaled`: normalised over steps that count."""
        kept = normalise(advantage, rollout.acts) if scaled else advantage
        numbers = (rollout.log_prob, rollout.value, kept, advantage + rollout.value)
        fields = [x.astype(np.float32) for x in numbers] + [rollout.acts, rollout.alive]
        return cls(*(torch.from_numpy(x).to(rollout.raw.device) for x in fields))

    def select(self, books: Tensor) -> "Batch":
        """Return the sequences of some books."""
        fields = (self.log_prob, self.value, self.advantage, self.target, self.acts, self.alive)
        return Batch(*(x[:, books] for x in fields))


def foreseen(rollout: Rollout, advantage: np.ndarray) -> dict[str, float]:
    """Return how much of the return the critic foresaw, to watch."""
    target = advantage + rollout.value
    return {"explained_variance": explained_variance(rollout.value, target, rollout.alive)}


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the steps in `mask`; 0 when there are none."""
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp(min=1)
