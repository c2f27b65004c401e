"""Factor and map files of the LEAN format: what stands beside its headerless price zips.

A factor row is date, price factor, split factor, reference close; a bar takes the first row whose date is
not before its own, and adjusted = raw x price factor x split factor. A map row is date, ticker: the
security traded under that ticker through that date. A zip follows a ticker, not a security.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from engine.data import adjustment
from engine.errors import DataError

_NEAR = 5e-3  # files round a split factor of 4 to 4.006
_GENERATIONS = ("", ".1")  # aaa.csv is today's holder of the ticker, aaa.1.csv the one before


@dataclass(frozen=True, slots=True)
class Told:
    """What the files beside a zip tell about its bars.

    Shapes: `owner` (n,) int: which security a bar belongs to, -1 where no map file claims it;
    `known` (n,) bool: a factor file covers the bar.
    """

    owner: np.ndarray
    known: np.ndarray
    events: adjustment.Events


def beside(file: Path, days: np.ndarray, close: np.ndarray) -> Told | None:
    """Read the map and factor files of a price zip; None where there are none.

    Shapes: `days` and `close` (n,), one bar a session, in rising order.
    """
    told = Told(np.full(len(days), -1), np.zeros(len(days), dtype=bool), adjustment.none(len(days)))
    folder, found = file.parent.parent, False
    for number, suffix in enumerate(_GENERATIONS):
        name = f"{file.stem.lower()}{suffix}.csv"
        mine = _claimed(folder / "map_files" / name, file.stem.lower(), days)
        factors = folder / "factor_files" / name
        found |= mine is not None or factors.is_file()
        mine = np.full(len(days), not suffix and factors.is_file()) if mine is None else mine
        told.owner[mine] = number
        if factors.is_file() and mine.any():
            told.known[mine] = True
            events = _events(factors, days[mine], close[mine])
            told.events.split[mine] = events.split
            told.events.dividend[mine] = events.dividend
    return told if found else None


def _claimed(path: Path, ticker: str, days: np.ndarray) -> np.ndarray | None:
    # Which days the security of this map file traded under the ticker: (n,) bool.
    if not path.is_file():
        return None
    rows = _rows(path)
    mine = np.zeros(len(days), dtype=bool)
    for before, row in pairwise(rows):
        if row[1][0] == ticker:
            first = before[0] + (0 if before is rows[0] else 1)
            mine |= (days >= first) & (days <= row[0])
    return mine


def _events(path: Path, days: np.ndarray, close: np.ndarray) -> adjustment.Events:
    # A split that is nearly a simple ratio is taken as that ratio; a dividend is the cash that gives
    # the same total return.
    rows = _rows(path)
    try:
        price, split = (np.array([float(cells[i]) for _, cells in rows]) for i in (0, 1))
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{path}: expected date,price factor,split factor: {error}; mend it"
        ) from error
    last = np.array([day for day, _ in rows], dtype="datetime64[D]")
    row = np.minimum(np.searchsorted(last, days), len(last) - 1)
    out = adjustment.none(len(days))
    ratio = split[row[1:]] / split[row[:-1]]
    for t in np.where(np.abs(ratio - 1.0) > adjustment.STEP)[0]:
        out.split[t + 1] = adjustment.simple_ratio(ratio[t], _NEAR) or ratio[t]
    step = price[row[1:]] / price[row[:-1]]
    out.dividend[1:] = np.where(step > 1.0 + adjustment.STEP, close[1:] * (step - 1.0), 0.0)
    return out


def _rows(path: Path) -> list[tuple[np.datetime64, list[str]]]:
    # The day and the other cells of every line.
    found: list[tuple[np.datetime64, list[str]]] = []
    try:
        for line in path.read_text(encoding="utf-8").split():
            day, *cells = line.split(",")
            found.append((np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}", "D"), cells))
    except ValueError as error:
        raise DataError(
            f"{path}: expected lines of date,value,...: {error}; mend or remove it"
        ) from error
    return found
