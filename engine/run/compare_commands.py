"""`barwise compare RUN RUN ...`: from folders to a table and a page."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.report.compare import Comparison, Entry, compared
from engine.report.compare_page import print_compare, write_compare
from engine.report.compare_read import read_entry
from engine.run.compare_training import holds_training, training_entry


def run_compare(folders: Sequence[Path], out: Path, as_json: bool) -> dict[str, Any]:
    """Compare runs of any kind on the sessions they share; write the page, print the table."""
    if out.is_dir():
        raise UsageError(f"--out {out}: expected a file for the page, found a folder")
    comparison = compared(_named([_read(folder) for folder in folders]))
    page = write_compare(comparison, out)
    if not as_json:
        print_compare(comparison, page)
    return _told(comparison) | {"page": str(page)}


def _read(folder: Path) -> Entry:
    return training_entry(folder) if holds_training(folder) else read_entry(folder)


def _named(entries: list[Entry]) -> list[Entry]:
    # Two folders of one name are told apart by the folders they lie in.
    names = [entry.name for entry in entries]
    if len(set(names)) == len(names):
        return entries
    return [
        Entry(**{**vars(entry), "name": "/".join(entry.path.resolve().parts[-2:])})
        for entry in entries
    ]


def _told(comparison: Comparison) -> dict[str, Any]:
    days = comparison.sessions
    return {
        "first": str(days[0]),
        "last": str(days[-1]),
        "bars": len(days) - 1,
        "runs": [
            {"run": entry.name, "kind": entry.kind, "about": entry.about, "metrics": metrics}
            for entry, metrics in zip(comparison.entries, comparison.metrics, strict=True)
        ],
        "pairs": [
            pair | {name: asdict(pair[name]) for name in ("over_dates", "over_seeds") if pair[name]}
            for pair in comparison.pairs
        ],
        "differences": [
            {"what": name, "values": list(values)} for name, values in comparison.differences
        ],
    }
