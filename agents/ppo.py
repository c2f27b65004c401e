"""Proximal policy optimisation over whole sequences, on one straight page.

Minibatches are drawn over books, never over time, so that every gradient flows through a whole
stretch of bars from its stored starting memory.
Source: Schulman et al., arXiv:1707.06347.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.checkpoint import build
from agents.descent import Descent
from agents.env import BookEnv
from agents.returns import advantages, explained_variance, normalise
from agents.rollout import Collector
from agents.sequences import Rollout, evaluate, mix
from engine.checkpoint import CheckpointInfo
from engine.settings_learners import PPOSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings


class PPO:
    """The learner: a round is one rollout and its epochs."""

    def __init__(
        self,
        env: BookEnv,
        info: CheckpointInfo,
        settings: TrainSettings,
        reward: RewardSettings,
    ) -> None:
        self.settings, self.space = settings, info.action
        self.net = build(info)
        self.generator = env.generator
        self.collector = Collector(env, self.net, reward, self.generator)
        self.descent = Descent(
            self.net.parameters(),
            settings.learning_rate,
            settings.max_grad_norm,
            settings.weight_decay,
        )

    def round(self) -> dict[str, Any]:
        """Play one rollout and learn from it; return what to watch."""
        rollout = self.collector.collect(self.settings.rollout_steps)
        return {**mix(rollout, self.space), **self.learn(rollout)}

    def learn(self, rollout: Rollout) -> dict[str, float]:
        """Do the epochs of one rollout. Raises: TradingError when a loss is not finite."""
        batch, watched = self.batch(rollout)
        own = self.settings.ppo
        rounds: list[dict[str, float]] = []
        for _ in range(own.epochs):
            order = self.generator.permutation(rollout.books)
            parts = np.array_split(order, min(own.minibatches, rollout.books))
            rounds += [self._step(rollout, batch, torch.from_numpy(part)) for part in parts]
        means = {key: float(np.mean([r[key] for r in rounds])) for key in rounds[0]}
        return {**watched, **means}

    def state(self) -> dict[str, Any]:
        """Return what changes while learning, weights and generator apart."""
        return {"descent": self.descent.state(), "collector": self.collector.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`; weights and generator are back in place already."""
        self.descent.restore(state["descent"])
        self.collector.restore(state["collector"])

    def batch(self, rollout: Rollout) -> tuple["Batch", dict[str, float]]:
        """Return what the loss compares with, fixed for all epochs of a rollout."""
        raw = advantages(
            rollout.reward,
            rollout.value,
            rollout.after,
            rollout.terminated,
            rollout.ended,
            self.settings.gamma,
            self.settings.ppo.gae_lambda,
        )
        target = raw + rollout.value
        device = rollout.raw.device
        fields = (
            rollout.log_prob.astype(np.float32),
            normalise(raw, rollout.acts).astype(np.float32),
            target.astype(np.float32),
            rollout.acts,
            rollout.alive,
        )
        explained = explained_variance(rollout.value, target, rollout.alive)
        tensors = (torch.from_numpy(x).to(device) for x in fields)
        return Batch(*tensors), {"explained_variance": explained}

    def _step(self, rollout: Rollout, batch: "Batch", books: Tensor) -> dict[str, float]:
        log_prob, entropy, value = evaluate(self.net, self.space, rollout, books)
        loss, watched = loss_of(log_prob, entropy, value, batch.select(books), self.settings.ppo)
        norm = self.descent.step(loss)
        return {**watched, "grad_norm": norm, "loss": loss.item()}


@dataclass(frozen=True, slots=True)
class Batch:
    """What the loss compares with. Shapes: (S, B) each; `acts`: a step whose action counted,
    `alive`: a step whose book was not ruined."""

    log_prob: Tensor
    advantage: Tensor
    target: Tensor
    acts: Tensor
    alive: Tensor

    def select(self, books: Tensor) -> "Batch":
        """Return the sequences of some books."""
        fields = (self.log_prob, self.advantage, self.target, self.acts, self.alive)
        return Batch(*(x[:, books] for x in fields))


def loss_of(
    log_prob: Tensor, entropy: Tensor, value: Tensor, batch: Batch, settings: PPOSettings
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss and what to watch; steps outside the masks change no loss, no gradient."""
    change = torch.where(batch.acts, log_prob - batch.log_prob, 0.0)
    ratio = change.exp()
    gain = masked_mean(clipped_objective(ratio, batch.advantage, settings.clip_ratio), batch.acts)
    spread = masked_mean(entropy, batch.acts)
    error = masked_mean((value - batch.target) ** 2, batch.alive)
    loss = settings.value_weight * error - gain - settings.entropy_weight * spread
    with torch.no_grad():
        watched = {
            "policy_loss": -gain.item(),
            "value_loss": error.item(),
            "entropy": spread.item(),
            "kl": masked_mean(ratio - 1.0 - change, batch.acts).item(),
            "clip_fraction": masked_mean(
                ((ratio - 1.0).abs() > settings.clip_ratio).float(), batch.acts
            ).item(),
        }
    return loss, watched


def clipped_objective(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return PPO's pessimistic objective, to be maximised."""
    limited = ratio.clamp(1.0 - clip, 1.0 + clip)
    return torch.minimum(ratio * advantage, limited * advantage)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the steps in `mask`; 0 when there are none."""
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp(min=1)
