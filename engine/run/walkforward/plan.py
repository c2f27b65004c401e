"""What a walk-forward consists of: its windows, and one training for each window, seed and kind.

RUN/settings.json versions.json data.json   what it was made from
RUN/windows.csv                             one row a window, its three segments by date
RUN/windows/01/agent/seed-0/                a run folder for each training
RUN/stitched/seed-0/  RUN/twin/seed-0/      the tested segments in one record, as a backtest writes it
RUN/trainings.csv seeds.csv costs.csv summary.json
RUN/evidence.json report.html               what it proves after all trials, and the page
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.bars import Bars
from engine.errors import DataError, SettingsError
from engine.features import FeatureSet
from engine.run.training.executor import HERE, Job
from engine.run.training.folder import TRAINING
from engine.settings import Settings, SplitSettings, build
from engine.settings_agent import window_of
from engine.windows import Reach, Segment, Window, plan_windows, require_untouched

AGENT, TWIN = "agent", "twin"
RECORDS = {AGENT: "stitched", TWIN: "twin"}


@dataclass(frozen=True)
class Part:
    """One training of a walk-forward: which window, seed and kind, and the job that does it."""

    window: Window
    kind: str
    seed: int
    job: Job

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that validation chose."""
        return self.job.folder / TRAINING / "best"


@dataclass(frozen=True)
class WalkForward:
    """A walk-forward over some bars, into one folder."""

    settings: Settings
    bars: Bars
    windows: tuple[Window, ...]
    folder: Path

    @property
    def seeds(self) -> range:
        """The seeds of every window."""
        first = self.settings.train.seed
        return range(first, first + self.settings.walkforward.seeds)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The agent, and its twin where there is one."""
        return (AGENT, TWIN) if self.settings.walkforward.twin else (AGENT,)

    @property
    def tested(self) -> Segment:
        """All tested bars: the segments follow one another without a gap."""
        return Segment(self.windows[0].test.first, self.windows[-1].test.last)

    def settings_of(self, kind: str, seed: int) -> Settings:
        """Return the settings of a stitched test."""
        return self._made({"test": self._span(self.tested)}, kind, seed)

    def record(self, kind: str, seed: int) -> Path:
        """Return the run folder of a stitched test."""
        return self.folder / RECORDS[kind] / f"seed-{seed}"

    def parts(self) -> Iterator[Part]:
        """Yield every training, window after window."""
        for window in self.windows:
            for seed in self.seeds:
                for kind in self.kinds:
                    yield self.part(window, kind, seed)

    def part(self, window: Window, kind: str, seed: int) -> Part:
        """Return one training."""
        names = ("train", "validation", "test")
        split = {name: self._span(getattr(window, name)) for name in names}
        folder = self.folder / "windows" / f"{window.number:02}" / kind / f"seed-{seed}"
        return Part(window, kind, seed, Job(self._made(split, kind, seed), folder))

    def day(self, bar: int) -> str:
        """Return the date of a bar."""
        return str(self.bars.sessions[bar])

    def _span(self, segment: Segment) -> dict[str, str]:
        return {"start": self.day(segment.first), "end": self.day(segment.last)}

    def _made(self, split: dict[str, Any], kind: str, seed: int) -> Settings:
        tree = self.settings.model_dump(mode="json")
        tree["split"] = split
        tree["train"] |= {"seed": seed, **HERE}
        if kind == TWIN:
            # The memory is one row, run from zero on every bar: nothing is carried.
            tree["agent"]["memory"] = "window(1)"
        return build(tree, "walkforward")


def plan(settings: Settings, bars: Bars, folder: Path) -> WalkForward:
    """Lay out the windows of a walk-forward.

    Raises: DataError when they do not fit the data, or touch a bar twice under a strict purge.
    SettingsError when the agent is its own twin, or the settings name dates of their own.
    """
    asked = settings.walkforward
    if asked.twin and window_of(settings.agent.memory) == 1:
        raise SettingsError(
            'walkforward.twin: the twin is the agent with memory "window(1)", and that is what '
            "agent.memory already is; set walkforward.twin = false"
        )
    if settings.split != SplitSettings():
        raise SettingsError(
            "split: a walk-forward cuts its own windows, expected no [split], found one; take it out "
            "and set walkforward.start, walkforward.test_start and walkforward.end"
        )
    first, last = bars.span(asked.start, asked.end)
    test_first = None if asked.test_start is None else bars.span(asked.test_start, None)[0]
    features = FeatureSet(settings.observation.features)
    reach = Reach(features.lookback, settings.agent.burn_in)
    windows = plan_windows(asked, reach, first, last, test_first)
    if asked.purge == "strict":
        require_untouched(windows, reach, bars.traded, bars.symbols)
    if len(windows[-1].test) + len(windows) < 3:
        raise DataError("walkforward: one session is tested, and two make the first return")
    return WalkForward(settings, bars, windows, folder)


def window_table(walk: WalkForward) -> dict[str, list[Any]]:
    """Return windows.csv: the three segments of every window by date, and their lengths."""
    table: dict[str, list[Any]] = {"window": [window.number for window in walk.windows]}
    for name in ("train", "validation", "test"):
        spans = [getattr(window, name) for window in walk.windows]
        table[f"{name}_start"] = [walk.day(span.first) for span in spans]
        table[f"{name}_end"] = [walk.day(span.last) for span in spans]
        table[f"{name}_sessions"] = [len(span) for span in spans]
    table["short"] = [np.bool_(window.short) for window in walk.windows]
    return table
