"""Play with noise into a replay: what an off-policy learner does between its updates.

Every stretch begins with the memory that the weights of now have of the running episode, so it is
played as a deployed agent would play it, noise apart.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.env import BookEnv
from agents.exploration import Noise
from agents.networks import ActorCritic, advance, outputs
from agents.replay import Batch, Replay
from agents.rollout import Collector
from engine.errors import SettingsError
from engine.settings_learners import DDPGSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings


class Explorer:
    """Plays B books with an actor and notes everything; random until `warmup_steps` are played.

    `nets` starts with the actor; the replay notes a memory of the first so many of them.
    """

    def __init__(
        self,
        env: BookEnv,
        nets: tuple[ActorCritic, ...],
        replay: Replay,
        settings: DDPGSettings,
        reward: RewardSettings,
    ) -> None:
        self.env, self.nets, self.replay, self.settings = env, nets, replay, settings
        self.table = Collector(env, nets[0], reward, env.generator)
        self.noise = Noise(settings, env.shape[:2], env.generator)
        self.played = 0
        self._begin()

    @torch.no_grad()
    def play(self, steps: int) -> dict[str, Any]:
        """Play `steps` bars with every book; return what to watch."""
        nets = self.nets[: max(self.replay.memories, 1)]
        rewards, actions = [], []
        size = self.noise.size(self.played)
        memories = self._recall(nets)
        for _ in range(steps):
            action, after = self._decide(memories)
            counted = action[self.table.ready]
            done = self.table.step(action)
            noted = tuple(x.cpu().numpy().reshape(*action.shape, -1) for x in memories)
            self.replay.note(
                action,
                done["reward"],
                done["terminated"],
                done["alive"],
                noted[: self.replay.memories],
            )
            memories = after
            self.played += self.env.plan.books
            rewards.append(done["reward"][done["alive"]])
            actions.append(counted)
            self._see()
            if not self.table.left():
                self.table.begin_episode()
                self._begin()
                memories = self._recall(nets)
        reward, action = np.concatenate(rewards), np.concatenate(actions)
        return {
            "steps": steps * self.env.plan.books,
            "reward": float(reward.mean()) if len(reward) else 0.0,
            "action_mean": float(action.mean()) if len(action) else 0.0,
            "action_size": float(np.abs(action).mean()) if len(action) else 0.0,
            "noise": size,
        }

    def state(self) -> dict[str, Any]:
        """Return everything needed to go on bit for bit, the replay apart."""
        own = {"played": self.played, "noise": self.noise.state()}
        return {"table": self.table.state(), **own}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; with an empty replay, with a new episode in every book."""
        self.table.restore(state["table"])
        self.noise.restore(state["noise"])
        self.played = int(state["played"])
        if not self.replay.head:
            self.table.begin_episode()
            self._begin()

    def _begin(self) -> None:
        # In a burn-in the book is flat, as it is on the first bar of an episode.
        self.noise.reset()
        rows, count = self.env.lead()
        book = np.broadcast_to(self.table.obs.book, (len(rows), *self.table.obs.book.shape))
        self.replay.begin(self._join(rows, book), count)
        self._see()

    def _see(self) -> None:
        obs = self.table.obs
        self.replay.see(self._join(obs.market, obs.book), obs.fresh, obs.book, self.table.ready)

    def _join(self, market: np.ndarray, book: np.ndarray) -> np.ndarray:
        return self.nets[0].join(torch.from_numpy(market), torch.from_numpy(book.copy())).numpy()

    def _recall(self, nets: tuple[ActorCritic, ...]) -> list[Tensor]:
        # The memory before the newest observation, over all of the episode so far.
        books = np.arange(self.env.plan.books)
        newest = np.stack([np.full(len(books), self.replay.head - 1), books], axis=1)
        batch = self.replay.sample(newest, 0, None, self._device())
        return [remembered(net, batch) for net in nets]

    def _decide(self, memories: list[Tensor]) -> tuple[np.ndarray, list[Tensor]]:
        net, obs, device = self.nets[0], self.table.obs, self._device()
        shape = obs.fresh.shape
        book = torch.from_numpy(obs.book).flatten(0, 1).to(device)
        row = net.join(torch.from_numpy(obs.market).flatten(0, 1).to(device), book)
        fresh = torch.from_numpy(obs.fresh.reshape(-1)).to(device)
        moved = [
            one_bar(net, row, fresh, memory)
            for net, memory in zip(self.nets, memories, strict=False)
        ]
        if self.played < self.settings.warmup_steps:
            action = self.noise.warm_up()
        else:
            head = net.policy(moved[0][0], book)
            greedy = torch.tanh(head[..., 0]).cpu().numpy().reshape(shape)
            action = np.clip(greedy + self.noise.draw(self.played), -1.0, 1.0)
        return action.astype(np.float32), [memory for _, memory in moved]

    def _device(self) -> torch.device:
        return next(self.nets[0].parameters()).device


def replay_for(
    env: BookEnv, net: ActorCritic, settings: TrainSettings, memories: tuple[int, ...]
) -> Replay:
    """Return an empty replay for what an actor sees in an environment.

    Its bars hold `replay_size` transitions with their burn-in rows and final observations.
    Raises: SettingsError when that is not two episodes of every book.
    """
    books, symbols, _, book = env.shape
    size, episode = settings.ddpg.replay_size, max(episode_lengths(settings))
    if size < 2 * books * episode:
        raise SettingsError(
            f"train.ddpg.replay_size: expected room for two episodes of every book, "
            f"{2 * books * episode} transitions, found {size}; make it larger, or use fewer "
            "train.books"
        )
    slots = math.ceil(size / (books * episode) * (episode + 1 + env.spec.burn_in))
    return Replay(slots, (books, symbols, net.inputs, book), memories)


def episode_lengths(settings: TrainSettings) -> list[int]:
    """Return how long episodes are, stage by stage."""
    stages = [stage.episode_steps for stage in settings.stages] or [None]
    return [steps or settings.episode_steps for steps in stages]


@torch.no_grad()
def remembered(net: ActorCritic, batch: Batch, noted: int | None = None) -> Tensor:
    """Return a network's own memory (R, M) at index 0 of sampled sequences, without gradient.

    From zero, or from the memory noted in play by the network number `noted`, over the bars before.
    """
    start = net.start(len(batch.count)) if noted is None else batch.memory[noted]
    return advance(net, batch.before, batch.count, start)


def one_bar(net: ActorCritic, row: Tensor, fresh: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
    """Return output (R, H) and memory (R, M) after one bar; both stand still where it is not fresh."""
    if bool(fresh.all()):
        out, memory = net.trunk(row[None], memory)
        return out[0], memory
    count = fresh.long()
    return outputs(net, row[None], count[None], memory)[0], advance(net, row[None], count, memory)
