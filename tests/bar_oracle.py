"""The oracle of bad bars: judges an answer of tests.bad_bars row by row, without our code."""

import math
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from engine.bars import Bars
from tests.bad_bars import COLLAR, DAYS, KNOWN, NUMBERS, SYMBOLS, Trial, bars_of

NEW_YORK = ZoneInfo("America/New_York")
OPEN = {day.item() for day in DAYS}
Told = dict[tuple[str, date], list[float]]


@dataclass
class Verdict:
    """ok, retry or halt; and if ok, the new bars: {(symbol, day): five numbers}."""

    word: str
    bars: dict[tuple[str, date], list[float]] = field(default_factory=dict)
    revised: int = 0
    missing: int = 0


def judge(one: Trial, strict: bool) -> Verdict:
    """Say what must become of an answer, row by row. `strict` = the whole answer is judged.

    Without it the answer is a plain array: only its new sessions are judged, and a bar without
    volume is a bar.
    """
    if not strict and not _has_newest(one):
        return Verdict("retry")
    told = _read(one, strict)
    if told is None:
        return Verdict("halt")
    new_days = [day.item() for day in DAYS[KNOWN:]]
    if any(all((symbol, day) not in told for symbol in SYMBOLS) for day in new_days):
        return Verdict("retry")
    known = _known(one)
    if any(_absurd(one, known, told, symbol) for symbol in SYMBOLS):
        return Verdict("halt")
    new = {at: values for at, values in told.items() if at[1] in new_days}
    return Verdict("ok", new, _revised_numbers(known, told), _missing(known, new, new_days))


def _has_newest(one: Trial) -> bool:
    newest = str(DAYS[-1])
    return any(
        str(bar["t"]).startswith(newest) for rows in one.vendor.rows.values() for bar in rows
    )


def _read(one: Trial, strict: bool) -> Told | None:
    # The rows of the range, each symbol and day once; None where one of them is bad.
    told: Told = {}
    for symbol, bar in ((s, bar) for s in SYMBOLS for bar in one.vendor.rows[s]):
        day, numbers = _day(bar["t"]), [_number(bar[key]) for key in NUMBERS]
        if day is None or None in numbers:
            return None
        values = [float(x) for x in numbers if x is not None]
        if not DAYS[0].item() <= day.date() <= DAYS[-1].item():
            continue
        if strict and (day.hour or day.minute or day.date() not in OPEN):
            return None
        if (strict or day.date() >= DAYS[KNOWN].item()) and _bad(values):
            return None
        if told.setdefault((symbol, day.date()), values) != values:
            return None
    return {at: values for at, values in told.items() if not strict or values[4] != 0.0}


def _day(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text).astimezone(NEW_YORK)
    except (TypeError, ValueError):
        return None


def _number(cell: Any) -> float | None:
    if cell is None:
        return math.nan
    if isinstance(cell, bool | list):
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _bad(values: list[float]) -> bool:
    o, h, low, c, v = values
    if not all(math.isfinite(x) for x in values) or min(o, h, low, c) <= 0 or v < 0 or h < low:
        return True
    slack = 1e-6 * (1 + c)
    return max(o, c) > h + slack or min(o, c) < low - slack


def _known(one: Trial) -> dict[tuple[str, date], list[float]]:
    return {
        (symbol, DAYS[t].item()): one.known.ohlcv[t, n].tolist()
        for n, symbol in enumerate(SYMBOLS)
        for t in range(KNOWN)
    }


def _absurd(one: Trial, known: Any, told: Any, symbol: str) -> bool:
    # Shares and cash of one old share, from bar to bar.
    previous, shares, cash = None, 1.0, 0.0
    for t, stamp in enumerate(DAYS):
        day = stamp.item()
        if t >= KNOWN:
            split, dividend = one.events.get((symbol, day), (1.0, 0.0))
            shares, cash = shares * split, cash / split + dividend
        values = (known if t < KNOWN else told).get((symbol, day))
        if values is None:
            continue
        if previous is not None and t >= KNOWN:
            base = previous / shares - cash
            if base <= 0:
                return True
            moved, printed = abs(math.log(values[3] / base)), abs(math.log(values[3] / previous))
            if moved > math.log(1 + COLLAR):
                return True
            if abs(math.log(shares)) > 0.18 and moved > printed:
                return True
        previous, shares, cash = values[3], 1.0, 0.0
    return False


def _revised_numbers(known: Any, told: Any) -> int:
    pairs = [(old, told.get(at)) for at, old in known.items()]
    return sum(
        5 if new is None else sum(a != b for a, b in zip(old, new, strict=True))
        for old, new in pairs
    )


def _missing(known: Any, new: Any, days: list[date]) -> int:
    return sum((symbol, day) not in new for symbol in SYMBOLS for day in days)


def as_arrays(one: Trial) -> Bars | None:
    """Return the answer as plain arrays, unjudged; None where arrays cannot hold it."""
    ohlcv = np.full((len(DAYS), len(SYMBOLS), 5), np.nan)
    split, dividend = np.ones(ohlcv.shape[:2]), np.zeros(ohlcv.shape[:2])
    at = {day.item(): t for t, day in enumerate(DAYS)}
    taken = set()
    for n, symbol in enumerate(SYMBOLS):
        for bar in one.vendor.rows[symbol]:
            day, numbers = _day(bar["t"]), [_number(bar[key]) for key in NUMBERS]
            if day is None or day.hour or None in numbers or (n, day) in taken:
                return None
            if day.date() not in at or all(math.isnan(x) for x in numbers if x is not None):
                return None
            taken.add((n, day))
            ohlcv[at[day.date()], n] = numbers
    for (symbol, day), (ratio, dollars) in one.events.items():
        split[at[day], SYMBOLS.index(symbol)] = ratio
        dividend[at[day], SYMBOLS.index(symbol)] = dollars
    return bars_of(ohlcv, DAYS, split, dividend)
