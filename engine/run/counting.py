"""Enter what is about to be run in the trial ledger: every training and evaluation goes through here."""

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from engine import VERSION
from engine.bars import Bars
from engine.checkpoint import POLICY, read
from engine.errors import DataError
from engine.evidence import evidence_of, tally
from engine.run.build import ROOT, dates
from engine.run.record import Recorder
from engine.settings import Settings
from engine.trials import Ledger, OpenTrial, Plan, Purpose

SERIES = "returns"  # where a run keeps the returns of the scores that were seen
_NO_CHOICE = (
    "name",
    "runs_dir",
    "trials_path",
    "paper",
    "exchange",
    "placebo",
    "retrain",
    "registry",
)


@contextmanager
def counted(
    settings: Settings,
    bars: Bars,
    purpose: Purpose,
    parts: tuple[str, ...],
    folder: Path,
    checkpoint: Path | None = None,
    seed: int | None = None,
    ledger: Path | None = None,
) -> Iterator[tuple[Ledger, OpenTrial]]:
    """Open a trial before the work and close it however the work ends.

    `parts` are the segments touched: train, validation, test. `folder` is where the run writes. The
    seed is the checkpoint's or the training's; `seed` is that of a test of several checkpoints.
    `ledger` takes the place of the one that the settings name.
    """
    agent = read(checkpoint) if checkpoint else None
    path = ledger or settings.ledger
    plan = Plan(
        purpose=purpose,
        data=bars.digest(),
        settings=settings_hash(settings),
        code=code_version(),
        segments={part: _span(bars, settings, part) for part in parts},
        seed=agent.seed if agent else settings.train.seed if "train" in parts else seed,
        costs=settings.costs.model_dump(mode="json"),
        folder=os.path.relpath(folder, path.parent),
        checkpoint=agent.sha256[POLICY] if agent else None,
    )
    with Ledger(path) as opened, opened.trial(plan) as trial:
        yield opened, trial


def seen(
    trial: OpenTrial, record: Recorder, score: float, series: Path, update: int | None = None
) -> None:
    """Count one score of a recorded run and keep its returns in the file `series`."""
    sessions = np.array(record.sessions, dtype="datetime64[D]")[: record.complete()]
    trial.look(record.arrays()["equity"], sessions, score, series, update)


def proven(
    ledger: Ledger,
    bars: Bars,
    equity: np.ndarray,
    twin: str | None = None,
    spans: Sequence[tuple[str, str]] = (),
) -> tuple[dict[str, Any], list[str]]:
    """Return what a curve proves after everything tried on these bars, and doubts about the count.

    `spans`: see `engine.evidence.tally`.
    """
    try:
        return evidence_of(equity, tally(ledger, bars.digest(), spans), twin), []
    except DataError as error:
        return evidence_of(equity, None, twin), [f"The trials cannot be counted: {error}."]


def settings_hash(settings: Settings, also: tuple[str, ...] = ()) -> str:
    """Return the sha256 of everything in the settings that can move a result, but for the seed.

    `also` names tables that move no training or test, and yet what is hashed for.
    """
    tree = settings.model_dump(mode="json", exclude=set(_NO_CHOICE) - set(also))
    for key in ("seed", "executor", "ray_address", "workers", "tensorboard"):
        del tree["train"][key]
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def code_version() -> str:
    """Return the version, and the commit where this is a checkout of barwise."""
    if not (ROOT / ".git").exists():
        return VERSION
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        str(ROOT),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return VERSION
    return f"{VERSION}+{done.stdout.strip()}"


def _span(bars: Bars, settings: Settings, part: str) -> tuple[str, str]:
    first, last = dates(bars, settings, part)
    return str(bars.sessions[first]), str(bars.sessions[last])
