"""Read one file of prices as it is: names of columns, cells, line numbers. Judges no value.

Formats: CSV with a header (plain, .gz, or zipped), the three header lines that yfinance writes,
Parquet, and the headerless zips of LEAN, which hold integers x 10,000 and New York time.
"""

import csv
import gzip
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import DataError

SUFFIXES = (".csv", ".csv.gz", ".zip", ".parquet")
_LEAN_ROW = re.compile(r"^(\d{8} \d\d:\d\d|\d{1,8})$")
_LEAN_SCALE = 10_000.0
_PARTS = ("open", "high", "low", "close")
_YFINANCE = ["Price", "Ticker", "Date"]  # first cells of its header lines, fields above tickers


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file, unjudged.

    `columns` name -> cells (text from CSV, numbers or times from Parquet); `lines` (n,) counted
    from 1 in
    the file; `ragged` = lines that do not have as many cells as the header.
    """

    file: str
    columns: dict[str, Any]
    lines: np.ndarray
    ragged: tuple[int, ...] = ()
    lean: bool = False


def read(path: Path) -> Sheet:
    """Read one file.

    Raises: DataError where the file is missing, empty, unreadable or of an unknown kind.
    """
    name = path.name.lower()
    if not path.is_file():
        raise DataError(f"{path}: no such file; check data.path")
    if not name.endswith(SUFFIXES):
        raise DataError(f"{path}: expected one of {', '.join(SUFFIXES)}; convert the file first")
    try:
        if name.endswith(".parquet"):
            return _parquet(path)
        return _delimited(path, list(_csv_rows(path)))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text: {error}; save it as UTF-8") from error
    except (OSError, EOFError, csv.Error, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read: {error}; download the file again") from error


def stem(path: Path) -> str:
    """Return the symbol a file name stands for: its name without the endings, in capitals."""
    name = path.name
    for suffix in SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)].upper()
    return path.stem.upper()


def _csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    with _open_text(path) as lines:
        reader = csv.reader(lines)
        for cells in reader:
            yield reader.line_num, cells


def _open_text(path: Path) -> io.TextIOBase:
    if path.name.lower().endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    if path.name.lower().endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.namelist() if not m.endswith("/")]
            if len(members) != 1:
                raise DataError(
                    f"{path}: expected one file in the zip, found {len(members)}; unpack it"
                )
            return io.StringIO(archive.read(members[0]).decode("utf-8-sig"), newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _delimited(path: Path, rows: list[tuple[int, list[str]]]) -> Sheet:
    rows = [(line, cells) for line, cells in rows if cells]  # wholly blank lines carry nothing
    if not rows:
        raise DataError(f"{path}: the file is empty; download it again")
    if path.name.lower().endswith(".zip") and _LEAN_ROW.match(rows[0][1][0].strip()):
        return _lean(path, rows)
    if [cells[0].strip() for _, cells in rows[:3]] == _YFINANCE:
        rows = _stacked(rows)
    header = [cell.strip() for cell in rows[0][1]]
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise DataError(
            f"{path}, line 1: expected commas between cells; write the file with commas"
        )
    if all(re.fullmatch(r"[-+.\d: ]*", cell) for cell in header):
        raise DataError(
            f"{path}, line 1: expected column names (Date, Open, High, Low, Close, Volume), found "
            f"numbers: {', '.join(header)}; write a header line"
        )
    good, ragged = [], []
    for line, cells in rows[1:]:
        if len(cells) == len(header):
            good.append((line, cells))
        else:
            ragged.append(line)
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}, line 1: column {twice[0]!r} appears twice; remove one of them")
    cells_of = list(zip(*(cells for _, cells in good), strict=True)) or [()] * len(header)
    lines = np.array([line for line, _ in good], dtype=np.int64)
    return Sheet(str(path), dict(zip(header, cells_of, strict=True)), lines, tuple(ragged))


def _stacked(rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    # Fields above tickers, a column for each pair, become a column for each field and one of tickers.
    # A ticker has no row where all its cells are empty: that day is another's.
    (first, fields), (_, tickers), _, *days = rows
    places: dict[str, dict[str, int]] = {}
    for at, (field, ticker) in enumerate(zip(fields[1:], tickers[1:], strict=False), start=1):
        places.setdefault(ticker.strip(), {})[field.strip()] = at
    names = sorted({name for own in places.values() for name in own})
    if len(fields) != len(tickers) or len(places) * len(names) != len(fields) - 1:
        return rows  # not what it looked like: judged as it stands
    whole = [(line, cells) for line, cells in days if len(cells) == len(fields)]
    ragged: list[tuple[int, list[str]]] = [(line, []) for line, c in days if len(c) != len(fields)]
    found = [
        (line, [cells[0], ticker, *(cells[own[name]] for name in names)])
        for ticker, own in places.items()
        for line, cells in whole
    ]
    own_days = [(line, cells) for line, cells in found if any(cell.strip() for cell in cells[2:])]
    return [(first, ["Date", "Ticker", *names]), *own_days, *ragged]


def _lean(path: Path, rows: list[tuple[int, list[str]]]) -> Sheet:
    width = len(rows[0][1])
    if width not in (6, 11):
        raise DataError(f"{path}, line 1: expected 6 or 11 cells (LEAN), found {width}")
    ragged = tuple(line for line, cells in rows if len(cells) != width)
    good = [(line, cells) for line, cells in rows if len(cells) == width]
    cells_of = list(zip(*(cells for _, cells in good), strict=True))
    columns: dict[str, Any] = {"time": _lean_times(path, cells_of[0])}
    if width == 6:
        names: tuple[str, ...] = (*_PARTS, "volume")
    else:  # quotes: bid bars, then ask bars
        names = (
            *(f"bid {p}" for p in _PARTS),
            "bid size",
            *(f"ask {p}" for p in _PARTS),
            "ask size",
        )
    for name, cells in zip(names, cells_of[1:], strict=True):
        scale = 1.0 if name.endswith(("volume", "size")) else _LEAN_SCALE
        columns[name] = np.array([float(c) if c else np.nan for c in cells]) / scale
    return Sheet(str(path), columns, np.array([line for line, _ in good]), ragged, lean=True)


def _lean_times(path: Path, cells: tuple[str, ...]) -> Any:
    if " " in cells[0]:
        return cells
    day = re.match(r"^(\d{8})_", path.name)
    if day is None:
        raise DataError(f"{path}: LEAN minute files are named YYYYMMDD_trade.zip; rename the file")
    text = day.group(1)
    midnight = np.datetime64(f"{text[:4]}-{text[4:6]}-{text[6:]}", "ms")
    return midnight + np.array([int(c) for c in cells], dtype="timedelta64[ms]")


def _parquet(path: Path) -> Sheet:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}; write it again") from error
    columns = {name: _arrow_cells(table.column(name)) for name in table.column_names}
    return Sheet(str(path), columns, np.arange(1, table.num_rows + 1))


def _arrow_cells(column: Any) -> Any:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        texts = column.cast(pa.timestamp("us", tz="UTC")).to_pylist()
        return tuple("" if t is None else t.isoformat() for t in texts)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return tuple("" if t is None else str(t) for t in column.to_pylist())
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return tuple("" if t is None else str(t) for t in column.to_pylist())
