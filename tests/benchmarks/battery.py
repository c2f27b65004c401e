"""Can it learn to remember? Memory and control tasks, every seed, beside sb3-contrib's RecurrentPPO.

    python -m tests.benchmarks.battery [--seeds 5] [--learner NAME] [--out FILE] [TASK ...]
    python -m tests.benchmarks.battery --table        what has been found so far

Tasks: `tests.benchmarks.tasks`, `tests.benchmarks.control`; who learns what, with which settings and
gates: `tests.benchmarks.plans`; what counts as passed: `tests.benchmarks.verdict`. Ours learn through
the real network, collector and losses. The twin (", no memory") is the same net and training under
`window(1)`: nothing is kept from step to step, and a task that it solves proves nothing. A score is the
mean over 100 greedy episodes on fixed seeds, in the task's own reward, with the final weights. Steps:
those of episodes that were still on.

Every training that ends is one line of `--out`, so that a battery that was stopped goes on where it
was; a line counts only for the settings that it was made with.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from agents.machine import keep_pages
from agents.networks import ActorCritic
from agents.train import LEARNERS
from engine.checkpoint import CheckpointInfo
from engine.policy import decode, greedy
from engine.run.training.resuming import WHERE
from tests.benchmarks.agent import record, sample, spec_for
from tests.benchmarks.harness import say
from tests.benchmarks.plan import TWIN, Plan
from tests.benchmarks.plans import PLANS, QUICK
from tests.benchmarks.task_env import AutoReset, OwnEpisodes, TaskEnv, sides
from tests.benchmarks.tasks import Task
from tests.benchmarks.verdict import Result, table

EPISODES, EXAM_SEED = 100, 1_000_003
OUT = Path("runs/battery.jsonl")
NO_PEER = "peers left out, sb3-contrib is not installed (extra `bench`)"


def ours(plan: Plan, learner: str, seed: int) -> tuple[float, int]:
    """Learn with one of our rules; return score and steps."""
    made, steps = learner_of(plan, learner, seed), 0
    while steps < plan.steps:
        row = made.round()
        off_policy = made.settings.algorithm == "ddpg"
        steps += row["steps"] if off_policy else int(made.batch_now.alive.sum())
    env = TaskEnv(plan.task(EPISODES, EXAM_SEED), plan.space(learner), plan.unit)
    return exam(made.net, env), steps


def learner_of(plan: Plan, learner: str, seed: int) -> Any:
    """Return one of our learners with a fresh network, at the start of a task."""
    settings = plan.settings(learner, seed)
    task = plan.task(settings.books, seed)
    env: Any = TaskEnv(task, plan.space(learner), plan.unit)
    torch.manual_seed(seed)
    info = info_of(plan, learner, task)
    made: Any = LEARNERS[settings.algorithm](env, info, settings, plan.reward)
    if task.streams is None and settings.algorithm != "ddpg":
        made.collector = OwnEpisodes(env, made.net, plan.reward, made.generator)
    return made


def info_of(plan: Plan, learner: str, task: Task) -> CheckpointInfo:
    """Return the record of an agent for a task: the benchmarks' network, the task's inputs."""
    # Where actions change what is seen nothing can be run ahead: everything is stepped.
    stepped = task.streams is None and not learner.startswith("DDPG")
    agent = record(spec_for(sample()), "lstm" if stepped else "heads")
    inputs = tuple(f"input {at}" for at in range(task.inputs))
    seen = {"features": inputs, "lookbacks": (1,) * task.inputs, "book": (), "burn_in": 0}
    memory = "window(1)" if learner.endswith(TWIN) else "carry"
    network = agent.network.model_copy(update=plan.network(learner))
    chosen = {"action": plan.space(learner), "memory": memory, "network": network}
    return agent.model_copy(update=seen | chosen)


@torch.no_grad()
def exam(net: ActorCritic, env: TaskEnv) -> float:
    """Return the mean score of the greedy policy over one episode a book."""
    task, space = env.task, env.spec.action
    memory, book = net.start(task.books), torch.zeros(task.books, 0)
    for _ in range(task.limit):
        if task.over.all():
            break
        obs = env.observe()
        head, memory = net.step(torch.from_numpy(obs.market[:, 0]), book, memory)
        env.step(obs, decode(greedy(head.numpy(), space)[:, None], space, allow_short=True))
    return float(task.score.mean())


def theirs(plan: Plan, learner: str, seed: int) -> tuple[float, int]:
    """Learn with a peer; return score and steps."""
    from tests.benchmarks.peer import peer_of

    settings = plan.peers[learner] or plan.settings("PPO", seed)
    books = settings["books"] if isinstance(settings, dict) else settings.books
    model = peer_of(learner, AutoReset(plan.task(books, seed)), settings, seed)
    model.learn(plan.steps)
    task = plan.task(EPISODES, EXAM_SEED)
    task.reset(np.ones(EPISODES, dtype=bool))
    state, start = None, np.ones(EPISODES, dtype=bool)
    for _ in range(task.limit):
        action, state = model.predict(task.look(), state, start, deterministic=True)
        task.act(sides(action, task))
        start = np.zeros(EPISODES, dtype=bool)
    return float(task.score.mean()), int(model.num_timesteps)


def learned(plan: Plan, learner: str, seed: int) -> Result:
    """Let one system learn one task from one seed."""
    began = time.process_time()
    learn = theirs if learner in plan.peers else ours
    score, steps = learn(plan, learner, seed)
    spent = time.process_time() - began
    return Result(plan.name, learner, seed, score, steps, spent, digest(plan, learner))


def digest(plan: Plan, learner: str) -> str:
    """Return a short name of what a learner's settings say; neither seed nor machine is in it."""
    if plan.peers.get(learner):
        told: Any = dict(plan.peers[learner])
    else:
        own = "PPO" if learner in plan.peers else learner
        own_settings = plan.settings(own, 0).model_dump(mode="json", exclude=set(WHERE))
        if own_settings["precision"] == "float32":  # results from before there was a choice count
            del own_settings["precision"]
        told = [own_settings, plan.network(own), plan.scale, plan.unit]
    text = json.dumps([plan.steps, told], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def found(out: Path) -> list[Result]:
    """Return every result a file holds; none where there is no file."""
    if not out.exists():
        return []
    lines = out.read_text(encoding="utf-8").splitlines()
    return [Result(**json.loads(line)) for line in lines if line]


def current(results: list[Result], plans: tuple[Plan, ...], seeds: int) -> list[Result]:
    """Return the results made with the settings of now, in the order of the plans."""
    known = {(r.task, r.learner, r.seed, r.digest): r for r in results}
    keys = [
        (plan.name, learner, seed, digest(plan, learner))
        for plan in plans
        for learner in plan.learners
        for seed in range(seeds)
    ]
    return [known[key] for key in keys if key in known]


def wanted(
    plans: tuple[Plan, ...], seeds: int, only: str | None
) -> Iterator[tuple[Plan, str, int]]:
    """Return what is to be learned: ours first, over all tasks."""
    installed = find_spec("sb3_contrib") is not None
    for peers in (False, True) if installed else (False,):
        for plan in plans:
            for learner in plan.peers if peers else plan.ours:
                for seed in range(seeds):
                    if only in (None, learner):
                        yield plan, learner, seed


def battery(
    plans: tuple[Plan, ...], seeds: int, out: Path, only: str | None = None
) -> list[Result]:
    """Learn what `out` does not hold yet, on one thread; return every result."""
    torch.set_num_threads(1)
    keep_pages()
    out.parent.mkdir(parents=True, exist_ok=True)
    for plan, learner, seed in wanted(plans, seeds, only):
        key = (plan.name, learner, seed, digest(plan, learner))
        # Read anew each time: another battery may write to the same file.
        if key in {(r.task, r.learner, r.seed, r.digest) for r in found(out)}:
            continue
        result = learned(plan, learner, seed)
        with out.open("a", encoding="utf-8") as file:
            file.write(result.as_json() + "\n")
        say(f"{plan.name} | {learner} | seed {seed} | {result.score:.2f} | {result.seconds:.0f} s")
    return current(found(out), plans, seeds)


def main(asked: list[str] | None = None) -> None:
    """Run the battery, or what is left of it, and print its tables."""
    names = [plan.name for plan in PLANS]
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.battery")
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(names) + "; default all")
    parser.add_argument("--quick", action="store_true", help="one short training each of Recall-5")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each (default 5)")
    parser.add_argument("--learner", help="one learner alone")
    parser.add_argument("--out", type=Path, default=OUT, help=f"finished trainings (default {OUT})")
    parser.add_argument("--table", action="store_true", help="run nothing, print what there is")
    chosen = parser.parse_args(asked)
    if unknown := set(chosen.tasks) - set(names):
        parser.error(f"unknown task {min(unknown)}; choose from {', '.join(names)}")
    plans = tuple(plan for plan in PLANS if plan.name in (chosen.tasks or names))
    seeds = chosen.seeds
    if chosen.quick:
        plans, seeds = QUICK, 1
    if chosen.table:
        results = current(found(chosen.out), plans, seeds)
    else:
        results = battery(plans, seeds, chosen.out, chosen.learner)
    sys.stdout.write(table(results, plans, seeds) + "\n")
    if find_spec("sb3_contrib") is None:
        say(NO_PEER)


if __name__ == "__main__":
    main()
