"""What a training leaves in a run folder: where it lies, and how it is read."""

import json
from pathlib import Path

TRAINING = "training"  # the part of a run folder that a training writes


def training_warnings(checkpoint: Path) -> list[str]:
    """Return the warnings of the training that a checkpoint folder came from, where it stands there."""
    path = checkpoint.parent / "summary.json"
    if not path.is_file():
        return []
    return [f"In training: {text}" for text in json.loads(path.read_text())["warnings"]]


def seed_folders(folder: Path) -> list[Path]:
    """Return the folders of the seeds of a run, lowest first; none where it has one seed."""
    return sorted(folder.glob("seed-*"), key=lambda path: int(path.name.removeprefix("seed-")))
