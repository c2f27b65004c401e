"""How much a Sharpe ratio proves, after counting how many were tried before it.

Every Sharpe ratio here is per bar, not per year, and every kurtosis is raw: 3 for a normal series.
The formulas take returns for close to independent; show `measures.autocorrelation` beside them.
Sources: Bailey and Lopez de Prado, The Sharpe Ratio Efficient Frontier (2012) and The Deflated
Sharpe Ratio (2014); Bailey, Borwein, Lopez de Prado and Zhu, The Probability of Backtest
Overfitting (2016).
"""

from dataclasses import dataclass
from itertools import combinations, islice
from math import comb, e, sqrt
from statistics import NormalDist

import numpy as np

from engine import measures as m
from engine.errors import UsageError
from engine.measures import STILL, NotComputable

BLOCKS = 16  # 12,870 ways to choose half of them
_EULER = 0.5772156649015329
_NORMAL = NormalDist()
_ROUNDING = 1e-12
_AT_ONCE = 4_000_000  # numbers in one chunk of halves x trials


@dataclass(frozen=True, slots=True)
class Moments:
    """What the tests of a return series need. Units: `sharpe` per bar."""

    sharpe: float
    bars: int
    skew: float = 0.0
    kurtosis: float = 3.0  # raw

    @classmethod
    def of(cls, returns: np.ndarray) -> "Moments":
        """Measure a series of net returns per bar. Shapes: (T,)."""
        ratio = m.sharpe(returns, 1)
        return cls(ratio, len(returns), m.skewness(returns), m.raw_kurtosis(returns))

    def spread(self) -> float:
        """Return the deviation of the estimated Sharpe ratio, x sqrt(bars - 1)."""
        squared = 1.0 - self.skew * self.sharpe + (self.kurtosis - 1.0) / 4.0 * self.sharpe**2
        if squared <= 0:
            raise NotComputable("the moments of this series leave its error undefined")
        return sqrt(squared)


def probabilistic_sharpe(found: Moments, threshold: float = 0.0) -> float:
    """Return the probability that the true Sharpe ratio exceeds `threshold`, a ratio per bar."""
    return _NORMAL.cdf((found.sharpe - threshold) * sqrt(found.bars - 1) / found.spread())


def track_record_needed(found: Moments, threshold: float = 0.0, alpha: float = 0.05) -> float:
    """Return the bars after which such a Sharpe ratio is above `threshold` at 1 - alpha.

    Units: bars, not rounded.
    """
    if found.sharpe <= threshold:
        raise NotComputable("infinite: the Sharpe ratio is not above the threshold")
    quantile = _NORMAL.inv_cdf(1.0 - alpha)
    return 1.0 + (found.spread() * quantile / (found.sharpe - threshold)) ** 2


def expected_best(trials: float) -> float:
    """Return how far the best of so many trials without any skill lies above their mean.

    Units: deviations of the trials' Sharpe ratios. It is 2 % high at 10 trials, less above.
    """
    if trials < 2:
        raise NotComputable("needs at least 2 trials")
    common, rare = _NORMAL.inv_cdf(1.0 - 1.0 / trials), _NORMAL.inv_cdf(1.0 - 1.0 / (trials * e))
    return (1.0 - _EULER) * common + _EULER * rare


def luck_alone(trials: float, variance: float) -> float:
    """Return the Sharpe ratio per bar that luck alone gives the best of so many trials.

    `variance` is that of the trials' Sharpe ratios per bar.
    """
    return sqrt(variance) * expected_best(trials)


def deflated_sharpe(found: Moments, trials: float, variance: float) -> float:
    """Return the probability that the true Sharpe ratio exceeds what luck alone gives.

    Arguments as for `luck_alone`. Raises: NotComputable below 2 trials.
    """
    return probabilistic_sharpe(found, luck_alone(trials, variance))


def effective_trials(returns: np.ndarray) -> float:
    """Return how many independent trials so many correlated ones are worth.

    Shapes: (T, N) returns of the trials over the same bars; 1 where all are one series, N where
    none has to do with another. By the mean correlation c of all pairs: c + (1 - c) N.
    """
    moving = returns[:, returns.std(axis=0) >= STILL]
    count, still = moving.shape[1], returns.shape[1] - moving.shape[1]
    if count < 2:
        return float(count + min(still, 1))
    table = np.corrcoef(moving, rowvar=False)
    mean = (table.sum() - count) / (count * (count - 1))
    return float(np.clip(mean + (1.0 - mean) * count, 1.0, count)) + min(still, 1)


def overfitting_probability(
    returns: np.ndarray, blocks: int = BLOCKS, score: str = "sharpe"
) -> float:
    """Return how often the best trial on one half of the bars is no better than most on the other.

    Shapes: (T, N) returns of N trials over the same T bars. The bars are cut into an even number of
    equal blocks (the oldest T mod blocks bars are left out), and every half of them chooses once. A
    choice fails when its rank on the other half is in the lower half or exactly in the middle.
    `score` is "sharpe" or "sum". A trial that stands still has a Sharpe ratio of 0.
    On pure noise one set of trials gives anything from 0.2 to 0.8: a value below 0.5 proves nothing.
    """
    ranks = np.concatenate(_ranks(returns, blocks, score))
    middle = (returns.shape[1] + 1) / 2
    return float((ranks <= middle + 1e-9).mean())


def student_quantile(level: float, freedom: float) -> float:
    """Return the quantile of Student's t; good to 1e-3 from 9 degrees of freedom on.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = _NORMAL.inv_cdf(level)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _ranks(returns: np.ndarray, blocks: int, score: str) -> list[np.ndarray]:
    # Of the best trial of each half on the other half; 1 = worst, ties share their mean rank.
    bars, trials = returns.shape
    if blocks < 2 or blocks % 2 or score not in ("sharpe", "sum"):
        raise UsageError(
            "expected an even number of blocks and a score of sharpe or sum, found "
            f"{blocks} and {score}"
        )
    if trials < 2:
        raise NotComputable("needs at least 2 trials over the same bars")
    least = blocks if score == "sum" else 2 * blocks
    if bars < least:
        raise NotComputable(f"needs at least {least} bars for {blocks} blocks, found {bars}")
    length = bars // blocks
    cut = returns[bars - length * blocks :].reshape(blocks, length, trials)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    halves, found = combinations(range(blocks), blocks // 2), []
    chunk = max(_AT_ONCE // (trials * blocks), 1)
    for _ in range(0, comb(blocks, blocks // 2), chunk):
        inside = np.zeros((len(picked := list(islice(halves, chunk))), blocks))
        inside[np.arange(len(picked))[:, None], picked] = 1.0
        chosen = _scores(inside, sums, squares, length, score).argmax(axis=1)
        other = _scores(1.0 - inside, sums, squares, length, score)
        own = other[np.arange(len(picked)), chosen][:, None]
        equal = np.abs(other - own) <= _ROUNDING
        found.append(((other < own) & ~equal).sum(axis=1) + (equal.sum(axis=1) + 1) / 2)
    return found


def _scores(
    halves: np.ndarray, sums: np.ndarray, squares: np.ndarray, length: int, score: str
) -> np.ndarray:
    # (halves, trials), from the sums over each block.
    total = halves @ sums
    if score == "sum":
        return total
    bars = length * halves.shape[1] // 2
    mean = total / bars
    size = halves @ squares / bars
    variance = (size - mean**2) * bars / (bars - 1)
    moving = variance > _ROUNDING * size
    return np.where(moving, mean / np.sqrt(np.where(moving, variance, 1.0)), 0.0)
