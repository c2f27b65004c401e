"""Windows over the bars a symbol traded, adjusted for the splits and dividends inside them.

A window's prices are those of its last bar: an earlier price is multiplied by the factors of all
later events in the window (1 / ratio for a split; for a dividend the share of the previous close
that it leaves), an earlier volume by the split ratios alone. Nothing outside the window counts, and
a window without events is the raw data, bit for bit. This module knows no feature.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.bars import CLOSE, VOLUME, Bars
from engine.errors import DataError
from engine.feature_functions import DAY, FIELDS
from engine.masks import some

# Behind the six fields of a window, the store keeps what each bar's events do to earlier bars.
PRICE_FACTOR, VOLUME_FACTOR = FIELDS, FIELDS + 1
STORED = FIELDS + 2

CHUNK_NUMBERS = 1 << 17  # numbers in one block of windows: 1 MiB, small enough for a core's cache

# Windows are handed to features in whole multiples of ROWS. What is left over when a vectorised log
# has taken its eight lanes, or an array of one number, may run through other instructions.
ROWS = 8


@dataclass(frozen=True, slots=True)
class Series:
    """One symbol's traded bars in a row, and the events that wait for its next one.

    Shapes: `rows` (n,) indices of the sessions; `stored` (8, n).
    """

    rows: np.ndarray
    stored: np.ndarray
    split: float
    dividend: float


def series_of(bars: Bars, symbol: int) -> Series:
    """Collect the bars in which one symbol traded, with the factors of their events."""
    traded = bars.traded[:, symbol]
    rows = np.flatnonzero(traded)
    split, dividend, waiting = _on_traded_bars(
        traded, bars.split[:, symbol], bars.dividend[:, symbol]
    )
    stored = np.empty((STORED, len(rows)))
    stored[: VOLUME + 1] = bars.ohlcv[rows, symbol].T
    stored[DAY] = bars.sessions[rows].astype("datetime64[D]").astype(np.int64)
    close = stored[CLOSE]
    previous = np.concatenate((close[:1], close[:-1]))  # the first bar's factor is never used
    stored[PRICE_FACTOR] = price_factor(previous, split[rows], dividend[rows])
    stored[VOLUME_FACTOR] = split[rows]
    stored[PRICE_FACTOR:, :1] = 1.0
    worthless = np.flatnonzero(stored[PRICE_FACTOR] <= 0.0)
    if len(worthless):
        raise worthless_dividend(bars.symbols[symbol], bars.sessions[rows[worthless[0]]])
    return Series(rows, stored, *waiting)


def price_factor(previous: np.ndarray, split: np.ndarray, dividend: np.ndarray) -> np.ndarray:
    """Return what a bar's events multiply all earlier prices by.

    Units: `previous` is the raw close before; `dividend` is in prices after this split.
    """
    paid = dividend != 0.0
    return np.where(paid, (previous / split - dividend) / previous, 1.0 / split)


def worthless_dividend(symbol: str, session: np.datetime64) -> DataError:
    """Return the error for a dividend that leaves nothing of the price before it."""
    return DataError(
        f"{symbol}: the dividend at {session} is not less than the close before it; expected "
        "dollars per share after that session's split; correct the events of the data source"
    )


def adjust(stored: np.ndarray) -> np.ndarray:
    """Return the windows as their last bars see them, six fields; a view where nothing changes them.

    Shapes: (n, 8, L) in; (n, 6, L) out.
    """
    windows = stored[:, :FIELDS]
    if some(stored[:, PRICE_FACTOR:, 1:] != 1.0):
        windows = windows.copy()
        apply_factors(windows, stored[:, PRICE_FACTOR], stored[:, VOLUME_FACTOR])
    return windows


def apply_factors(windows: np.ndarray, price: np.ndarray, volume: np.ndarray) -> None:
    """Adjust raw windows in place. Shapes: windows (n, 6, L), factors (n, L)."""
    later = price[:, :0:-1]  # newest first, the first bar left out: it has nothing before it
    if some(later != 1.0):
        windows[:, : CLOSE + 1, :-1] *= _suffix_products(later)[:, None]
    later = volume[:, :0:-1]
    if some(later != 1.0):
        windows[:, VOLUME, :-1] *= _suffix_products(later)


def blocks(series: Series, lookback: int, first: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Cut a series into adjusted windows of `lookback` bars, block by block.

    Yields the positions of the windows' last bars, from `first` on, with the windows
    (n, 6, lookback); n is rounded up to a multiple of ROWS. What stands behind the last position means
    nothing. Without events they lie over one another: bar for bar next to each other, none copied.
    """
    last = series.stored.shape[1]
    step = max(ROWS, CHUNK_NUMBERS // (FIELDS * lookback) // ROWS * ROWS)
    changed = (series.stored[PRICE_FACTOR:] != 1.0).any(axis=0)
    bars = np.concatenate(
        (series.stored, np.repeat(series.stored[:, -1:], ROWS - 1, axis=1)), axis=1
    )
    for start in range(first, last, step):
        stop = min(start + step, last)
        whole = start + -(-(stop - start) // ROWS) * ROWS
        stored = bars[:, start - lookback + 1 : whole]
        windows = _sliding(stored[:FIELDS], lookback)
        if changed[start - lookback + 2 : stop].any():
            windows = windows.copy()
            factors = _sliding(stored[PRICE_FACTOR:], lookback)
            apply_factors(windows, factors[:, 0], factors[:, 1])
        windows.flags.writeable = False  # shared by the features of this lookback
        yield slice(start, stop), windows


def padded(windows: np.ndarray) -> np.ndarray:
    """Copy windows into a contiguous array of a multiple of ROWS windows, the last one repeated."""
    n = len(windows)
    whole = np.empty((-(-n // ROWS) * ROWS, *windows.shape[1:]))
    whole[:n] = windows
    whole[n:] = windows[n - 1 :]
    return whole


def _on_traded_bars(
    traded: np.ndarray, split: np.ndarray, dividend: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    # Move events of sessions without a bar to the next traded one; the rest waits behind the end.
    split, dividend = split.copy(), dividend.copy()
    rows = np.flatnonzero(traded)
    carried: dict[int, tuple[float, float]] = {}
    for row in np.flatnonzero(((split != 1.0) | (dividend != 0.0)) & ~traded):
        place = int(np.searchsorted(rows, row))
        target = int(rows[place]) if place < len(rows) else -1
        ratio, dollars = carried.get(target, (1.0, 0.0))
        carried[target] = (
            ratio * float(split[row]),
            dollars / float(split[row]) + float(dividend[row]),
        )
    waiting = carried.pop(-1, (1.0, 0.0))
    for target, (ratio, dollars) in carried.items():
        dividend[target] = dollars / split[target] + dividend[target]
        split[target] = ratio * split[target]
    return split, dividend, waiting


def _suffix_products(newest_first: np.ndarray) -> np.ndarray:
    # One product after the other from the newest bar on, so that a window's length changes no bit.
    return np.asarray(np.multiply.accumulate(newest_first, axis=-1)[:, ::-1])


def _sliding(fields: np.ndarray, lookback: int) -> np.ndarray:
    views = np.lib.stride_tricks.sliding_window_view(fields, lookback, axis=-1)
    return views.transpose(1, 0, 2)  # (fields, n, lookback) -> (n, fields, lookback)
