"""The tables of a walk-forward: one row a training, one a seed, one a cost; read from its folders."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from engine.checkpoint import POLICY, read
from engine.errors import CheckpointError
from engine.report.folder import RunFolder, write_table
from engine.run.training.executor import outcome
from engine.run.walkforward.plan import Part, WalkForward
from engine.run.walkforward.stitch import SWEPT

HEADLINE = (
    "total_return",
    "cagr",
    "volatility",
    "sharpe",
    "max_drawdown",
    "turnover",
    "gross_exposure",
    "correlation",
    "fills",
    "trades",
    "total_costs",
)
Tests = Mapping[str, list[dict[str, Any]]]  # by kind, one a seed


def write_trainings(walk: WalkForward) -> None:
    """Write trainings.csv: what each one chose, and what its window earned."""
    parts = list(walk.parts())
    found = [ended(part) for part in parts]
    returns = {
        (kind, seed): _window_returns(walk, walk.record(kind, seed))
        for kind in walk.kinds
        for seed in walk.seeds
    }
    columns: dict[str, list[Any]] = {
        "kind": [part.kind for part in parts],
        "seed": [part.seed for part in parts],
        "window": [part.window.number for part in parts],
        "updates": [each["updates"] for each in found],
        "stopped": [each["stopped"] or "" for each in found],
        "best_update": [each["best_update"] for each in found],
        "validation_score": [each["validation_score"] for each in found],
        "test_return": [returns[p.kind, p.seed][p.window.number - 1] for p in parts],
        "checkpoint_sha256": [each["sha256"] for each in found],
    }
    write_table(walk.folder / "trainings.csv", columns)


def write_seeds(walk: WalkForward, tests: Tests) -> None:
    """Write seeds.csv: the headline numbers of every stitched test."""
    rows = [
        (kind, seed, test)
        for kind in tests
        for seed, test in zip(walk.seeds, tests[kind], strict=True)
    ]
    columns: dict[str, list[Any]] = {
        "kind": [kind for kind, _, _ in rows],
        "seed": [seed for _, seed, _ in rows],
    }
    for key in HEADLINE:
        columns[key] = [_number(test["metrics"]["agent"][key]) for _, _, test in rows]
    write_table(walk.folder / "seeds.csv", columns)


def write_costs(walk: WalkForward, tests: Tests) -> dict[str, list[Any]]:
    """Write costs.csv and return its columns: every account and seed at every cost."""
    rows = [
        {"seed": seed, **row}
        for kind in tests
        for seed, test in zip(walk.seeds, tests[kind], strict=True)
        for row in test["costs_swept"]
    ]
    table: dict[str, list[Any]] = {
        key: [row[key] for row in rows] for key in ("account", "seed", "bps")
    }
    table |= {key: [_number(row[key]) for row in rows] for key in SWEPT}
    write_table(walk.folder / "costs.csv", table)
    return table


def ended(part: Part) -> dict[str, Any]:
    """Return how a training ended, and which checkpoint it chose. Raises: CheckpointError."""
    found = outcome(part.job)
    if found is None or "error" in found:
        raise CheckpointError(f"{part.job.folder}: the training has not ended; resume the run")
    info = read(part.checkpoint)
    return found | {"best_update": info.update, "sha256": info.sha256[POLICY]}


def _window_returns(walk: WalkForward, folder: Path) -> list[float]:
    return segment_returns(walk, RunFolder(folder).part("equity")["agent"])


def segment_returns(walk: WalkForward, equity: np.ndarray) -> list[float]:
    """Return what a curve over the tested bars earned in each window. Shapes: (T,).

    A window's decisions fill on the bar after, the last one of them in the next window.
    """
    start = walk.tested.first
    marks = [equity[window.test.first - start] for window in walk.windows] + [equity[-1]]
    return [float(after / before - 1.0) for before, after in pairwise(marks)]


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
