"""Numbers of a return series: each function is one definition, over plain arrays.

`returns` is (T,): net return per bar, equity[t] / equity[t-1] - 1. `equity` is (T+1,): the starting
capital first, then the value at each close. It knows no file, no fill and no symbol.
What cannot be computed raises `NotComputable` with the reason; no function answers 0 instead.
Source of the definitions: see `engine.metrics`, which holds the text shown to readers.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from engine.errors import DataError, TradingError

STILL = 1e-12  # a deviation below this is rounding, not movement


class NotComputable(TradingError):
    """The data does not define this number; the message is the reason."""


def returns_of(equity: np.ndarray) -> np.ndarray:
    """Return the net return of each bar.

    Raises: DataError on values that are not finite; NotComputable when equity reaches zero or
    there is no bar after the start.
    """
    values = np.asarray(equity, dtype=np.float64)
    if not np.isfinite(values).all():
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(
            f"equity must be finite, found {values[first]} in row {first}; the run is not usable"
        )
    if len(values) < 2:
        raise NotComputable("no bar after the start")
    if (values <= 0).any():
        raise NotComputable("the equity reached zero")
    return values[1:] / values[:-1] - 1.0


def total_return(returns: np.ndarray) -> float:
    """Return prod(1 + r) - 1."""
    return float(np.prod(1.0 + returns) - 1.0)


def cagr(returns: np.ndarray, periods: int) -> float:
    """Return (1 + total return) ^ (periods / T) - 1: growth per year, counted in bars."""
    return float((1.0 + total_return(returns)) ** (periods / len(returns)) - 1.0)


def volatility(returns: np.ndarray, periods: int) -> float:
    """Return the sample deviation (divisor T - 1) x sqrt(periods)."""
    return _deviation(returns) * sqrt(periods)


def sharpe(returns: np.ndarray, periods: int, risk_free: float = 0.0) -> float:
    """Return mean(r - rf) / sample deviation x sqrt(periods).

    Units: `risk_free` is per year; per bar it is (1 + risk_free) ^ (1 / periods) - 1.
    """
    excess = returns - per_bar(risk_free, periods)
    return float(excess.mean()) / _moving(_deviation(excess)) * sqrt(periods)


def sortino(returns: np.ndarray, periods: int, risk_free: float = 0.0) -> float:
    """Return mean(r - rf) / downside deviation x sqrt(periods)."""
    excess = returns - per_bar(risk_free, periods)
    downside = downside_deviation(excess)
    if downside < STILL:
        raise NotComputable("no bar lost money")
    return float(excess.mean()) / downside * sqrt(periods)


def downside_deviation(returns: np.ndarray) -> float:
    """Return sqrt(sum(min(r, 0)^2) / T), all T bars in the divisor."""
    return float(np.sqrt(np.mean(np.minimum(returns, 0.0) ** 2)))


def skewness(returns: np.ndarray) -> float:
    """Return the third standardised population moment."""
    return _moment(returns, 3)


def raw_kurtosis(returns: np.ndarray) -> float:
    """Return the fourth standardised population moment; a normal series has 3."""
    return _moment(returns, 4)


def autocorrelation(returns: np.ndarray) -> float:
    """Return the correlation of each return with the one before."""
    if len(returns) < 3:
        raise NotComputable("needs at least 3 bars")
    return _correlation(returns[1:], returns[:-1])


@dataclass(frozen=True, slots=True)
class Drawdown:
    """One stretch below an earlier peak; indices into the equity curve (0 = the start)."""

    depth: float  # fraction, negative
    peak: int
    trough: int
    end: int | None  # first bar back at the peak; None = still below
    bars: int  # bars below the peak


def drawdown_curve(equity: np.ndarray) -> np.ndarray:
    """Return equity / running peak - 1; the peak includes the start. Shapes: (T+1,) in and out."""
    values = np.asarray(equity, dtype=np.float64)
    peaks = np.maximum.accumulate(values)
    if peaks[0] <= 0:
        raise NotComputable("the equity starts at or below zero")
    return np.asarray(values / peaks - 1.0)


def drawdowns(equity: np.ndarray) -> list[Drawdown]:
    """Return every stretch below an earlier peak, deepest first."""
    curve = drawdown_curve(equity)
    below = np.concatenate([[False], curve < 0, [False]])
    starts = np.flatnonzero(below[1:] & ~below[:-1])
    ends = np.flatnonzero(~below[1:] & below[:-1])
    found = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        trough = start + int(np.argmin(curve[start:end]))
        back = end if end < len(curve) else None
        found.append(Drawdown(float(curve[trough]), start - 1, trough, back, end - start))
    return sorted(found, key=lambda drop: drop.depth)


def max_drawdown(equity: np.ndarray) -> float:
    """Return the deepest fall from a peak, as a negative fraction; 0 when there was none."""
    return float(drawdown_curve(equity).min())


def calmar(equity: np.ndarray, periods: int) -> float:
    """Return CAGR / |max drawdown|."""
    growth, deepest = cagr(returns_of(equity), periods), max_drawdown(equity)
    if deepest == 0:
        raise NotComputable("there was no drawdown")
    return growth / abs(deepest)


def omega(returns: np.ndarray) -> float:
    """Return the sum of gains / the sum of losses, at a threshold of zero."""
    losses = -float(returns[returns < 0].sum())
    if losses == 0:
        raise NotComputable("no bar lost money")
    return float(returns[returns > 0].sum()) / losses


def value_at_risk(returns: np.ndarray, level: float) -> float:
    """Return minus the linearly interpolated (1 - level) quantile: a loss is positive."""
    return -float(np.quantile(returns, 1.0 - level))


def conditional_value_at_risk(returns: np.ndarray, level: float) -> float:
    """Return minus the mean of the returns at or below the (1 - level) quantile."""
    cut = np.quantile(returns, 1.0 - level)
    return -float(returns[returns <= cut].mean())


def tail_ratio(returns: np.ndarray) -> float:
    """Return the 95 % quantile / |the 5 % quantile|."""
    low, high = np.quantile(returns, [0.05, 0.95])
    if abs(low) < STILL:
        raise NotComputable("the 5 % quantile is zero")
    return float(high / abs(low))


def beta(returns: np.ndarray, benchmark: np.ndarray) -> float:
    """Return covariance with the benchmark / variance of the benchmark."""
    spread = _moving(_deviation(benchmark), "the benchmark's returns do not vary")
    return float(np.cov(returns, benchmark)[0, 1]) / spread**2


def alpha(returns: np.ndarray, benchmark: np.ndarray, periods: int) -> float:
    """Return (mean - beta x benchmark mean) x periods."""
    slope = beta(returns, benchmark)
    return float(returns.mean() - slope * benchmark.mean()) * periods


def tracking_error(returns: np.ndarray, benchmark: np.ndarray, periods: int) -> float:
    """Return the sample deviation of r - benchmark, x sqrt(periods)."""
    return _deviation(returns - benchmark) * sqrt(periods)


def information_ratio(returns: np.ndarray, benchmark: np.ndarray, periods: int) -> float:
    """Return mean(r - benchmark) / its sample deviation, x sqrt(periods)."""
    excess = returns - benchmark
    spread = _moving(_deviation(excess), "the returns equal the benchmark's")
    return float(excess.mean()) / spread * sqrt(periods)


def correlation(returns: np.ndarray, benchmark: np.ndarray) -> float:
    """Return the correlation with the benchmark's returns."""
    return _correlation(returns, benchmark)


def per_bar(annual: float, periods: int) -> float:
    """Return the rate per bar that compounds to `annual` in `periods` bars."""
    return float((1.0 + annual) ** (1.0 / periods) - 1.0)


def _deviation(returns: np.ndarray) -> float:
    if len(returns) < 2:
        raise NotComputable("needs at least 2 bars")
    return float(returns.std(ddof=1))


def _moving(deviation: float, otherwise: str = "the returns do not vary") -> float:
    if deviation < STILL:
        raise NotComputable(otherwise)
    return deviation


def _moment(returns: np.ndarray, power: int) -> float:
    spread = _moving(float(returns.std()))
    return float((((returns - returns.mean()) / spread) ** power).mean())


def _correlation(left: np.ndarray, right: np.ndarray) -> float:
    for series in (left, right):
        _moving(_deviation(series))
    return float(np.corrcoef(left, right)[0, 1])
