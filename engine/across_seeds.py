"""Numbers across several runs of one configuration: the interquartile mean, and how sure it is.

Source: Agarwal et al., Deep RL at the Edge of the Statistical Precipice, NeurIPS 2021.
"""

import numpy as np

from engine.measures import NotComputable

DRAWS = 10_000


def interquartile_mean(values: np.ndarray) -> float:
    """Return the mean of what is left when the floor(n / 4) lowest and highest are dropped."""
    ranked = np.sort(_finite(values), axis=None)
    dropped = len(ranked) // 4
    return float(ranked[dropped : len(ranked) - dropped].mean())


def bootstrap_interval(
    values: np.ndarray, draws: int = DRAWS, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the interquartile mean.

    Shapes: (n,) runs, or (n, tasks): runs are drawn again within each task. The generator is fixed
    and the order of runs does not matter. Its real coverage is below its level with few runs: 95 %
    was 0.90 at 5 runs and 0.93 to 0.94 at 10.
    """
    runs = np.sort(_finite(values).reshape(len(values), -1), axis=0)
    count, tasks = runs.shape
    if count < 2:
        raise NotComputable("an interval needs at least 2 runs")
    picked = np.random.default_rng(seed).integers(count, size=(draws, count, tasks))
    drawn = np.sort(runs[picked, np.arange(tasks)].reshape(draws, -1), axis=1)
    dropped = drawn.shape[1] // 4
    means = drawn[:, dropped : drawn.shape[1] - dropped].mean(axis=1)
    low, high = np.quantile(means, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return float(low), float(high)


def _finite(values: np.ndarray) -> np.ndarray:
    found = np.asarray(values, dtype=np.float64)
    if not found.size or not np.isfinite(found).all():
        raise NotComputable("a run is missing or has no finite number")
    return found
