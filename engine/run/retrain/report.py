"""A retraining in a terminal: champion, challengers and baselines, the verdict and its reasons."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.metrics import BY_KEY
from engine.report.folder import PAGE
from engine.report.formats import shown
from engine.report.retraining import CHAMPION, PICKED, SHOWN, name_of
from engine.report.retraining_sections import looks_words
from engine.report.terminal import COLUMNS, terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_retraining(
    found: Mapping[str, Any], folder: Path, console: "Console | None" = None
) -> None:
    """Print what a retraining came to. Fits 100 columns."""
    from rich.text import Text

    console = console or terminal()
    held = found["judged"] or found["segments"]["held_back"]
    title = f"{found['name']}: retraining, held back {held['start']} to {held['end']}"
    console.print(Text(title, style="bold"))
    if found["accounts"]:
        console.print(_table(found))
    for line in lines(found):
        console.print(Text(line))
    console.print(Text("Paper trading only, no promise of profit."))
    page = folder / PAGE
    told = f"Report: {page}" if page.is_file() else f"Run folder: {folder}"
    console.print(Text(told), soft_wrap=True)


def lines(found: Mapping[str, Any]) -> list[str]:
    """Return the verdict in words: who was picked and why, every rule, what became of it."""
    segments = found["segments"]
    spans = "; ".join(
        f"{name} {segments[name]['start']} to {segments[name]['end']}"
        for name in ("train", "validation")
    )
    told = [
        f"{len(found['challengers'])} challengers: {spans}. Picked seed {found['picked']} by "
        f"{found['picked_by']}, never by the held-back sessions."
    ]
    if "looks" in found:
        deflated = found["deflated_sharpe"]
        shown_as = "not known" if deflated is None else f"{deflated:.2f}"
        told.append(
            f"{looks_words(found)} Trials in the ledger {found['trials']:,}, "
            f"deflated Sharpe ratio {shown_as}."
        )
    marks = {True: "yes", False: "NO ", None: "?  "}
    told += [f"  {marks[rule['passed']]} {rule['text']}" for rule in found["rules"]]
    told += [f"! {row['error']}" for row in found["challengers"] if row.get("error")]
    return [*told, verdict(found)]


def verdict(found: Mapping[str, Any]) -> str:
    """Return one line: what was promoted, or who stays."""
    if found["promoted"]:
        refit = "" if found["scored"] else ", trained again through the newest session: not scored"
        return f"PROMOTED {found['promoted']}{refit}: it is the champion now."
    before = found["champion"]
    stays = f"the champion {before} stays" if before else "there is still no champion"
    return f"Not promoted, {stays}: {found['reason']}."


def _table(found: Mapping[str, Any]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    table.add_column("Account", overflow="ellipsis", no_wrap=True, max_width=26)
    for name in ("Validation", *(COLUMNS[key] for key in SHOWN)):
        table.add_column(name, justify="right", no_wrap=True)
    scores = {f"seed-{row['seed']}": row["validation_score"] for row in found["challengers"]}
    for name, values in found["accounts"].items():
        score = scores.get(f"seed-{found['picked']}" if name == PICKED else name)
        cells = [shown(score, "ratio") if score is not None else ""]
        cells += [shown(values[key], BY_KEY[key].unit) for key in SHOWN]
        style = "bold" if name in (PICKED, CHAMPION) else ""
        table.add_row(Text(name_of(name, found)), *map(Text, cells), style=style)
    return table
