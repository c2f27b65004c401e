"""Proximal policy optimisation over whole sequences, on one straight page.

Minibatches are drawn over books, never over time, so that every gradient flows through a whole
stretch of bars from its stored starting memory.
Source: Schulman et al., arXiv:1707.06347; GAE, arXiv:1506.02438; time limits, arXiv:1712.00378.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents.networks import ActorCritic
from agents.sequences import Rollout, evaluate
from engine.errors import TradingError
from engine.policy import ActionSpace
from engine.settings_agent import TrainSettings


def advantages(
    reward: np.ndarray,
    value: np.ndarray,
    after: np.ndarray,
    terminated: np.ndarray,
    ended: np.ndarray,
    gamma: float,
    lam: float,
) -> np.ndarray:
    """Estimate how much better each action was than the critic expected.

    Shapes: (S, B) each, row 0 the oldest bar. `after` is the value of the state the step led to,
    seen with the memory it led to (at an episode's end: its final observation, not the next
    episode's first). `ended` = terminated or truncated; only ruin drops the value after it.
    """
    delta = reward + gamma * np.where(terminated, 0.0, after) - value
    result: np.ndarray = np.zeros_like(delta)
    carried = np.zeros_like(delta[0])
    for step in range(len(delta) - 1, -1, -1):
        carried = delta[step] + gamma * lam * np.where(ended[step], 0.0, carried)
        result[step] = carried
    return result


def normalise(x: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return x with mean 0 and sample deviation 1 over the valid steps, 0 elsewhere."""
    kept = x[valid]
    if kept.size < 2:
        return np.zeros_like(x)
    scaled = (x - kept.mean()) / (kept.std(ddof=1) + 1e-8)
    return np.where(valid, scaled, 0.0)


def clipped_objective(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return PPO's pessimistic objective, to be maximised."""
    limited = ratio.clamp(1.0 - clip, 1.0 + clip)
    return torch.minimum(ratio * advantage, limited * advantage)


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
    log_prob: Tensor, entropy: Tensor, value: Tensor, batch: Batch, settings: TrainSettings
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


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the steps in `mask`; 0 when there are none."""
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp(min=1)


class PPO:
    """The learner: `learn` takes one rollout and returns what to watch."""

    def __init__(self, net: ActorCritic, space: ActionSpace, settings: TrainSettings) -> None:
        self.net, self.space, self.settings = net, space, settings
        self.optimiser = torch.optim.AdamW(
            net.parameters(),
            lr=settings.learning_rate,
            eps=1e-5,
            weight_decay=settings.weight_decay,
            fused=True,
        )

    def learn(self, rollout: Rollout, generator: np.random.Generator) -> dict[str, float]:
        """Do the epochs of one rollout. Raises: TradingError when a loss is not finite."""
        batch, watched = self.batch(rollout)
        rounds: list[dict[str, float]] = []
        for _ in range(self.settings.epochs):
            order = generator.permutation(rollout.books)
            parts = np.array_split(order, min(self.settings.minibatches, rollout.books))
            rounds += [self._step(rollout, batch, torch.from_numpy(part)) for part in parts]
        means = {key: float(np.mean([r[key] for r in rounds])) for key in rounds[0]}
        return {**watched, **means}

    def state(self) -> dict[str, Any]:
        """Return the optimiser's numbers, for `restore`."""
        moments = self.optimiser.state_dict()["state"]
        return {"moments": {str(at): dict(found) for at, found in moments.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on with the numbers of `state`."""
        tree = self.optimiser.state_dict()
        tree["state"] = {
            int(at): {name: torch.from_numpy(np.array(x)) for name, x in found.items()}
            for at, found in state["moments"].items()
        }
        self.optimiser.load_state_dict(tree)

    def batch(self, rollout: Rollout) -> tuple[Batch, dict[str, float]]:
        """Return what the loss compares with, fixed for all epochs of a rollout."""
        raw = advantages(
            rollout.reward,
            rollout.value,
            rollout.after,
            rollout.terminated,
            rollout.ended,
            self.settings.gamma,
            self.settings.gae_lambda,
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

    def _step(self, rollout: Rollout, batch: Batch, books: Tensor) -> dict[str, float]:
        log_prob, entropy, value = evaluate(self.net, self.space, rollout, books)
        loss, watched = loss_of(log_prob, entropy, value, batch.select(books), self.settings)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.max_grad_norm)
        if not bool(torch.isfinite(loss) & torch.isfinite(norm)):
            raise TradingError(
                f"the loss is {loss.item()} and its gradient {norm.item()}, expected finite numbers; "
                "training stopped before the weights were changed, earlier checkpoints are kept: "
                "lower train.learning_rate, or look at rewards and features"
            )
        self.optimiser.step()
        return {**watched, "grad_norm": norm.item(), "loss": loss.item()}


def explained_variance(value: np.ndarray, target: np.ndarray, valid: np.ndarray) -> float:
    """Return the part of the targets' variance that the critic foresaw; 1 is perfect."""
    spread = target[valid].var() if valid.any() else 0.0
    return float(1.0 - (target - value)[valid].var() / spread) if spread > 0 else 0.0
