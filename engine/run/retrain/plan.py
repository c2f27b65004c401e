"""What a retraining consists of: its dates, one training a challenger, and perhaps a refit.

RUN/segments.csv                            its dates
RUN/settings.json versions.json data.json   what it was made from; the newest session is fixed
RUN/seed-0/ ...                             a run folder for each challenger
RUN/judged/                                 accounts and returns on the held-back sessions, checks
RUN/refit/                                  the same training moved to the newest session
RUN/retrain.json                            the verdict, its reasons, and what was promoted

    train | validation | held back | newest session
The agents learn on the first part and are chosen on the second, champion and challengers are compared
on the third. It knows no champion.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.bars import Bars
from engine.errors import DataError
from engine.run.training.executor import Job
from engine.run.training.folder import TRAINING
from engine.settings import Settings, build
from engine.windows import Segment

PARTS = ("train", "validation", "held_back")


@dataclass(frozen=True)
class Retraining:
    """A retraining over some bars, into one folder."""

    settings: Settings
    bars: Bars
    folder: Path
    train: Segment
    validation: Segment
    held_back: Segment

    @property
    def seeds(self) -> range:
        """The seeds of the challengers."""
        first = self.settings.train.seed
        return range(first, first + self.settings.retrain.seeds)

    def jobs(self) -> list[Job]:
        """Return the training of every challenger."""
        return [self.job(seed) for seed in self.seeds]

    def job(self, seed: int) -> Job:
        """Return the training of one challenger."""
        split = {"train": self.train, "validation": self.validation}
        return Job(self._made(split, seed), self.folder / f"seed-{seed}")

    def refit(self, seed: int) -> Job:
        """Return the same training, train and validation moved to the newest session."""
        by = len(self.held_back)
        whole = self.settings.retrain.train_sessions is None
        train = Segment(self.train.first + (0 if whole else by), self.train.last + by)
        validation = Segment(self.validation.first + by, self.validation.last + by)
        split = {"train": train, "validation": validation}
        return Job(self._made(split, seed), self.folder / "refit")

    def judged(self, seed: int, first: int) -> Settings:
        """Return the settings of a test from bar `first` to the newest; a seed's training is named."""
        split = {
            "train": self.train,
            "validation": self.validation,
            "test": Segment(first, self.held_back.last),
        }
        return self._made(split, seed)

    def day(self, bar: int) -> str:
        """Return the date of a bar."""
        return str(self.bars.sessions[bar])

    def span(self, segment: Segment) -> dict[str, str]:
        """Return a segment by date."""
        return {"start": self.day(segment.first), "end": self.day(segment.last)}

    def spans(self) -> dict[str, dict[str, str]]:
        """Return every segment by date."""
        return {name: self.span(getattr(self, name)) for name in PARTS}

    def _made(self, split: dict[str, Segment], seed: int) -> Settings:
        tree: dict[str, Any] = self.settings.model_dump(mode="json")
        tree["split"] = {name: self.span(segment) for name, segment in split.items()}
        tree["train"]["seed"] = seed
        tree["train"]["threads"] = self.settings.retrain.threads
        return build(tree, "retrain")


def best_of(job: Job) -> Path:
    """Return the checkpoint that validation chose in a training."""
    return job.folder / TRAINING / "best"


def fixed(settings: Settings, bars: Bars) -> Settings:
    """Return the settings with the newest session written in, so that a resumed run reads the same."""
    data = settings.data.model_copy(update={"end": bars.sessions[-1].item()})
    return settings.model_copy(update={"data": data})


def plan(settings: Settings, bars: Bars, folder: Path) -> Retraining:
    """Cut the dates of a retraining. Raises: DataError where the data is too short."""
    asked, last = settings.retrain, len(bars.sessions) - 1
    held_back = Segment(last - asked.held_back + 1, last)
    validation = Segment(held_back.first - asked.validation_sessions, held_back.first - 1)
    trained = asked.train_sessions or max(validation.first, 0)
    train = Segment(validation.first - trained, validation.first - 1)
    if train.first < 0 or len(train) < 2:
        raise DataError(
            f"retrain: {asked.held_back} sessions are held back, {asked.validation_sessions} validate "
            f"and {asked.train_sessions or 'at least 2'} train, found {last + 1} sessions up to "
            f"{bars.sessions[-1]}; start the data earlier, or shorten [retrain]"
        )
    return Retraining(settings, bars, folder, train, validation, held_back)
