"""A training as one run to compare: what its chosen checkpoint did on the validation dates.

Nothing was tested yet, so these are the dates it was chosen on, and the page says so. Of several
seeds the median by validation score stands for the run.
"""

import json
from pathlib import Path

import numpy as np

from engine.checkpoint import read
from engine.errors import DataError
from engine.report.compare import VALIDATED, Entry
from engine.report.folder import RunFolder
from engine.report.retraining import is_retraining
from engine.run.build import bars_of, dates
from engine.run.counting import SERIES
from engine.run.training.folder import TRAINING, seed_folders
from engine.settings import Settings, build


def holds_training(folder: Path) -> bool:
    """Return whether a folder holds a training, or several, and no test."""
    if is_retraining(folder):
        return False
    trained = (folder / TRAINING).is_dir() or bool(seed_folders(folder))
    return trained and not (folder / "equity.csv").is_file()


def training_entry(folder: Path) -> Entry:
    """Return a training on its validation dates. Raises: DataError when it has not ended."""
    seeds = seed_folders(folder) or [folder]
    scores = {place: _score(place) for place in seeds}
    median = sorted(seeds, key=lambda place: scores[place])[(len(seeds) - 1) // 2]
    run = RunFolder(median)
    settings, data = run.part("settings"), run.part("data")
    sessions, equity = _curve(median, build(settings, str(median)), data["digest"])
    told = f"median seed {settings['train']['seed']} of {len(seeds)}, " if len(seeds) > 1 else ""
    return Entry(
        name=folder.resolve().name,
        kind=VALIDATED,
        path=folder,
        sessions=sessions,
        equity=equity,
        settings=settings,
        data=data,
        about=f"{told}validation score {scores[median]:.3f}",
    )


def _score(place: Path) -> float:
    path = place / TRAINING / "summary.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if found.get("validation_score") is None or found.get("interrupted"):
        raise DataError(
            f"{place}: this training has not ended or was never validated; go on with "
            "`barwise train --resume`"
        )
    return float(found["validation_score"])


def _curve(place: Path, settings: Settings, digest: str) -> tuple[np.ndarray, np.ndarray]:
    update = read(place / TRAINING / "best").update
    path = place / TRAINING / SERIES / f"{update:06}.npy"
    if not path.is_file():
        raise DataError(f"{path}: the returns of the chosen checkpoint are missing; train again")
    returns = np.load(path, allow_pickle=False)
    bars = bars_of(settings)
    if bars.digest() != digest:
        raise DataError(
            f"{place}: the data has changed since the training; bring it back as it was"
        )
    first, last = dates(bars, settings, "validation")
    sessions = bars.sessions[first : last + 1]
    if len(sessions) != len(returns) + 1:
        raise DataError(
            f"{path}: expected {len(sessions) - 1} returns, found {len(returns)}; train again"
        )
    growth = np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    return sessions, settings.backtest.cash * growth
