"""`barwise check memory`: from a folder to the tables of the memory check."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.checkpoint import RECORD
from engine.errors import UsageError
from engine.report.retraining import JUDGED, RESULT, told_in
from engine.run.build import bars_of, dates, find_settings
from engine.run.check.findings import enter
from engine.run.check.memory import MOVED, MemoryResult, check_memory
from engine.run.console import echo
from engine.run.evaluation import deployed
from engine.run.training.folder import TRAINING
from engine.settings import Settings, build
from engine.step import StepPolicy


def run_memory(
    subject: Path, config: str | None, limit: float, overrides: tuple[str, ...], as_json: bool
) -> dict[str, Any]:
    """Check the memory of a checkpoint on the test dates of its run's settings."""
    checkpoint, run = found_in(subject)
    if config is None and run is None:
        raise UsageError(
            f"{subject}: no settings.json lies around this checkpoint, expected the run it came from; "
            "name its settings with --config"
        )
    settings = find_settings(config, overrides) if config else _of_run(run, overrides)
    bars = bars_of(settings)
    spec, policy = deployed(settings, checkpoint, bars)
    assert isinstance(policy, StepPolicy)
    found = check_memory(
        bars,
        spec,
        policy,
        policy.info.memory,
        dates(bars, settings, "test"),
        settings.train.episode_steps,
        settings.backtest.cash,
    )
    text = verdict(found, limit)
    enter(settings, bars, "memory", found.holds(limit), text, checkpoint)
    if not as_json:
        for line in (*table_of(found), text):
            echo(line)
    return {
        "check": "memory",
        "holds": found.holds(limit),
        "limit": limit,
        "dependence": found.dependence,
        **asdict(found),
        "verdict": text,
        "exit_code": 0 if found.holds(limit) else 1,
    }


def _of_run(run: Path | None, overrides: tuple[str, ...]) -> Settings:
    # A run keeps its settings whole, defaults too; what the agent is, its checkpoint says.
    settings = find_settings(str(Path(str(run)) / "settings.json"), overrides)
    return build(settings.model_dump(mode="json", exclude={"agent", "observation"}), str(run))


def found_in(subject: Path) -> tuple[Path, Path | None]:
    """Return the checkpoint that a folder is or holds, and the run it came from if it lies there.

    Raises: UsageError when there is none.
    """
    if (subject / RECORD).is_file():
        around = subject.resolve().parents[1]
        return subject, around if (around / "settings.json").is_file() else None
    if (subject / TRAINING / "best" / RECORD).is_file():
        return subject / TRAINING / "best", subject
    if (subject / RESULT).is_file():
        best = subject / f"seed-{told_in(subject)['picked']}" / TRAINING / "best"
        return best, subject / JUDGED if (subject / JUDGED / "settings.json").is_file() else None
    summary = subject / "summary.json"
    if summary.is_file():
        told = json.loads(summary.read_text(encoding="utf-8"))
        for name in (told.get("checkpoint"), told.get("agent")):
            if name and (Path(name) / RECORD).is_file():
                return Path(name), subject
    raise UsageError(
        f"{subject}: expected a checkpoint folder, or the run folder of a training, a retraining or a "
        "backtest of one; found none of them"
    )


def verdict(found: MemoryResult, limit: float) -> str:
    """Return what came out, in one sentence without a period; then what keeps it from saying much."""
    return _measured(found, limit) + idle(found)


def idle(found: MemoryResult) -> str:
    """Return why the agreement of an agent proves nothing; empty where it acts."""
    if not found.fills:
        did = "THE AGENT NEVER TRADED over the test dates"
    elif found.wishes <= 1:
        did = "THE AGENT ASKED FOR ONE EXPOSURE ONLY over the test dates"
    else:
        return ""
    return f"; {did}: what it does cannot hang on the burn-in, and this says nothing of its memory"


def _measured(found: MemoryResult, limit: float) -> str:
    if found.window is not None:
        reach = f"window({found.window}): no dependence beyond {found.window} rows"
        if not found.beyond_window:
            return f"{reach}, every decision and the equity are equal"
        return f"{reach} was promised, and something moved: THE MEMORY REACHES FURTHER BACK"
    longest = found.lengths[-1].rows
    shares = f"{found.dependence:.2%} of actions (limit {limit:.2%})"
    equity = next(item.equity for item in found.lengths if item.rows == found.burn_in)
    text = (
        f"a burn-in of {found.burn_in} rows instead of {longest} changes {shares} and the final "
        f"equity by {equity:+.3%}"
    )
    return text if found.holds(limit) else f"ACTIONS HANG ON THE BURN-IN: {text}"


def table_of(found: MemoryResult) -> list[str]:
    """Return the lines of both tables and of what could not be measured."""
    lines = [
        f"against a burn-in of {found.lengths[-1].rows} rows, over the test dates:",
        f"{'burn-in':>9} {'memory norm':>12} {'mean change':>12} {'max change':>11} "
        f"{'actions':>9} {'equity':>9}",
    ]
    for item in found.lengths:
        own = " its own" if item.rows == found.burn_in else ""
        lines.append(
            f"{item.rows:>9} {item.norm:>12.4f} {item.mean_change:>12.5f} {item.max_change:>11.4f} "
            f"{item.changed:>9.2%} {item.equity:>+9.3%}{own}"
        )
    lines.append(f"change of exposure in sleeves; an action is another from {MOVED:g} on")
    if found.ages:
        lines.append("a memory that has lived on, against one begun anew, shown the same bars:")
        lines.append(f"{'episodes':>9} {'from':>12} {'its norm':>12} {'anew':>12} {'actions':>9}")
    lines += [
        f"{age.episodes:>9} {age.session:>12} {age.norm:>12.4f} {age.fresh_norm:>12.4f} "
        f"{age.changed:>9.2%}"
        for age in found.ages
    ]
    return lines + [f"note: {note}" for note in found.notes]
