"""Which bars a burn-in looks at: the last rows of each symbol, and what their windows reach back to.

Shape letters: T bars, N symbols.
"""

import numpy as np

from engine.bars import Bars


def last_rows(fresh: np.ndarray, count: int) -> np.ndarray:
    """Return the last `count` fresh rows of each symbol, (T, ...) bool in and out."""
    rows_left = np.cumsum(fresh[::-1], axis=0)[::-1]
    used: np.ndarray = fresh & (rows_left <= count)
    return used


def needed(history: Bars, lookback: int, burn_in: int) -> Bars:
    """Return the end of a history from which every row of the burn-in is what all of it would give.

    Also on sessions of others: features that compare symbols look at the rows of all. The whole
    history where no symbol has a row yet.
    """
    fresh = history.traded & (np.cumsum(history.traded, axis=0) >= lookback)
    used = last_rows(fresh, burn_in).any(axis=1)
    if not used.any():
        return history
    before = history.traded[: int(used.argmax()) + 1]
    first = int(last_rows(before, lookback).any(axis=1).argmax())
    return history.between(history.sessions[first], None)
