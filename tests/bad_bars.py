"""Bad bars by the thousand, and an oracle that judges them row by row without our code.

A trial is a small market over the wire: some sessions are known, the vendor is asked for all of
them and the new ones, and something may be wrong with the answer.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from engine import clock
from engine.bars import Bars
from tests.vendor import Vendor, row

NEW_YORK = ZoneInfo("America/New_York")
DAYS = clock.sessions("XNYS", date(2024, 6, 24), date(2024, 7, 9))  # a holiday and an early close
OPEN = {day.item() for day in DAYS}
KNOWN = 5
SYMBOLS = ("AAA", "BBB", "CCC", "DDD", "EEE")
COLLAR = 0.5
NUMBERS = "ohlcv"


@dataclass
class Trial:
    """What is known, what the vendor says, and the events it lists: {(symbol, day): (split, $)}."""

    known: Bars
    vendor: Vendor
    events: dict[tuple[str, date], tuple[float, float]]
    faults: list[str] = field(default_factory=list)


def trial(rng: np.random.Generator) -> Trial:
    """Make a market and spoil it in none, one or two ways."""
    steps = rng.normal(0.0, 0.02, (len(DAYS), len(SYMBOLS)))
    close = np.round(rng.uniform(5, 500, len(SYMBOLS)) * np.exp(np.cumsum(steps, axis=0)), 2)
    opens = np.round(close * rng.uniform(0.99, 1.01, close.shape), 2)
    high, low = np.maximum(opens, close) + 0.5, np.minimum(opens, close) - 0.5
    volume = rng.integers(1, 10**6, close.shape).astype(float)
    ohlcv = np.stack([opens, high, low, close, volume], axis=2)
    vendor = Vendor()
    vendor.rows = {
        symbol: [row(day, *ohlcv[t, n].tolist()) for t, day in enumerate(DAYS)]
        for n, symbol in enumerate(SYMBOLS)
    }
    one = Trial(bars_of(ohlcv[:KNOWN], DAYS[:KNOWN]), vendor, {})
    for _ in range(int(rng.choice([0, 1, 1, 2]))):
        name = str(rng.choice(list(FAULTS)))
        one.faults.append(name)
        FAULTS[name](one, rng, str(rng.choice(SYMBOLS)))
    return one


def bars_of(ohlcv: np.ndarray, days: np.ndarray, split: Any = None, dividend: Any = None) -> Bars:
    """Return bars as they are given: a row of five NaN is no bar, and nothing is judged."""
    shape = ohlcv.shape[:2]
    return Bars(
        sessions=days,
        symbols=SYMBOLS,
        ohlcv=ohlcv,
        traded=~np.isnan(ohlcv).all(axis=2),
        split=np.ones(shape) if split is None else split,
        dividend=np.zeros(shape) if dividend is None else dividend,
        ended=np.full(len(SYMBOLS), np.datetime64("NaT"), dtype="datetime64[D]"),
    )


def _cell(*values: Any) -> Any:
    def spoil(one: Trial, rng: np.random.Generator, symbol: str) -> None:
        key = str(rng.choice(list(NUMBERS)))
        _any(one, rng, symbol)[key] = values[rng.integers(len(values))]

    return spoil


def _any(one: Trial, rng: np.random.Generator, symbol: str) -> dict[str, Any]:
    rows = one.vendor.rows[symbol]
    return rows[rng.integers(len(rows))] if rows else row("2024-06-24", 1, 1, 1, 1)


def _crossed(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    bar = _any(one, rng, symbol)
    bar["h"], bar["l"] = bar["l"], bar["h"]


def _outside(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    bar = _any(one, rng, symbol)
    if all(isinstance(bar[key], float) for key in "hl"):
        bar["c"] = bar["h"] + 0.25 if rng.random() < 0.5 else max(bar["l"] - 0.25, 0.01)


def _same(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    one.vendor.rows[symbol].append(dict(_any(one, rng, symbol)))


def _conflict(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    bar = dict(_any(one, rng, symbol))
    bar["v"] = 7
    one.vendor.rows[symbol].append(bar)


def _shuffle(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    rng.shuffle(one.vendor.rows[symbol])


def _drop(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    rows = one.vendor.rows[symbol]
    if rows:
        rows.pop(int(rng.integers(len(rows))))


def _drop_all(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    one.vendor.rows[symbol].clear()


def _late(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    for rows in one.vendor.rows.values():
        rows[:] = [bar for bar in rows if str(bar["t"])[:10] < str(DAYS[-1])]


def _hole(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    day = str(DAYS[rng.integers(len(DAYS))])
    for rows in one.vendor.rows.values():
        rows[:] = [bar for bar in rows if str(bar["t"])[:10] != day]


def _revised(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    bar = _any(one, rng, symbol)
    if isinstance(bar["v"], float):
        bar["v"] += 1.0


def _stamp(*stamps: str | None) -> Any:
    def spoil(one: Trial, rng: np.random.Generator, symbol: str) -> None:
        _any(one, rng, symbol)["t"] = stamps[rng.integers(len(stamps))]

    return spoil


def _scaled(one: Trial, rng: np.random.Generator, symbol: str, factor: float) -> date:
    # From a new session on every price is factor times as high.
    t = int(rng.integers(KNOWN, len(DAYS)))
    for bar in one.vendor.rows[symbol]:
        if str(bar["t"])[:10] >= str(DAYS[t]):
            for key in "ohlc":
                if isinstance(bar[key], float):
                    bar[key] *= factor
    return DAYS[t].item()


def _list_split(one: Trial, symbol: str, day: date, ratio: float) -> None:
    before = one.events.get((symbol, day), (1.0, 0.0))
    one.events[symbol, day] = (before[0] * ratio, before[1])
    kind = "forward_splits" if ratio > 1 else "reverse_splits"
    one.vendor.act(kind, symbol=symbol, ex_date=str(day), new_rate=ratio, old_rate=1.0)


def _jump(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    _scaled(one, rng, symbol, float(rng.choice([0.01, 0.25, 0.5, 0.8, 1.2, 2.0, 4.0, 100.0])))


def _true_split(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    ratio = float(rng.choice([2.0, 4.0, 20.0, 1.5, 0.1, 0.02]))
    _list_split(one, symbol, _scaled(one, rng, symbol, 1.0 / ratio), ratio)


def _false_split(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    ratio = float(rng.choice([2.0, 4.0, 1.25, 0.8, 0.1]))
    day = DAYS[rng.integers(KNOWN, len(DAYS))].item()
    _list_split(one, symbol, day, ratio)


def _dividend(one: Trial, rng: np.random.Generator, symbol: str) -> None:
    day, rate = DAYS[rng.integers(KNOWN, len(DAYS))].item(), float(rng.choice([0.05, 4.0]))
    before = one.events.get((symbol, day), (1.0, 0.0))
    one.events[symbol, day] = (before[0], before[1] + rate)
    one.vendor.act("cash_dividends", symbol=symbol, ex_date=str(day), rate=rate)


FAULTS = {
    "nan": _cell(None, math.nan),
    "infinite": _cell(math.inf, -math.inf),
    "not above zero": _cell(0.0, -1.0, -1e-9),
    "absurd": _cell(1e300, 1e-300),
    "no number": _cell("ten", True, [1.0]),
    "text": _cell("12.5"),
    "crossed": _crossed,
    "outside": _outside,
    "same": _same,
    "conflict": _conflict,
    "shuffle": _shuffle,
    "drop": _drop,
    "drop all": _drop_all,
    "late": _late,
    "hole": _hole,
    "revised": _revised,
    "no stamp": _stamp("soon", None, ""),
    "odd stamp": _stamp("2024-07-08T14:30:00Z", "2024-07-08T00:00:00Z"),
    "closed day": _stamp("2024-07-04T04:00:00Z", "2024-07-06T04:00:00Z"),
    "far stamp": _stamp("2024-07-10T04:00:00Z", "2023-07-10T04:00:00Z"),
    "jump": _jump,
    "true split": _true_split,
    "false split": _false_split,
    "dividend": _dividend,
}


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


AFTER = datetime(2024, 7, 9, 20, 20, tzinfo=UTC)
