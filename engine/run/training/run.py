"""Training: settings in, a run folder with the best checkpoint out."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.bars import Bars
from engine.checkpoint import POLICY, CheckpointInfo, TrainedOn, read
from engine.errors import DataError
from engine.report.folder import RunFolder
from engine.run.build import bars_of, dates, distribution_of, new_spec
from engine.run.console import TimeLeft, progress, say
from engine.run.counting import SERIES, counted, seen
from engine.run.outputs import describe_data, versions
from engine.run.record import Recorder
from engine.run.training.course import course_of, stages_played
from engine.run.training.folder import TRAINING
from engine.run.training.resuming import require_same
from engine.run.training.validation import Looked, validator
from engine.settings import Settings
from engine.step import StepPolicy
from engine.trader import TraderSpec
from engine.trials import OpenTrial

if TYPE_CHECKING:
    from agents.train import Trained


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
    from agents.train import train

    if resume:
        require_same(settings, folder)
    bars = bars_of(settings)
    _require_order(bars, settings)
    spec, share = _spec(settings, bars)
    info = _describe(settings, bars, spec)
    RunFolder(folder).write(
        settings=settings.model_dump(mode="json"), versions=versions(), data=describe_data(bars)
    )
    line = _Line(settings.train.updates)
    parts = ("train", "validation")
    with (
        counted(settings, bars, "validate", parts, folder, ledger=ledger) as (_, trial),
        nullcontext(show) if show else progress("training", settings.train.updates) as told,
    ):
        done = train(
            course_of(settings, bars, spec),
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


def _spec(settings: Settings, bars: Bars) -> tuple[TraderSpec, float]:
    # Books of one symbol are trained on the whole of their equity, and validated on their share of it.
    share = settings.backtest.allocation or 1.0 / len(bars.symbols)
    single = settings.train.book_kind == "single"
    return new_spec(settings, bars, 1.0 if single else share), share


def _describe(settings: Settings, bars: Bars, spec: TraderSpec) -> CheckpointInfo:
    from agents.checkpoint import describe

    info = describe(spec, settings.agent, _trained_on(settings, bars), settings.train.seed)
    return info.model_copy(update={"distribution": distribution_of(settings, bars, spec)})


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
        "stages": stages_played(folder, stages_of(settings.train)),
    }


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


def _require_order(bars: Bars, settings: Settings) -> None:
    _, train_last = dates(bars, settings, "train")
    first, _ = dates(bars, settings, "validation")
    if first <= train_last:
        raise DataError(
            f"split.validation starts on {bars.sessions[first]}, split.train ends on "
            f"{bars.sessions[train_last]}; the checkpoint would be chosen on bars it was trained "
            "on: set split.train.end before split.validation.start"
        )


def _trained_on(settings: Settings, bars: Bars) -> TrainedOn:
    first, last = dates(bars, settings, "train")
    return TrainedOn(
        digest=bars.digest(),
        source=bars.source,
        price_basis=bars.price_basis,
        symbols=bars.symbols,
        start=bars.sessions[first].item(),
        end=bars.sessions[last].item(),
        chosen_until=bars.sessions[dates(bars, settings, "validation")[1]].item(),
    )
