"""What a task of the battery is: who learns it with which settings, and what counts as passed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from engine.policy import ActionSpace
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from tests.benchmarks.task_env import REAL, TWO
from tests.benchmarks.tasks import Task

Make = Callable[[int, np.random.Generator], Task]
TWIN = ", no memory"


@dataclass(frozen=True)
class Gate:
    """What a learner's mean over seeds must be; without a `source` it is a guess, and binds nothing."""

    learner: str
    side: Literal[">=", "<="]
    value: float
    source: str = ""


@dataclass(frozen=True)
class Plan:
    """A task, its learners' settings, and the peers' arguments where they are not those of ours.

    `ours`: settings by learner, of which a name with ", no memory" is the twin; `worst` and `best`
    score of a random and of the best policy.
    """

    name: str
    make: Make
    steps: int
    ours: Mapping[str, Mapping[str, Any]]
    worst: float
    best: float
    gates: tuple[Gate, ...] = ()
    peers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    scale: float = 1.0  # multiplies the reward, for ours alone
    unit: tuple[float, ...] = ()  # divides the inputs, for ours alone; none = 1

    @property
    def learners(self) -> tuple[str, ...]:
        """Everybody who learns the task, in the order of the table."""
        return (*self.ours, *self.peers)

    @property
    def rivals(self) -> dict[str, str]:
        """Who of ours each peer is compared with."""
        ours = {"RecurrentPPO": "PPO", "SB3 DDPG": "DDPG" + TWIN}
        return {peer: ours[peer] for peer in self.peers}

    @property
    def margin(self) -> float:
        """What ours may fall behind a peer: 5 % of the range from random to best."""
        return 0.05 * (self.best - self.worst)

    @property
    def reward(self) -> RewardSettings:
        """The task's own reward, times a constant."""
        return RewardSettings(kind="pnl", scale=self.scale, clip=None)

    def task(self, books: int, seed: int) -> Task:
        """Return the task for some books, drawn from a seed of its own."""
        return self.make(books, np.random.default_rng(seed))

    def space(self, learner: str) -> ActionSpace:
        """Return what a learner of ours chooses from: DDPG needs a continuous action everywhere."""
        real = self.task(1, 0).reach is not None or learner.startswith("DDPG")
        return REAL if real else TWO

    def network(self, learner: str) -> Mapping[str, Any]:
        """Return how a learner's network differs from that of the other benchmarks."""
        differs: Mapping[str, Any] = self.ours[learner].get("network", {})
        return differs

    def settings(self, learner: str, seed: int) -> TrainSettings:
        """Return what a learner learns with."""
        rule = learner.removesuffix(TWIN).lower()
        own = {"books": 32, "gamma": 0.99, **self.ours[learner]}
        limit = self.task(1, 0).limit
        made = {"algorithm": rule, "seed": seed, "episode_steps": limit}
        made["updates"] = -(-self.steps // (own["books"] * own["rollout_steps"]))
        own.pop("network", None)
        return TrainSettings.model_validate({**made, **own})
