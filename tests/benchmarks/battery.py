"""Can it learn to remember? Exact memory tasks, every seed, beside sb3-contrib's RecurrentPPO.

    python -m tests.benchmarks.battery [--quick] [--seeds 5] [--json] [TASK ...]

Tasks: `tests.benchmarks.tasks`. Each is learned by our PPO and A2C through the real collector, network and
losses, by the memoryless twin of each (`window(1)`: same net, nothing kept from step to step, trained
so), and, where the extra `bench` is installed, by RecurrentPPO with our network and PPO settings on the
same task, seeds and steps. A task that the twin solves proves nothing. Success: share of 100 greedy
episodes on a fixed seed, final weights. Steps: those of episodes that were still on.

RecurrentPPO differs in three ways: see `tests.benchmarks.peer`. On PoC memory ours plays whole episodes
with every book, so rollouts differ in length; its books start anew one by one. A2C takes one step a
rollout and so gets 8 books instead of 32. The hyperparameters were chosen looking at ours alone.

Left out for now: CartPole and Pendulum with masked velocity, and DDPG; Recall-T is not yet played by
DDPG, whose explorer asks more of an environment than the collector does.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from agents.networks import ActorCritic
from agents.rollout import Collector
from agents.sequences import Rollout, Segment, join
from agents.train import LEARNERS
from engine.checkpoint import CheckpointInfo
from engine.policy import greedy
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from tests.benchmarks.agent import record, sample, spec_for
from tests.benchmarks.harness import say
from tests.benchmarks.tasks import INPUTS, TWO, PocMemory, Recall, Task, TaskEnv

BOOKS, EPISODES, EXAM_SEED, STRETCH = 32, 100, 1_000_003, 8
PAID = RewardSettings(kind="pnl", scale=1.0, clip=None)
PEER = "RecurrentPPO"
SYSTEMS = ("PPO", "PPO, no memory", "A2C", "A2C, no memory", PEER)
NO_PEER = "RecurrentPPO left out, sb3-contrib is not installed (extra `bench`)"
Make = Callable[[int, np.random.Generator], Task]


@dataclass(frozen=True)
class Plan:
    """A task of the battery; `bars` of one rollout, `steps` of all of them (over all books)."""

    name: str
    make: Make
    bars: int
    steps: int = 100_000
    learning_rate: float = 1e-3

    def task(self, books: int, seed: int) -> Task:
        """Return the task for some books, drawn from a seed of its own."""
        return self.make(books, np.random.default_rng(seed))

    def settings(self, rule: str, seed: int) -> TrainSettings:
        """Return what a rule, and RecurrentPPO with PPO's, learns with."""
        books = 8 if rule == "a2c" else BOOKS
        chosen = {
            "algorithm": rule,
            "seed": seed,
            "books": books,
            "rollout_steps": self.bars,
            "updates": -(-self.steps // (books * self.bars)),
            "learning_rate": self.learning_rate,
            "gamma": 0.99,
            "ppo": {"gae_lambda": 0.95, "entropy_weight": 0.01},
            "a2c": {"n_steps": 0, "gae_lambda": 0.95, "entropy_weight": 0.01},
        }
        return TrainSettings.model_validate(chosen)


PLANS = (
    Plan("Recall-5", lambda books, rng: Recall(5, books, rng), 63),
    Plan("Recall-20", lambda books, rng: Recall(20, books, rng), 66),
    Plan("Recall-50", lambda books, rng: Recall(50, books, rng), 104),
    Plan("PoC memory", PocMemory, 64, 61_440),
)
QUICK = (replace(PLANS[0], steps=16_000),)


@dataclass(frozen=True)
class Result:
    """One training: who learned what from which seed. Units: success a share, steps, seconds."""

    task: str
    learner: str
    seed: int
    success: float
    steps: int
    seconds: float

    def cells(self) -> tuple[str, ...]:
        """Return the line as text."""
        numbers = (f"{self.success:.2f}", f"{self.steps:,}", f"{self.seconds:.1f}")
        return self.task, self.learner, str(self.seed), *numbers


class WholeEpisodes(Collector):
    """Plays from start to end with every book, until the last of them is over."""

    @torch.no_grad()
    def collect(self, steps: int) -> Rollout:
        """Play episodes until `steps` a book, on average, were steps of an episode still on."""
        parts: list[Rollout] = []
        while sum(part.alive.sum() for part in parts) < steps * self.env.plan.books:
            parts.append(self._episode())
        return join(parts)

    def _episode(self) -> Rollout:
        # In stretches, to stop soon after the last book; their gradients are those of one.
        parts: list[Rollout] = []
        while self.left() and self.alive.any():
            parts.append(self._play(min(STRETCH, self.left())))
        self.begin_episode()
        whole = join(parts)
        rows = torch.cat([segment.rows for segment in whole.segments])
        return replace(whole, segments=(Segment(rows, None, whole.segments[0].memory),))


def ours(plan: Plan, rule: str, memory: str, seed: int) -> tuple[float, int]:
    """Learn with one of our rules; return success and steps."""
    learner, steps = learner_of(plan, rule, memory, seed), 0
    while steps < plan.steps:
        learner.round()
        steps += int(learner.batch_now.alive.sum())
    return exam(learner.net, plan.task(EPISODES, EXAM_SEED)), steps


def learner_of(plan: Plan, rule: str, memory: str, seed: int) -> Any:
    """Return one of our learners with a fresh network, at the start of a task."""
    settings = plan.settings(rule, seed)
    task = plan.task(settings.books, seed)
    env: Any = TaskEnv(task)
    torch.manual_seed(seed)
    learner: Any = LEARNERS[rule](env, info_of(task, memory), settings, PAID)
    if task.streams is None:
        learner.collector = WholeEpisodes(env, learner.net, PAID, learner.generator)
    return learner


def info_of(task: Task, memory: str) -> CheckpointInfo:
    """Return the record of an agent for a task: the benchmarks' network, the task's inputs."""
    # Where actions change what is seen nothing can be run ahead: everything is stepped.
    agent = record(spec_for(sample()), "heads" if task.streams is not None else "lstm")
    inputs = tuple(f"input {at}" for at in range(INPUTS))
    seen = {"features": inputs, "lookbacks": (1,) * INPUTS, "book": (), "burn_in": 0}
    return agent.model_copy(update={**seen, "action": TWO, "memory": memory})


@torch.no_grad()
def exam(net: ActorCritic, task: Task) -> float:
    """Return the share of episodes, one a book, that the greedy policy wins."""
    env = TaskEnv(task)
    memory, book = net.start(task.books), torch.zeros(task.books, 0)
    for _ in range(task.limit):
        head, memory = net.step(torch.from_numpy(task.look()), book, memory)
        task.act(2.0 * greedy(head.numpy(), env.spec.action) - 1.0)
    return float(task.won.mean())


def theirs(plan: Plan, seed: int) -> tuple[float, int]:
    """Learn with RecurrentPPO; return success and steps."""
    from tests.benchmarks.peer import recurrent_ppo
    from tests.benchmarks.tasks import AutoReset

    settings = plan.settings("ppo", seed)
    env: Any = AutoReset(plan.task(settings.books, seed))
    model = recurrent_ppo(env, settings)
    model.learn(plan.steps)
    task = plan.task(EPISODES, EXAM_SEED)
    task.reset(np.ones(EPISODES, dtype=bool))
    state, start = None, np.ones(EPISODES, dtype=bool)
    for _ in range(task.limit):
        action, state = model.predict(task.look(), state, start, deterministic=True)
        task.act(2.0 * action - 1.0)
        start = np.zeros(EPISODES, dtype=bool)
    return float(task.won.mean()), int(model.num_timesteps)


def learned(plan: Plan, system: str, seed: int) -> Result:
    """Let one system learn one task from one seed."""
    began = time.perf_counter()
    if system == PEER:
        success, steps = theirs(plan, seed)
    else:
        rule, _, without = system.partition(", ")
        memory = "window(1)" if without else "carry"
        success, steps = ours(plan, rule.lower(), memory, seed)
    return Result(plan.name, system, seed, success, steps, time.perf_counter() - began)


def battery(plans: tuple[Plan, ...], seeds: int) -> list[Result]:
    """Return a line for every task, system and seed; one thread."""
    torch.set_num_threads(1)
    peer = find_spec("sb3_contrib") is not None
    found: list[Result] = []
    for plan in plans:
        for system in SYSTEMS if peer else SYSTEMS[:-1]:
            for seed in range(seeds):
                found.append(learned(plan, system, seed))
                say(" ".join(found[-1].cells()))
    return found


def table(results: list[Result]) -> str:
    """Return every line as a Markdown table."""
    head = ("task", "learner", "seed", "success", "steps", "seconds")
    lines = [head, ("---",) * len(head), *(result.cells() for result in results)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(asked: list[str] | None = None) -> None:
    """Run the battery and print one table, or one JSON object."""
    names = [plan.name for plan in PLANS]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.battery")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(names) + "; default all")
    parser.add_argument("--quick", action="store_true", help="one short training each of Recall-5")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each (default 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    chosen = parser.parse_args(asked)
    if unknown := set(chosen.tasks) - set(names):
        parser.error(f"unknown task {min(unknown)}; choose from {', '.join(names)}")
    wanted = chosen.tasks or names
    plans = tuple(plan for plan in PLANS if plan.name in wanted)
    seeds = chosen.seeds
    if chosen.quick:
        plans, seeds = QUICK, 1
    results = battery(plans, seeds)
    notes = [] if find_spec("sb3_contrib") else [NO_PEER]
    whole = {"results": [asdict(result) for result in results], "notes": notes}
    sys.stdout.write((json.dumps(whole) if chosen.json else table(results)) + "\n")
    for note in notes:
        say(note)


if __name__ == "__main__":
    main()
