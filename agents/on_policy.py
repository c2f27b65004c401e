"""What the rules that learn from their own rollouts share: a collector, one optimiser, schedules."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.checkpoint import build
from agents.descent import Descent
from agents.env import BookEnv
from agents.networks import ActorCritic
from agents.returns import explained_variance, normalise
from agents.rollout import Collector
from agents.sequences import Rollout, mix
from engine.checkpoint import CheckpointInfo
from engine.settings_learners import A2CSettings, PPOSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings

SLAB = 2**21  # bars x sequences x outputs that gradients are made of at once: more gain nothing


@dataclass(frozen=True, slots=True)
class Batch:
    """What the loss compares with. Shapes: (S, B) each; `log_prob` and `value` as they were played,
    `acts`: a step whose action counted, `alive`: a step whose book was not ruined.

    `whole`: how many steps act and how many are alive in the minibatch this is a part of; None = this
    is all of it. Means over parts are sums over their steps by those numbers, so that parts add up.
    """

    log_prob: Tensor
    value: Tensor
    advantage: Tensor
    target: Tensor
    acts: Tensor
    alive: Tensor
    whole: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, rollout: Rollout, advantage: np.ndarray, scaled: bool = True) -> "Batch":
        """Return a rollout with its advantages (S, B); `scaled`: normalised over steps that count."""
        kept = normalise(advantage, rollout.acts) if scaled else advantage

        def tensor(x: np.ndarray) -> Tensor:
            return torch.from_numpy(x).to(rollout.raw.device)

        return cls(
            log_prob=tensor(rollout.log_prob.astype(np.float32)),
            value=tensor(rollout.value.astype(np.float32)),
            advantage=tensor(kept.astype(np.float32)),
            target=tensor((advantage + rollout.value).astype(np.float32)),
            acts=tensor(rollout.acts),
            alive=tensor(rollout.alive),
        )

    @property
    def counts(self) -> tuple[Tensor, Tensor]:
        """By how many steps the means over steps that act, and over steps alive, are divided."""
        return self.whole or (self.acts.sum(), self.alive.sum())

    def select(self, books: Tensor) -> "Batch":
        """Return the sequences of some books, as a minibatch of their own."""
        return Batch(
            log_prob=self.log_prob[:, books],
            value=self.value[:, books],
            advantage=self.advantage[:, books],
            target=self.target[:, books],
            acts=self.acts[:, books],
            alive=self.alive[:, books],
        )

    def part(self, books: Tensor) -> "Batch":
        """Return the sequences of some books, as a part of this minibatch."""
        return replace(self.select(books), whole=self.counts)


def slab_of(rollout: Rollout, net: ActorCritic) -> int:
    """Return the books whose gradient is made at once."""
    symbols = rollout.raw.shape[1] // rollout.books
    return max(1, SLAB // (len(rollout.raw) * symbols * (net.window or 1) * net.out_width))


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

    def loss(
        self, rollout: Rollout, batch: Batch, books: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss over the sequences of some books, and what to watch; `batch` is theirs."""
        raise NotImplementedError

    def gradient(self, rollout: Rollout, batch: Batch, books: Tensor) -> dict[str, float]:
        """Begin a step with the gradient over the sequences of some books; return what to watch.

        It is added up slab by slab, so that memory does not grow with the books of a minibatch.
        """
        self.descent.begin()
        chosen, watched = batch.select(books), dict[str, float]()
        places = torch.arange(len(books))
        for part in torch.split(places, slab_of(rollout, self.net)):
            own = chosen.part(part) if len(part) < len(books) else chosen
            loss, seen = self.loss(rollout, own, books[part])
            self.descent.add(loss)
            watched = {key: watched.get(key, 0.0) + value for key, value in seen.items()}
        return watched

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


def foreseen(rollout: Rollout, advantage: np.ndarray) -> dict[str, float]:
    """Return how much of the return the critic foresaw, to watch."""
    target = advantage + rollout.value
    return {"explained_variance": explained_variance(rollout.value, target, rollout.alive)}


def masked_mean(x: Tensor, mask: Tensor, count: Tensor | None = None) -> Tensor:
    """Return the mean over the steps in `mask`; 0 when there are none.

    `count`: the steps to divide by, where `mask` is a part of more; see `Batch`.
    """
    count = mask.sum() if count is None else count
    return torch.where(mask, x, 0.0).sum() / count.clamp(min=1)
