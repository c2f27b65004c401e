"""Build the parts of a run from settings or from a checkpoint: one place, so all runs agree."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

import numpy as np

from engine import clock
from engine.bars import Bars
from engine.checkpoint import RECORD, CheckpointInfo
from engine.drift import Distribution
from engine.errors import CheckpointError, DataError, SettingsError, UsageError
from engine.features import FeatureSet
from engine.files import locked
from engine.observation import Scaler, market_part
from engine.settings import Settings, load
from engine.sources import load as load_bars
from engine.trader import TraderSpec

ROOT = Path(__file__).resolve().parents[2]
UNLOCKABLE = (errno.ENOLCK, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP)  # some shared disks
ASKED = {"settings.json", "versions.json", "data.json"}  # what was asked for, not what was done


def find_settings(config: str | None, overrides: tuple[str, ...] = ()) -> Settings:
    """Load a settings file by path, or by name from configs/; None = the defaults.

    Raises: SettingsError listing the names that exist.
    """
    if config is None:
        return load(None, overrides)
    path = Path(config)
    if path.suffix == ".toml" or path.exists():
        return load(path, overrides)
    folders = [ROOT / "configs", ROOT / "engine" / "_configs"]
    for folder in folders:
        if (folder / f"{config}.toml").exists():
            return load(folder / f"{config}.toml", overrides)
    known = sorted(p.stem for folder in folders if folder.is_dir() for p in folder.glob("*.toml"))
    raise SettingsError(f"no settings file {config}; give a path, or one of: {', '.join(known)}")


def settings_for(
    command: str, config: str | None, resume: Path | None, overrides: tuple[str, ...]
) -> Settings:
    """Load the settings of a new run, or those of the run to go on with.

    Raises: UsageError where neither is named, or what is to be resumed is no run folder.
    """
    if resume is None:
        if config is None:
            raise UsageError(f"{command}: expected a settings file, or --resume RUN; see configs/")
        return find_settings(config, overrides)
    if not resume.is_dir():
        raise UsageError(
            f"--resume {resume}: no such folder; name the run folder that `barwise {command}` printed"
        )
    kept = resume / "settings.json"
    if config is None and not kept.is_file():
        raise UsageError(
            f"--resume {resume}: expected the run folder of `barwise {command}`, found no "
            "settings.json in it"
        )
    return find_settings(config or str(kept), overrides)


def require_checkpoint(place: Path, named: str) -> None:
    """Raise a UsageError where a folder that a person named holds no checkpoint."""
    if not place.is_dir():
        raise UsageError(f"{named} {place}: no such folder; `barwise train` makes one")
    if (place / RECORD).is_file():
        return
    best = place / "training" / "best"
    found = f"it lies in {best}" if (best / RECORD).is_file() else f"no {RECORD} lies there"
    raise UsageError(
        f"{named} {place}: expected the folder of a checkpoint, {found}; name the one that `barwise "
        "train` printed"
    )


def bars_of(settings: Settings) -> Bars:
    """Load the bars that the settings name."""
    return load_bars(settings.data)


def dates(bars: Bars, settings: Settings, part: str) -> tuple[int, int]:
    """Return first and last bar index of `train`, `validation` or `test`.

    Raises: DataError when fewer than two sessions remain.
    """
    chosen = getattr(settings.split, part)
    first, last = bars.span(chosen.start, chosen.end)
    if last - first < 1:
        raise DataError(
            f"split.{part} from {chosen.start or 'the first day'} to {chosen.end or 'the last day'} "
            f"holds {max(last - first + 1, 0)} sessions and needs two; the data has "
            f"{bars.sessions[0]} to {bars.sessions[-1]}: change split.{part}"
        )
    return first, last


def new_spec(settings: Settings, bars: Bars, allocation: float) -> TraderSpec:
    """Build the decision settings of a new agent; the scaler sees training dates only."""
    features = FeatureSet(settings.observation.features)
    return TraderSpec(
        features=features,
        scaler=fit_scaler(settings, bars, features),
        book_inputs=settings.observation.book,
        action=settings.agent.action,
        limits=settings.limits,
        sizing=settings.sizing,
        costs=settings.costs,
        venue=settings.venue,
        allocation=allocation,
        burn_in=settings.agent.burn_in,
    )


def fit_scaler(settings: Settings, bars: Bars, features: FeatureSet) -> Scaler:
    """Fit the scaler on the rows of the training dates, or return the one that does nothing."""
    clip = settings.observation.clip
    if settings.observation.scaler == "none":
        return Scaler.none(len(features), clip)
    first, last = dates(bars, settings, "train")
    rows, ready = features.history(bars)
    inside = within(ready, first, last)
    if not inside.any():
        raise DataError(
            f"no feature row exists in split.train: {features.lookback} bars of lookback are "
            f"needed before the first one, found {last + 1} sessions; start the data earlier"
        )
    return Scaler.fit(rows, inside, clip)


def distribution_of(settings: Settings, bars: Bars, spec: TraderSpec) -> Distribution | None:
    """Measure the market inputs of the training dates; None where they are too few."""
    first, last = dates(bars, settings, "train")
    rows, ready = spec.features.history(bars)
    part = slice(first, last + 1)
    market = market_part(rows[part], spec.scaler)
    return Distribution.of(market, ready[part], settings.drift.window)


def within(ready: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the rows that a fit on the bars `first` to `last` may use. Shapes: (T, N) bool."""
    inside = np.zeros_like(ready)
    inside[first : last + 1] = ready[first : last + 1]
    return inside


def spec_of(info: CheckpointInfo, settings: Settings, symbols: int) -> TraderSpec:
    """Build the decision settings of a trained agent for the market that the settings describe.

    What the agent sees and how it acts comes from the checkpoint; limits, costs and venue come
    from the settings. Raises: CheckpointError when the settings ask for another agent, or a feature
    has come to mean something else since it was trained.
    """
    _require_same_agent(info, settings)
    allocation = settings.backtest.allocation or 1.0 / symbols
    trained = TraderSpec.of_checkpoint(info, "checkpoint", settings.venue, allocation)
    return replace(trained, limits=settings.limits, sizing=settings.sizing, costs=settings.costs)


def _require_same_agent(info: CheckpointInfo, settings: Settings) -> None:
    # Only what the file says itself is compared: a file without [agent] takes any checkpoint.
    observation, agent = settings.observation, settings.agent
    names = tuple(FeatureSet(info.features).names)
    asked: list[tuple[str, object, object]] = [
        ("limits.allow_short", settings.limits.allow_short, info.limits.allow_short)
    ]
    if "observation" in settings.model_fields_set:
        wanted = tuple(FeatureSet(observation.features).names)
        asked += [("observation.features", wanted, names)]
        asked += [("observation.book", observation.book, info.book)]
    if "agent" in settings.model_fields_set:
        asked += [
            ("agent.memory", agent.memory, info.memory),
            ("agent.burn_in", agent.burn_in, info.burn_in),
            ("agent.action", agent.action, info.action),
            ("agent.network", agent.network, info.network),
        ]
    for key, expected, found in asked:
        if expected != found:
            raise CheckpointError(
                f"{key}: the settings say {expected}, the checkpoint was trained with {found}; "
                "use the settings it was trained with, or train again"
            )


@contextmanager
def run_folder(settings: Settings, given: Path | None = None) -> Iterator[Path]:
    """Give a new run folder, or the one given; take it away again if nothing was written to it.

    A new one goes as well where a setting was refused before anything was done.

    Raises: UsageError while another process works in it.
    """
    folder = given or _new_run_folder(settings)
    try:
        with _alone(folder):
            yield folder
    except SettingsError:
        if given is None and {path.name for path in _files(folder)} <= ASKED:
            rmtree(folder)
        raise
    finally:
        with suppress(OSError):
            folder.rmdir()  # only an empty folder can be removed


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    # A lock on the folder itself, which the kernel frees when its holder dies; leaves no file behind.
    if not folder.is_dir():
        yield
        return
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            alone = locked(handle)
        except OSError as error:
            if error.errno not in UNLOCKABLE:
                raise
            alone = True
        if not alone:
            raise UsageError(
                f"{folder}: another process is at work in this run folder; wait for it, or stop it"
            )
        yield
    finally:
        os.close(handle)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _new_run_folder(settings: Settings) -> Path:
    # A second run in the same second gets a number.
    stamp = clock.now().strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        suffix = "" if number == 1 else f"-{number}"
        folder = Path(settings.runs_dir) / f"{settings.name}-{stamp}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise DataError(f"{settings.runs_dir}: could not create a new run folder; clean it up")
