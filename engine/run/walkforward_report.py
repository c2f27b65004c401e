"""A walk-forward in a terminal: accounts over seeds, costs swept, agent against twin, warnings."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.metrics import BY_KEY
from engine.report.formats import plain_name, shown
from engine.report.terminal import COLUMNS, terminal
from engine.run.walkforward_plan import AGENT, TWIN

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SHOWN = ("total_return", "cagr", "volatility", "sharpe", "max_drawdown", "turnover", "total_costs")
NAMES = {AGENT: "Agent", TWIN: "Twin, no memory"}


def print_walk(summary: Mapping[str, Any], folder: Path, console: "Console | None" = None) -> None:
    """Print what a walk-forward came to. Fits 100 columns."""
    from rich.text import Text

    console = console or terminal()
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
    for line in conclusions(summary):
        console.print(Text(line))
    for text in summary["warnings"]:
        console.print(Text.assemble(("! ", "yellow"), text))
    console.print(Text("Paper trading only, no promise of profit."))
    console.print(Text(f"Run folder: {folder}"), soft_wrap=True)


def conclusions(summary: Mapping[str, Any]) -> list[str]:
    """Return in words what agent and twin, purge, books and intervals are."""
    told = []
    if pair := summary.get("twin"):
        told.append(_twin(pair))
    told += [
        f"Purge {summary['purge']}.",
        f"Books: {summary['books']}.",
        f"Costs: {summary['costs']}. Checkpoints: {summary['selection']}.",
        f"Numbers of the agent and its twin are interquartile means over seeds; {summary['coverage']}.",
    ]
    return told


def _twin(pair: Mapping[str, Any]) -> str:
    if pair["verdict"] is None:
        return f"Agent against its memoryless twin: cannot be told, {pair['why']}."
    low, high = pair["interval"]
    weights = " and ".join(f"{count:,}" for count in pair["weights"].values())
    return (
        f"The agent {_VERDICTS.get(pair['verdict'], pair['verdict'])}: {pair['by']} ratio "
        f"{pair['difference']:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}, better in "
        f"{100 * pair['improvement']:.0f} % of pairs ({weights} weights)."
    )


_VERDICTS = {
    "no evidence that memory helps": "against its twin: no evidence that memory helps",
    "worse than its twin": "is worse than its twin",
}


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

    return escape(NAMES.get(account, plain_name(account)))


def _table(first: str, *columns: str) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    table.add_column(first, overflow="ellipsis", no_wrap=True, max_width=22)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table
