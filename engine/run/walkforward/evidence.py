"""What a walk-forward proves: evidence.json, the one file of it that depends on other runs.

The number of trials is that of the ledger at the moment of writing: a run elsewhere on the same bars,
or a kill and a resume, adds to it. So this file is not the same twice, while all the others are.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import CheckpointError, DataError
from engine.report.folder import RunFolder, write_json
from engine.report.walk_cautions import ENOUGH_SEEDS
from engine.run.check.findings import checks_of_several
from engine.run.counting import proven
from engine.run.training.folder import TRAINING
from engine.run.walkforward.plan import AGENT, WalkForward
from engine.settings import Settings, build
from engine.trials import Ledger

EVIDENCE = "evidence.json"


def write_evidence(walk: WalkForward, summary: Mapping[str, Any]) -> Path:
    """Write what the median seed's record proves after every trial on these bars."""
    seed = summary["median_seed"][AGENT]
    curve = RunFolder(walk.record(AGENT, seed)).part("equity")["agent"]
    spans = [(row["validation_start"], row["validation_end"]) for row in summary["by_window"]]
    with Ledger(walk.settings.ledger) as ledger:
        found, doubts = proven(ledger, walk.bars, curve, _against_twin(summary), spans)
    path = walk.folder / EVIDENCE
    checks = _checks(walk.settings, walk.bars.digest(), walk.folder)
    write_json(path, {"seed": seed, **found, "doubts": doubts, "checks": checks})
    return path


def refresh_checks(folder: Path) -> None:
    """Bring the checks in evidence.json up to date: they are run after the walk-forward has ended."""
    path, run = folder / EVIDENCE, RunFolder(folder)
    if not path.is_file():
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    try:
        settings, data = build(run.part("settings"), str(folder)), run.part("data")["digest"]
        checks = _checks(settings, data, folder)
    except (DataError, CheckpointError):
        return  # a ledger or checkpoint that cannot be read: what is known stays
    write_json(path, found | {"checks": checks})


def _checks(settings: Settings, data: str, folder: Path) -> list[dict[str, Any]]:
    # A memoryless twin is the control, not what would be used.
    chosen = sorted((folder / "windows").glob(f"*/{AGENT}/seed-*/{TRAINING}/best"))
    return checks_of_several(settings, data, chosen)


def _against_twin(summary: Mapping[str, Any]) -> str | None:
    pair = summary.get("twin")
    if pair is None:
        return None
    count = len(summary["seeds"])
    few = f", over {count} seeds: too few to compare" if count < ENOUGH_SEEDS else ""
    return f"{pair['verdict']}{few}" if pair["verdict"] else f"cannot be told, {pair['why']}"
