"""`barwise retrain`: refresh the data, retrain within a budget, say what came of it."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from engine import clock as time
from engine.clock import SystemClock
from engine.errors import CheckpointError, DataError, UsageError
from engine.registry import Registry
from engine.report.folder import RunFolder, write_json
from engine.report.retraining import JUDGED, RESULT, told_in
from engine.report.retraining_page import write_retraining_page
from engine.run.build import run_folder, settings_for
from engine.run.check.findings import checks_of
from engine.run.console import say
from engine.run.paper.lock import held
from engine.run.retrain.report import print_retraining
from engine.run.retrain.run import retrain
from engine.run.training.executor import chosen, local
from engine.run.training.folder import TRAINING
from engine.settings import Settings, build

LOCK = ".retraining"
Result = dict[str, Any]


def run_retrain(
    config: str | None, overrides: tuple[str, ...], resume: Path | None, as_json: bool
) -> Result:
    """Run a retraining, or go on with one; print its table. One at a time for each registry."""
    settings = settings_for("retrain", config, resume, overrides)
    registry = Registry(Path(settings.registry.dir)).path
    registry.mkdir(parents=True, exist_ok=True)
    with _alone(registry), run_folder(settings, resume) as folder:
        keep_to_budget(settings)
        if resume is None:
            refresh(settings)
        say(f"run folder {folder}")
        executor = chosen(settings.train, local(settings.retrain.workers))
        found = retrain(settings, folder, executor, SystemClock(), resume is not None)
    if "failed" in found or "interrupted" in found:
        for text in found.get("failed", ["stopped"]):
            say(f"! {text}")
        say(f"nothing was promoted; go on with `barwise retrain --resume {folder}`")
        return {"run": str(folder), **found, "exit_code": 1}
    return found | show_retraining(folder, as_json)


def show_retraining(folder: Path, as_json: bool) -> Result:
    """Write the page of a retraining that has ended, and print its table."""
    page = write_retraining_page(folder)
    if not as_json:
        print_retraining(told_in(folder), folder)
    return {"run": str(folder), "page": str(page)}


def refresh_checks(folder: Path) -> None:
    """Bring the checks in a retraining's result up to date: more may have been run since."""
    found, judged = told_in(folder), folder / JUDGED
    if not found["accounts"] or not (judged / "settings.json").is_file():
        return
    try:
        settings = build(RunFolder(judged).part("settings"), str(judged))
        checkpoint = folder / f"seed-{found['picked']}" / TRAINING / "best"
        checks = checks_of(settings, found["data"], checkpoint)
    except (DataError, CheckpointError):
        return  # a ledger or checkpoint that cannot be read: what is known stays
    write_json(folder / RESULT, found | {"checked": checks})


@contextmanager
def _alone(registry: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            stack.enter_context(held(registry / LOCK))
        except UsageError as error:
            raise UsageError(f"another retraining of {registry} is at work: {error}") from error
        yield


def keep_to_budget(settings: Settings) -> None:
    """Step back behind other processes, and use no more threads than allowed; children inherit both."""
    os.environ["OMP_NUM_THREADS"] = str(settings.retrain.threads)
    now = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(now, settings.retrain.nice))


def refresh(settings: Settings) -> None:
    """Bring downloaded bars up to the newest closed session; other sources are read as they are.

    Raises: DataError where a symbol failed: it is not trained on data that ends in the past.
    """
    if settings.data.source != "alpaca":
        return
    from engine.data.cache import Cache
    from engine.run.data_commands import fetch_data

    names = settings.data.symbols
    store = Cache(Path(settings.data.cache), f"alpaca:{settings.data.feed}")
    known = store.manifest().symbols
    held_from = [known[name].first for name in names if name in known]
    first = settings.data.start or min(held_from, default=None)
    if first is None:
        raise UsageError(
            f"{settings.data.cache}: no bars of {', '.join(names)} yet, and no data.start; run `barwise "
            "data fetch` once"
        )
    closed = date.fromisoformat(str(time.last_closed(time.now(), "XNYS")))
    last = min(closed, settings.data.end or closed)
    done = fetch_data(list(names), first, last, settings, False, True)
    failed = [row["symbol"] for row in done["symbols"] if row["error"]]
    if failed:
        raise DataError(
            f"retrain: no new bars of {', '.join(failed)}; nothing was trained or changed"
        )
