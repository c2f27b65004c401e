"""Price tables: the cells of one file as stamps and numbers, one table per symbol. Repairs nothing.

Column names are matched without regard to case and signs. What cannot be read becomes a finding;
what was read is judged by engine.rows.
"""

import difflib
import re
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from engine import sheets
from engine.errors import DataError
from engine.findings import CLEAN_REMEDY, Finding, refuse

NEW_YORK = ZoneInfo("America/New_York")
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
    stamps, trouble = _stamps(sheet, sheet.columns[roles["stamp"]])
    faults += trouble
    numbers: dict[str, np.ndarray] = {}
    for role in (*FIELDS, "adjusted", "dividend", "split"):
        if role in roles:
            numbers[role], trouble = _numbers(sheet, roles[role])
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
    return _by_symbol(whole, np.array(sheet.columns[roles["symbol"]], dtype=str))


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
                f"{sheet.file}, line 1: columns {roles[role]!r} and {name!r} both mean {role}; "
                "remove one of them"
            )
        roles[role] = name
    missing = [r for r in ("stamp", *FIELDS) if r not in roles]
    if missing:
        wanted = "a date" if missing[0] == "stamp" else missing[0]
        raise DataError(
            f"{sheet.file}, line 1: expected a column for {wanted}, found "
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
    return f"{file}, line 1: unknown column {name!r}; {hint}"


def _ragged(sheet: sheets.Sheet, symbol: str) -> list[Finding]:
    if not sheet.ragged:
        return []
    found = f"a row does not have the {len(sheet.columns)} cells of the header"
    return [
        Finding(sheet.file, symbol, "ragged_row", "error", found, CLEAN_REMEDY, rows=sheet.ragged)
    ]


def _stamps(sheet: sheets.Sheet, cells: Any) -> tuple[np.ndarray, list[Finding]]:
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "M":
        return cells.astype("datetime64[s]"), []
    parsed = [_stamp(str(cell).strip()) for cell in cells]
    local = [None if p is None else p.astimezone(NEW_YORK) if p.tzinfo else p for p in parsed]
    stamps = np.array(
        [None if p is None else p.replace(tzinfo=None) for p in local], "datetime64[s]"
    )
    faults = []
    bad = [i for i, p in enumerate(parsed) if p is None]
    if bad:
        found = f"expected a date like 2009-01-02, found {cells[bad[0]]!r}"
        faults.append(_fault(sheet, "unreadable_stamp", found, bad, "date", str(cells[bad[0]])))
    aware = [i for i, p in enumerate(parsed) if p is not None and p.tzinfo is not None]
    if aware and len(aware) < len(parsed) - len(bad):
        odd = sorted({i for i, p in enumerate(parsed) if p is not None and p.tzinfo is None})
        few = min(odd, aware, key=len)
        found = f"some stamps carry a time zone and some do not: {cells[few[0]]!r}"
        faults.append(_fault(sheet, "mixed_time_zones", found, few, "date", str(cells[few[0]])))
    return stamps, faults


def _stamp(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _numbers(sheet: sheets.Sheet, column: str) -> tuple[np.ndarray, list[Finding]]:
    cells = sheet.columns[column]
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "f":
        return cells, []
    values = [_number(cell) for cell in cells]
    bad = [i for i, v in enumerate(values) if v is None]
    numbers = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    if not bad:
        return numbers, []
    found = f"expected a number, found {cells[bad[0]]!r}"
    return numbers, [_fault(sheet, "not_a_number", found, bad, column, str(cells[bad[0]]))]


def _number(cell: str) -> float | None:
    if not cell or cell.isspace():
        return float("nan")
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _fault(
    sheet: sheets.Sheet, kind: str, message: str, at: list[int], column: str, value: str
) -> Finding:
    rows = tuple(int(sheet.lines[i]) for i in at)
    return Finding(sheet.file, "", kind, "error", message, CLEAN_REMEDY, rows, (), column, value)


def _unless_empty(values: np.ndarray | None) -> np.ndarray | None:
    return None if values is None or np.isnan(values).all() else values


def _by_symbol(whole: Table, symbols: np.ndarray) -> tuple[Table, ...]:
    names, first = np.unique(symbols, return_index=True)
    tables = []
    for name in names[np.argsort(first)]:
        part = whole.take(symbols == name)
        lines = {int(line) for line in part.lines}
        faults = tuple(f for f in whole.faults if lines & set(f.rows) or f.kind == "ragged_row")
        tables.append(replace(part, symbol=str(name).strip().upper(), faults=faults))
    return tuple(tables)
