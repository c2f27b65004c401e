"""Bad bars by the thousand; tests.bar_oracle says what must become of them.

A trial is a small market over the wire: some sessions are known, the vendor is asked for all of
them and the new ones, and something may be wrong with the answer.
"""

import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from engine import clock
from engine.bars import Bars
from tests.vendor import Vendor, row

DAYS = clock.sessions("XNYS", date(2024, 6, 10), date(2024, 7, 9))  # holidays, an early close
AFTER = datetime(2024, 7, 9, 20, 20, tzinfo=UTC)  # 20 minutes after the last close
KNOWN = 15
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
