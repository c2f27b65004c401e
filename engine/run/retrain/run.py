"""Retraining: challengers are trained, one is picked by validation, and rules say whether it leads.

Every stage leaves files, so a run that was killed goes on with what is missing. The champion changes
in one line of the registry, at the very end, or not at all.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.checkpoint import read
from engine.clock import Clock
from engine.registry import Lineage, Registry
from engine.report.folder import RunFolder, write_json, write_table
from engine.report.retraining import RESULT, SEGMENTS, told_in
from engine.run.backtest import baseline_trader
from engine.run.build import bars_of
from engine.run.console import say
from engine.run.counting import settings_hash
from engine.run.outputs import describe_data, versions
from engine.run.retrain.judge import judge
from engine.run.retrain.lineage import both, lineage_of
from engine.run.retrain.plan import Retraining, best_of, fixed, plan
from engine.run.retrain.promoting import account_at_rest
from engine.run.training.executor import Executor, Job, is_done, outcome
from engine.run.training.job_progress import train_all
from engine.run.training.resuming import PARTS, require_bars, require_begun, require_same
from engine.settings import Settings

Result = dict[str, Any]
BUDGET = ("workers", "nice", "lock_minutes", "schedule")  # may be others when a run goes on


def retrain(
    settings: Settings, folder: Path, executor: Executor, clock: Clock, resume: bool = False
) -> Result:
    """Run or resume a retraining in a folder; return what retrain.json holds.

    The bars are those that the settings name; whoever calls has refreshed them.
    Raises: CheckpointError or DataError when what is resumed was begun with other settings or bars.
    """
    bars = bars_of(settings)
    settings = fixed(settings, bars)
    if resume:
        require_begun(folder, SEGMENTS, "retrain")
        require_same(settings, folder, (*PARTS, "backtest", "retrain"), BUDGET)
        require_bars(bars, folder)
    work = plan(settings, bars, folder)
    for name in (*settings.backtest.baselines, *settings.retrain.promotion.baselines):
        baseline_trader(settings, name, bars, 0.0)  # a name that is unknown fails before the work
    if not resume:
        _begin(work)
    registry = Registry(Path(settings.registry.dir))
    found = _known(folder)
    if found is None:
        trained = _train(work, executor, resume)
        if trained:
            return trained
        found = _judge(work, registry)
        write_json(folder / RESULT, found)
    if found["promote"] and found["promoted"] is None:
        found = _promote(work, registry, found, executor, clock)
    return found


def _begin(work: Retraining) -> None:
    work.folder.mkdir(parents=True, exist_ok=True)
    spans = work.spans()
    dates = {edge: [span[edge] for span in spans.values()] for edge in ("start", "end")}
    write_table(work.folder / SEGMENTS, {"segment": list(spans), **dates})
    RunFolder(work.folder).write(
        versions=versions(),
        data=describe_data(work.bars),
        settings=work.settings.model_dump(mode="json"),
    )


def _known(folder: Path) -> Result | None:
    return told_in(folder) if (folder / RESULT).is_file() else None


def _train(work: Retraining, executor: Executor, resume: bool) -> Result:
    # Empty where every challenger has ended: one that failed is told and left out.
    jobs = [job for job in work.jobs() if not is_done(job)]
    say(f"{len(work.seeds)} challengers, {len(jobs)} to train")
    if train_all(jobs, executor, resume):
        return {"interrupted": True}
    if not any(is_done(job) for job in work.jobs()):
        return {"failed": [_failure(job) for job in work.jobs()]}
    return {}


def _failure(job: Job) -> str:
    return f"{job.folder.name}: {(outcome(job) or {}).get('error', 'stopped before its end')}"


def _judge(work: Retraining, registry: Registry) -> Result:
    champion = registry.champion()
    rows = [_row(work, seed) for seed in work.seeds]
    trained = {row["seed"]: row for row in rows if row["validation_score"] is not None}
    # By validation alone: the held-back sessions judge, they do not choose.
    picked = max(trained, key=lambda seed: trained[seed]["validation_score"])
    checkpoints = {seed: Path(row["checkpoint"]) for seed, row in trained.items()}
    judged = judge(work, picked, checkpoints, champion)
    found = {
        "run": str(work.folder),
        "name": work.settings.name,
        "data": work.bars.digest(),
        "segments": work.spans(),
        "champion": champion.id if champion else None,
        "challengers": rows,
        "picked": picked,
        "picked_by": f"validation {work.settings.train.score}",
        "score": work.settings.retrain.promotion.score,
        **judged.told,
        "rules": [asdict(rule) for rule in judged.verdict.rules],
        "promote": judged.verdict.promote,
        "reason": judged.verdict.reason,
        "promoted": None,
        "scored": True,
    }
    return found | {"lineage": both(work.settings, found, registry, champion)}


def _row(work: Retraining, seed: int) -> Result:
    job = work.job(seed)
    known = outcome(job) or {}
    if not is_done(job):
        return {"seed": seed, "validation_score": None, "error": _failure(job)}
    info = read(best_of(job))
    return {
        "seed": seed,
        "validation_score": info.validation_score,
        "update": info.update,
        "checkpoint": str(best_of(job)),
        "digest": info.digest,
        "warnings": known.get("warnings", []),
    }


def _promote(
    work: Retraining, registry: Registry, found: Result, executor: Executor, clock: Clock
) -> Result:
    refit = work.refit(found["picked"]) if work.settings.retrain.refit else None
    if refit is not None and not is_done(refit):
        say("training once more through the newest session; nothing can score that agent")
        if train_all([refit], executor, True):
            return {"interrupted": True}
        if not is_done(refit):
            return {"failed": [_failure(refit)]}
    name = registry.add(best_of(work.job(found["picked"])), lineage_of(work.settings, found))
    if refit is not None:
        again = Lineage(
            found["data"], settings_hash(work.settings), name, {}, found["trials"], 1, scored=False
        )
        name = registry.add(best_of(refit), again)
    with account_at_rest(work.settings, clock):
        leads = leader.id if (leader := registry.champion()) else None
        if objection := _objection(registry, leads, found["champion"], name):
            found |= {"promote": False, "reason": objection}
        elif leads != name:
            registry.promote(name, found["reason"], "rules")
    if found["promote"]:
        found |= {"promoted": name, "scored": refit is None}
    write_json(work.folder / RESULT, found)
    return found


def _objection(registry: Registry, leads: str | None, judged: str | None, name: str) -> str:
    # Why a verdict that was right when it was found does not hold any more; empty when it does.
    if leads == name:
        return ""
    if leads != judged:
        return (
            f"the champion changed to {leads or 'none'} meanwhile: the verdict is about another one; "
            "retrain anew"
        )
    back = [event.body for event in registry.history() if event.kind == "rolled_back"]
    if name in [body["previous"] for body in back]:
        return f"{name} was rolled back by a person, and only a person promotes it again"
    return ""
