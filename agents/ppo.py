"""Proximal policy optimisation over whole sequences, on one straight page.

Minibatches are drawn over books, never over time, so that every gradient flows through a whole
stretch of bars (or `train.bptt_steps` of them) from its starting memory.
Source: Schulman et al., arXiv:1707.06347; stale memory: Kapturowski et al., R2D2, ICLR 2019.
"""

import numpy as np
import torch
from torch import Tensor

from agents.env import BookEnv
from agents.on_policy import Batch, OnPolicy, foreseen, masked_mean
from agents.returns import advantages
from agents.sequences import Rollout, evaluate, refreshed
from engine.checkpoint import CheckpointInfo
from engine.errors import SettingsError
from engine.settings_learners import PPOSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings


class PPO(OnPolicy):
    """The learner: a round is one rollout and its epochs."""

    def __init__(
        self,
        env: BookEnv,
        info: CheckpointInfo,
        settings: TrainSettings,
        reward: RewardSettings,
    ) -> None:
        super().__init__(env, info, settings, reward)
        if self.net.book_in_lstm and settings.ppo.memory != "stored":
            raise SettingsError(
                f'train.ppo.memory: expected "stored", found "{settings.ppo.memory}"; with '
                'agent.network.book_input = "lstm" the memory cannot be built again from bars alone'
            )

    def learn(self, rollout: Rollout) -> dict[str, float]:
        """Do the epochs of one rollout. Raises: TradingError when a loss is not finite."""
        batch, watched = self.batch(rollout)
        own = self.settings.ppo
        steps: list[dict[str, float]] = []
        for epoch in range(own.epochs):
            if epoch and own.memory != "stored":
                fresh, drift = refreshed(self.net, rollout)
                rollout = fresh if own.memory == "refreshed" else rollout
                watched |= drift  # the last word: the drift before the last epoch
            order = self.generator.permutation(rollout.books)
            parts = np.array_split(order, min(own.minibatches, rollout.books))
            if not all(self._step(rollout, batch, torch.from_numpy(x), steps) for x in parts):
                break
        means = {key: float(np.mean([step[key] for step in steps])) for key in steps[0]}
        weight = {"entropy_weight": self.entropy_weight(own)}
        return {**watched, **means, **weight, "gradient_steps": len(steps)}

    def batch(self, rollout: Rollout) -> tuple[Batch, dict[str, float]]:
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
        return Batch.of(rollout, raw), foreseen(rollout, raw)

    def loss(
        self, rollout: Rollout, batch: Batch, books: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss over the sequences of some books, and what to watch; `batch` is theirs."""
        scored = evaluate(self.net, self.space, rollout, books, self.settings.bptt_steps)
        own = self.settings.ppo
        return loss_of(*scored, batch, own, self.entropy_weight(own))

    def _step(
        self, rollout: Rollout, batch: Batch, books: Tensor, steps: list[dict[str, float]]
    ) -> bool:
        # One minibatch; False, and no step, where the policy has moved far enough already.
        watched = self.gradient(rollout, batch, books)
        limit = self.settings.ppo.target_kl
        if steps and limit is not None and watched["kl"] > limit:
            return False
        norm = self.descent.take()
        steps.append({**watched, "grad_norm": norm, "loss": self.descent.loss})
        return True


def loss_of(
    log_prob: Tensor,
    entropy: Tensor,
    value: Tensor,
    batch: Batch,
    settings: PPOSettings,
    entropy_weight: float,
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss and what to watch; steps outside the masks change no loss, no gradient.

    `kl` is the estimate (r - 1) - log r of the divergence from the policy that played: never below
    zero, and of less variance than -log r. Source: Schulman, "Approximating KL divergence" (2020).
    """
    acting, living = batch.counts
    change = torch.where(batch.acts, log_prob - batch.log_prob, 0.0)
    ratio = change.exp()
    objective = clipped_objective(ratio, batch.advantage, settings.clip_ratio)
    gain = masked_mean(objective, batch.acts, acting)
    spread = masked_mean(entropy, batch.acts, acting)
    wrong = squared_error(value, batch.value, batch.target, settings.value_clip)
    error = masked_mean(wrong, batch.alive, living)
    loss = settings.value_weight * error - gain - entropy_weight * spread
    with torch.no_grad():
        moved = ratio - 1.0
        outside = (moved.abs() > settings.clip_ratio).float()
        watched = {
            "policy_loss": -gain.item(),
            "value_loss": error.item(),
            "entropy": spread.item(),
            "kl": masked_mean(moved - change, batch.acts, acting).item(),
            "clip_fraction": masked_mean(outside, batch.acts, acting).item(),
        }
    return loss, watched


def clipped_objective(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return PPO's pessimistic objective, to be maximised."""
    limited = ratio.clamp(1.0 - clip, 1.0 + clip)
    return torch.minimum(ratio * advantage, limited * advantage)


def squared_error(value: Tensor, played: Tensor, target: Tensor, clip: float | None) -> Tensor:
    """Return the critic's error; with `clip`, the larger of that of the value and that of the value
    held within `clip` of the one that was played (pessimistic, as the policy's objective is)."""
    plain = (value - target) ** 2
    if clip is None:
        return plain
    limited = played + (value - played).clamp(-clip, clip)
    return torch.maximum(plain, (limited - target) ** 2)
