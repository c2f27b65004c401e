"""Going on with a run: only with what it was begun with, or it would be another run."""

import json
from collections.abc import Collection
from pathlib import Path

from engine.bars import Bars
from engine.errors import CheckpointError, DataError, UsageError
from engine.settings import Settings, build

# What a resumed training may change: how long, how closely watched, on how many cores.
WHERE = {"workers", "executor", "ray_address"}
FREE = {"updates", "patience", "tensorboard", "watch_training", *WHERE}
PARTS = ("data", "split", "observation", "agent", "limits", "sizing", "costs", "venue", "train")


def require_bars(bars: Bars, folder: Path) -> None:
    """Refuse to go on with other bars than a run folder was begun with. Raises: DataError."""
    path = folder / "data.json"
    known = json.loads(path.read_text(encoding="utf-8"))["digest"] if path.is_file() else None
    if known != bars.digest():
        raise DataError(
            f"{path}: expected the bars this run was begun with (digest {known}), found others "
            f"({bars.digest()}), as when a vendor has revised them; bring the data back as it was, or "
            "start a new run"
        )


def require_same(
    settings: Settings,
    folder: Path,
    parts: tuple[str, ...] = PARTS,
    free: Collection[str] | None = None,
) -> None:
    """Refuse to resume with settings that would make it another training.

    `free`: the keys of [train] and [retrain] that may differ; by default those that only make it
    longer.
    Raises: CheckpointError naming the first key that differs, or that nothing is there.
    """
    if free is None:
        free = FREE - {"updates"} if settings.train.fades else FREE
    path = folder / "settings.json"
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: expected the run folder of a training, found no settings.json; "
            "name the folder that `barwise train` printed"
        )
    # What an older barwise did not ask was what is the default of today.
    old = build(json.loads(path.read_text(encoding="utf-8")), str(path)).model_dump(mode="json")
    new = settings.model_dump(mode="json")
    for part in parts:
        for key in sorted(old[part].keys() | new[part].keys()):
            if part in ("train", "retrain") and key in free:
                continue
            if old[part].get(key) != new[part].get(key):
                fades = (
                    "the step size or entropy weight fades over it: " if key == "updates" else ""
                )
                raise CheckpointError(
                    f"{folder}: {part}.{key} was {old[part].get(key)}, found {new[part].get(key)}; "
                    f"{fades}resume with the settings it was started with, or start a new run"
                )


def require_begun(folder: Path, mark: str, command: str) -> None:
    """Refuse to resume a folder that another command began: every kind of run leaves a `mark`."""
    if not (folder / mark).exists():
        raise UsageError(
            f"{folder}: expected a run that `barwise {command}` began, found no {mark}; name the "
            f"folder that it printed, or start a new run with `barwise {command} CONFIG`"
        )
