"""A walk-forward in a terminal: accounts over seeds, costs swept, agent against twin, warnings."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.metrics import BY_KEY
from engine.report.folder import PAGE
from engine.report.formats import shown
from engine.report.proof import foot
from engine.report.terminal import COLUMNS, terminal
from engine.report.walk import AGENT, TWIN, read_walk
from engine.report.walk_cautions import walk_cautions
from engine.report.walk_sections import name_of, twin_words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SHOWN = ("total_return", "cagr", "volatility", "sharpe", "max_drawdown", "turnover", "total_costs")


def print_walk(folder: Path, console: "Console | None" = None) -> None:
    """Print what a walk-forward came to, and where its page lies. Fits 100 columns."""
    from rich.text import Text

    console, walk = console or terminal(), read_walk(folder)
    summary = walk.summary
    tested = summary["tested"]
    title = (
        f"{summary['name']}: walk-forward, windows {summary['windows']}, seeds {len(summary['seeds'])}, "
        f"tested {tested['start']} to {tested['end']} ({tested['sessions']:,} sessions)"
    )
    console.print(Text(title, style="bold"))
    console.print(_accounts(summary))
    if summary["costs_swept"]:
        console.print(
            Text("Sharpe ratio by commission, basis points of value a side", style="bold")
        )
        console.print(_sweep(summary))
    for line in (*conclusions(summary), *foot(walk.evidence)):
        console.print(Text(line))
    for caution in walk_cautions(walk):
        style = "bold red" if caution.grave else "yellow"
        console.print(Text.assemble(("! ", style), caution.text))
    console.print(Text("Paper trading only, no promise of profit."))
    if (folder / PAGE).is_file():
        console.print(Text(f"Report: {folder / PAGE}"), soft_wrap=True)


def conclusions(summary: Mapping[str, Any]) -> list[str]:
    """Return in words what agent and twin, purge, books and intervals are."""
    told = []
    if pair := summary.get("twin"):
        told.append(twin_words(pair))
    told += [
        f"Agent against {name_of(row['account']).lower()}: {row['verdict']}, Sharpe ratio "
        f"{row['seeds']['difference']:+.2f}."
        for row in summary["rivals"]
        if row["verdict"] and row["account"] == summary["conventions"]["benchmark"]
    ]
    told += [
        f"Purge {summary['purge']}.",
        f"Books: {summary['books']}.",
        f"Costs: {summary['costs']}. Checkpoints: {summary['selection']}.",
        f"Numbers of the agent and its twin are interquartile means over seeds; {summary['coverage']}.",
    ]
    return told


def _accounts(summary: Mapping[str, Any]) -> "Table":
    table = _table("Account", *(COLUMNS[key] for key in SHOWN), "Sharpe, 95 %")
    for name, values in summary["accounts"].items():
        cells = [shown(values[key]["mean"], BY_KEY[key].unit) for key in SHOWN]
        learned = name in (AGENT, TWIN)
        interval = values["sharpe"]["interval"] if learned else None
        cells.append("{:.2f} to {:.2f}".format(*interval) if interval else "")
        table.add_row(_name(name), *cells, style="bold" if name == AGENT else "")
    return table


def _sweep(summary: Mapping[str, Any]) -> "Table":
    rows = summary["costs_swept"]
    costs = list(dict.fromkeys(row["bps"] for row in rows))
    table = _table("Account", *(f"{bps:g} bp" for bps in costs))
    for account in summary["accounts"]:
        found = {row["bps"]: row["sharpe"]["mean"] for row in rows if row["account"] == account}
        cells = [shown(found.get(bps), "ratio") for bps in costs]
        table.add_row(_name(account), *cells, style="bold" if account == AGENT else "")
    return table


def _name(account: str) -> str:
    from rich.markup import escape

    return escape(name_of(account))


def _table(first: str, *columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    table.add_column(first, overflow="ellipsis", no_wrap=True, max_width=22)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table
