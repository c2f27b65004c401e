"""What a walk-forward proves: evidence.json, the one file of it that depends on other runs.

The number of trials is that of the ledger at the moment of writing: a run elsewhere on the same bars,
or a kill and a resume, adds to it. So this file is not the same twice, while all the others are.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.report.folder import RunFolder, write_json
from engine.run.counting import proven
from engine.run.walkforward_plan import AGENT, WalkForward
from engine.trials import Ledger

EVIDENCE = "evidence.json"


def write_evidence(walk: WalkForward, summary: Mapping[str, Any]) -> Path:
    """Write what the median seed's record proves after every trial on these bars."""
    seed = summary["median_seed"][AGENT]
    curve = RunFolder(walk.record(AGENT, seed)).part("equity")["agent"]
    with Ledger(walk.settings.ledger) as ledger:
        found, doubts = proven(ledger, walk.bars, curve, _against_twin(summary))
    path = walk.folder / EVIDENCE
    write_json(path, {"seed": seed, **found, "doubts": doubts})
    return path


def _against_twin(summary: Mapping[str, Any]) -> str | None:
    pair = summary.get("twin")
    if pair is None:
        return None
    return str(pair["verdict"] or f"cannot be told, {pair['why']}")
