"""What the battery runs: tasks, who learns them with which settings, and what counts as passed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from engine.policy import ActionSpace
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from tests.benchmarks.control import Control
from tests.benchmarks.task_env import REAL, TWO
from tests.benchmarks.tasks import PocMemory, Recall, Task

Make = Callable[[int, np.random.Generator], Task]
TWIN = ", no memory"


@dataclass(frozen=True)
class Gate:
    """What a learner's mean over seeds must be; without `source` the number is a frozen guess.

    `binding`: falling short fails the battery, otherwise it is reported.
    """

    learner: str
    side: Literal[">=", "<="]
    value: float
    source: str = ""
    binding: bool = True


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


def _with_twins(**ours: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    # The twin of each learner learns with the same settings.
    return {name: own for rule, own in ours.items() for name in (rule, rule + TWIN)}


PPO_MEMORY = {"learning_rate": 1e-3, "ppo": {"gae_lambda": 0.95, "entropy_weight": 0.01}}
# One step a rollout: short rollouts, more of them, and larger steps than PPO's.
A2C_MEMORY = {
    "books": 8,
    "learning_rate": 3e-3,
    "a2c": {"n_steps": 0, "gae_lambda": 0.95, "entropy_weight": 0.01},
}
DDPG_MEMORY = {
    "learning_rate": 1e-3,
    "network": {"hidden_size": 64},
}
WHOLE = {"warmup_steps": 2_000, "noise_start": 0.3, "noise_end": 0.3}
# Published settings of rl-baselines3-zoo, hyperparams/ppo_lstm.yml and ddpg.yml.
ZOO_CARTPOLE = {
    "books": 8,
    "n_steps": 32,
    "batch_size": 256,
    "gae_lambda": 0.8,
    "gamma": 0.98,
    "n_epochs": 20,
    "ent_coef": 0.0,
    "learning_rate": ("linear", 1e-3),
    "clip_range": ("linear", 0.2),
}
ZOO_PENDULUM = {
    "books": 4,
    "n_steps": 1024,
    "gae_lambda": 0.95,
    "gamma": 0.9,
    "n_epochs": 10,
    "ent_coef": 0.0,
    "learning_rate": 1e-3,
    "clip_range": 0.2,
    "use_sde": True,
    "sde_sample_freq": 4,
}
ZOO_DDPG = {
    "books": 1,
    "gamma": 0.98,
    "buffer_size": 200_000,
    "learning_starts": 10_000,
    "noise": 0.1,
    "gradient_steps": -1,
    "train_freq": (1, "episode"),
    "learning_rate": 1e-3,
    "policy_kwargs": {"net_arch": [400, 300]},
}
EXACT = "the optimum is 1, exactly"
CHANCE = 0.6  # without memory 0.5, exactly; 100 episodes more or less


def _recall(blanks: int, bars: int) -> Plan:
    length = blanks + 2
    rules = {
        "PPO": PPO_MEMORY | {"rollout_steps": bars},
        "A2C": A2C_MEMORY | {"rollout_steps": length},
        "DDPG": DDPG_MEMORY | {"rollout_steps": length, "ddpg": WHOLE | {"sequence_steps": length}},
    }
    gates = [Gate(rule + TWIN, "<=", CHANCE, EXACT) for rule in rules]
    if blanks == 20:
        gates += [Gate(rule, ">=", 0.95, EXACT) for rule in rules]
    return Plan(
        f"Recall-{blanks}",
        partial(Recall, blanks),
        100_000,
        _with_twins(**rules),
        0.5,
        1.0,
        tuple(gates),
        {"RecurrentPPO": {}},
    )


# A small bonus lets A2C settle on one end before it has read the cue: it passed on 1 seed of 3.
POC_RULES = _with_twins(
    PPO=PPO_MEMORY | {"rollout_steps": 64},
    A2C={
        "books": 4,
        "rollout_steps": 32,
        "learning_rate": 3e-3,
        "a2c": {"n_steps": 0, "gae_lambda": 0.95, "entropy_weight": 0.1},
    },
)
POC = "the published run reaches 1"

PLANS = (
    Plan(
        "CartPole, no velocity",
        partial(Control, "CartPole-v1", (0, 2)),
        100_000,
        _with_twins(
            PPO={
                "books": 8,
                "rollout_steps": 32,
                "learning_rate": 1e-3,
                "learning_rate_schedule": "linear",
                "gamma": 0.98,
                "ppo": {"epochs": 10, "minibatches": 1, "gae_lambda": 0.8, "entropy_weight": 0.0},
            }
        ),
        23.2,
        500.0,
        (
            Gate("PPO", ">=", 475.0, "rl-baselines3-zoo: 500 at 100k"),
            Gate("PPO" + TWIN, "<=", 100.0, "best of 400 linear rules: 44"),
        ),
        {"RecurrentPPO": ZOO_CARTPOLE},
        scale=0.1,
        unit=(0.5, 0.05),
    ),
    Plan(
        "Pendulum, no velocity",
        partial(Control, "Pendulum-v1", (0, 1)),
        100_000,
        _with_twins(
            PPO={
                "rollout_steps": 32,
                "learning_rate": 1e-3,
                "gamma": 0.9,
                "ppo": {"epochs": 10, "minibatches": 8, "gae_lambda": 0.95, "entropy_weight": 0.0},
            }
        ),
        -1225.0,
        -150.0,
        (
            Gate("PPO", ">=", -250.0, "rl-baselines3-zoo: -217.9 at 100k"),
            Gate("PPO" + TWIN, "<=", -700.0, "best of three policy searches: -1058"),
        ),
        {"RecurrentPPO": ZOO_PENDULUM},
        scale=0.1,
    ),
    Plan(
        "Pendulum",
        partial(Control, "Pendulum-v1", (0, 1, 2)),
        20_000,
        {
            "DDPG" + TWIN: {
                "books": 1,
                "rollout_steps": 200,
                "gamma": 0.98,
                "learning_rate": 1e-3,
                "ddpg": {
                    "warmup_steps": 2_000,
                    "batch_steps": 128,
                    "noise_start": 0.1,
                    "noise_end": 0.1,
                },
            }
        },
        -1225.0,
        -150.0,
        (Gate("DDPG" + TWIN, ">=", -200.0, "rl-baselines3-zoo: -152.1 at 20k"),),
        {"SB3 DDPG": ZOO_DDPG},
        scale=0.1,
    ),
    Plan(
        "PoC memory",
        PocMemory,
        61_440,
        POC_RULES,
        0.5,
        1.0,
        (
            Gate("PPO", ">=", 1.0, POC),
            Gate("PPO" + TWIN, "<=", CHANCE, EXACT),
            Gate("A2C", ">=", 1.0),
            Gate("A2C" + TWIN, "<=", CHANCE, EXACT),
        ),
        {"RecurrentPPO": {}},
    ),
    _recall(20, 66),
    _recall(5, 63),
    _recall(50, 104),
    Plan("PoC memory, original", partial(PocMemory, shown=3), 61_440, POC_RULES, 0.5, 1.0),
)
QUICK = (replace(PLANS[5], steps=16_000),)
