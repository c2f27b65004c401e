"""Walk-forward: train in every window, test what validation chose, sum up over seeds.

Each stage leaves files, and a stage that is resumed does what is missing from them: a training goes on
from its last checkpoint, a stitched test that is whole is not looked at again.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.report.folder import RunFolder, write_table
from engine.run.backtest import baseline_trader
from engine.run.build import bars_of
from engine.run.console import progress, say
from engine.run.outputs import describe_data, versions
from engine.run.training.executor import Executor, is_done, outcome
from engine.run.training.job_progress import train_all
from engine.run.training.resuming import PARTS, WHERE, require_bars, require_begun, require_same
from engine.run.walkforward.plan import Part, WalkForward, plan, window_table
from engine.run.walkforward.stitch import Rivals, write_record
from engine.run.walkforward.summary import sum_up
from engine.settings import Settings

WINDOWS = "windows.csv"  # the first file of a walk-forward
FREE = (*WHERE, "tensorboard")  # what a resumed walk-forward may change


def walk_forward(
    settings: Settings, folder: Path, executor: Executor, resume: bool = False
) -> dict[str, Any]:
    """Run or resume a walk-forward in a folder; return its summary, or why there is none yet.

    Raises: CheckpointError or DataError when what is resumed was begun with other settings or bars.
    """
    bars = bars_of(settings)
    if resume:
        require_begun(folder, WINDOWS, "walkforward")
        require_same(settings, folder, (*PARTS, "backtest", "walkforward"), FREE)
        require_bars(bars, folder)
    walk = plan(settings, bars, folder)
    for name in settings.backtest.baselines:
        baseline_trader(settings, name, bars, 0.0)  # a name that is unknown fails before the work
    if not resume:
        _begin(walk)
    done = folder / "summary.json"
    if done.is_file():
        found: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return found
    parts = list(walk.parts())
    if _train(walk, [part for part in parts if not is_done(part.job)], executor, resume):
        return {"interrupted": True}
    failed = [text for part in parts if (text := _failure(part))]
    if failed:
        return {"failed": failed}
    return {"interrupted": True} if _test(walk) else sum_up(walk)


def _begin(walk: WalkForward) -> None:
    walk.folder.mkdir(parents=True, exist_ok=True)
    write_table(walk.folder / WINDOWS, window_table(walk))
    tested = walk.bars.between(
        walk.bars.sessions[walk.tested.first], walk.bars.sessions[walk.tested.last]
    )
    RunFolder(walk.folder).write(
        versions=versions(),
        data=describe_data(walk.bars, tested),
        settings=walk.settings.model_dump(mode="json"),
    )


def _train(walk: WalkForward, parts: Sequence[Part], executor: Executor, resume: bool) -> bool:
    total = len(list(walk.parts()))
    say(
        f"{len(walk.windows)} windows, {len(walk.seeds)} seeds, {' and '.join(walk.kinds)}: "
        f"{total} trainings, {len(parts)} to do"
    )
    return train_all([part.job for part in parts], executor, resume)


def _failure(part: Part) -> str:
    if is_done(part.job):
        return ""
    error = (outcome(part.job) or {}).get("error", "stopped before its end")
    return f"window {part.window.number}, {part.kind}, seed {part.seed}: {error}"


def _test(walk: WalkForward) -> bool:
    # Returns whether a person stopped it.
    rivals = Rivals(walk.bars, walk.tested)
    pairs = [(kind, seed) for seed in walk.seeds for kind in walk.kinds]
    with progress("testing", len(pairs)) as show:
        try:
            for number, (kind, seed) in enumerate(pairs, start=1):
                if not (walk.record(kind, seed) / "summary.json").is_file():
                    write_record(walk, kind, seed, rivals)
                show(number, f"{kind}, seed {seed}")
        except KeyboardInterrupt:
            return True
    return False
