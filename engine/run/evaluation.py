"""Evaluate: one backtest through Backtrader beside its baselines, into a run folder."""

from pathlib import Path
from typing import Any

import numpy as np

from engine.bars import Bars
from engine.checkpoint import TrainedOn, read
from engine.costs import Costs
from engine.errors import CheckpointError
from engine.journal import Journal
from engine.policy import Policy
from engine.report.folder import RunFolder
from engine.report.formats import FILL_RULES
from engine.run.backtest import baseline_trader, new_venue, run_baselines, through_backtrader
from engine.run.build import dates, require_checkpoint, spec_of
from engine.run.check.findings import checks_of
from engine.run.console import progress
from engine.run.counting import SERIES, counted, proven, seen
from engine.run.crossings import with_best_windows
from engine.run.outputs import write_run
from engine.run.record import Recorder
from engine.run.training.folder import training_warnings
from engine.run.training.validation import score_of
from engine.settings import Settings
from engine.trader import Trader, TraderSpec


def deployed(settings: Settings, checkpoint: Path, bars: Bars) -> tuple[TraderSpec, Policy]:
    """Load a checkpoint for the market that the settings describe."""
    from engine.step import StepPolicy

    require_checkpoint(checkpoint, "--checkpoint")
    policy = StepPolicy.load(checkpoint)
    _require_basis(policy.info.trained_on, bars)
    return spec_of(policy.info, settings, len(bars.symbols)), policy


def _require_basis(known: TrainedOn, bars: Bars) -> None:
    # Made-up prices have no basis to compare: they are drawn as total returns.
    if "synthetic" in known.source + bars.source or known.price_basis == bars.price_basis:
        return
    raise CheckpointError(
        f"the checkpoint was trained on {known.price_basis} prices, the data is {bars.price_basis}: "
        "dividends would look different to it; use prices of the same basis or train again"
    )


def evaluate(
    settings: Settings, bars: Bars, checkpoint: Path | None, folder: RunFolder
) -> dict[str, Any]:
    """Backtest on the test dates and write the run folder; return what was run.

    Ctrl-C ends it early: the folder then holds the agent's bars up to there, and says so.
    """
    settings = with_best_windows(settings, bars)
    first, last = dates(bars, settings, "test")
    folder.path.mkdir(parents=True, exist_ok=True)
    for name in settings.backtest.baselines:
        baseline_trader(settings, name, bars, 0.0)  # a name that is unknown fails before the work
    trader = _trader(settings, bars, checkpoint)
    summary = _summary(settings, checkpoint)
    summary["warnings"] += _dates_known(checkpoint, bars, first)
    summary["warnings"] += training_warnings(checkpoint) if checkpoint else []
    baselines: dict[str, Recorder] = {}
    with counted(settings, bars, "test", ("test",), folder.path, checkpoint) as (ledger, trial):
        with Journal(folder.path / "journal.sqlite") as journal:
            agent = Recorder(journal, bars.symbols)
            venue = new_venue(settings, bars)
            try:
                through_backtrader(bars, trader, venue, first, last, agent)
                baselines = _baselines(settings, bars, agent, first, last)
            except KeyboardInterrupt:
                trial.status = "aborted"
            finally:
                agent.flush()
        interrupted = trial.status == "aborted"
        if interrupted:
            summary["warnings"].insert(0, _interrupted(agent, str(bars.sessions[last])))
        if agent.complete():
            curve = agent.arrays()["equity"]
            seen(trial, agent, score_of(curve, settings.train.score), folder.path / f"{SERIES}.npy")
            summary["evidence"], doubts = proven(ledger, bars, curve)
            summary["warnings"] += doubts
            summary["checks"] = checks_of(settings, bars.digest(), checkpoint)
            write_run(folder, settings, bars, agent, baselines, summary)
    ended = {"interrupted": True, "exit_code": 1} if interrupted else {}
    return {"agent": summary["agent"], "bars": agent.complete()} | ended


def _interrupted(agent: Recorder, last: str) -> str:
    if not agent.complete():
        return "The run was interrupted before its first bar."
    reached = str(agent.sessions[agent.complete() - 1])
    if reached == last:
        return "The run was interrupted before all baselines had run: they are missing."
    return f"The run was interrupted at {reached}, before its end on {last}."


def _baselines(
    settings: Settings, bars: Bars, agent: Recorder, first: int, last: int
) -> dict[str, Recorder]:
    with progress("baselines", len(settings.backtest.baselines)) as show:
        names: list[str] = []

        def done(name: str) -> None:
            names.append(name)
            show(len(names), name)

        return run_baselines(settings, bars, first, last, turnover_a_bar(agent), done)


def _dates_known(checkpoint: Path | None, bars: Bars, first: int) -> list[str]:
    # Made-up markets carry dates that mean nothing; a test on them may use any.
    if checkpoint is None:
        return []
    known = read(checkpoint).trained_on
    day = bars.sessions[first].item()
    made_up = "synthetic" in (bars.source + known.source)
    if made_up or day > known.end or not set(known.symbols) & set(bars.symbols):
        return []
    return [
        f"The agent was trained on bars up to {known.end} and is tested from {day} on: on the dates "
        "it has seen, these numbers show what it remembers, not what it can do."
    ]


def _trader(settings: Settings, bars: Bars, checkpoint: Path | None) -> Trader:
    if checkpoint is None:
        return baseline_trader(settings, settings.backtest.strategy, bars, 0.0)
    spec, policy = deployed(settings, checkpoint, bars)
    return Trader(spec, policy, len(bars.symbols))


def turnover_a_bar(record: Recorder) -> float:
    """Return the value traded a bar, fraction of the book."""
    rows = record.arrays()
    traded = np.nansum(np.abs(rows["filled"] * rows["price"]), axis=1)
    return float((traded / rows["equity"]).mean())


def _summary(settings: Settings, checkpoint: Path | None) -> dict[str, Any]:
    name = str(checkpoint) if checkpoint else settings.backtest.strategy
    costs, venue = settings.costs, settings.venue
    return {
        "name": settings.name,
        "title": settings.name,
        "agent": name,
        "learned": checkpoint is not None,
        "seed": settings.train.seed if checkpoint else None,
        "costs": costs_text(costs),
        "fill": f"{FILL_RULES[venue.fill]}; {venue.account} account",
        "warnings": [],
        "checks": [],
    }


def costs_text(costs: Costs) -> str:
    """Return costs in words."""
    parts = [f"{costs.rate * 100:g} % of value" if costs.rate else ""]
    parts += [f"${costs.per_share:g} a share" if costs.per_share else ""]
    parts += [f"${costs.per_order:g} an order" if costs.per_order else ""]
    parts += [f"at least ${costs.minimum:g} an order" if costs.minimum else ""]
    parts += [f"slippage {costs.slippage_bps:g} bp" if costs.slippage_bps else ""]
    parts += ["US regulatory fees" if costs.regulatory else ""]
    return ", ".join(part for part in parts if part) or "none"
