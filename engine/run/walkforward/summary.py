"""What a walk-forward comes to, read from the folders its trainings and tests left behind.

Headline numbers are interquartile means over seeds with their bootstrap interval; no seed is chosen.
The agent and its twin are compared seed by seed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from engine.across_seeds import compare
from engine.evidence import against_twin
from engine.measures import NotComputable
from engine.report.folder import RunFolder
from engine.report.walk_cautions import of_summary
from engine.run.evaluation import costs_text
from engine.run.training.executor import outcome
from engine.run.training.seeds import COVERAGE
from engine.run.walkforward.compare import (
    PAIRED,
    across,
    against_baselines,
    by_window,
    median_seed,
)
from engine.run.walkforward.evidence import write_evidence
from engine.run.walkforward.plan import AGENT, TWIN, WalkForward
from engine.run.walkforward.stitch import BOOKS, SWEPT
from engine.run.walkforward.tables import (
    HEADLINE,
    Tests,
    ended,
    write_costs,
    write_seeds,
    write_trainings,
)
from engine.windows import RULES


def sum_up(walk: WalkForward) -> dict[str, Any]:
    """Write trainings.csv, seeds.csv, costs.csv, evidence.json and at last summary.json; return it."""
    tests = {kind: [_test(walk, kind, seed) for seed in walk.seeds] for kind in walk.kinds}
    write_trainings(walk)
    write_seeds(walk, tests)
    swept = write_costs(walk, tests)
    summary = _summary(walk, tests) | {"costs_swept": _by_cost(swept)}
    summary["warnings"] = [caution.text for caution in of_summary(summary)]
    write_evidence(walk, summary)
    RunFolder(walk.folder).write(summary=summary)
    return summary


def _test(walk: WalkForward, kind: str, seed: int) -> dict[str, Any]:
    folder = walk.record(kind, seed)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {"metrics": metrics, "costs_swept": summary["costs_swept"]}


def _summary(walk: WalkForward, tests: Tests) -> dict[str, Any]:
    settings, asked = walk.settings, walk.settings.walkforward
    stopped = [part for part in walk.parts() if (outcome(part.job) or {}).get("stopped")]
    agent = [test["metrics"] for test in tests[AGENT]]
    summary = {
        "name": settings.name,
        "kind": "walk-forward",
        "symbols": list(walk.bars.symbols),
        "windows": len(walk.windows),
        "scheme": asked.scheme,
        "purge": RULES[asked.purge],
        "gap_sessions": asked.gap_sessions,
        "tested": {"start": walk.day(walk.tested.first), "end": walk.day(walk.tested.last)}
        | {"sessions": len(walk.tested), "short_last": walk.windows[-1].short},
        "seeds": list(walk.seeds),
        "trainings": len(walk.windows) * len(walk.seeds) * len(walk.kinds),
        "trainings_stopped_early": len(stopped),
        "selection": f"in each window the checkpoint with the best validation {settings.train.score}",
        "books": BOOKS,
        "costs": costs_text(settings.costs),
        "conventions": agent[0]["conventions"],
        "coverage": COVERAGE,
        "accounts": {
            **{kind: _account([t["metrics"]["agent"] for t in tests[kind]]) for kind in tests},
            **{
                name: _account([metrics["baselines"][name] for metrics in agent])
                for name in agent[0]["baselines"]
            },
        },
    }
    if TWIN in tests:
        summary["twin"] = _against_twin(walk, tests)
    summary["median_seed"] = {kind: median_seed(walk, tests, kind) for kind in walk.kinds}
    summary["rivals"] = against_baselines(walk, tests, summary["median_seed"][AGENT])
    summary |= by_window(walk)
    return summary


def _account(seeds: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    return {key: across([values[key] for values in seeds]) for key in HEADLINE}


def _against_twin(walk: WalkForward, tests: Tests) -> dict[str, Any]:
    ours, theirs = (
        [test["metrics"]["agent"][PAIRED] for test in tests[kind]] for kind in (AGENT, TWIN)
    )
    found: dict[str, Any] = {"by": PAIRED, "weights": _weights(walk), "steps": _steps(walk)}
    try:
        paired = compare(np.array(ours, dtype=np.float64), np.array(theirs, dtype=np.float64))
    except NotComputable as error:
        return found | {"verdict": None, "why": str(error)}
    return found | asdict(paired) | {"verdict": against_twin(*paired.interval), "why": ""}


def _weights(walk: WalkForward) -> dict[str, int]:
    # How many numbers each kind has learned: the comparison is fair when they are as many.
    from engine.checkpoint import WEIGHTS, read_weights

    return {
        kind: sum(weight.size for weight in read_weights(part.checkpoint / WEIGHTS).values())
        for kind in walk.kinds
        for part in [walk.part(walk.windows[0], kind, walk.seeds[0])]
    }


def _steps(walk: WalkForward) -> dict[str, int]:
    updates = {kind: 0 for kind in walk.kinds}
    for part in walk.parts():
        updates[part.kind] += ended(part)["updates"]
    train = walk.settings.train
    return {kind: count * train.books * train.rollout_steps for kind, count in updates.items()}


def _by_cost(table: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    # The sweep over seeds: one row for each account and cost.
    found: dict[tuple[str, float], dict[str, list[Any]]] = {}
    for at, pair in enumerate(zip(table["account"], table["bps"], strict=True)):
        values = found.setdefault(pair, {key: [] for key in SWEPT})
        for key in SWEPT:
            value = table[key][at]
            values[key].append(None if np.isnan(value) else value)
    return [
        {"account": account, "bps": bps, **{key: across(values[key]) for key in SWEPT}}
        for (account, bps), values in found.items()
    ]
