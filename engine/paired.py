"""Two return series over the same bars: how far apart they are, and how sure that is.

Bars are drawn again in blocks, the same blocks for both: the days that both went through stay paired,
and what follows from one day to the next stays together. Intervals are plain percentiles.
Sources: Politis and Romano, A Circular Block-Resampling Procedure for Stationary Data (1992);
Ledoit and Wolf, Robust Performance Hypothesis Testing with the Sharpe Ratio (2008).
"""

from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np

from engine import measures as m
from engine.across_seeds import DRAWS, middle
from engine.measures import STILL, NotComputable

LEAST = 20  # bars; fewer make no interval worth its name
BETTER, EQUAL, WORSE = "better", "no evidence of a difference", "worse"
_AT_ONCE = 500  # draws in one piece


@dataclass(frozen=True, slots=True)
class Apart:
    """How far one series is from another: ours - theirs, with 95 % intervals over the bars.

    Units: `sharpe` per year; `mean` is the difference of returns per year, not compounded.
    """

    bars: int
    block: int
    sharpe: float
    interval: tuple[float, float]
    mean: float
    mean_interval: tuple[float, float]

    @property
    def verdict(self) -> str:
        """What the interval of the Sharpe ratios says."""
        return in_words(*self.interval)


def in_words(low: float, high: float) -> str:
    """Return what an interval of ours - theirs says."""
    return BETTER if low > 0 else WORSE if high < 0 else EQUAL


def apart(
    ours: np.ndarray, theirs: np.ndarray, periods: int, draws: int = DRAWS, seed: int = 0
) -> Apart:
    """Compare two series of net returns per bar. Shapes: (T,) both.

    Blocks are as long as the cube root of T; the generator is fixed.
    Raises: NotComputable when they do not pair, are shorter than 20 bars, or one does not move.
    """
    if ours.shape != theirs.shape:
        raise NotComputable(f"series do not pair: {len(ours)} bars against {len(theirs)}")
    bars = len(ours)
    if bars < LEAST:
        raise NotComputable(f"needs at least {LEAST} bars in common, found {bars}")
    sharpe = m.sharpe(ours, periods) - m.sharpe(theirs, periods)
    block = block_of(bars)
    ratios, means = drawn(ours, theirs, block, draws, np.random.default_rng(seed))
    return Apart(
        bars,
        block,
        sharpe,
        middle(sqrt(periods) * ratios),
        periods * float((ours - theirs).mean()),
        middle(periods * means),
    )


def block_of(bars: int) -> int:
    """Return how many bars stay together: the cube root of all of them."""
    return max(1, round(bars ** (1 / 3)))


def drawn(
    ours: np.ndarray, theirs: np.ndarray, block: int, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return differences of Sharpe ratios and of mean returns, both per bar, in so many draws.

    Shapes: (T,) in, (draws,) out. A series that does not move has a Sharpe ratio of 0.
    """
    bars, count = len(ours), ceil(len(ours) / block)
    columns = np.stack([ours, theirs, ours**2, theirs**2], axis=1)
    around = np.concatenate([columns, columns[: block - 1]])
    sums = np.lib.stride_tricks.sliding_window_view(around, block, axis=0).sum(axis=-1)  # (T, 4)
    length = count * block
    ratios, means = [], []
    for done in range(0, draws, _AT_ONCE):
        starts = rng.integers(bars, size=(min(_AT_ONCE, draws - done), count))
        total = sums[starts].sum(axis=1)
        mean = total[:, :2] / length
        variance = (total[:, 2:] - length * mean**2) / (length - 1)
        moving = variance > STILL**2
        ratio = np.where(moving, mean / np.sqrt(np.where(moving, variance, 1.0)), 0.0)
        ratios.append(ratio[:, 0] - ratio[:, 1])
        means.append(mean[:, 0] - mean[:, 1])
    return np.concatenate(ratios), np.concatenate(means)
