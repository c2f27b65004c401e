"""Echo(k) learned by every rule, with memory and without, every seed: one command, one table.

    python -m tests.learning.echo_table [--seeds 3] [--workers 2] [--out FILE] [RULE-K ...]

The numbers kept in ECHO.md came from it. Gates: 95 % of the optimum at k = 2, 85 % at k = 5; the twin
without memory under 3 %; k = 10 is reported.
"""

import argparse
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from engine import clock
from tests.learning.learn_echo import BOOKS, RECIPES, settings, share_of_optimum

MEMORIES = {"carry": "memory", "window(1)": "twin without"}
GATES = {2: 0.95, 5: 0.85}
TWIN = 0.03


@dataclass(frozen=True)
class Job:
    """One training."""

    rule: str
    k: int
    memory: str
    seed: int


def learned(job: Job) -> tuple[Job, float]:
    """Return what came of one training, a share of the optimum."""
    recipe = RECIPES[job.rule, job.k]
    with tempfile.TemporaryDirectory() as folder:
        return job, share_of_optimum(
            job.rule, job.k, job.memory, recipe.updates, Path(folder), job.seed, **recipe.own
        )


def report(found: dict[Job, float], seeds: int) -> str:
    """Return the table, and the settings it was made with, as Markdown."""
    head = ["learner", *(f"seed {seed}" for seed in range(seeds)), "mean", "gate", "bars"]
    lines = [head, ["---", *("---:" for _ in head[1:])]]
    asked = sorted({(job.rule, job.k) for job in found}, key=list(RECIPES).index)
    for rule, k in asked:
        for memory, name in MEMORIES.items():
            shares = [found.get(Job(rule, k, memory, seed)) for seed in range(seeds)]
            known = [share for share in shares if share is not None]
            if not known:
                continue
            cells = ["" if share is None else f"{share:.1%}" for share in shares]
            gate = f">= {GATES[k]:.0%}" if k in GATES else ""
            gate = gate if memory == "carry" else f"< {TWIN:.0%}"
            mean = f"{sum(known) / len(known):.1%}"
            lines.append([f"Echo({k}), {rule.upper()}, {name}", *cells, mean, gate, bars(rule, k)])
    table = "\n".join(f"| {' | '.join(line)} |".replace("  ", " ") for line in lines)
    own = "\n".join(f"- Echo({k}), {rule.upper()}: {RECIPES[rule, k].own}" for rule, k in asked)
    return f"{clock.now():%Y-%m-%d}\n\n{table}\n\n{own}\n"


def bars(rule: str, k: int) -> str:
    """Return how many bars a training plays, over all books, as text."""
    recipe = RECIPES[rule, k]
    asked = settings(rule, 0, recipe.updates, recipe.own)
    return f"{asked.updates * asked.rollout_steps * BOOKS:,}"


def main(asked: list[str] | None = None) -> None:
    """Train them all and print the table."""
    names = {f"{rule}-{k}": (rule, k) for rule, k in RECIPES}
    parser = argparse.ArgumentParser(prog="python -m tests.learning.echo_table")
    parser.add_argument(
        "names", nargs="*", metavar="RULE-K", help=f"{', '.join(names)}; default all"
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each (default 3)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--out", type=Path, help="write the table here as it grows, too")
    chosen = parser.parse_args(asked)
    if unknown := set(chosen.names) - set(names):
        parser.error(f"unknown {min(unknown)}; choose from {', '.join(names)}")
    jobs = [
        Job(*names[name], memory, seed)
        for name in chosen.names or names
        for seed in range(chosen.seeds)
        for memory in MEMORIES
    ]
    found: dict[Job, float] = {}
    with ProcessPoolExecutor(chosen.workers) as pool:
        for done in as_completed([pool.submit(learned, job) for job in jobs]):
            job, share = done.result()
            found[job] = share
            sys.stderr.write(f"{job} {share:.4f}\n")
            if chosen.out:
                chosen.out.write_text(report(found, chosen.seeds), encoding="utf-8")
    sys.stdout.write(report(found, chosen.seeds))


if __name__ == "__main__":
    main()
