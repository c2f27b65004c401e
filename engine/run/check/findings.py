"""What the checks of a configuration found: entered in the trial ledger, read for the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.bars import Bars
from engine.checkpoint import POLICY, read
from engine.errors import DataError
from engine.report.folder import RunFolder
from engine.run.counting import code_version, settings_hash
from engine.settings import Settings, build
from engine.trials import Checked, Ledger

# What must be the same for a check to speak of a run. Memory is a matter of checkpoint and bars;
# placebo markets are made from the bars, and train agents of their own.
OF_ALL = ("data", "settings", "checkpoint")
SPEAKS_OF = {
    "lookahead": OF_ALL,
    "parity": OF_ALL,
    "memory": ("data", "checkpoint"),
    "placebo": ("data", "settings"),
}
# A placebo check answers as it was asked: how much it trains, and which part of the optimum is enough.
ASKED = {"placebo": ("placebo",)}
TITLES = {
    "lookahead": "Look-ahead",
    "parity": "Parity",
    "memory": "Memory and burn-in",
    "placebo": "Placebo markets",
}


def enter(
    settings: Settings,
    bars: Bars,
    name: str,
    passed: bool,
    text: str,
    checkpoint: Path | None = None,
) -> None:
    """Enter what a check found in the ledger of the settings, for the reports to come."""
    found = Checked(
        name=name,
        passed=passed,
        text=text,
        data=bars.digest(),
        settings=settings_hash(settings, ASKED.get(name, ())),
        code=code_version(),
        checkpoint=_policy(checkpoint),
    )
    with Ledger(settings.ledger) as ledger:
        ledger.enter(found)


def checks_of(settings: Settings, data: str, checkpoint: Path | None) -> list[dict[str, Any]]:
    """Return, for each check, what it last found on this configuration, or that it was not run.

    `data` is the digest of the bars. Each is a mapping of name, passed (None = not run) and text.
    """
    entered: list[Checked] = []
    if settings.ledger.is_file():
        with Ledger(settings.ledger) as ledger:
            entered = ledger.checks()
    own = {"data": data, "checkpoint": _policy(checkpoint)}
    asked = {name: settings_hash(settings, ASKED.get(name, ())) for name in SPEAKS_OF}
    return [_last(name, own | {"settings": asked[name]}, entered) for name in SPEAKS_OF]


def checks_of_several(
    settings: Settings, data: str, checkpoints: Sequence[Path]
) -> list[dict[str, Any]]:
    """Return, for each check, what it found on a configuration with several checkpoints.

    One that failed outranks one that passed; a check of some of them says of how many.
    """
    single = {place: checks_of(settings, data, place) for place in (None, *checkpoints)}
    found = []
    for at in range(len(SPEAKS_OF)):
        each = {place: rows[at] for place, rows in single.items()}
        run = {place: row for place, row in each.items() if row["passed"] is not None}
        failed = [row for row in run.values() if not row["passed"]]
        row = (failed or list(run.values()) or [each[None]])[0]
        several = [place for place in run if place is not None]
        told = f" Run on {len(several)} of {len(checkpoints)} checkpoints." if several else ""
        found.append(row | {"text": row["text"] + told})
    return found


def refresh(folder: Path) -> None:
    """Bring the checks in the summary of a run folder up to date; they may have been run since."""
    run = RunFolder(folder).read()
    if not run.settings or "digest" not in run.data or "learned" not in run.summary:
        return
    checkpoint = Path(str(run.summary.get("agent"))) if run.summary["learned"] else None
    if checkpoint is not None and not checkpoint.is_dir():
        return  # it was taken away: what is known of it stays
    try:
        found = checks_of(build(run.settings, str(folder)), run.data["digest"], checkpoint)
    except DataError:
        return  # no ledger that can be read: what is known stays
    RunFolder(folder).write(summary=run.summary | {"checks": found})


def _last(name: str, own: dict[str, str | None], entered: list[Checked]) -> dict[str, Any]:
    title = TITLES[name]
    for found in reversed(entered):
        if found.name == name and all(getattr(found, k) == own[k] for k in SPEAKS_OF[name]):
            text = f"{found.text} ({found.at[:10]}, barwise {found.code})."
            return {"name": title, "passed": found.passed, "text": text}
    return {"name": title, "passed": None, "text": f"not run here: `barwise check {name}`."}


def _policy(checkpoint: Path | None) -> str | None:
    return read(checkpoint).sha256[POLICY] if checkpoint else None
