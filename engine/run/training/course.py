"""The course of a training: one environment a stage, and which stages were played."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.bars import Bars
from engine.run.build import dates
from engine.run.training.folder import TRAINING
from engine.settings import Settings
from engine.settings_course import StageSettings
from engine.trader import TraderSpec

if TYPE_CHECKING:
    from agents.curriculum import Curriculum


def course_of(settings: Settings, bars: Bars, spec: TraderSpec) -> "Curriculum":
    """Return one environment a stage, over the real bars or over real and made-up ones side by side."""
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


def stages_played(folder: Path, stages: tuple[StageSettings, ...]) -> list[dict[str, Any]]:
    """Return the stages that a run played, each with its settings, first and last update."""
    from agents.monitor import METRICS, read_rows

    rows = read_rows(folder / TRAINING / METRICS)
    found = []
    for number, stage in enumerate(stages, start=1):
        updates = [row["update"] for row in rows if row.get("stage", 1) == number]
        if updates:
            span = {"first_update": updates[0], "last_update": updates[-1]}
            found.append({**stage.model_dump(mode="json"), **span})
    return found
