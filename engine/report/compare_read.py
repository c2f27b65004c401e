"""Read a folder as one run to compare: backtest, walk-forward, retraining, paper account's export."""

import csv
from pathlib import Path

import numpy as np

from engine.errors import DataError, UsageError
from engine.report.compare import BACKTEST, PAPER, RETRAINED, WALK, Entry
from engine.report.folder import RunFolder
from engine.report.retraining import PICKED, is_retraining, read_retraining
from engine.report.retraining_cautions import retraining_cautions
from engine.report.walk import AGENT, FOLDERS, is_walk, read_walk


def read_entry(folder: Path) -> Entry:
    """Return the run in a folder.

    Raises: UsageError when it is no run; DataError when it has not ended or a file is broken.
    """
    if not folder.is_dir():
        raise UsageError(f"compare: {folder} is no folder; name run folders")
    if is_walk(folder):
        return _walk(folder)
    if is_retraining(folder):
        return _retrained(folder)
    heads = _heads(folder / "equity.csv")
    if "agent" in heads:
        return _backtest(folder)
    if {"session", "equity"} <= set(heads):
        return _paper(folder)
    raise UsageError(
        f"compare: {folder} is no run: expected what `barwise backtest`, `barwise walkforward`, `barwise "
        "retrain` or `barwise paper export` writes, found no equity.csv"
    )


def _heads(path: Path) -> list[str]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def _backtest(folder: Path) -> Entry:
    run = RunFolder(folder).read()
    unread = [name for name in ("settings", "data", "metrics", "summary") if name in run.missing]
    if unread:
        raise DataError(
            f"{folder}: this run has not ended, missing: {', '.join(unread)}; run it again"
        )
    return Entry(
        name=folder.resolve().name,
        kind=BACKTEST,
        path=folder,
        sessions=run.equity["session"],
        equity=run.equity["agent"],
        settings=run.settings,
        data=run.data,
        whole=run.metrics["agent"] | {"conventions": run.metrics["conventions"]},
        about=str(run.summary.get("agent", "")),
        warnings=tuple(map(str, run.summary.get("warnings", []))),
    )


def _walk(folder: Path) -> Entry:
    walk = read_walk(folder)
    record = RunFolder(folder / FOLDERS[AGENT] / f"seed-{walk.median}").part("metrics")
    sharpe = walk.summary["accounts"][AGENT]["sharpe"]
    seeds = walk.summary["seeds"]
    return Entry(
        name=folder.resolve().name,
        kind=WALK,
        path=folder,
        sessions=walk.equity["session"],
        equity=walk.equity["agent"],
        settings=walk.settings,
        data=walk.data,
        whole=record["agent"] | {"conventions": record["conventions"]},
        by_seed=dict(zip(seeds, sharpe["by_seed"], strict=True)),
        over_seeds=sharpe,
        about=f"median seed {walk.median} of {len(seeds)}",
        warnings=tuple(walk.summary["warnings"]),
    )


def _retrained(folder: Path) -> Entry:
    run = read_retraining(folder)
    found = run.found
    if not run.curves:
        raise DataError(
            f"{folder}: this retraining judged nothing, so there is no account to compare: "
            f"{found['reason']}"
        )
    became = "promoted" if found["promoted"] else "not promoted"
    return Entry(
        name=folder.resolve().name,
        kind=RETRAINED,
        path=folder,
        sessions=run.sessions,
        equity=run.curves[PICKED],
        settings=run.settings,
        data=run.data,
        whole=found["accounts"][PICKED],
        about=f"challenger, seed {found['picked']}, {became}",
        warnings=tuple(c.text for c in retraining_cautions(run) if c.grave),
    )


def _paper(folder: Path) -> Entry:
    path = folder / "equity.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if len(rows) < 2:
        raise DataError(
            f"{path}: expected two sessions or more, found {len(rows)}; export it later"
        )
    try:
        sessions = np.array([row["session"] for row in rows], dtype="datetime64[D]")
        equity = np.array([float(row["equity"]) for row in rows])
    except ValueError as error:
        raise DataError(f"{path}: {error}; export it again") from error
    if (np.diff(sessions) <= np.timedelta64(0, "D")).any():
        raise DataError(f"{path}: expected sessions in order, each once; export it again")
    return Entry(folder.resolve().name, PAPER, folder, sessions, equity, about="as decided")
