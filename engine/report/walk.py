"""A walk-forward's folder, read for its page: the summary, the evidence, and every seed's curve."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.across_seeds import interquartile_mean
from engine.errors import DataError
from engine.profits import of_tables
from engine.report.folder import RunFolder, Table

AGENT, TWIN = "agent", "twin"
FOLDERS = {AGENT: "stitched", TWIN: "twin"}  # where each kind's tests lie
KIND = "walk-forward"  # what summary.json says it is


@dataclass(frozen=True)
class Walk:
    """What was read. `curves` (T,) by seed for each kind; `equity` is the agent's median seed's."""

    path: Path
    settings: dict[str, Any]
    versions: dict[str, Any]
    data: dict[str, Any]
    summary: dict[str, Any]
    evidence: dict[str, Any]
    curves: dict[str, dict[int, np.ndarray]]
    equity: Table
    exposure: Table
    profits: dict[str, float]  # dollars by symbol, mean over seeds

    @property
    def median(self) -> int:
        """The seed that pictures show."""
        return int(self.summary["median_seed"][AGENT])

    @property
    def benchmark(self) -> str:
        """The baseline that stands beside the agent."""
        return str(self.summary["conventions"]["benchmark"])

    def middle(self, kind: str) -> np.ndarray:
        """Return the interquartile mean over seeds at each close. Shapes: (T,)."""
        return middle_of(self.curves[kind])


def middle_of(curves: dict[int, np.ndarray]) -> np.ndarray:
    """Return the interquartile mean of some curves at each close. Shapes: (T,)."""
    return np.array([interquartile_mean(row) for row in np.stack(list(curves.values()), axis=1)])


def is_walk(folder: Path) -> bool:
    """Return whether a folder is that of a walk-forward, complete or not."""
    return (folder / "windows.csv").is_file() and not (folder / "equity.csv").is_file()


def read_walk(folder: Path) -> Walk:
    """Read a complete walk-forward. Raises: DataError when it has no result yet, or a file is broken."""
    run = RunFolder(folder)
    if not (folder / "summary.json").is_file():
        raise DataError(
            f"{folder}: this walk-forward has not ended, summary.json is missing; go on with "
            f"`barwise walkforward --resume {folder}`"
        )
    summary = run.part("summary")
    if "median_seed" not in summary:
        raise DataError(
            f"{folder}: summary.json was written by an older version and has no median seed; take it "
            f"away and write it again with `barwise walkforward --resume {folder}`"
        )
    records = {
        kind: {
            seed: RunFolder(folder / FOLDERS[kind] / f"seed-{seed}") for seed in summary["seeds"]
        }
        for kind in summary["median_seed"]
    }
    tables = {
        kind: {seed: record.part("equity") for seed, record in found.items()}
        for kind, found in records.items()
    }
    median = records[AGENT][summary["median_seed"][AGENT]]
    return Walk(
        path=folder,
        **{name: run.part(name) for name in ("settings", "versions", "data")},
        summary=summary,
        evidence=_evidence(folder),
        curves={k: {seed: t["agent"] for seed, t in found.items()} for k, found in tables.items()},
        equity=tables[AGENT][summary["median_seed"][AGENT]],
        exposure=median.part("exposure"),
        profits=_profits(records[AGENT], tables[AGENT], summary["conventions"]["dividends_paid"]),
    )


def _profits(
    records: dict[int, RunFolder], tables: dict[int, Table], paid: bool
) -> dict[str, float]:
    each = [
        of_tables(
            tables[seed]["agent"][-1],
            record.part("exposure"),
            record.part("trades"),
            record.part("events") if paid else None,
        )
        for seed, record in records.items()
    ]
    return {name: float(np.mean([found[name] for found in each])) for name in each[0]}


def _evidence(folder: Path) -> dict[str, Any]:
    path = folder / "evidence.json"
    if not path.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}: cannot be read as JSON: {error}; run it again") from error
    return found
