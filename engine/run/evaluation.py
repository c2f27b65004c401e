"""Evaluate: one backtest through Backtrader beside its baselines, into a run folder."""

from pathlib import Path
from typing import Any

import numpy as np

from engine.bars import Bars
from engine.errors import UsageError
from engine.journal import Journal
from engine.policy import Policy
from engine.report.folder import RunFolder
from engine.run.backtest import baseline_trader, new_venue, run_baselines, through_backtrader
from engine.run.build import dates, spec_of
from engine.run.console import progress
from engine.run.outputs import write_run
from engine.run.record import Recorder
from engine.settings import Settings
from engine.trader import Trader, TraderSpec


def deployed(settings: Settings, checkpoint: Path, symbols: int) -> tuple[TraderSpec, Policy]:
    """Load a checkpoint for the market that the settings describe."""
    from engine.step import StepPolicy

    if not checkpoint.is_dir():
        raise UsageError(f"--checkpoint {checkpoint}: no such folder; `barwise train` makes one")
    policy = StepPolicy.load(checkpoint)
    return spec_of(policy.info, settings, symbols), policy


def evaluate(
    settings: Settings, bars: Bars, checkpoint: Path | None, folder: RunFolder
) -> dict[str, Any]:
    """Backtest on the test dates and write the run folder; return what was run."""
    first, last = dates(bars, settings, "test")
    folder.path.mkdir(parents=True, exist_ok=True)
    trader = _trader(settings, bars, checkpoint)
    with Journal(folder.path / "journal.sqlite") as journal:
        recorder = Recorder(journal, bars.symbols)
        venue = new_venue(settings, bars)
        try:
            agent = through_backtrader(bars, trader, venue, first, last, recorder)
        finally:
            recorder.flush()  # an interrupted run leaves what it did
    with progress("baselines", len(settings.backtest.baselines)) as show:
        names: list[str] = []

        def done(name: str) -> None:
            names.append(name)
            show(len(names), name)

        turnover = _turnover_a_bar(agent)
        baselines = run_baselines(settings, bars, first, last, turnover, done)
    summary = _summary(settings, bars, checkpoint, agent)
    write_run(folder, settings, bars, agent, baselines, summary)
    return {"agent": summary["agent"], "bars": last - first + 1}


def _trader(settings: Settings, bars: Bars, checkpoint: Path | None) -> Trader:
    if checkpoint is None:
        return baseline_trader(settings, settings.backtest.strategy, bars, 0.0)
    spec, policy = deployed(settings, checkpoint, len(bars.symbols))
    return Trader(spec, policy, len(bars.symbols))


def _turnover_a_bar(record: Recorder) -> float:
    rows = record.arrays()
    traded = np.nansum(np.abs(rows["filled"] * rows["price"]), axis=1)
    return float((traded / rows["equity"]).mean())


def _summary(
    settings: Settings, bars: Bars, checkpoint: Path | None, agent: Recorder
) -> dict[str, Any]:
    name = str(checkpoint) if checkpoint else settings.backtest.strategy
    costs, venue = settings.costs, settings.venue
    return {
        "name": settings.name,
        "title": settings.name,
        "agent": name,
        "seed": settings.train.seed if checkpoint else None,
        "costs": _costs_text(costs),
        "fill": {
            "open": "decided after the close, filled at the next open",
            "next_close": "decided after the close, filled at the next close",
            "same_close": "filled at the close of the decision itself",
        }[venue.fill]
        + f"; {venue.account} account",
        "warnings": [],
        "checks": [],
    }


def _costs_text(costs: Any) -> str:
    parts = [f"{costs.rate * 100:g} % of value" if costs.rate else ""]
    parts += [f"${costs.per_share:g} a share" if costs.per_share else ""]
    parts += [f"${costs.per_order:g} an order" if costs.per_order else ""]
    parts += [f"at least ${costs.minimum:g} an order" if costs.minimum else ""]
    parts += [f"slippage {costs.slippage_bps:g} bp" if costs.slippage_bps else ""]
    parts += ["US regulatory fees" if costs.regulatory else ""]
    return ", ".join(part for part in parts if part) or "none"
