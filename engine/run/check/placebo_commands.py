"""`barwise check placebo`: from words to a run folder with a verdict."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.report.folder import RunFolder, write_json
from engine.run.build import bars_of, run_folder, settings_for
from engine.run.check.findings import enter
from engine.run.check.placebo import ENOUGH, run_check, table_of, verdict
from engine.run.check.placebo_plan import CONTROL, NO_EDGE, Placebo, chosen_markets
from engine.run.console import echo, say
from engine.run.outputs import describe_data, versions
from engine.run.training.executor import chosen, local
from engine.run.training.resuming import PARTS, require_bars, require_begun, require_same
from engine.run.walkforward.run import FREE
from engine.settings import Settings

SEEDS = 20
ASKED = "asked.json"  # seeds and markets, for whoever goes on


def run_placebo(
    config: str | None,
    overrides: tuple[str, ...],
    seeds: int | None,
    only: str | None,
    resume: Path | None,
    as_json: bool,
) -> dict[str, Any]:
    """Run or resume a placebo check; print its table and verdict, enter both in the ledger."""
    chosen_markets(only)  # a name that is unknown fails before a folder is made
    settings = settings_for("check placebo", config, resume, overrides)
    with run_folder(settings, resume) as folder:
        say(f"run folder {folder}")
        plan = _plan(settings, folder, seeds, only, resume is not None)
        rows = run_check(
            plan, chosen(settings.train, local(settings.train.workers)), resume is not None
        )
    if rows is None:
        say(f"stopped; go on with `barwise check placebo --resume {folder}`")
        return {"run": str(folder), "interrupted": True, "exit_code": 1}
    holds, text = verdict(rows, settings, plan.seeds)
    summary = {"holds": holds, "verdict": text, "rows": [asdict(row) for row in rows]}
    RunFolder(folder).write(summary={"check": "placebo", "seeds": plan.seeds, **summary})
    if plan.seeds < ENOUGH:
        say(f"not entered in the ledger: {plan.seeds} seeds, {ENOUGH} or more are needed for that")
    elif not holds or set(plan.only) >= {*NO_EDGE, CONTROL}:
        enter(settings, plan.bars, "placebo", holds, text)
    if not as_json:
        for line in (*table_of(rows), text):
            echo(line)
    return {"check": "placebo", "run": str(folder), **summary, "exit_code": 0 if holds else 1}


def _plan(
    settings: Settings, folder: Path, seeds: int | None, only: str | None, resume: bool
) -> Placebo:
    bars = bars_of(settings)
    asked: dict[str, Any] = {"seeds": SEEDS, "only": None}
    if resume:
        require_begun(folder, ASKED, "check placebo")
        require_same(settings, folder, (*PARTS, "placebo"), FREE)
        require_bars(bars, folder)
        asked = json.loads((folder / ASKED).read_text(encoding="utf-8"))
    else:
        RunFolder(folder).write(
            settings=settings.model_dump(mode="json"),
            versions=versions(),
            data=describe_data(bars),
        )
    asked = {"seeds": seeds or asked["seeds"], "only": only or asked["only"]}
    write_json(folder / ASKED, asked)
    return Placebo(settings, bars, folder, asked["seeds"], chosen_markets(asked["only"]))
