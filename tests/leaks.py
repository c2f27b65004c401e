"""Features that see the future on purpose, and clean ones: what a look-ahead check must tell apart.

A leak has the shape of `FeatureSet.history`: a function of the whole `Bars` that returns
`(features, ready)`, float64 (T, N, F) with NaN where not ready, and bool (T, N). Cut, change or extend the
bars after session t, call it again, and compare rows 0..t bitwise: every leak moves, at every t but for
K3, which moves where a symbol had no row at t (a gap, or its warm-up: cut at many dates), and K5.

LEAKS maps the number of the leak to its function:
  K1  `shift(-1)`: the return of the next bar instead of this one
  K2  a centred rolling mean of returns, two bars on each side
  K3  backward fill: warm-up rows and missing bars take the next known value (so `ready` is wider)
  K4  a z-score with mean and deviation of the full sample
  K5  the back-adjusted close as a price level: only a split or dividend after t shows it
  K7  the label (sign of the next return) among the features
  K8  a scaler fitted on train + test: on every ready row of the bars it is given
K6 (fill at the close just observed) and K9 to K14 are no features; they are planted where they live.

`scaled_on_train` is the honest twin of K8. CLEAN holds 20 feature names with lookbacks from 1 to 250,
each for a `FeatureSet`; a check that raises an alarm on one of them is wrong.
"""

from collections.abc import Callable

import numpy as np

from engine.bars import CLOSE, Bars
from engine.feature_windows import PRICE_FACTOR, series_of
from engine.features import FeatureSet
from engine.observation import Scaler

History = tuple[np.ndarray, np.ndarray]

CLEAN = (
    "high_low_range",
    "close_location",
    "day_of_week",
    "sma_ratio(1)",
    "log_return",
    "overnight_gap",
    "volume_change",
    "month_start",
    "bollinger(2)",
    "momentum(5)",
    "volume_ratio(10)",
    "rsi(14)",
    "volume_z(20)",
    "realised_vol(20)",
    "bollinger(50)",
    "drawdown(60)",
    "macd(12,26,9)",
    "momentum(120,21)",
    "sma_ratio(200)",
    "momentum(249)",
)


def next_return(bars: Bars) -> History:
    """K1: row t holds the return of the symbol's next bar."""
    return _by_symbol(bars, ["log_return"], lambda rows: _shifted(rows, 1))


def centred_mean(bars: Bars) -> History:
    """K2: the mean return of five bars with this one in the middle."""

    def centre(rows: np.ndarray) -> np.ndarray:
        return np.mean([_shifted(rows, lag) for lag in range(-2, 3)], axis=0)

    return _by_symbol(bars, ["log_return"], centre)


def filled_backward(bars: Bars) -> History:
    """K3: rows that do not exist take the next one that does."""
    features, ready = FeatureSet(["sma_ratio(20)", "log_return"]).history(bars)
    features, ready = features.copy(), ready.copy()
    for row in range(len(features) - 2, -1, -1):
        gap = ~ready[row]
        features[row, gap] = features[row + 1, gap]
        ready[row, gap] = ready[row + 1, gap]
    return features, ready


def full_sample_z(bars: Bars) -> History:
    """K4: each return against the mean and deviation of all of its symbol's returns."""

    def z(rows: np.ndarray) -> np.ndarray:
        return (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-12)

    return _by_symbol(bars, ["log_return"], z)


def back_adjusted_level(bars: Bars) -> History:
    """K5: the log close in prices of the last bar of all, as vendors serve it."""
    features = np.full((*bars.traded.shape, 1), np.nan)
    for symbol in range(len(bars.symbols)):
        series = series_of(bars, symbol)
        later = np.append(series.stored[PRICE_FACTOR, 1:], 1.0)
        factors = np.cumprod(later[::-1])[::-1]
        features[series.rows, symbol, 0] = np.log(series.stored[CLOSE] * factors)
    return features, bars.traded.copy()


def label_inside(bars: Bars) -> History:
    """K7: an honest feature with the label, the sign of the next return, beside it."""
    return _by_symbol(
        bars, ["log_return"], lambda rows: np.hstack((rows, np.sign(_shifted(rows, 1))))
    )


def scaled_on_everything(bars: Bars) -> History:
    """K8: honest features, scaled by a scaler that was fitted on all the bars there are."""
    features, ready = FeatureSet(["log_return", "volume_z(20)"]).history(bars)
    return _scaled(features, ready, ready)


def scaled_on_train(bars: Bars, end: np.datetime64) -> History:
    """The honest twin of K8: the scaler is fitted on sessions up to `end` only."""
    features, ready = FeatureSet(["log_return", "volume_z(20)"]).history(bars)
    return _scaled(features, ready, ready & (bars.sessions <= end)[:, None])


LEAKS: dict[str, Callable[[Bars], History]] = {
    "K1": next_return,
    "K2": centred_mean,
    "K3": filled_backward,
    "K4": full_sample_z,
    "K5": back_adjusted_level,
    "K7": label_inside,
    "K8": scaled_on_everything,
}


def _by_symbol(bars: Bars, names: list[str], change: Callable[[np.ndarray], np.ndarray]) -> History:
    # Change each symbol's ready rows (n, F), which it sees all at once: that is the leak.
    features, ready = FeatureSet(names).history(bars)
    symbols = range(len(bars.symbols))
    changed = [change(features[ready[:, symbol], symbol]) for symbol in symbols]
    out = np.full((*ready.shape, changed[0].shape[-1]), np.nan)
    for symbol in symbols:
        out[ready[:, symbol], symbol] = changed[symbol]
    return out, ready


def _shifted(rows: np.ndarray, ahead: int) -> np.ndarray:
    # Row t of the result is row t + ahead; beyond both ends stands 0.
    out = np.zeros_like(rows)
    kept = max(0, len(rows) - abs(ahead))
    source = slice(ahead, ahead + kept) if ahead >= 0 else slice(0, kept)
    target = slice(0, kept) if ahead >= 0 else slice(-ahead, -ahead + kept)
    out[target] = rows[source]
    return out


def _scaled(features: np.ndarray, ready: np.ndarray, fitted_on: np.ndarray) -> History:
    scaler = Scaler.fit(features, fitted_on)
    return (features - scaler.mean) / scaler.scale, ready
