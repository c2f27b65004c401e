"""Advantage actor-critic, synchronous, on one straight page: one step over a rollout, then the next.

The memory goes on from rollout to rollout and starts anew where an episode does. In between it is
brought up to date: where the LSTM sees bars alone a rollout begins with the memory that the weights of
now would have; where it sees the book it is carried as it was played. One step a rollout wants short
rollouts: `train.rollout_steps` of 8 to 32.
Source: Mnih et al., arXiv:1602.01783, without its asynchrony. With one epoch over one batch and no
clipping PPO takes the same step: the gradient of the ratio is that of the log-probability.
"""

import torch
from torch import Tensor

from agents.on_policy import Batch, OnPolicy, foreseen, masked_mean
from agents.returns import advantages, n_step_advantages
from agents.sequences import Rollout, evaluate
from engine.settings_learners import A2CSettings
from engine.settings_training import TrainSettings


class A2C(OnPolicy):
    """The learner: a round is one rollout and one step over all of it."""

    @staticmethod
    def optimiser(settings: TrainSettings) -> str:
        """Return the optimiser of the settings: RMSprop as in the paper, or Adam."""
        return settings.a2c.optimiser

    def learn(self, rollout: Rollout) -> dict[str, float]:
        """Take one step. Raises: TradingError when the loss is not finite."""
        batch, watched = self.batch(rollout)
        of_loss = self.gradient(rollout, batch, torch.arange(rollout.books))
        norm = self.descent.take()
        weight = {"entropy_weight": self.entropy_weight(self.settings.a2c)}
        return {**watched, **of_loss, **weight, "grad_norm": norm, "loss": self.descent.loss}

    def batch(self, rollout: Rollout) -> tuple[Batch, dict[str, float]]:
        """Return what the loss compares with: n-step returns, or GAE where n is 0."""
        own, gamma = self.settings.a2c, self.settings.gamma
        seen = (rollout.reward, rollout.value, rollout.after, rollout.terminated, rollout.ended)
        if own.n_steps:
            raw = n_step_advantages(*seen, gamma, own.n_steps)
        else:
            raw = advantages(*seen, gamma, own.gae_lambda)
        return Batch.of(rollout, raw, own.normalise), foreseen(rollout, raw)

    def loss(
        self, rollout: Rollout, batch: Batch, books: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss over the sequences of some books, and what to watch; `batch` is theirs."""
        scored = evaluate(self.net, self.space, rollout, books, self.settings.bptt_steps)
        own = self.settings.a2c
        return loss_of(*scored, batch, own, self.entropy_weight(own))


def loss_of(
    log_prob: Tensor,
    entropy: Tensor,
    value: Tensor,
    batch: Batch,
    settings: A2CSettings,
    entropy_weight: float,
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss and what to watch; steps outside the masks change no loss, no gradient."""
    acting, living = batch.counts
    gain = masked_mean(log_prob * batch.advantage, batch.acts, acting)
    spread = masked_mean(entropy, batch.acts, acting)
    error = masked_mean((value - batch.target) ** 2, batch.alive, living)
    loss = settings.value_weight * error - gain - entropy_weight * spread
    return loss, {
        "policy_loss": -gain.item(),
        "value_loss": error.item(),
        "entropy": spread.item(),
    }
