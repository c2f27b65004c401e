"""Price tables: the cells of one file as stamps and numbers, one table per symbol. Repairs nothing.

Column names are matched without regard to case and signs. What cannot be read becomes a finding;
what was read is judged by engine.data.rows.
"""

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.bars import CLOSE, VOLUME
from engine.data import cells, sheets
from engine.data.findings import CLEAN_REMEDY, Finding, place, refuse
from engine.errors import DataError

FIELDS = ("open", "high", "low", "close", "volume")
_NAMES = {
    "stamp": ("date", "datetime", "timestamp", "time", "session", "day"),
    "open": ("open",),
    "high": ("high",),
    "low": ("low",),
    "close": ("close",),
    "volume": ("volume", "vol"),
    "adjusted": ("adjclose", "adjustedclose"),
    "dividend": ("dividend", "dividends", "exdividend", "dividendamount", "divcash"),
    "split": ("split", "splits", "stocksplit", "stocksplits", "splitratio", "splitfactor"),
    "symbol": ("symbol", "ticker"),
    "ignored": ("adjopen", "adjhigh", "adjlow", "adjvolume", "capitalgains", "vwap", "tradecount"),
}
_ROLE = {name: role for role, names in _NAMES.items() for name in names}


@dataclass(frozen=True, slots=True)
class Table:
    """One symbol's rows as they stand in one file.

    Shapes: `lines` (n,), `stamps` (n,) datetime64[s] in New York time (or the file's own), NaT
    where
    unreadable; `ohlcv` (n, 5), NaN where empty; `adjusted`, `dividend`, `split` (n,) or None where
    the
    file has no such column. `faults` = what could not be read.
    """

    file: str
    symbol: str
    lines: np.ndarray
    stamps: np.ndarray
    ohlcv: np.ndarray
    adjusted: np.ndarray | None = None
    dividend: np.ndarray | None = None
    split: np.ndarray | None = None
    faults: tuple[Finding, ...] = ()
    lean: bool = False

    @property
    def days(self) -> np.ndarray:
        """The date of every row. Shapes: (n,) datetime64[D]."""
        return self.stamps.astype("datetime64[D]")

    def take(self, rows: np.ndarray) -> "Table":
        """Return these rows only (indices or mask)."""

        def cut(values: np.ndarray | None) -> np.ndarray | None:
            return None if values is None else values[rows]

        return replace(
            self,
            lines=self.lines[rows],
            stamps=self.stamps[rows],
            ohlcv=self.ohlcv[rows],
            adjusted=cut(self.adjusted),
            dividend=cut(self.dividend),
            split=cut(self.split),
        )

    def closes_only(self, adjusted: bool) -> "Table":
        """Return rows whose four prices are all the close, or the adjusted close; no event is left.

        Raises: DataError where there is no adjusted close.
        """
        close = self.adjusted if adjusted else self.ohlcv[:, CLOSE]
        if close is None:
            raise DataError(
                f"{self.file}: expected a column of adjusted closes, found none; "
                'use data.prices = "close"'
            )
        ohlcv = np.column_stack([close, close, close, close, self.ohlcv[:, VOLUME]])
        return replace(self, ohlcv=ohlcv, adjusted=None, dividend=None, split=None)


def read(path: Path, symbol: str | None = None) -> tuple[Table, ...]:
    """Read a file into one table per symbol; `symbol` is for a file without a symbol column.

    Raises: DataError where the file cannot be read or its columns are not those of prices.
    """
    return from_sheet(sheets.read(path), symbol or sheets.stem(path))


def symbol_of(path: Path) -> str:
    """Tell whose prices a file holds by its name: AAPL.csv, AAPL_2012-1-1.csv, aapl/20140609_trade.zip."""
    if re.match(r"^\d{8}_", path.name):
        return path.parent.name.upper()
    return re.split(r"_(?=\d)", sheets.stem(path))[0]


def from_sheet(sheet: sheets.Sheet, symbol: str) -> tuple[Table, ...]:
    """Turn the cells of a file into tables, one per symbol, in order of first appearance."""
    if "bid open" in sheet.columns:
        sides = (from_sheet(_side(sheet, side), f"{symbol} {side}") for side in ("bid", "ask"))
        return tuple(table for tables in sides for table in tables)
    roles = _roles(sheet)
    faults = _ragged(sheet, symbol)
    if len(sheet.lines) == 0:
        refuse(faults)
        raise DataError(f"{sheet.file}: the file has a header and no rows; download it again")
    stamps, trouble = cells.stamps(sheet, sheet.columns[roles["stamp"]])
    faults += trouble
    numbers: dict[str, np.ndarray] = {}
    for role in (*FIELDS, "adjusted", "dividend", "split"):
        if role in roles:
            numbers[role], trouble = cells.numbers(sheet, roles[role])
            faults += trouble
    whole = Table(
        sheet.file,
        symbol,
        sheet.lines,
        stamps,
        np.stack([numbers[f] for f in FIELDS], axis=1),
        _unless_empty(numbers.get("adjusted")),
        _unless_empty(numbers.get("dividend")),
        _unless_empty(numbers.get("split")),
        tuple(faults),
        sheet.lean,
    )
    if "symbol" not in roles:
        return (whole,)
    return _by_symbol(whole, sheet.columns[roles["symbol"]])


def _side(sheet: sheets.Sheet, side: str) -> sheets.Sheet:
    # One side of a quote file: its four prices, its size as volume.
    names = {"time": "time", f"{side} size": "volume"} | {f"{side} {p}": p for p in FIELDS[:4]}
    return replace(sheet, columns={new: sheet.columns[old] for old, new in names.items()})


def _roles(sheet: sheets.Sheet) -> dict[str, str]:
    roles: dict[str, str] = {}
    for name in sheet.columns:
        role = _ROLE.get(re.sub(r"[^a-z]", "", name.lower()))
        if role is None:
            raise DataError(_unknown(sheet.file, name))
        if role != "ignored" and role in roles:
            raise DataError(
                f"{sheet.file}: columns {roles[role]!r} and {name!r} both mean {role}; "
                "remove one of them"
            )
        roles[role] = name
    missing = [r for r in ("stamp", *FIELDS) if r not in roles]
    if missing:
        wanted = "a date" if missing[0] == "stamp" else missing[0]
        raise DataError(
            f"{sheet.file}: expected a column for {wanted}, found "
            f"{', '.join(sheet.columns)}; add the column or rename the one that holds it"
        )
    return roles


def _unknown(file: str, name: str) -> str:
    near = difflib.get_close_matches(re.sub(r"[^a-z]", "", name.lower()), _ROLE, 1)
    hint = (
        f'rename it to "{near[0]}" if that is meant, or remove it'
        if near
        else "remove or rename it"
    )
    return f"{file}: unknown column {name!r}; {hint}"


def _ragged(sheet: sheets.Sheet, symbol: str) -> list[Finding]:
    if not sheet.ragged:
        return []
    found = f"a row does not have the {len(sheet.columns)} cells of the header"
    return [
        Finding(sheet.file, symbol, "ragged_row", "error", found, CLEAN_REMEDY, rows=sheet.ragged)
    ]


def _unless_empty(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None or np.isnan(values).all() else values


def _by_symbol(whole: Table, named: Any) -> tuple[Table, ...]:
    symbols = np.array([str(cell).strip().upper() for cell in named])
    empty = np.where(symbols == "")[0]
    if len(empty):
        line = whole.lines[empty[0]]
        raise DataError(
            f"{place(whole.file, line)}: expected a symbol, found nothing; write it there"
        )
    names, first = np.unique(symbols, return_index=True)
    tables = []
    for name in names[np.argsort(first)]:
        part = whole.take(symbols == name)
        lines = {int(line) for line in part.lines}
        faults = tuple(f for f in whole.faults if lines & set(f.rows) or f.kind == "ragged_row")
        tables.append(replace(part, symbol=str(name), faults=faults))
    return tuple(tables)
