"""A run folder: which files a run leaves behind, how they are written and read. Nothing else does.

JSON parts: settings, versions, data, metrics, summary. Tables are CSV, in long form unless noted:
  equity    session, agent, <baseline>...       wide; dollars at the close, first row = start
  exposure  session, gross, net, <symbol>...    wide; value / equity at the close
  bars      session, symbol, open, high, low, close, traded     raw prices, dollars
  trades    session, symbol, qty, price, fee, slippage [, regulatory]   the agent's fills
            (see engine.round_trips.Fills for what counts as one)
  events    session, symbol, split, dividend    splits and dividends of the period
  refusals  session, symbol, reason, qty        orders refused or cut, in words; qty is what was
            refused, for a cut what was ordered all the same
  actions   session, symbol, exposure, keep, target, reasons     what the agent asked for
It knows what the columns are, not what they mean for a page.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import DataError
from engine.files import atomic, put_text

Table = dict[str, np.ndarray]
Columns = Mapping[str, np.ndarray | Sequence[Any]]

PAGE = "report.html"
JSON_PARTS = ("settings", "versions", "data", "metrics", "summary")
TABLES: dict[str, tuple[str, ...]] = {
    "equity": ("session", "agent"),
    "exposure": ("session", "gross", "net"),
    "bars": ("session", "symbol", "open", "high", "low", "close", "traded"),
    "trades": ("session", "symbol", "qty", "price", "fee", "slippage"),
    "events": ("session", "symbol", "split", "dividend"),
    "refusals": ("session", "symbol", "reason", "qty"),
    "actions": ("session", "symbol", "exposure", "keep", "target", "reasons"),
}
_KINDS = {
    "session": "datetime64[D]",
    "symbol": "str",
    "reason": "str",
    "reasons": "str",
    "keep": "bool",
    "traded": "bool",
}


@dataclass(frozen=True)
class Run:
    """What was read from a run folder. A table that is absent is empty and named in `missing`."""

    path: Path
    settings: dict[str, Any]
    versions: dict[str, Any]
    data: dict[str, Any]
    metrics: dict[str, Any]
    summary: dict[str, Any]
    equity: Table
    exposure: Table
    bars: Table
    trades: Table
    events: Table
    refusals: Table
    actions: Table
    missing: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class RunFolder:
    """A folder that one run writes into, part by part; every file appears whole or not at all."""

    path: Path

    def write(self, **parts: Mapping[str, Any]) -> None:
        """Write the named parts: a mapping for JSON, columns by name for a table.

        Text, numbers, booleans and dates only. NaN in a table becomes an empty cell; in JSON it is
        refused. Raises: DataError on an unknown part, a missing column, columns of unequal length.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for name, content in parts.items():
            if name in JSON_PARTS:
                write_json(self.path / f"{name}.json", content)
            elif name in TABLES:
                write_table(self.path / f"{name}.csv", content, TABLES[name])
            else:
                known = ", ".join((*JSON_PARTS, *TABLES))
                raise DataError(f"run folder {self.path}: no part named {name!r}; known: {known}")

    def read(self) -> Run:
        """Read everything that is there. Raises: DataError on a missing folder or a broken file."""
        if not (self.path / "equity.csv").is_file():
            raise DataError(
                f"{self.path}: not a run folder, equity.csv is missing; "
                "name a folder that `barwise backtest`, `demo`, `walkforward`, `retrain` or `paper "
                "compare` wrote"
            )
        found: dict[str, Any] = {name: self._read_json(name) for name in JSON_PARTS}
        found |= {name: self._read_table(name) for name in TABLES}
        missing = tuple(name for name, content in found.items() if content is None)
        for name in missing:
            found[name] = {} if name in JSON_PARTS else _empty(name)
        return Run(path=self.path, missing=missing, **found)

    def part(self, name: str) -> Any:
        """Read one part: a mapping for JSON, a table. Raises: DataError where it is missing."""
        found = self._read_json(name) if name in JSON_PARTS else self._read_table(name)
        if found is None:
            kind = "json" if name in JSON_PARTS else "csv"
            raise DataError(f"{self.path}: {name}.{kind} is missing; run it again, or resume it")
        return found

    def _read_json(self, name: str) -> Any:
        path = self.path / f"{name}.json"
        if not path.is_file():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError) as error:
            raise DataError(f"{path}: cannot be read as JSON: {error}; run it again") from error
        if not isinstance(content, dict):
            raise DataError(f"{path}: expected a JSON object, found {type(content).__name__}")
        return content

    def _read_table(self, name: str) -> Table | None:
        path = self.path / f"{name}.csv"
        if not path.is_file():
            return None
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        header = rows[0] if rows else []
        lacking = [key for key in TABLES[name] if key not in header]
        if lacking:
            raise DataError(f"{path}: column {', '.join(lacking)} is missing, found {header}")
        for number, row in enumerate(rows[1:], start=2):
            if len(row) != len(header):
                raise DataError(f"{path}, row {number}: expected {len(header)} cells, found {row}")
        cells = list(zip(*rows[1:], strict=True)) or [()] * len(header)
        return {key: _column(path, key, cells[i]) for i, key in enumerate(header)}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as JSON, whole or not at all. Raises: DataError on NaN or a strange type."""
    try:
        text = json.dumps(content, indent=2, allow_nan=False, default=_plain)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: cannot be written: {error}") from error
    put_text(path, text + "\n")


def write_table(path: Path, content: Columns, needed: Sequence[str] = ()) -> None:
    """Write columns of one length as CSV; NaN becomes an empty cell.

    Raises: DataError on a column of `needed` that is missing, or columns of unequal length.
    """
    columns = {key: np.asarray(values) for key, values in content.items()}
    lacking = [key for key in needed if key not in columns]
    lengths = {key: len(values) for key, values in columns.items()}
    if lacking or len(set(lengths.values())) > 1:
        raise DataError(
            f"{path}: expected columns {', '.join(needed) or 'of any name'} of one "
            f"length, found lengths {lengths}; missing: {', '.join(lacking) or 'none'}"
        )
    with atomic(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(_cells(values) for values in columns.values()), strict=True))


def stacked(
    sessions: np.ndarray, symbols: Sequence[str], where: np.ndarray | None = None, **fields: Any
) -> Table:
    """Turn arrays over sessions and symbols into a table in long form.

    Shapes: `where` and every field (T, N); rows where `where` is false are left out. Oldest first.
    """
    shape = (len(sessions), len(symbols))
    chosen = np.ones(shape, dtype=bool) if where is None else np.asarray(where, dtype=bool)
    rows, columns = np.nonzero(chosen)
    table: Table = {
        "session": np.asarray(sessions, dtype="datetime64[D]")[rows],
        "symbol": np.asarray(list(symbols), dtype=str)[columns],
    }
    return table | {key: np.broadcast_to(value, shape)[chosen] for key, value in fields.items()}


def _plain(value: Any) -> Any:
    # numpy scalars and arrays, dates and paths; everything else is the caller's mistake.
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "M":
        return value.tolist()
    if isinstance(value, np.datetime64 | Path) or hasattr(value, "isoformat"):
        return str(value)
    raise TypeError(f"expected text, numbers, lists and mappings, found {value!r}")


def _cells(values: np.ndarray) -> list[Any]:
    if values.dtype.kind == "f":
        return ["" if value != value else repr(value) for value in values.tolist()]
    if values.dtype.kind == "b":
        return [int(value) for value in values]
    return [str(value) for value in values]


def _column(path: Path, key: str, cells: Sequence[str]) -> np.ndarray:
    known = (
        key in TABLES[path.stem]
    )  # in a wide table, other columns are named by symbols and curves
    kind = _KINDS.get(key, "float64") if known else "float64"
    try:
        if kind == "float64":
            return np.array([float(cell or "nan") for cell in cells], dtype=np.float64)
        if kind == "bool":
            return np.array([bool(int(cell)) for cell in cells], dtype=bool)
        return np.array(cells, dtype=kind)
    except ValueError as error:
        raise DataError(f"{path}, column {key}: {error}; run it again or mend the file") from error


def _empty(name: str) -> Table:
    return {key: np.empty(0, dtype=_KINDS.get(key, "float64")) for key in TABLES[name]}
