"""Several seeds of one training, each in a process and a folder of its own; the numbers beside it.

    RUN/seed-0/ ...   one run folder a seed, as `engine.run.training.run` writes it
    RUN/summary.json  every seed's score, their interquartile mean and interval, the checkpoint used

The processes share nothing: what a seed did is read from its folder.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from engine.across_seeds import DRAWS, bootstrap_interval, interquartile_mean
from engine.errors import UsageError
from engine.measures import NotComputable
from engine.report.folder import RunFolder
from engine.run.console import Progress, progress, say
from engine.run.outputs import versions
from engine.run.training.executor import HERE, Job, Processes, chosen
from engine.run.training.folder import TRAINING
from engine.run.training.resuming import require_same
from engine.settings import Settings

COVERAGE = (
    "a percentile bootstrap of 95 % covered the truth in 90 % of cases at 5 runs and in 93 to 94 % "
    "at 10"
)


def train_seeds(
    settings: Settings, folder: Path, count: int, resume: bool = False
) -> dict[str, Any]:
    """Train `count` seeds from `train.seed` on, side by side; return what summary.json holds.

    A seed that fails leaves the others alone; without it there is no mean. Ctrl-C stops them all,
    each with a usable checkpoint.
    """
    if resume:
        require_same(settings, folder)
        _require_seeds(folder)
    seeds = [settings.train.seed + at for at in range(count)]
    folders = {seed: folder / f"seed-{seed}" for seed in seeds}
    for place in folders.values():
        place.mkdir(parents=True, exist_ok=True)
    RunFolder(folder).write(settings=settings.model_dump(mode="json"), versions=versions())
    interrupted = _work(settings, folders, resume)
    summary = _summary(settings, folders) | {"run": str(folder), "interrupted": interrupted}
    RunFolder(folder).write(summary=summary)
    return summary


def _require_seeds(folder: Path) -> None:
    if (folder / TRAINING).is_dir():
        raise UsageError(
            f"--seeds: {folder} holds the training of one seed, expected a run of several; resume it "
            "without --seeds, or start a new run"
        )


def table_of(summary: dict[str, Any]) -> list[str]:
    """Return the lines a person reads: every seed, then what they come to."""
    lines = [f"{'seed':>6} {'validation ' + summary['score']:>22} {'at update':>10} {'updates':>8}"]
    for row in summary["seeds"]:
        score = row["validation_score"]
        shown = "none" if score is None else f"{score:.3f}"
        said = row["error"] or row["stopped"] or ""
        lines.append(
            f"{row['seed']:>6} {shown:>22} {row['best_update']:>10} {row['updates']:>8}  {said}".rstrip()
        )
    if summary["interval"]:
        low, high = summary["interval"]
        lines.append(
            f"interquartile mean {summary['interquartile_mean']:.3f}, 95 % interval {low:.3f} to "
            f"{high:.3f} ({DRAWS:,} draws; {COVERAGE})"
        )
    else:
        lines.append(f"no interquartile mean: {summary['no_mean']}")
    if summary["checkpoint"]:
        lines.append(f"checkpoint used from here on: {summary['checkpoint']} ({summary['rule']})")
    return lines + [
        f"! seed {row['seed']}: {text}" for row in summary["seeds"] for text in row["warnings"]
    ]


def _work(settings: Settings, folders: dict[int, Path], resume: bool) -> bool:
    limit = min(settings.train.workers or os.cpu_count() or 1, len(folders))
    jobs = [Job(seeded(settings, seed), place) for seed, place in folders.items()]
    say(f"{len(folders)} seeds, {limit} at once")
    with progress("training", settings.train.updates * len(folders)) as show:
        return chosen(settings.train, Processes(limit)).run(
            jobs, lambda: _show(folders, show), resume
        )


def seeded(settings: Settings, seed: int) -> Settings:
    """Return the same settings with another seed, for a job."""
    train = settings.train.model_copy(update={"seed": seed, **HERE})
    return settings.model_copy(update={"train": train})


def _show(folders: dict[int, Path], show: Progress) -> None:
    from agents.monitor import METRICS, read_rows

    rows = [read_rows(place / TRAINING / METRICS) for place in folders.values()]
    done = sum(len(found) for found in rows)
    scores = [[row["best_score"] for row in found if "best_score" in row] for found in rows]
    best = " ".join(f"{found[-1]:+.2f}" if found else "-" for found in scores)
    show(done, f"updates of all seeds, best validation scores {best}")


def _summary(settings: Settings, folders: dict[int, Path]) -> dict[str, Any]:
    rows = [_row(seed, place) for seed, place in folders.items()]
    scores = np.array(
        [np.nan if row["validation_score"] is None else row["validation_score"] for row in rows]
    )
    mean, interval, why = None, None, None
    try:
        mean, interval = interquartile_mean(scores), list(bootstrap_interval(scores))
    except NotComputable as error:
        why = str(error)
    scored = [row for row in rows if row["validation_score"] is not None]
    best = max(scored, key=lambda row: row["validation_score"], default=None)
    return {
        "score": settings.train.score,
        "seeds": rows,
        "interquartile_mean": mean,
        "interval": interval,
        "no_mean": why,
        "coverage": COVERAGE,
        "checkpoint": best["checkpoint"] if best else None,
        "validation_score": best["validation_score"] if best else None,
        "rule": f"best of {len(rows)} seeds by validation {settings.train.score}; the luckiest of "
        f"{len(rows)}, so expect less of it on new dates",
    }


def _row(seed: int, place: Path) -> dict[str, Any]:
    from agents.monitor import METRICS, read_rows

    path = place / TRAINING / "summary.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    rows = read_rows(place / TRAINING / METRICS)
    scored = [row for row in rows if "validation_score" in row]
    best = max(scored, key=lambda row: row["validation_score"], default={"update": 0})
    gone = None if found else "stopped before its end"
    return {
        "seed": seed,
        "run": str(place),
        "checkpoint": found.get("checkpoint"),
        "validation_score": found.get("validation_score"),
        "best_update": best["update"],
        "updates": len(rows),
        "stopped": "interrupted" if found.get("interrupted") else found.get("stopped"),
        "warnings": found.get("warnings", []),
        "error": found.get("error", gone),
    }
