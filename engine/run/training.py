"""Training: settings in, a run folder with the best checkpoint out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engine.bars import Bars
from engine.checkpoint import TrainedOn
from engine.errors import DataError
from engine.measures import NotComputable, returns_of, sharpe
from engine.report.folder import RunFolder
from engine.run.backtest import new_venue
from engine.run.build import bars_of, dates, new_spec
from engine.run.console import progress, say
from engine.run.outputs import describe_data, versions
from engine.run.replay import replay
from engine.settings import Settings
from engine.step import StepPolicy
from engine.trader import Trader, TraderSpec


def train_run(settings: Settings, folder: Path) -> dict[str, Any]:
    """Train one agent; return its checkpoint, score and steps.

    Rows are drawn from the training dates only; the checkpoint is chosen on the validation dates.
    """
    from agents.checkpoint import describe
    from agents.env import BookEnv, BookPlan
    from agents.panel import Panel
    from agents.train import train

    bars = bars_of(settings)
    first, last = dates(bars, settings, "train")
    _require_order(bars, settings, last)
    single = settings.train.book_kind == "single"
    share = settings.backtest.allocation or 1.0 / len(bars.symbols)
    spec = new_spec(settings, bars, 1.0 if single else share)
    plan = BookPlan(
        books=settings.train.books,
        kind=settings.train.book_kind,
        episode_steps=settings.train.episode_steps,
        starts=settings.train.starts,
        cash=settings.backtest.cash,
    )
    panel = Panel.of(bars, spec.features, spec.scaler)
    generator = np.random.default_rng(settings.train.seed)
    env = BookEnv(panel, spec, plan, generator, first, last)
    info = describe(spec, settings.agent, _trained_on(bars, last), settings.train.seed)
    RunFolder(folder).write(
        settings=settings.model_dump(mode="json"), versions=versions(), data=describe_data(bars)
    )
    with progress("training", settings.train.updates) as show:
        done = train(
            env,
            info,
            settings.train,
            settings.agent.reward,
            folder / "training",
            validator(settings, bars, spec, share),
            lambda row: show(row["update"], _line(row)),
        )
    if done.interrupted:
        say(f"stopped after {done.updates} updates; the best checkpoint is {done.best}")
    return {
        "run": str(folder),
        "checkpoint": str(done.best),
        "validation_score": done.score,
        "updates": done.updates,
        "interrupted": done.interrupted,
    }


def validator(
    settings: Settings, bars: Bars, spec: TraderSpec, allocation: float
) -> Callable[[StepPolicy], float]:
    """Return the score of a deployed policy: its Sharpe ratio over the validation dates.

    One cash account over all symbols, greedy, through the trader and venue of the backtest.
    """
    from dataclasses import replace

    first, last = dates(bars, settings, "validation")
    seen = bars.between(None, bars.sessions[last])
    deployed = replace(spec, allocation=allocation)

    def score(policy: StepPolicy) -> float:
        trader = Trader(deployed, policy, len(bars.symbols))
        record = replay(trader, new_venue(settings, seen), seen, first, last)
        return sharpe_of(record.arrays()["equity"])

    return score


def sharpe_of(equity: np.ndarray) -> float:
    """Return the yearly Sharpe ratio of a curve; 0 where nothing moved, so that flat is average."""
    try:
        return sharpe(returns_of(equity), 252)
    except NotComputable:
        return 0.0


def _require_order(bars: Bars, settings: Settings, train_last: int) -> None:
    first, _ = dates(bars, settings, "validation")
    if first <= train_last:
        raise DataError(
            f"split.validation starts on {bars.sessions[first]}, split.train ends on "
            f"{bars.sessions[train_last]}; the checkpoint would be chosen on bars it was trained "
            "on: set split.train.end before split.validation.start"
        )


def _trained_on(bars: Bars, last: int) -> TrainedOn:
    return TrainedOn(
        digest=bars.digest(),
        source=bars.source,
        price_basis=bars.price_basis,
        symbols=bars.symbols,
        start=bars.sessions[0].item(),
        end=bars.sessions[last].item(),
    )


def _line(row: dict[str, Any]) -> str:
    text = f"reward {row['reward']:+.3f}, {row['steps_per_s']:,.0f} steps/s"
    if "validation_score" in row:
        text += f", validation {row['validation_score']:+.2f}, best {row['best_score']:+.2f}"
    return text
