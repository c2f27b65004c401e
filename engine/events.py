"""Splits and dividends of one symbol: read from the file's columns, or derived from its adjusted close.

A session's event is known before its open. The rule both ways: adjusted[t] / adjusted[t-1] =
(close[t] + dividend[t]) * split[t] / close[t-1], dividends reinvested at the close of their day.
"""

from dataclasses import dataclass

import numpy as np

from engine.bars import PriceBasis
from engine.errors import DataError

# Measured on 42 vendor files: rounding moves the ratio adjusted / close by less than 1e-5 from one
# session to the next, the smallest true dividend by more than 2e-5.
STEP = 2e-5
EXACT = (
    1e-4  # a split is written down exactly; a dividend meets a simple ratio this well by luck only
)
_TERMS = tuple(range(1, 11))
_LARGE = (12, 15, 20, 24, 25, 28, 30, 40, 50, 60, 75, 80, 100)
SIMPLE = np.array(
    sorted(
        {p / q for p in _TERMS for q in _TERMS if p != q and not 0.8 < p / q < 1.25}
        | {float(p) for p in _LARGE}
        | {1.0 / p for p in _LARGE}
    )
)


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one symbol's bars.

    Shapes: (n,) both. Units: new shares per old (1 = none); dollars per share after the split (0 = none).
    """

    split: np.ndarray
    dividend: np.ndarray
    notes: tuple[str, ...] = ()


def none(n: int) -> Events:
    """Return n sessions without an event."""
    return Events(np.ones(n), np.zeros(n))


def derive(close: np.ndarray, adjusted: np.ndarray, basis: PriceBasis, where: list[str]) -> Events:
    """Find the events that turn `close` into `adjusted`.

    Shapes: (n,) in and out; `where` (n,) names each bar in messages.
    With basis "split" every step is a dividend. A step that is an exact simple ratio is a split, any
    other step up a distribution in cash; a step down that is no split is refused.
    Raises: DataError naming the bar.
    """
    events = none(len(close))
    notes = []
    step = steps(close, adjusted)
    for t in np.where(np.abs(step - 1.0) > _noise(adjusted))[0]:
        split = simple_ratio(step[t], EXACT) if basis == "raw" else None
        if split is not None:
            events.split[t] = split
        elif step[t] > 1.0:
            events.dividend[t] = close[t] * (step[t] - 1.0)
            if step[t] > 1.25:
                notes.append(f"{where[t]}: {_distribution(step[t], events.dividend[t])}")
        else:
            raise DataError(
                f"{where[t]}: adjusted close over close falls by the factor {step[t]:.6f}, which is no "
                "split; check the adjusted close of this and the previous row"
            )
    return Events(events.split, events.dividend, tuple(notes))


def steps(close: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
    """Return how much adjusted / close grew into each bar; 1 at the first and where nothing happened."""
    ratio = adjusted / close
    step = np.ones(len(close))
    step[1:] = ratio[1:] / ratio[:-1]
    return step


def implied(close: np.ndarray, split: np.ndarray, dividend: np.ndarray) -> np.ndarray:
    """Return the step of the adjusted close that events call for; the inverse of `derive`."""
    return (close + dividend) / close * split


def adjusted_close(close: np.ndarray, split: np.ndarray, dividend: np.ndarray) -> np.ndarray:
    """Rebuild the adjusted close from raw closes and events; the last one equals the last close.

    Shapes: (n,) in and out, over bars that traded.
    """
    step = implied(close, split, dividend)
    grown = np.cumprod(step)
    return np.asarray(close * grown / grown[-1])


def simple_ratio(value: float, tolerance: float) -> float | None:
    """Return the split ratio (2, 3/2, 1/20, ...) within a relative tolerance, None without one."""
    nearest = SIMPLE[np.argmin(np.abs(np.log(SIMPLE / value)))]
    return float(nearest) if abs(value / nearest - 1.0) <= tolerance else None


def mismatches(events: Events, close: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
    """Find the bars where listed events and the steps of the adjusted close disagree. Shapes: (k,)."""
    off = steps(close, adjusted) / implied(close, events.split, events.dividend) - 1.0
    off[:1] = 0.0
    # Two vendors' rules differ by dividend x return of the day: a hundredth of the dividend, mostly.
    slack = _noise(adjusted) + 0.2 * events.dividend / close
    return np.where(np.abs(off) > slack)[0]


def _noise(adjusted: np.ndarray) -> np.ndarray:
    # Half a unit of the last decimal written, on this bar and on the one before it.
    decimals = next(
        (d for d in range(7) if np.allclose(adjusted, np.round(adjusted, d), 0, 1e-9)), 7
    )
    unit = 0.5 * 10.0**-decimals
    before = np.concatenate([adjusted[:1], adjusted[:-1]])
    return np.asarray(STEP + unit / adjusted + unit / before)


def _distribution(step: float, dividend: float) -> str:
    return (
        f"adjusted close over close steps by {step:.4f}, no exact split ratio; "
        f"taken as a distribution of {dividend:.4f} a share"
    )
