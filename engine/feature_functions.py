"""The named features: pure functions of one window of bars; no files, no symbols, no state.

A window is (..., 6, L): fields OPEN, HIGH, LOW, CLOSE, VOLUME, DAY; bars oldest to newest; prices
adjusted for the events inside the window, as of its last bar. A function takes exactly its own
`lookback` bars and returns (...,). It is finite on every valid window and does not move when all
prices are multiplied by a constant.

The bars of a field lie next to each other in memory. Between fields and windows there may be gaps:
live windows are views of a longer store. So the functions here reduce over bars alone, and over one
field at a time; one of the user's own gets windows without gaps (`packed`) and may do as it likes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from engine.bars import CLOSE, HIGH, LOW, OPEN, VOLUME
from engine.feature_across import AcrossFunction

DAY = 5  # days since 1970-01-01, as float64
FIELDS = 6

WindowFunction = Callable[[np.ndarray], np.ndarray]

# Smallest spread, relative to price or volume, that is told apart from none. A cent on a price of
# 1,000 is ten times wider; rounding of the same prices in another unit stays a million times below.
FLOOR = 1e-6


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of the agent: its full name, the bars it reads, and the function itself.

    `packed`: its windows must be C-contiguous to give the same bits live and in a history. `across`:
    what becomes of the values of all symbols of a session; None = each keeps its own.
    """

    name: str
    lookback: int
    function: WindowFunction
    packed: bool = False
    across: AcrossFunction | None = None


def log_return() -> Feature:
    """Log of close over the previous close."""
    return Feature("log_return", 2, lambda w: _log_ratio(w[..., CLOSE, -1], w[..., CLOSE, -2]))


def overnight_gap() -> Feature:
    """Log of open over the previous close."""
    return Feature("overnight_gap", 2, lambda w: _log_ratio(w[..., OPEN, -1], w[..., CLOSE, -2]))


def high_low_range() -> Feature:
    """Log of high over low."""
    return Feature("high_low_range", 1, lambda w: _log_ratio(w[..., HIGH, -1], w[..., LOW, -1]))


def close_location() -> Feature:
    """Where the close lies in the bar: -1 at the low, 1 at the high, 0 in a bar without range."""

    def function(w: np.ndarray) -> np.ndarray:
        high, low, close = w[..., HIGH, -1], w[..., LOW, -1], w[..., CLOSE, -1]
        balance: np.ndarray = (close - low) - (high - close)
        return balance / np.maximum(high - low, FLOOR * close)

    return Feature("close_location", 1, function)


def sma_ratio(n: int = 150) -> Feature:
    """Close over its mean of n bars, minus 1."""

    def function(w: np.ndarray) -> np.ndarray:
        mean = _mean(w[..., CLOSE, :])
        return w[..., CLOSE, -1] / mean - 1.0

    return Feature(f"sma_ratio({n})", n, function)


def momentum(n: int = 252, skip: int = 0) -> Feature:
    """Log return from n bars ago to `skip` bars ago; momentum(252,21) is the 12-1 momentum."""
    if skip >= n:
        raise ValueError(f"the second number must be below the first, found {n} and {skip}")
    name = f"momentum({n},{skip})" if skip else f"momentum({n})"
    return Feature(name, n + 1, lambda w: _log_ratio(w[..., CLOSE, -1 - skip], w[..., CLOSE, 0]))


def realised_vol(n: int = 20) -> Feature:
    """Root mean square of the last n log returns, per bar."""

    def function(w: np.ndarray) -> np.ndarray:
        returns = _log_ratio(w[..., CLOSE, 1:], w[..., CLOSE, :-1])
        return np.asarray(np.sqrt(_mean(returns * returns)))

    return Feature(f"realised_vol({n})", n + 1, function)


def rsi(n: int = 14) -> Feature:
    """Share of the rises in all changes of close over n bars, simple averages; 0.5 when flat."""

    def function(w: np.ndarray) -> np.ndarray:
        close = _relative_close(w)
        change = close[..., 1:] - close[..., :-1]
        total = _mean(np.abs(change))
        return 0.5 + 0.5 * _mean(change) / np.maximum(total, FLOOR)

    return Feature(f"rsi({n})", n + 1, function)


def macd(fast: int = 12, slow: int = 26, signal: int = 9) -> Feature:
    """MACD minus its signal line, over the close.

    Each exponential average is cut after three spans and its weights are made to sum to 1, so the
    whole is one fixed set of weights on the last 3 * (slow + signal) - 1 closes.
    """
    if fast >= slow:
        raise ValueError(f"the first number must be below the second, found {fast} and {slow}")
    if signal < 2:
        raise ValueError(f"a signal line needs at least 2 bars, found {signal}")
    line = np.zeros(3 * slow)
    line[: 3 * fast] += _ema_weights(fast)
    line -= _ema_weights(slow)
    gap = -_ema_weights(signal)  # line minus signal line, newest first
    gap[0] += 1.0
    weights = np.ascontiguousarray(np.convolve(line, gap)[::-1])  # oldest bar first

    def function(w: np.ndarray) -> np.ndarray:
        return np.asarray(((_relative_close(w) - 1.0) * weights).sum(axis=-1))

    return Feature(f"macd({fast},{slow},{signal})", len(weights), function)


def bollinger(n: int = 20) -> Feature:
    """Place of the close between the Bollinger bands: -1 lower, 1 upper (2 deviations), 0 flat."""
    _need_two(n)
    return Feature(f"bollinger({n})", n, lambda w: 0.5 * _last_z(_relative_close(w)))


def drawdown(n: int = 60) -> Feature:
    """Close over the highest high of n bars, minus 1."""

    def function(w: np.ndarray) -> np.ndarray:
        highest: np.ndarray = w[..., HIGH, :].max(axis=-1)
        return w[..., CLOSE, -1] / highest - 1.0

    return Feature(f"drawdown({n})", n, function)


def volume_z(n: int = 20) -> Feature:
    """Volume against its mean of n bars, in standard deviations; 0 when constant."""
    _need_two(n)

    def function(w: np.ndarray) -> np.ndarray:
        mean = _mean(w[..., VOLUME, :])[..., None]
        return _last_z(w[..., VOLUME, :] / np.where(mean > 0.0, mean, 1.0))

    return Feature(f"volume_z({n})", n, function)


def volume_ratio(n: int = 20) -> Feature:
    """Volume over its mean of n bars, minus 1; 0 when none was traded in n bars."""

    def function(w: np.ndarray) -> np.ndarray:
        mean = _mean(w[..., VOLUME, :])
        idle = mean <= 0.0
        return np.where(idle, 1.0, w[..., VOLUME, -1]) / np.where(idle, 1.0, mean) - 1.0

    return Feature(f"volume_ratio({n})", n, function)


def volume_change() -> Feature:
    """Change of volume over the sum of both bars, -1 to 1; 0 when both are 0."""

    def function(w: np.ndarray) -> np.ndarray:
        before, now = w[..., VOLUME, -2], w[..., VOLUME, -1]
        total = before + now
        return (now - before) / np.where(total > 0.0, total, 1.0)

    return Feature("volume_change", 2, function)


def day_of_week() -> Feature:
    """Day of the week: Monday -1, Wednesday 0, Friday 1 (Saturday 1.5, Sunday 2)."""
    # 1970-01-01 was a Thursday.
    return Feature("day_of_week", 1, lambda w: (w[..., DAY, -1] + 3.0) % 7.0 / 2.0 - 1.0)


def month_start() -> Feature:
    """1.0 on the first bar of a month, 0.0 on the others."""

    def function(w: np.ndarray) -> np.ndarray:
        month = w[..., DAY, :].astype(np.int64).view("datetime64[D]").astype("datetime64[M]")
        return (month[..., -1] != month[..., -2]).astype(np.float64)

    return Feature("month_start", 2, function)


FEATURES: dict[str, Callable[..., Feature]] = {
    factory.__name__: factory
    for factory in (
        log_return,
        overnight_gap,
        high_low_range,
        close_location,
        sma_ratio,
        momentum,
        realised_vol,
        rsi,
        macd,
        bollinger,
        drawdown,
        volume_z,
        volume_ratio,
        volume_change,
        day_of_week,
        month_start,
    )
}

PRESETS: dict[str, tuple[str, ...]] = {
    # The guide's [open, close, return, volume, SMA150], none of them a level.
    "guide": ("overnight_gap", "close_location", "log_return", "volume_z(20)", "sma_ratio(150)"),
}


def _log_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    # The quotient is a fresh contiguous array, so the log takes the same path for every layout.
    return np.asarray(np.log(above / below))


def _mean(x: np.ndarray) -> np.ndarray:
    # What x.mean(axis=-1) does, bit for bit, without the questions it asks first.
    return np.asarray(x.sum(axis=-1) / x.shape[-1])


def _relative_close(w: np.ndarray) -> np.ndarray:
    # Closes in units of the last one: exactly 1 everywhere when the price stood still.
    return np.asarray(w[..., CLOSE, :] / w[..., CLOSE, -1:])


def _last_z(x: np.ndarray) -> np.ndarray:
    # x is relative (its level is about 1), so FLOOR is a relative deviation.
    off = x - _mean(x)[..., None]
    deviation = np.sqrt(_mean(off * off))
    return np.asarray(off[..., -1] / np.maximum(deviation, FLOOR))


def _ema_weights(span: int) -> np.ndarray:
    weights = (1.0 - 2.0 / (span + 1.0)) ** np.arange(3 * span)  # newest first
    return np.asarray(weights / weights.sum())


def _need_two(n: int) -> None:
    if n < 2:
        raise ValueError(f"a deviation needs at least 2 bars, found {n}")
