"""A feature that cheats: it finds today's close in a market it was shown, and tells tomorrow's return.

No window holds tomorrow, so a leak like this comes from outside: a file, a cache, a global. The placebo
check must see it by what it earns.
"""

import numpy as np

from engine.bars import CLOSE, Bars

_known: dict[str, np.ndarray] = {}


def show(markets: list[Bars]) -> None:
    """Remember the closes of markets, and each one's next return."""
    closes, after = [], []
    for bars in markets:
        close = bars.ohlcv[..., CLOSE]
        closes.append(close[:-1].ravel())
        after.append((close[1:] / close[:-1] - 1.0).ravel())
    order = np.argsort(np.concatenate(closes))
    _known["close"] = np.concatenate(closes)[order]
    _known["after"] = np.concatenate(after)[order]


def tomorrow(window: np.ndarray, lookback: int = 1) -> np.ndarray:
    """Return the next bar's return where today's close is known, else 0."""
    close = window[..., CLOSE, -1]
    at = np.searchsorted(_known["close"], close * (1.0 - 1e-12))
    at = np.minimum(at, len(_known["close"]) - 1)
    same = np.abs(_known["close"][at] / close - 1.0) < 1e-11
    return np.asarray(np.where(same, _known["after"][at], 0.0))
