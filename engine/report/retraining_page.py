"""The page of a retraining: champion and challengers side by side, and why one of them leads.

The page is a function of the folder alone: what the registry did later is not in it.
"""

from pathlib import Path
from typing import Any

from engine.files import put_text
from engine.report import retraining_sections as rows
from engine.report import sections
from engine.report.charts import curve_data, line_data
from engine.report.folder import PAGE
from engine.report.formats import BASES, FILL_RULES
from engine.report.retraining import CHAMPION, PICKED, Retraining, name_of, read_retraining
from engine.report.retraining_cautions import retraining_cautions
from engine.report.shell import check_row, fill


def write_retraining_page(folder: Path) -> Path:
    """Write `report.html` into a retraining's folder and return its path.

    Raises: DataError when it has not ended or a file in it is broken.
    """
    return put_text(folder / PAGE, render(read_retraining(folder)))


def render(run: Retraining) -> str:
    """Return the whole page."""
    return fill("retraining.html.j2", _content(run), _drawn(run))


def _content(run: Retraining) -> dict[str, Any]:
    found = run.found
    return {
        "title": found["name"],
        "facts": _facts(run),
        "verdict": rows.headline(found),
        "cautions": retraining_cautions(run),
        "cards": rows.cards(run),
        "rules": found["rules"],
        "reason": found["reason"],
        "promote": found["promote"],
        "looks": rows.looks_words(found),
        "accounts": rows.columns(run),
        "key_rows": rows.account_rows(run) if run.curves else [],
        "rivals": rows.rival_rows(run),
        "score": rows.SCORES[run.score],
        "picked_by": found["picked_by"],
        "challengers": rows.challenger_rows(run),
        "lineage": (rows.lineage_heads(run), rows.lineage_rows(run)),
        "checks": [check_row(item) for item in found.get("checked", [])],
        "asked": list(sections.flat_settings(run.settings["retrain"]["promotion"])),
        "notes": [str(note) for note in run.data["notes"]],
        "settings": list(sections.flat_settings(run.settings)),
        "versions": list(sections.flat_settings(run.versions)),
    }


def _facts(run: Retraining) -> list[tuple[str, str]]:
    found, data, settings = run.found, run.data, run.settings
    basis = str(data["price_basis"])
    parts = {name: f"{span['start']} to {span['end']}" for name, span in found["segments"].items()}
    judged = found["judged"]
    return [
        ("Symbols", sections.listed(data["symbols"])),
        ("Trained on", parts["train"]),
        ("Chosen on", parts["validation"]),
        ("Held back", parts["held_back"]),
        ("Judged on", f"{judged['start']} to {judged['end']}" if judged else "nothing"),
        ("Champion before", str(found["champion"] or "none")),
        ("Challengers", f"{len(found['challengers'])}, picked by {found['picked_by']}"),
        ("Fills", FILL_RULES[settings["venue"]["fill"]]),
        ("Prices", f"{data['source']}, {BASES.get(basis, basis)}"),
        ("Data hash", str(found["data"])[:16]),
    ]


def _drawn(run: Retraining) -> dict[str, Any]:
    curves = []
    for name, equity in run.curves.items():
        title = name_of(name, run.found)
        if name in (PICKED, CHAMPION):
            curves.append(curve_data(title, "agent" if name == PICKED else "benchmark", equity))
        elif name.startswith("seed-"):
            told = {"group": "Other challengers", "shade": "--fan"}
            curves.append(line_data(title, equity, **told))
        else:
            curves.append(curve_data(title, "other", equity))
    sessions = run.sessions.astype(str).tolist()
    return {"sessions": sessions, "curves": curves, "exposure": {}, "days": [], "prices": []}
