"""The page of a comparison, and the same in a terminal: one row a run or one column, no best run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.account import Conventions
from engine.files import put_text
from engine.metrics import BY_KEY
from engine.paired import EQUAL
from engine.report.cautions import Caution
from engine.report.charts import curve_data
from engine.report.compare import PAPER, UNKNOWN, VALIDATED, WALK, Comparison, setting_rows
from engine.report.formats import NOT_AVAILABLE, definition, shown
from engine.report.shell import fill
from engine.report.terminal import terminal
from engine.report.walk_sections import span_of

if TYPE_CHECKING:
    from rich.console import Console

SHARED = (
    "total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar", "psr",
    "autocorrelation",
)  # fmt: skip
WHOLE = ("gross_exposure", "turnover", "trades", "hit_rate", "total_costs")
HARMLESS = ("sessions",)  # differ with the dates


def write_compare(comparison: Comparison, path: Path) -> Path:
    """Write the page of a comparison and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return put_text(path, render(comparison))


def render(comparison: Comparison) -> str:
    """Return the whole page."""
    return fill("compare.html.j2", _content(comparison), _drawn(comparison))


def compare_cautions(comparison: Comparison) -> list[Caution]:
    """Return what keeps the runs from being compared, then what each run warns of."""
    found, unknown = list[Caution](), dict[str, list[str]]()
    for name, values in comparison.differences:
        pairs = list(zip(comparison.entries, values, strict=True))
        if len(set(values) - {UNKNOWN}) > 1 and name not in HARMLESS:
            told = "; ".join(f"{entry.name}: {value}" for entry, value in pairs)
            text = f"Not comparable as they stand, different {name}. {told}."
            found.append(Caution(text, grave=True))
        for entry in (entry for entry, value in pairs if value == UNKNOWN):
            unknown.setdefault(entry.name, []).append(name)
    for name, facts in unknown.items():
        text = f"Perhaps not comparable: of {name}, {', '.join(facts)} are not known."
        found.append(Caution(text))
    for pair in comparison.pairs:
        if pair["same"]:
            text = f"{pair['run']} and {pair['against']} are identical on these sessions."
            found.append(Caution(text, grave=True))
    for entry in comparison.entries:
        found += [Caution(f"{entry.name}: {text}") for text in entry.warnings]
        if entry.kind == VALIDATED:
            text = f"{entry.name} was chosen on these very sessions: its numbers promise too much."
            found.append(Caution(text, grave=True))
    return sorted(found, key=lambda caution: not caution.grave)


def sentence(pair: dict[str, Any]) -> str:
    """Return in words how a run stands against the first, from the interval alone."""
    if pair["over_dates"] is None:
        return f"{pair['run']} against {pair['against']}: cannot be told, {pair['why']}."
    found = pair["over_dates"]
    low, high = found.interval
    word = "no evidence of a difference" if pair["verdict"] == EQUAL else f"{pair['verdict']}"
    return (
        f"{pair['run']} against {pair['against']}: {word}, Sharpe ratio {found.sharpe:+.2f}, "
        f"95 % interval {low:+.2f} to {high:+.2f} over {found.bars:,} bars."
    )


def _content(comparison: Comparison) -> dict[str, Any]:
    entries, days = comparison.entries, comparison.sessions
    names = [entry.name for entry in entries]
    return {
        "title": " and ".join(names) if len(names) == 2 else f"{len(names)} runs compared",
        "facts": [
            ("Sessions in common", f"{days[0]} to {days[-1]}, {len(days) - 1:,} bars"),
            *((entry.name, _about(entry.kind, entry.about)) for entry in entries),
        ],
        "verdict": " ".join(sentence(pair) for pair in comparison.pairs[:2]),
        "cautions": compare_cautions(comparison),
        "accounts": [(name, "agent" if at == 0 else "other") for at, name in enumerate(names)],
        "key_rows": metric_rows(comparison),
        "pairs": pair_rows(comparison),
        "first": names[0],
        "heads": ["What", *names],
        "differences": [[name, *values] for name, values in comparison.differences],
        "settings": [list(row) for row in setting_rows(entries)],
        "limit": 0,
    }


def _about(kind: str, about: str) -> str:
    return f"{kind}, {about}" if about else kind


def metric_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """Return one row per metric: on the shared sessions, then over each run's own."""
    rules = {"periods": Conventions().periods}
    rows = []
    for group, keys in (("Sessions in common", SHARED), ("Each run's own sessions", WHOLE)):
        for key in keys:
            values = [
                (found if keys is SHARED else entry.whole).get(key)
                for entry, found in zip(comparison.entries, comparison.metrics, strict=True)
            ]
            told = [each[key] for each in comparison.reasons if key in each]
            reasons = told if keys is SHARED else ["not recorded by this run"]
            rows.append(
                {"name": BY_KEY[key].name, "group": group}
                | {"definition": definition(BY_KEY[key], rules)}
                | {"cells": [shown(value, BY_KEY[key].unit) for value in values]}
                | {"reasons": list(dict.fromkeys(reasons)) if None in values else []}
            )
    if any(entry.kind == WALK for entry in comparison.entries):
        rows.append(_seeds_row(comparison))
    return rows


def _seeds_row(comparison: Comparison) -> dict[str, Any]:
    cells = []
    for entry in comparison.entries:
        found = entry.over_seeds
        interval = span_of(found["interval"], "ratio") if found else ""
        text = f"{shown(found['mean'], 'ratio')} ({interval})" if found else NOT_AVAILABLE
        cells.append(text)
    told = "Interquartile mean over seeds of the Sharpe ratio, 95 % bootstrap interval."
    return {
        "name": "Sharpe ratio over seeds",
        "group": "Each run's own sessions",
        "definition": told,
        "cells": cells,
        "reasons": [] if NOT_AVAILABLE not in cells else ["not a run of several seeds"],
    }


def pair_rows(comparison: Comparison) -> list[list[str]]:
    """Return each run against the first: differences, intervals, and what they say."""
    rows = []
    for pair in comparison.pairs:
        found, seeds = pair["over_dates"], pair["over_seeds"]
        if found is None:
            rows.append([pair["run"], *[NOT_AVAILABLE] * 5, f"cannot be told: {pair['why']}"])
            continue
        numbers = [f"{found.sharpe:+.2f}", span_of(found.interval, "ratio")]
        numbers += [shown(found.mean, "percent"), span_of(found.mean_interval, "percent")]
        over = span_of(seeds.interval, "ratio") if seeds else "\u2013"
        rows.append([pair["run"], *numbers, over, pair["verdict"]])
    return rows


def _drawn(comparison: Comparison) -> dict[str, Any]:
    curves = [
        curve_data(entry.name, "agent" if at == 0 else "benchmark", curve)
        for at, (entry, curve) in enumerate(zip(comparison.entries, comparison.curves, strict=True))
    ]
    sessions = comparison.sessions.astype(str).tolist()
    return {"sessions": sessions, "curves": curves, "exposure": {}, "days": [], "prices": []} | {
        "digits": 1
    }


def print_compare(comparison: Comparison, page: Path, console: "Console | None" = None) -> None:
    """Print the comparison. Fits 100 columns with up to five runs."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    console, days = console or terminal(), comparison.sessions
    title = (
        f"{len(comparison.entries)} runs, {days[0]} to {days[-1]}, {len(days) - 1:,} bars in common"
    )
    console.print(Text(title, style="bold"))
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1))
    table.add_column("", no_wrap=True)
    for number, _ in enumerate(comparison.entries, start=1):
        table.add_column(f"run {number}", justify="right", no_wrap=True)
    for row in metric_rows(comparison):
        table.add_row(Text(row["name"]), *map(Text, row["cells"]))
    for number, entry in enumerate(comparison.entries, start=1):
        console.print(Text(f"run {number}: {entry.name} ({_about(entry.kind, entry.about)})"))
    console.print(table)
    for pair in comparison.pairs:
        console.print(Text(sentence(pair)))
    for caution in compare_cautions(comparison):
        style = "bold red" if caution.grave else "yellow"
        console.print(Text.assemble(("! ", style), caution.text))
    if any(entry.kind == PAPER for entry in comparison.entries):
        console.print(Text("Paper accounts are marked at the closes they decided on."))
    console.print(Text("Paper trading only, no promise of profit."))
    console.print(Text(f"Page: {page}"), soft_wrap=True)
