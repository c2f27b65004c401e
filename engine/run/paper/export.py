"""The journal of a paper account as CSV tables, for a spreadsheet or a notebook."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.journal import Entry, Journal
from engine.run.console import echo
from engine.run.paper.room import JOURNAL
from engine.settings import Settings

Row = dict[str, Any]
FILL = ("session", "symbol", "qty", "price", "cid", "at")
ORDER = ("session", "cid", "status", "filled", "price", "id", "at")
DECISION = ("session", "symbol", "exposure", "keep", "target", "order", "filled", "price", "fee")
EQUITY = ("session", "equity", "venue_equity", "caught_up", "at")
EVENT = ("session", "kind", "what", "at")


def export(settings: Settings, out: Path, as_json: bool) -> dict[str, Any]:
    """Write decisions.csv, orders.csv, fills.csv, equity.csv and events.csv; return their sizes."""
    path = Path(settings.paper.state_dir) / JOURNAL
    if not path.exists():
        raise UsageError(f"{path}: no journal of a paper account; nothing to export")
    with Journal(path) as journal:
        journal.verify()
        entries = list(journal.entries())
    symbols: list[str] = next((e.body["symbols"] for e in entries if e.kind == "opened"), [])
    tables = {
        "decisions": (DECISION, _decisions(entries, symbols)),
        "orders": (ORDER, (e.body for e in _with_session(entries, "order"))),
        "fills": (FILL, (e.body for e in _with_session(entries, "fill"))),
        "equity": (EQUITY, (e.body for e in _with_session(entries, "decision"))),
        "events": (EVENT, _events(entries)),
    }
    out.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for name, (columns, rows) in tables.items():
        sizes[name] = _write(out / f"{name}.csv", columns, rows)
        if not as_json:
            echo(f"PAPER {sizes[name]:6,} rows  {out / name}.csv")
    return {"folder": str(out), "rows": sizes}


def _with_session(entries: Iterable[Entry], kind: str) -> Iterator[Entry]:
    for entry in entries:
        if entry.kind == kind:
            yield Entry(entry.number, entry.session, kind, entry.body | {"session": entry.session})


def _decisions(entries: Iterable[Entry], symbols: list[str]) -> Iterator[Row]:
    for entry in _with_session(entries, "decision"):
        body = entry.body
        orders = body["orders"] or [0.0] * len(symbols)
        for n, symbol in enumerate(symbols):
            names = ("exposure", "keep", "target", "filled", "price", "fee")
            row = {name: body[name][n] for name in names}
            yield row | {"session": entry.session, "symbol": symbol, "order": orders[n]}


def _events(entries: Iterable[Entry]) -> Iterator[Row]:
    words = {"halted": "reason", "resumed": "reason", "skipped": "why", "refused": "why",
             "missed": "why", "opened": "number", "promoted": "id", "declined": "why"}  # fmt: skip
    for entry in entries:
        if entry.kind in words:
            what = entry.body.get(words[entry.kind], "")
            row = {"session": entry.session, "kind": entry.kind, "what": what}
            yield row | {"at": entry.body.get("at", "")}


def _write(path: Path, columns: tuple[str, ...], rows: Iterable[Row]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            count += 1
    return count
