"""The same run in a terminal: one row per account, the key metrics as columns, warnings beneath."""

from pathlib import Path
from typing import TYPE_CHECKING

from engine.metrics import BY_KEY
from engine.report.cautions import cautions
from engine.report.folder import PAGE, Run, RunFolder
from engine.report.formats import plain_name, shown
from engine.report.proof import foot
from engine.report.sections import accounts

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

COLUMNS = {
    "total_return": "Return",
    "cagr": "CAGR",
    "volatility": "Vol.",
    "sharpe": "Sharpe",
    "max_drawdown": "Max DD",
    "gross_exposure": "Exposed",
    "turnover": "Turnover",
    "trades": "Trips",
    "total_costs": "Costs",
}
WIDTH = 100


def print_run(folder: Path, console: "Console | None" = None) -> None:
    """Print the table of a run folder, its warnings, and where its page lies. Fits 100 columns.

    Raises: DataError when the folder is not a run folder or a file in it is broken.
    """
    from rich.text import Text

    run, page = RunFolder(folder).read(), folder / PAGE
    console = console or terminal()
    days = run.equity["session"]
    title = run.summary.get("title") or run.summary.get("name") or run.path.name
    console.print(Text(f"{title}, {days[0]} to {days[-1]}", style="bold"))
    console.print(metric_table(run))
    for line in foot(run.summary.get("evidence")):
        console.print(Text(line))
    for caution in cautions(run):
        style = "bold red" if caution.grave else "yellow"
        console.print(Text.assemble(("! ", style), caution.text))
    console.print(Text("Paper trading only, no promise of profit."))
    if page.is_file():
        # A path is one word: wrapped, it could not be clicked or copied.
        console.print(Text(f"Report: {page}"), soft_wrap=True)


def terminal() -> "Console":
    """Return where tables are printed."""
    # Into a file or a pipe the width is ours; on a terminal it is the terminal's.
    from rich.console import Console

    return Console() if Console().is_terminal else Console(width=WIDTH)


def metric_table(run: Run) -> "Table":
    """Return the agent and its baselines as rows of a table."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    table.add_column("Account", overflow="ellipsis", no_wrap=True, max_width=22)
    for name in COLUMNS.values():
        table.add_column(name, justify="right", no_wrap=True)
    for name, values in accounts(run).items():
        cells = [shown(values.get(key), BY_KEY[key].unit) for key in COLUMNS]
        # Text, not markup: a baseline may be named [bold].
        row = [Text(plain_name(name)), *map(Text, cells)]
        table.add_row(*row, style="bold" if name == "agent" else "")
    return table
