"""Cells of a file as stamps and numbers; what cannot be read becomes a finding, never a guess."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from engine.data.findings import CLEAN_REMEDY, Finding
from engine.data.sheets import Sheet

NEW_YORK = ZoneInfo("America/New_York")


def stamps(sheet: Sheet, cells: Any) -> tuple[np.ndarray, list[Finding]]:
    """Read stamps, in New York time where they carry a zone, and list what is wrong with them.

    Shapes: (n,) datetime64[s], NaT where unreadable.
    """
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "M":
        return cells.astype("datetime64[s]"), []
    parsed = [_stamp(str(cell).strip()) for cell in cells]
    faults = []
    bad = [i for i, (when, _) in enumerate(parsed) if when is None]
    if bad:
        found = f"expected a date like 2009-01-02, found '{cells[bad[0]]}'"
        faults.append(_fault(sheet, "unreadable_stamp", found, bad, "date", str(cells[bad[0]])))
    aware = [i for i, (_, zone) in enumerate(parsed) if zone]
    naive = [i for i, (when, zone) in enumerate(parsed) if when is not None and not zone]
    if aware and naive:
        few = min(naive, aware, key=len)
        found = f"some stamps carry a time zone and some do not: '{cells[few[0]]}'"
        faults.append(_fault(sheet, "mixed_time_zones", found, few, "date", str(cells[few[0]])))
    return np.array([when for when, _ in parsed], dtype="datetime64[s]"), faults


def numbers(sheet: Sheet, column: str) -> tuple[np.ndarray, list[Finding]]:
    """Read one column of numbers and list what is wrong with it.

    Shapes: (n,) float64, NaN where a cell is empty or unreadable.
    """
    cells = sheet.columns[column]
    if isinstance(cells, np.ndarray) and cells.dtype.kind == "f":
        return cells, []
    parsed = [_number(cell) for cell in cells]
    read = np.array([np.nan if v is None else v for v in parsed], dtype=np.float64)
    bad = [i for i, v in enumerate(parsed) if v is None]
    if not bad:
        return read, []
    found = f"expected a number, found '{cells[bad[0]]}'"
    return read, [_fault(sheet, "not_a_number", found, bad, column, str(cells[bad[0]]))]


def _stamp(text: str) -> tuple[datetime | None, bool]:
    # The local time without its zone, and whether it had one.
    try:
        when = datetime.fromisoformat(text)
        if when.tzinfo is None:
            return when, False
        return when.astimezone(NEW_YORK).replace(tzinfo=None), True
    except (ValueError, OverflowError):
        return None, False


def _number(cell: str) -> float | None:
    if not cell or cell.isspace():
        return float("nan")
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _fault(
    sheet: Sheet, kind: str, message: str, at: list[int], column: str, value: str
) -> Finding:
    rows = tuple(int(sheet.lines[i]) for i in at)
    return Finding(sheet.file, "", kind, "error", message, CLEAN_REMEDY, rows, (), column, value)
