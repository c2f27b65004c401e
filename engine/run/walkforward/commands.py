"""`barwise walkforward`: from words to a walk-forward, and what its end means for the shell."""

from pathlib import Path
from typing import Any

from engine.report.walk_page import write_walk_page
from engine.run.build import run_folder, settings_for
from engine.run.console import say
from engine.run.training.executor import chosen, local
from engine.run.walkforward.report import print_walk
from engine.run.walkforward.run import walk_forward


def run_walkforward(
    config: str | None, overrides: tuple[str, ...], resume: Path | None, as_json: bool
) -> dict[str, Any]:
    """Run a walk-forward, or go on with one; print its tables."""
    settings = settings_for("walkforward", config, resume, overrides)
    with run_folder(settings, resume) as folder:
        say(f"run folder {folder}")
        executor = chosen(settings.train, local(settings.train.workers))
        summary = walk_forward(settings, folder, executor, resume is not None)
    found = {"run": str(folder), **summary}
    if summary.get("interrupted"):
        say(f"stopped; go on with `barwise walkforward --resume {folder}`")
        return found | {"exit_code": 1}
    if "failed" in summary:
        for text in summary["failed"]:
            say(f"! {text}")
        say(f"no result without them; try again with `barwise walkforward --resume {folder}`")
        return found | {"exit_code": 1}
    return found | show_walk(folder, as_json)


def show_walk(folder: Path, as_json: bool) -> dict[str, Any]:
    """Write the page of a walk-forward that has ended, and print its tables."""
    page = write_walk_page(folder)
    if not as_json:
        print_walk(folder)
    return {"run": str(folder), "page": str(page)}
