"""Features over all symbols of one session: `rank(momentum(20))` and its like.

Each takes the values that one feature has for every symbol and gives each symbol a number. Only symbols
that are ready count (they traded and have enough bars), so a number depends on who else is in the list,
and on who else traded that day. Nothing looks at another session.
"""

from collections.abc import Callable

import numpy as np

AcrossFunction = Callable[[np.ndarray, np.ndarray], np.ndarray]


def rank(values: np.ndarray, ready: np.ndarray) -> np.ndarray:
    """Place among the symbols, from -1 (lowest) to 1 (highest); ties share theirs, alone it is 0.

    Shapes, here and below: (..., N) in and out; what is not `ready` counts for nobody.
    """
    count = ready.sum(axis=-1, keepdims=True)
    order = np.argsort(np.where(ready, values, np.inf), axis=-1, kind="stable")
    ordered = np.take_along_axis(np.where(ready, values, np.inf), order, axis=-1)
    place = np.broadcast_to(np.arange(values.shape[-1]), values.shape)
    starts = np.ones(values.shape, dtype=bool)
    starts[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=-1)
    ends = np.ones(values.shape, dtype=bool)
    ends[..., :-1] = starts[..., 1:]
    last = np.where(ends, place, values.shape[-1])[..., ::-1]
    last = np.minimum.accumulate(last, axis=-1)[..., ::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, 0.5 * (first + last), axis=-1)
    return np.where(count > 1, 2.0 * ranks / np.maximum(count - 1, 1) - 1.0, 0.0)


def market(values: np.ndarray, ready: np.ndarray) -> np.ndarray:
    """Mean over the symbols: the same number for each of them."""
    total = np.where(ready, values, 0.0).sum(axis=-1, keepdims=True)
    mean = total / np.maximum(ready.sum(axis=-1, keepdims=True), 1)
    return np.array(np.broadcast_to(mean, values.shape))


def excess(values: np.ndarray, ready: np.ndarray) -> np.ndarray:
    """Difference from the mean over the symbols."""
    return np.asarray(np.where(ready, values, 0.0) - market(values, ready))


def spread(values: np.ndarray, ready: np.ndarray) -> np.ndarray:
    """Standard deviation over the symbols: the same number for each of them."""
    off = excess(values, ready)
    return np.asarray(np.sqrt(market(off * off, ready)))


ACROSS: dict[str, AcrossFunction] = {
    function.__name__: function for function in (rank, market, excess, spread)
}
