"""Numbers across several runs of one configuration: the interquartile mean, and how sure it is.

Source: Agarwal et al., Deep RL at the Edge of the Statistical Precipice, NeurIPS 2021.
"""

from dataclasses import dataclass

import numpy as np

from engine.measures import NotComputable

DRAWS = 10_000
LEVEL = 0.95


def interquartile_mean(values: np.ndarray) -> float:
    """Return the mean of what is left when the floor(n / 4) lowest and highest are dropped."""
    ranked = np.sort(_finite(values), axis=None)
    dropped = len(ranked) // 4
    return float(ranked[dropped : len(ranked) - dropped].mean())


def bootstrap_interval(
    values: np.ndarray, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the interquartile mean.

    Shapes: (n,) runs, or (n, windows): runs are drawn again within each window. The generator is
    fixed and the order of runs does not matter. Its real coverage is below its level with few runs:
    95 % was 0.90 at 5 runs and 0.93 to 0.94 at 10.
    """
    runs = np.sort(_finite(values).reshape(len(values), -1), axis=0)
    picked = _draws(runs, draws, seed)
    drawn = np.sort(runs[picked, np.arange(runs.shape[1])].reshape(draws, -1), axis=1)
    dropped = drawn.shape[1] // 4
    return middle(drawn[:, dropped : drawn.shape[1] - dropped].mean(axis=1), level)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One configuration against another, paired by seed and window.

    `difference` is the interquartile mean of ours - theirs. `improvement` is the mean over windows
    of the chance that a run of ours, picked at random, beats one of theirs; a tie counts half. Both
    intervals come from the same draws of pairs.
    """

    difference: float
    interval: tuple[float, float]
    improvement: float
    improvement_interval: tuple[float, float]


def compare(
    ours: np.ndarray, theirs: np.ndarray, draws: int = DRAWS, level: float = LEVEL, seed: int = 0
) -> Comparison:
    """Compare two configurations over the same seeds and windows. Shapes: (n,) or (n, windows).

    Raises: NotComputable when a run is missing, the shapes differ, or there is one run only.
    """
    left, right = _finite(ours), _finite(theirs)
    if left.shape != right.shape:
        raise NotComputable(f"runs do not pair: {left.shape} against {right.shape}")
    left, right = left.reshape(len(left), -1), right.reshape(len(right), -1)
    apart = left - right
    order = np.lexsort((left, apart), axis=0)  # so that the order of seeds does not matter
    left, right = (np.take_along_axis(part, order, axis=0) for part in (left, right))
    gaps = left[:, None, :] - right[None, :, :]
    won = (gaps > 0) + 0.5 * (gaps == 0)  # (n, n, windows)
    picked = _draws(left, draws, seed)
    times = np.stack([(picked == run).sum(axis=1) for run in range(len(left))], axis=1)
    drawn = np.einsum("dit,ijt,djt->d", times, won, times, optimize=True) / won.size
    return Comparison(
        interquartile_mean(apart),
        bootstrap_interval(apart, draws, level, seed),
        float(won.mean()),
        middle(drawn, level),
    )


def _draws(runs: np.ndarray, draws: int, seed: int) -> np.ndarray:
    # Which runs of each window each draw takes: (draws, n, windows).
    count, windows = runs.shape
    if count < 2:
        raise NotComputable("an interval needs at least 2 runs")
    return np.random.default_rng(seed).integers(count, size=(draws, count, windows))


def middle(values: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Return the percentile interval of what was drawn."""
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def _finite(values: np.ndarray) -> np.ndarray:
    found = np.asarray(values, dtype=np.float64)
    if not found.size or not np.isfinite(found).all():
        raise NotComputable("a run is missing or has no finite number")
    return found
