"""Training: settings in, a run folder with the best checkpoint out."""

import json
from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.bars import Bars
from engine.checkpoint import POLICY, TrainedOn, read
from engine.errors import CheckpointError, DataError, UsageError
from engine.report.folder import RunFolder
from engine.run.build import bars_of, dates, distribution_of, new_spec
from engine.run.console import TimeLeft, progress, say
from engine.run.counting import SERIES, counted, seen
from engine.run.outputs import describe_data, versions
from engine.run.record import Recorder
from engine.run.training.validation import Looked, validator
from engine.settings import Settings, build
from engine.settings_course import StageSettings
from engine.step import StepPolicy
from engine.trader import TraderSpec
from engine.trials import OpenTrial

if TYPE_CHECKING:
    from agents.curriculum import Curriculum
    from agents.train import Trained

TRAINING = "training"  # the part of a run folder that a training writes
# What a resumed training may change: how long, how closely watched, on how many cores.
WHERE = {"workers", "executor", "ray_address"}
FREE = {"updates", "patience", "tensorboard", "watch_training", *WHERE}
PARTS = ("data", "split", "observation", "agent", "limits", "sizing", "costs", "venue", "train")


def train_run(
    settings: Settings,
    folder: Path,
    resume: bool = False,
    show: Callable[[int, str], None] | None = None,
    ledger: Path | None = None,
) -> dict[str, Any]:
    """Train one agent; return its checkpoint, score and steps, as training/summary.json has them.

    Rows are drawn from the training dates only; the checkpoint is chosen on the validation dates.
    `show` takes the place of the progress on stderr, `ledger` of the one that the settings name.
    """
    from agents.checkpoint import describe
    from agents.train import train

    if resume:
        require_same(settings, folder)
    bars = bars_of(settings)
    first, last = dates(bars, settings, "train")
    _require_order(bars, settings, last)
    single = settings.train.book_kind == "single"
    share = settings.backtest.allocation or 1.0 / len(bars.symbols)
    spec = new_spec(settings, bars, 1.0 if single else share)
    trained_on = _trained_on(settings, bars, first, last)
    info = describe(spec, settings.agent, trained_on, settings.train.seed)
    info = info.model_copy(update={"distribution": distribution_of(settings, bars, spec)})
    RunFolder(folder).write(
        settings=settings.model_dump(mode="json"), versions=versions(), data=describe_data(bars)
    )
    line = _Line(settings.train.updates)
    with (
        counted(settings, bars, "validate", ("train", "validation"), folder, ledger=ledger) as (
            _,
            trial,
        ),
        nullcontext(show) if show else progress("training", settings.train.updates) as told,
    ):
        done = train(
            _course(settings, bars, spec),
            info,
            settings.train,
            settings.agent.reward,
            folder / TRAINING,
            validator(settings, bars, spec, share, _looked(trial, folder)),
            lambda row: told(row["update"], line.of(row)),
            resume,
            say if show is None else lambda text: None,
        )
        trial.status = "aborted" if done.interrupted else "done"
        trial.chosen = read(done.best).sha256[POLICY]
    if show is None and (done.interrupted or done.stopped):
        say(f"stopped after {done.updates} updates{': ' + done.stopped if done.stopped else ''}; ")
        say(f"the best checkpoint is {done.best}")
    summary = _summary(settings, folder, done)
    RunFolder(folder / TRAINING).write(summary=summary)
    return summary


def _looked(trial: OpenTrial, folder: Path) -> Looked:
    # Every validation is a look at one checkpoint; the same one looked at again is the same file.
    def looked(policy: StepPolicy, score: float, record: Recorder) -> None:
        update = policy.info.update
        seen(trial, record, score, folder / TRAINING / SERIES / f"{update:06}.npy", update)

    return looked


def _summary(settings: Settings, folder: Path, done: "Trained") -> dict[str, Any]:
    from agents.curriculum import stages_of

    return {
        "run": str(folder),
        "checkpoint": str(done.best),
        "rule": f"best by validation {settings.train.score}",
        "seed": settings.train.seed,
        "validation_score": done.score,
        "updates": done.updates,
        "interrupted": done.interrupted,
        "stopped": done.stopped,
        "warnings": list(done.warnings),
        "stages": _passed(folder, stages_of(settings.train)),
    }


def training_warnings(checkpoint: Path) -> list[str]:
    """Return the warnings of the training that a checkpoint folder came from, where it stands there."""
    path = checkpoint.parent / "summary.json"
    if not path.is_file():
        return []
    return [f"In training: {text}" for text in json.loads(path.read_text())["warnings"]]


def seed_folders(folder: Path) -> list[Path]:
    """Return the folders of the seeds of a run, lowest first; none where it has one seed."""
    return sorted(folder.glob("seed-*"), key=lambda path: int(path.name.removeprefix("seed-")))


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


def _course(settings: Settings, bars: Bars, spec: TraderSpec) -> "Curriculum":
    # One environment a stage, over the real panel or over real and made-up markets side by side.
    from agents.augment import Maker, augmented, bootstrapped, walks
    from agents.curriculum import Curriculum, part_of, stages_of
    from agents.env import BookEnv, BookPlan
    from agents.panel import Panel

    asked = settings.train
    first, last = dates(bars, settings, "train")
    generator = np.random.default_rng(asked.seed)
    shares = {"real": 0.0, "bootstrap": 1.0, "mix": asked.augment.share, "gbm": 1.0}
    beside = {"real": None, "bootstrap": bootstrapped, "mix": bootstrapped, "gbm": walks}

    @cache
    def panel(maker: Maker | None) -> Panel:
        joint = asked.book_kind == "portfolio"
        found = bars
        if maker is not None:
            found = augmented(bars, first, last, asked.augment, joint, asked.seed, maker)
        return Panel.of(found, spec.features, spec.scaler)

    def make(stage: StageSettings) -> BookEnv:
        assert stage.episode_steps is not None
        assert stage.market is not None
        plan = BookPlan(
            books=asked.books,
            kind=asked.book_kind,
            episode_steps=stage.episode_steps,
            starts=asked.starts,
            cash=settings.backtest.cash,
            symbols=len(bars.symbols),
            made_up=shares[stage.market],
            regime=stage.volatility,
        )
        charged = replace(spec, costs=part_of(spec.costs, stage.costs))
        return BookEnv(panel(beside[stage.market]), charged, plan, generator, first, last)

    return Curriculum(stages_of(asked), make)


def _passed(folder: Path, stages: tuple[StageSettings, ...]) -> list[dict[str, Any]]:
    # Which stages were played, from which update to which; all there is to say of one is one line.
    from agents.monitor import METRICS, read_rows

    rows = read_rows(folder / TRAINING / METRICS)
    found = []
    for number, stage in enumerate(stages, start=1):
        updates = [row["update"] for row in rows if row.get("stage", 1) == number]
        if updates:
            span = {"first_update": updates[0], "last_update": updates[-1]}
            found.append({**stage.model_dump(mode="json"), **span})
    return found


class _Line:
    # The words beside the progress bar; the last validation stays until the next one.
    SHOWN = (
        ("entropy", "entropy {:.2f}"),
        ("kl", "KL {:.4f}"),
        ("explained_variance", "explained {:.2f}"),
        ("clip_fraction", "clipped {:.0%}"),
        ("grad_norm", "gradient {:.2f}"),
    )

    def __init__(self, updates: int) -> None:
        self.updates, self.validated = updates, ""
        self.left = TimeLeft()

    def of(self, row: dict[str, Any]) -> str:
        """Return one line about one update."""
        if "validation_score" in row:
            scores = (row["validation_score"], row["best_score"])
            self.validated = "validation {:+.2f}, best {:+.2f}".format(*scores)
        words = [f"stage {row['stage']}"] if "stage" in row else []
        words += [f"{row['steps_per_s']:,.0f} steps/s", f"reward {row['reward']:+.3f}"]
        words += [text.format(row[name]) for name, text in self.SHOWN if name in row]
        left = self.left.of(row["update"], self.updates)
        return ", ".join(word for word in (*words, self.validated, left) if word)


def _require_order(bars: Bars, settings: Settings, train_last: int) -> None:
    first, _ = dates(bars, settings, "validation")
    if first <= train_last:
        raise DataError(
            f"split.validation starts on {bars.sessions[first]}, split.train ends on "
            f"{bars.sessions[train_last]}; the checkpoint would be chosen on bars it was trained "
            "on: set split.train.end before split.validation.start"
        )


def _trained_on(settings: Settings, bars: Bars, first: int, last: int) -> TrainedOn:
    return TrainedOn(
        digest=bars.digest(),
        source=bars.source,
        price_basis=bars.price_basis,
        symbols=bars.symbols,
        start=bars.sessions[first].item(),
        end=bars.sessions[last].item(),
        chosen_until=bars.sessions[dates(bars, settings, "validation")[1]].item(),
    )
