"""A retraining's folder, read for its page: the verdict, every account it judged, where both come from."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import DataError
from engine.measures import NotComputable, returns_of
from engine.promotion import interval
from engine.report.folder import RunFolder
from engine.report.formats import plain_name

CHAMPION, PICKED = "champion", "challenger"  # as accounts are named
SHOWN = ("total_return", "sharpe", "max_drawdown", "gross_exposure", "turnover", "total_costs")
JUDGED, RESULT = "judged", "retrain.json"
SEGMENTS = "segments.csv"  # the first file of a retraining

Span = tuple[float, float, float]  # value, and its 95 % interval


@dataclass(frozen=True)
class Retraining:
    """What was read. `curves` (T+1,) by account, the picked challenger first; empty: nothing was judged."""

    path: Path
    settings: dict[str, Any]
    versions: dict[str, Any]
    data: dict[str, Any]
    found: dict[str, Any]
    sessions: np.ndarray
    curves: dict[str, np.ndarray]

    @property
    def score(self) -> str:
        """What accounts are compared by: sharpe or log_growth."""
        return str(self.found["score"])

    def of(self, account: str) -> Span | None:
        """Return an account's score a year with its interval; None where it did not move."""
        curve = self.curves[account]
        return None if (curve == curve[0]).all() else self._apart(curve, np.full_like(curve, 1.0))

    def ahead_of(self, account: str) -> Span | None:
        """Return by how much the picked challenger is ahead of an account, with the interval."""
        return self._apart(self.curves[PICKED], self.curves[account])

    def _apart(self, ours: np.ndarray, theirs: np.ndarray) -> Span | None:
        try:
            return interval(returns_of(ours), returns_of(theirs), self.score)
        except NotComputable:
            return None


def is_retraining(folder: Path) -> bool:
    """Return whether a folder is that of a retraining, complete or not."""
    return (folder / SEGMENTS).is_file() or (folder / RESULT).is_file()


def told_in(folder: Path) -> dict[str, Any]:
    """Return what a retraining came to. Raises: DataError where it has not ended or cannot be read."""
    path = folder / RESULT
    if not path.is_file():
        raise DataError(
            f"{folder}: this retraining has not ended, {RESULT} is missing; go on with `barwise "
            f"retrain --resume {folder}`"
        )
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise DataError(
            f"{path}: cannot be read as JSON: {error}; take it away and judge again with `barwise "
            f"retrain --resume {folder}`"
        ) from error
    return found


def read_retraining(folder: Path) -> Retraining:
    """Read a retraining that has ended. Raises: DataError when it has not, or a file is broken."""
    found, run = told_in(folder), RunFolder(folder)
    sessions, curves = _curves(folder / JUDGED / "equity.csv") if found["accounts"] else _NONE
    return Retraining(
        path=folder,
        **{name: run.part(name) for name in ("settings", "versions", "data")},
        found=found,
        sessions=sessions,
        curves=curves,
    )


_NONE: tuple[np.ndarray, dict[str, np.ndarray]] = (np.empty(0, dtype="datetime64[D]"), {})


def _curves(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        sessions = np.array([row.pop("session") for row in rows], dtype="datetime64[D]")
        curves = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise DataError(
            f"{path}: the judged accounts cannot be read: {error!r}; take {RESULT} away and judge again "
            f"with `barwise retrain --resume {path.parents[1]}`"
        ) from error
    return sessions, curves


def name_of(account: str, found: Mapping[str, Any]) -> str:
    """Return an account of a retraining as people read it."""
    if account == PICKED:
        return f"Challenger, seed {found['picked']}"
    if account == CHAMPION:
        return f"Champion {found['champion']}"
    seed = account.removeprefix("seed-")
    return f"Challenger, seed {seed}" if seed != account else plain_name(account)
