"""Deep deterministic policy gradient with memory, on one straight page.

The actor is the network that is deployed: its exposure is tanh of its mean. The critic is a second
network of the same family with an LSTM of its own, whose heads also see the action. Two ways, by the
one rule of memory: `window(K)` samples single transitions, the LSTM run again from zero over the last
K rows for each; `carry` samples sequences and builds their memory first, as `train.ddpg.memory_start`
says, without gradient. Each of the four networks unrolls a memory of its own over the same bars.

In a book of several symbols the critic's value is the mean over the symbols of what each sees and
does, as in `agents.sequences.evaluate`; a symbol that is not ready counts as doing nothing.

Sources: Lillicrap et al., arXiv:1509.02971; with memory, Heess et al., arXiv:1512.04455; stored
memory and burn-in, Kapturowski et al., ICLR 2019 (R2D2); a critic that adds up over parts, Sunehag et
al., arXiv:1706.05296; time limits, Pardo et al., arXiv:1712.00378.
"""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.checkpoint import build, put_weights
from agents.descent import Descent
from agents.env import BookEnv
from agents.explorer import Explorer, episode_lengths, remembered, replay_for
from agents.networks import ActorCritic, Widths, outputs
from agents.on_policy import masked_mean
from agents.replay import Batch
from engine.checkpoint import CheckpointInfo
from engine.errors import SettingsError
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings

ACTOR, CRITIC = 0, 1  # order of the memories noted in play


class DDPG:
    """The learner: a round plays a stretch of bars into the replay, then updates from samples of it."""

    def __init__(
        self,
        env: BookEnv,
        info: CheckpointInfo,
        settings: TrainSettings,
        reward: RewardSettings,
    ) -> None:
        _require_exposures(info)
        self.info, self.settings, self.own = info, settings, settings.ddpg
        self.generator = env.generator
        self.net = build(info)
        self.critic = critic_for(self.net)
        self.net.precision = self.critic.precision = settings.precision
        self.target_net, self.target_critic = target_of(self.net), target_of(self.critic)
        self.steps, self.depth, self.stored = plan_of(self.net, settings)
        widths = (self.net.memory_width, self.critic.memory_width) if self.stored else ()
        self.replay = replay_for(env, self.net, settings, widths)
        self.explorer = Explorer(env, (self.net, self.critic), self.replay, self.own, reward)
        clip, decay = settings.max_grad_norm, settings.weight_decay
        self.first_rate, rate = settings.learning_rate, self.own.critic_learning_rate
        self.descent = Descent(self.net.parameters(), settings.learning_rate, clip, decay)
        self.critic_descent = Descent(self.critic.parameters(), rate, clip, decay)
        self.rounds = 0

    def round(self) -> dict[str, Any]:
        """Play, and learn from the replay once it holds the warm-up; return what to watch."""
        falls = self.settings.learning_rate_schedule == "linear"
        part = 1.0 - min(self.rounds / self.settings.updates, 1.0) if falls else 1.0
        rate = part * self.settings.learning_rate
        beside = self.settings.learning_rate / self.first_rate  # 1 unless a stage says otherwise
        self.descent.go_on_with(rate)
        self.critic_descent.go_on_with(part * self.own.critic_learning_rate * beside)
        self.rounds += 1
        row = {**self.explorer.play(self.settings.rollout_steps), "learning_rate": rate}
        starts = self.replay.starts(self.steps, self._depth())
        row["replay"] = self.replay.steps
        if row["replay"] < self.own.warmup_steps or not len(starts):
            return row
        count = max(1, self.own.batch_steps // self.steps)
        watched = []
        for _ in range(max(1, round(self.own.updates_per_bar * self.settings.rollout_steps))):
            picked = starts[self.generator.integers(len(starts), size=count)]
            device = next(self.net.parameters()).device
            watched.append(
                self.learn(self.replay.sample(picked, self.steps, self._depth(), device))
            )
        return {**row, **{key: float(np.mean([w[key] for w in watched])) for key in watched[0]}}

    def learn(self, batch: Batch) -> dict[str, float]:
        """Do one update of all four networks. Raises: NotFinite when a loss is not finite."""
        self.batch_now = batch
        target = self.target(batch)
        out = self.unrolled(self.critic, batch, CRITIC)
        value = book_value(self.critic, out, batch, batch.action)[:-1]
        error = masked_mean((value - target) ** 2, batch.alive)
        critic_norm = self.critic_descent.step(error)
        # The actor follows the critic of now; the gradient this leaves in the critic is never used.
        with torch.no_grad():
            out = self.unrolled(self.critic, batch, CRITIC)
        mask = self.net.draw_mask(batch.rows.shape[1], self.generator)  # dropout: here alone
        mean = means(self.net, self.unrolled(self.net, batch, ACTOR, mask), batch)
        hoped = book_value(self.critic, out, batch, torch.tanh(mean))[:-1]
        gain = masked_mean(hoped, batch.alive)
        large = masked_mean(mean**2, batch.ready)
        norm = self.descent.step(self.own.mean_weight * large - gain)
        soft_update(self.target_net, self.net, self.own.tau)
        soft_update(self.target_critic, self.critic, self.own.tau)
        return {
            "critic_loss": error.item(),
            "actor_value": gain.item(),
            "grad_norm": norm,
            "critic_grad_norm": critic_norm,
        }

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """Return what the critic is to say of each step, (S, n): by the target networks alone."""
        out = self.unrolled(self.target_net, batch, ACTOR)
        action = torch.tanh(means(self.target_net, out, batch))
        out = self.unrolled(self.target_critic, batch, CRITIC)
        after = book_value(self.target_critic, out, batch, action)[1:]
        return td_target(batch.reward, after, batch.terminated, self.settings.gamma)

    def unrolled(
        self, net: ActorCritic, batch: Batch, which: int, mask: Tensor | None = None
    ) -> Tensor:
        """Return a network's output (S + 1, R, H) over the sequences, from a memory of its own.

        No gradient reaches the bars before the sequence, nor the memory noted in play.
        """
        memory = remembered(net, batch, which if self.stored else None)
        return outputs(net, batch.rows, batch.seen, memory, mask, self.settings.bptt_steps)

    def state(self) -> dict[str, Any]:
        """Return what changes while learning, the actor's weights and the generator apart."""
        nets = {name: dict(net.state_dict()) for name, net in self._others().items()}
        descents = {"actor": self.descent.state(), "critic": self.critic_descent.state()}
        replay = self.replay.state() if self.own.save_replay else None
        played = {"rounds": self.rounds, "explorer": self.explorer.state()}
        return {"nets": nets, "descents": descents, "replay": replay, **played}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`. Without a saved replay: with an empty one, and no update until it
        holds the warm-up again, which the actor of now plays."""
        for name, net in self._others().items():
            put_weights(net, state["nets"][name], f"the saved {name}")
        self.descent.restore(state["descents"]["actor"])
        self.critic_descent.restore(state["descents"]["critic"])
        self.rounds = state["rounds"]
        self.replay.clear()
        if state["replay"] is not None:
            self.replay.restore(state["replay"])
        self.explorer.restore(state["explorer"])

    def _others(self) -> dict[str, ActorCritic]:
        names = ("critic", "target_net", "target_critic")
        return {name: getattr(self, name) for name in names}

    def _depth(self) -> int | None:
        # The last K rows are the last K bars only while no bar is missing.
        return None if self.net.window and self.replay.gaps else self.depth


def critic_for(net: ActorCritic) -> ActorCritic:
    """Return a fresh critic for an actor: the same family, with the action beside the book part.

    Its LSTM is its own, whatever `network.critic` says, sees what the actor's sees and never the
    action, so that both build memory from the same rows. Nothing in it is dropped.
    """
    widths, network, memory = net.shape
    in_lstm = widths.book if net.book_in_lstm else 0
    own = Widths(widths.market + in_lstm, widths.book - in_lstm + 1, 1, 0, widths.features)
    plain = {"book_input": "heads", "critic": "shared", "critic_gradient": "full"}
    undropped = {"dropout_inside": 0.0, "dropout_after": 0.0}
    return ActorCritic(own, network.model_copy(update=plain | undropped), memory)


def target_of(net: ActorCritic) -> ActorCritic:
    """Return a copy that only `soft_update` changes."""
    return copy.deepcopy(net).requires_grad_(False)


@torch.no_grad()
def soft_update(target: ActorCritic, online: ActorCritic, tau: float) -> None:
    """Move every weight of `target` a share `tau` of the way to `online`."""
    for late, now in zip(target.parameters(), online.parameters(), strict=True):
        late.copy_(tau * now + (1.0 - tau) * late)


def means(net: ActorCritic, out: Tensor, batch: Batch) -> Tensor:
    """Return the actor's means (S + 1, R), whose tanh is the action, with gradients."""
    return net.policy(out, batch.book)[..., 0]


def book_value(critic: ActorCritic, out: Tensor, batch: Batch, action: Tensor) -> Tensor:
    """Return the critic's value of each book's actions, (S + 1, n). Shapes: action (S + 1, R)."""
    action = torch.where(batch.ready, action, 0.0)[..., None]
    beside = critic.widths.book - 1  # the book part, unless the LSTM has seen it
    seen = torch.cat([batch.book, action], -1) if beside else action
    value = critic.value(out, seen)
    return value.reshape(len(value), batch.reward.shape[1], -1).mean(-1)


def td_target(reward: Tensor, after: Tensor, terminated: Tensor, gamma: float) -> Tensor:
    """Return reward + gamma x value after; only ruin drops the value, the end of an episode does not.

    Shapes: all the same; `after` is the value of the observation the step led to, in its own episode.
    """
    return reward + gamma * torch.where(terminated, 0.0, after)


def plan_of(net: ActorCritic, settings: TrainSettings) -> tuple[int, int | None, bool]:
    """Return steps a sequence, bars before it that build its memory (None: all), and whether those
    begin with the memory noted in play."""
    own, episode = settings.ddpg, min(episode_lengths(settings))
    if net.window:
        return 1, net.window, False
    if own.sequence_steps > episode:
        raise SettingsError(
            f"train.ddpg.sequence_steps: expected at most {episode}, the shortest train.episode_steps "
            f"of all stages, found {own.sequence_steps}; no sequence crosses an episode"
        )
    start = own.memory_start
    if start == "auto":
        start = "stored" if net.book_in_lstm else "exact"
    return own.sequence_steps, None if start == "exact" else own.burn_in_steps, start == "stored"


def _require_exposures(info: CheckpointInfo) -> None:
    if info.action.kind != "continuous" or info.action.distribution != "gaussian":
        raise SettingsError(
            'train.algorithm = "ddpg": expected agent.action.kind = "continuous" and distribution = '
            f'"gaussian", found "{info.action.kind}" and "{info.action.distribution}"; set them, or '
            "train with ppo or a2c"
        )
