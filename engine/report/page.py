"""The report page of a backtest: its run folder as one HTML file."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.account import Conventions
from engine.files import put_text
from engine.metrics import BY_KEY
from engine.report import paper, proof, sections
from engine.report.cautions import cautions
from engine.report.charts import chart_data, role_of
from engine.report.folder import PAGE, Run, RunFolder
from engine.report.formats import BASES, FILL_RULES, percent, plain_name, shown
from engine.report.shell import check_row, fill

CARDS = ("total_return", "sharpe", "max_drawdown", "turnover")


def write_page(folder: Path) -> Path:
    """Write `report.html` into a run folder and return its path.

    Raises: DataError when the folder is not a run folder or a file in it is broken.
    """
    return put_text(folder / PAGE, render(RunFolder(folder).read()))


def render(run: Run) -> str:
    """Return the whole page."""
    return fill("page.html.j2", _content(run), chart_data(run))


def _content(run: Run) -> dict[str, Any]:
    accounts = sections.accounts(run)
    return {
        "title": run.summary.get("title") or run.summary.get("name") or run.path.name,
        "facts": _facts(run),
        "paper": paper.content(run.summary.get("paper")),
        "verdict": _verdict(run, accounts),
        "cautions": cautions(run),
        "cards": _cards(run, accounts),
        "accounts": [(plain_name(name), role_of(run, name)) for name in accounts],
        "key_rows": sections.metric_rows(run, sections.KEY_METRICS),
        "all_rows": sections.metric_rows(run),
        "conventions": asdict(Conventions()) | run.metrics.get("conventions", {}),
        "benchmark": plain_name(run.metrics.get("conventions", {}).get("benchmark", "")),
        "proof": proof.table(run.summary.get("evidence")),
        "monthly": sections.monthly(run),
        "drawdowns": sections.drawdown_rows(run.equity),
        "costs": sections.cost_rows(run),
        "refusal_counts": sections.refusal_counts(run),
        "refusals": sections.refusal_rows(run),
        "trips": sections.trip_rows(run),
        "mix": sections.action_mix(run),
        "symbols": list(dict.fromkeys(run.bars["symbol"].tolist())),
        "notes": [str(note) for note in run.data.get("notes", [])],
        "checks": [check_row(item) for item in run.summary.get("checks", [])],
        "settings": list(sections.flat_settings(run.settings)),
        "versions": list(sections.flat_settings(run.versions)),
        "missing": run.missing,
        "limit": sections.MAX_ROWS,
        "has_exposure": len(run.exposure["session"]) > 0,
    }


def _facts(run: Run) -> list[tuple[str, str]]:
    days, data = run.equity["session"], run.data
    basis = str(data.get("price_basis", ""))
    fill, seed = run.settings.get("venue", {}).get("fill", ""), run.summary.get("seed")
    facts = [
        ("Symbols", sections.listed(data.get("symbols", []))),
        ("Period", f"{days[0]} to {days[-1]}, {len(days) - 1:,} bars"),
        ("Agent", str(run.summary.get("agent") or run.summary.get("checkpoint") or "")),
        ("Seed", "" if seed is None else str(seed)),
        ("Starting capital", "$" + shown(float(run.equity["agent"][0]), "money")),
        ("Costs", str(run.summary.get("costs", ""))),
        ("Fills", str(run.summary.get("fill") or FILL_RULES.get(fill, ""))),
        ("Prices", f"{data.get('source', '')}, {BASES.get(basis, basis)}".lstrip(", ")),
        ("Data hash", str(data.get("digest", ""))[:16]),
    ]
    return [(name, text) for name, text in facts if text]


def _verdict(run: Run, accounts: Mapping[str, Mapping[str, Any]]) -> str:
    if run.summary.get("paper"):
        return paper.verdict(run.summary["paper"])
    conventions = run.metrics.get("conventions", {})
    rival = accounts.get(conventions.get("benchmark", ""), {})
    ours, theirs = accounts["agent"].get("total_return"), rival.get("total_return")
    if ours is None:
        return ""
    text = f"The agent returned {percent(ours)}"
    if theirs is not None:
        name = plain_name(conventions["benchmark"]).lower()
        text += f", {name} {percent(theirs)}, over the same bars and at the same costs"
    return f"{text}. {proof.verdict(run.summary.get('evidence'))}"


def _cards(run: Run, accounts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    rival = accounts.get(run.metrics.get("conventions", {}).get("benchmark", ""), {})
    cards = []
    for key in CARDS:
        metric = BY_KEY[key]
        cards.append(
            {
                "name": metric.name,
                "value": shown(accounts["agent"].get(key), metric.unit),
                "rival": shown(rival.get(key), metric.unit),
            }
        )
    return cards
