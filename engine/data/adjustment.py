"""Splits and dividends of one symbol, listed in its file or derived from its adjusted close.

A session's event is known before its open. The rule both ways: adjusted[t] / adjusted[t-1] =
(close[t] + dividend[t]) * split[t] / close[t-1], dividends reinvested at the close of their day.
"""

from dataclasses import dataclass, replace

import numpy as np

from engine.bars import CLOSE, PriceBasis
from engine.data.findings import place
from engine.data.tables import Table
from engine.errors import DataError

# Measured on 42 vendor files: rounding moves the ratio adjusted / close by less than 1e-5 from one
# session to the next, the smallest true dividend by more than 2e-5.
STEP = 2e-5
EXACT = 1e-4  # a split is written down exactly; a dividend comes this near to one by luck only
_FORWARD = {p / q for q in range(1, 6) for p in range(q + 1, 11) if p / q >= 1.25}
_FORWARD |= {float(p) for p in (12, 15, 20, 24, 25, 28, 30, 40, 50, 60, 75, 80, 100)}
SIMPLE = np.array(sorted(_FORWARD | {1.0 / ratio for ratio in _FORWARD}))


@dataclass(frozen=True, slots=True)
class Events:
    """Events of one symbol's bars.

    Shapes: (n,) both. Units: new shares per old (1 = none); dollars per share after the split.
    """

    split: np.ndarray
    dividend: np.ndarray
    notes: tuple[str, ...] = ()


def none(n: int) -> Events:
    """Return n sessions without an event."""
    return Events(np.ones(n), np.zeros(n))


def of_table(table: Table, basis: PriceBasis) -> Events:
    """Return the events of one symbol's rows.

    Shapes: (n,), one for each row. With basis "split" no split is left to apply, with "total" no
    event at all.
    Raises: DataError naming the row whose event cannot be used.
    """
    close, adjusted = table.ohlcv[:, CLOSE], table.adjusted
    _refuse_basis(table, basis)
    listed = _listed(table, basis)
    if basis == "total" or (listed is None and adjusted is None):
        return none(len(close))
    if adjusted is None:
        assert listed is not None
        return listed
    _refuse_bad(table, adjusted, adjusted > 0, "adj close", "a price above zero")
    where = [place(table.file, n, d) for n, d in zip(table.lines, table.days, strict=True)]
    if listed is None:
        return derive(close, adjusted, basis, where)
    step, told = steps(close, adjusted), implied(close, listed.split, listed.dividend)
    notes = [
        f"{where[i]}: adjusted close steps by {step[i]:.6f}, the listed events give {told[i]:.6f}; "
        "the events are used"
        for i in mismatches(listed, close, adjusted)
    ]
    return replace(listed, notes=tuple(notes))


def derive(close: np.ndarray, adjusted: np.ndarray, basis: PriceBasis, where: list[str]) -> Events:
    """Find the events that turn `close` into `adjusted`.

    Shapes: (n,) in and out; `where` (n,) names each bar in messages.
    A step that is an exact simple ratio is a split, which basis "split" cannot have; any other step
    up is a distribution in cash; a step down that is no split is refused.
    Raises: DataError naming the bar.
    """
    events = none(len(close))
    notes = []
    step = steps(close, adjusted)
    for t in np.where(np.abs(step - 1.0) > _noise(adjusted))[0]:
        split = simple_ratio(step[t], EXACT)
        if split is not None and basis == "split":
            raise DataError(
                f"{where[t]}: adjusted close over close steps by {step[t]:.6f}, a split that is not in "
                'the prices yet; set price_basis = "raw"'
            )
        if split is not None:
            events.split[t] = split
        elif step[t] > 1.0:
            events.dividend[t] = close[t] * (step[t] - 1.0)
            if step[t] > 1.25:
                notes.append(f"{where[t]}: {_distribution(step[t], events.dividend[t])}")
        else:
            raise DataError(
                f"{where[t]}: adjusted close over close falls by the factor {step[t]:.6f}, which "
                "is no split; check the adjusted close of this and the previous row"
            )
    return Events(events.split, events.dividend, (*notes, *_coarse(adjusted, where)))


def steps(close: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
    """Return how much adjusted / close grew into each bar; 1 where nothing happened."""
    ratio = adjusted / close
    step = np.ones(len(close))
    step[1:] = ratio[1:] / ratio[:-1]
    return step


def implied(close: np.ndarray, split: np.ndarray, dividend: np.ndarray) -> np.ndarray:
    """Return the step of the adjusted close that events call for; the inverse of `derive`."""
    return np.asarray((close + dividend) / close * split)


def adjusted_close(close: np.ndarray, split: np.ndarray, dividend: np.ndarray) -> np.ndarray:
    """Rebuild the adjusted close from raw closes and events; the last one equals the last close.

    Shapes: (n,) in and out, over bars that traded.
    """
    grown = np.cumprod(implied(close, split, dividend))
    return np.asarray(close * grown / grown[-1])


def simple_ratio(value: float, tolerance: float) -> float | None:
    """Return the split ratio (2, 3/2, 1/20, ...) within a relative tolerance, None without one."""
    nearest = SIMPLE[np.argmin(np.abs(np.log(SIMPLE / value)))]
    return float(nearest) if abs(value / nearest - 1.0) <= tolerance else None


def mismatches(events: Events, close: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
    """Find the bars whose listed events do not explain the adjusted close. Shapes: (k,)."""
    off = steps(close, adjusted) / implied(close, events.split, events.dividend) - 1.0
    off[:1] = 0.0
    # Vendors' rules differ by dividend x return of the day: mostly a hundredth of the dividend.
    slack = _noise(adjusted) + 0.2 * events.dividend / close
    return np.where(np.abs(off) > slack)[0]


def _refuse_basis(table: Table, basis: PriceBasis) -> None:
    # The file itself may show that its prices are not adjusted as declared.
    close, adjusted, split = table.ohlcv[:, CLOSE], table.adjusted, table.split
    if basis == "total" and adjusted is not None:
        apart = np.flatnonzero(np.abs(np.diff(np.log(adjusted / close))) > STEP)
        if len(apart):
            raise DataError(
                f"{_place(table, apart[0] + 1)}: price_basis is total, but the adjusted close moves "
                "apart from the close; set price_basis to split or raw"
            )
    if basis == "raw" or split is None:
        return
    told = np.log(np.where(split > 0, split, 1.0)[1:])
    move = np.diff(np.log(close))
    raw = np.flatnonzero((np.abs(told) > STEP) & (np.abs(move + told) < np.abs(move) / 2))
    if len(raw):
        raise DataError(
            f"{_place(table, raw[0] + 1)}: price_basis is {basis}, but the close jumps by the listed "
            f"split of {split[raw[0] + 1]:g}: these prices are not adjusted for it; set it to raw"
        )


def _place(table: Table, at: int) -> str:
    return place(table.file, table.lines[at], table.days[at])


def _listed(table: Table, basis: PriceBasis) -> Events | None:
    if table.dividend is None and table.split is None:
        return None
    out = none(len(table.lines))
    for name, column in (("dividend", table.dividend), ("split", table.split)):
        if column is not None:
            expected = "a number >= 0, 0 where nothing happened"
            _refuse_bad(table, column, column >= 0, name, expected)
    if table.dividend is not None:
        out.dividend[:] = table.dividend
    if table.split is not None and basis == "raw":
        out.split[:] = np.where(table.split == 0, 1.0, table.split)  # vendors write 0 or 1 for none
    return out


def _refuse_bad(
    table: Table, values: np.ndarray, fine: np.ndarray, column: str, expected: str
) -> None:
    wrong = np.where(~(np.isfinite(values) & fine))[0]
    if len(wrong):
        line, day, value = table.lines[wrong[0]], table.days[wrong[0]], values[wrong[0]]
        raise DataError(
            f"{place(table.file, line, day)}, column {column}: expected {expected}, "
            f"found {value:g}; mend the row or remove the column"
        )


def _noise(adjusted: np.ndarray) -> np.ndarray:
    # Half a unit of the last decimal written, on this bar and on the one before it.
    exact = (d for d in range(2, 7) if np.allclose(adjusted, np.round(adjusted, d), 0, 1e-9))
    unit = 0.5 * 10.0 ** -next(exact, 7)
    before = np.concatenate([adjusted[:1], adjusted[:-1]])
    return np.asarray(STEP + unit / adjusted + unit / before)


def _coarse(adjusted: np.ndarray, where: list[str]) -> list[str]:
    blur = float(_noise(adjusted).max())
    if blur < 1e-3:
        return []
    text = f"adjusted close is rounded so that dividends below {blur:.2%} of the price do not show"
    return [f"{where[int(np.argmin(adjusted))]}: {text}"]


def _distribution(step: float, dividend: float) -> str:
    return (
        f"adjusted close over close steps by {step:.4f}, no exact split ratio; "
        f"taken as a distribution of {dividend:.4f} a share"
    )
