"""Repairs of a price file, on request: each one listed, the original untouched, nothing guessed.

Sorts, drops identical copies, keeps the row with volume of two that disagree, drops rows without prices
and rows on closed days, and clamps open and close into [low, high] only when asked. What is still wrong
after that is refused, and nothing is written.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.bars import HIGH, LOW, VOLUME
from engine.data import rows, sheets, tables
from engine.data.findings import place, refuse
from engine.data.tables import Table
from engine.errors import DataError, UsageError

_DROPPED = ("ragged_row", "unreadable_stamp", "not_a_number")  # found in reading, gone by now


@dataclass(frozen=True, slots=True)
class Repair:
    """One thing that was changed: which line of the original file, which date, what was done."""

    file: str
    symbol: str
    kind: str
    row: int
    day: str
    message: str

    def text(self) -> str:
        """Say it in one line."""
        return f"{place(self.file, self.row, self.day)}: {self.message}"


def clean_file(
    path: Path, out: Path, *, calendar: str = "XNYS", clamp: bool = False
) -> list[Repair]:
    """Write a repaired copy of `path` that loads strictly, and list every repair.

    Raises: UsageError where `out` exists, is no .csv or has no folder to go to; DataError where
    something is left that no repair may decide.
    """
    if out.exists():
        raise UsageError(f"{out} exists; choose another name, nothing is overwritten")
    if out.suffix.lower() != ".csv":
        raise UsageError(f"{out}: expected a name ending in .csv")
    if not out.parent.is_dir():
        raise UsageError(f"{out}: there is no folder {out.parent}; make it first")
    sheet = sheets.read(path)
    found = tables.from_sheet(sheet, tables.symbol_of(path))
    repairs = [
        Repair(
            sheet.file, found[0].symbol, "dropped", n, "?", "dropped: not as many cells as columns"
        )
        for n in sheet.ragged
    ]
    cleaned = []
    for table in found:
        table, done = repair(table, calendar, clamp)
        if len(table.lines) == 0:
            raise DataError(f"{path}: no row of {table.symbol} is left after the repairs")
        refuse([f for f in rows.judge(table) if f.kind not in _DROPPED])
        if not rows.is_foreign(table, calendar):
            refuse(rows.closed_finding(table, calendar))
        cleaned.append(table)
        repairs += done
    _write(cleaned, out)
    return repairs


def repair(table: Table, calendar: str, clamp: bool = False) -> tuple[Table, list[Repair]]:
    """Return the rows that can be used, in order, and what was done to get there."""
    repairs: list[Repair] = []

    def drop(kind: str, gone: np.ndarray, message: str) -> Table:
        texts = [f"{message}{_lost(table, i)}" for i in np.where(gone)[0]]
        repairs.extend(_each(table, kind, np.where(gone)[0], texts))
        return table.take(~gone)

    table = drop("unreadable", np.isnat(table.stamps), "dropped: the date cannot be read")
    table = drop("nan", np.isnan(table.ohlcv).any(axis=1), "dropped: prices or volume are missing")
    order = np.argsort(table.stamps, kind="stable")
    moved = np.where(table.stamps[1:] < table.stamps[:-1])[0] + 1
    repairs += _each(table, "sorted", moved, ["moved: it stood before its date"] * len(moved))
    table = table.take(order)
    table = drop("duplicate", rows.copies(table)[0], "dropped: an identical copy of another row")
    table = drop("conflict", _without_volume(table), "dropped: another row of that date has volume")
    if calendar != "none" and not rows.is_foreign(table, calendar):
        closed = np.isin(np.arange(len(table.lines)), rows.closed_days(table, calendar))
        table = drop("closed_day", closed, f"dropped: {calendar} was closed that day")
    if clamp:
        table = _clamp(table, repairs)
    return table, repairs


def _without_volume(table: Table) -> np.ndarray:
    # Rows to drop where one date has several rows and exactly one of them has volume.
    gone = np.zeros(len(table.lines), dtype=bool)
    again = np.unique(table.stamps[1:][table.stamps[1:] == table.stamps[:-1]])
    for stamp in again:
        same = np.where(table.stamps == stamp)[0]
        full = table.ohlcv[same, VOLUME] > 0
        if full.sum() == 1:
            gone[same[~full]] = True
    return gone


def _clamp(table: Table, repairs: list[Repair]) -> Table:
    at = np.where(rows.outside(table.ohlcv) | (table.ohlcv[:, HIGH] < table.ohlcv[:, LOW]))[0]
    if len(at) > rows.HALF_ADJUSTED * len(table.lines):
        raise DataError(
            f"{table.file}: {len(at):,} of {len(table.lines):,} bars have open or close outside "
            "[low, high]: adjusted in part, not dirty; use its close alone, or another file"
        )
    table.ohlcv[at, HIGH] = table.ohlcv[at, :VOLUME].max(axis=1)
    table.ohlcv[at, LOW] = table.ohlcv[at, :VOLUME].min(axis=1)
    texts = ["clamped: high and low moved to hold open and close"] * len(at)
    repairs += _each(table, "clamped", at, texts)
    return table


def _each(table: Table, kind: str, at: np.ndarray, texts: list[str]) -> list[Repair]:
    days = rows.when(table, at)
    return [
        Repair(table.file, table.symbol, kind, int(table.lines[i]), day, text)
        for i, day, text in zip(at, days, texts, strict=True)
    ]


def _lost(table: Table, i: int) -> str:
    parts = (("dividend", table.dividend, 0.0), ("split", table.split, 1.0))
    lost = [f"{n} {v[i]:g}" for n, v, none in parts if v is not None and v[i] not in (0.0, none)]
    lost = [text for text in lost if not text.endswith("nan")]
    return f"; its {' and '.join(lost)} went with it" if lost else ""


def _write(cleaned: list[Table], out: Path) -> None:
    extra = [
        (name, role)
        for name, role in (
            ("Adj Close", "adjusted"),
            ("Dividends", "dividend"),
            ("Stock Splits", "split"),
        )
        if all(getattr(t, role) is not None for t in cleaned)
    ]
    many = len(cleaned) > 1
    header = ["Symbol"] * many + ["Date", "Open", "High", "Low", "Close", "Volume"]
    with out.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header + [name for name, _ in extra])
        for table in cleaned:
            stamps = rows.when(table, np.arange(len(table.lines)))
            columns = [table.ohlcv, *(getattr(table, role)[:, None] for _, role in extra)]
            for stamp, cells in zip(stamps, np.concatenate(columns, axis=1).tolist(), strict=True):
                writer.writerow([table.symbol] * many + [stamp] + [repr(c) for c in cells])
