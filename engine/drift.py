"""Live drift: have the inputs left what the agent learned from, and do fills cost more than modelled?

`Distribution` is what a checkpoint remembers of its training rows. A window of later rows is held
against it with the population stability index over ten bins of equal training share. Textbook
limits of that index (0.1, 0.25) and p-values take rows for independent; features of overlapping
bars are not, and cross them on any quiet day. So the limit of each feature is measured: the largest
index that any window of as many sessions in a row reached within the training itself, held against
the rest of it. This module knows arrays only; warnings stop nothing.

False alarms at the default factor of 2, windows of 63 sessions of four symbols, features of the guide:
0 of 20 random walks over 504 sessions each, 1 of 20 markets whose volatility clusters, 0.2 % of windows
when the bundled prices of 2001-2007 are shuffled in blocks, 1.2 % of those of 2008-2009 and none of
2010-2013. The textbook limit of 0.25 alarms on 94 to 100 % of all of them. Slow features (a mean of
150 bars) vary so much within a training that little but a lasting change of level is found there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
from pydantic import BaseModel, Field

from engine.significance import student_quantile

BINS = 10
TAIL = 0.001  # of the training rows, on each side, that count as outside
FLOOR = 0.1  # an index below this is no change, however still the training was
LEAST_WINDOWS = 4  # training must hold this many windows side by side to say what is usual
LEAST_SESSIONS = 10  # with fills, before their cost is judged
LEVEL = 0.95


class DriftSettings(BaseModel, frozen=True, extra="forbid"):
    """When a paper account warns that life is not what the agent learned from; nothing is stopped."""

    window: int = Field(
        63,
        ge=20,
        le=504,
        description="sessions in a row that are compared; what is usual over so many is measured "
        "when an agent is trained and kept in its checkpoint",
    )
    factor: float = Field(
        2.0,
        ge=1,
        description="warn when a feature's stability index is this many times the largest that any "
        "such window of the training reached",
    )
    outside: float = Field(
        0.25,
        gt=0,
        le=1,
        description="warn when this share of one session's inputs is beyond the 0.1 and 99.9 % "
        "quantiles of the training",
    )
    fill_gap_bps: float = Field(
        5.0,
        ge=0,
        description="warn when fills cost more than the model by this, basis points of value, and "
        "its 95 % interval is wholly above",
    )


class Distribution(BaseModel, frozen=True, extra="forbid"):
    """The market inputs of the training rows, one entry a feature.

    `counts` are rows between the `cuts`; a value on a cut belongs above it. `usual` is the largest
    index of any `window` sessions of all symbols together, `alone` of any one symbol's.
    """

    window: int = Field(ge=2)
    low: tuple[float, ...]
    high: tuple[float, ...]
    cuts: tuple[tuple[float, ...], ...]
    counts: tuple[tuple[int, ...], ...]
    usual: tuple[float, ...]
    alone: tuple[float, ...]

    @classmethod
    def of(cls, rows: np.ndarray, ready: np.ndarray, window: int) -> "Distribution | None":
        """Measure training rows; None where they are too few to say what is usual.

        Shapes: rows (T, N, F), ready (T, N).
        """
        if len(rows) < LEAST_WINDOWS * window or not ready.any():
            return None
        used = rows[ready].astype(np.float64)
        low, high = np.quantile(used, (TAIL, 1.0 - TAIL), axis=0)
        at = np.quantile(used, np.arange(1, BINS) / BINS, axis=0)
        cuts = [np.unique(column) for column in at.T]
        counts, usual, alone = [], [], []
        for feature, edges in enumerate(cuts):
            placed = _placed(rows[..., feature], ready, edges)
            counts.append(tuple(placed.sum(axis=(0, 1)).tolist()))
            usual.append(_largest(placed.sum(axis=1, keepdims=True), window))
            alone.append(_largest(placed, window))
        return cls(
            window=window,
            low=tuple(low.tolist()),
            high=tuple(high.tolist()),
            cuts=tuple(tuple(edges.tolist()) for edges in cuts),
            counts=tuple(counts),
            usual=tuple(usual),
            alone=tuple(alone),
        )

    def outside(self, rows: np.ndarray, ready: np.ndarray) -> np.ndarray:
        """Return each session's share of inputs beyond the tails; NaN without a ready row.

        Shapes: rows (T, N, F), ready (T, N); (T,) out.
        """
        beyond = ((rows < np.array(self.low)) | (rows > np.array(self.high))) & ready[..., None]
        known = ready.sum(axis=1) * rows.shape[-1]
        return np.where(known > 0, beyond.sum(axis=(1, 2)) / np.maximum(known, 1), np.nan)

    def indices(self, rows: np.ndarray, ready: np.ndarray) -> np.ndarray:
        """Return the stability index of every feature over all rows given. Shapes: as `outside`; (F,)."""
        return np.array(
            [
                stability_index(
                    _placed(rows[..., feature], ready, np.array(edges)).sum(axis=(0, 1)),
                    np.array(self.counts[feature]),
                )
                for feature, edges in enumerate(self.cuts)
            ]
        )

    def limits(self, factor: float, same_symbols: bool) -> np.ndarray:
        """Return the index above which each feature has drifted. Shapes: (F,).

        Other symbols than the trained ones are held against the most that one symbol alone did.
        """
        usual = self.usual if same_symbols else self.alone
        return factor * np.maximum(np.array(usual), FLOOR)


@dataclass(frozen=True, slots=True)
class Gap:
    """What fills cost beyond the model. Units: basis points of value; positive is dearer."""

    mean: float
    low: float  # of its 95 % interval
    high: float
    sessions: int
    fills: int


def stability_index(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the population stability index, sum (p - q) ln(p / q) over bins.

    Shapes: counts (..., bins). Half a row is added to each bin, so that an empty one stays finite.
    """
    p, q = _shares(found), _shares(expected)
    return np.asarray(((p - q) * np.log(p / q)).sum(axis=-1))


def gap_bps(qty: np.ndarray, price: np.ndarray, modelled: np.ndarray) -> np.ndarray:
    """Return how much dearer each fill was than the model says; a buyer pays up, a seller gets less."""
    return np.asarray(np.sign(qty) * (price / modelled - 1.0) * 1e4)


def gap_of(sessions: np.ndarray, gaps: np.ndarray) -> Gap | None:
    """Return the mean gap and its 95 % interval; None with fills of fewer than ten sessions.

    Fills of one open share its move, so each session counts once, by the mean of its fills.
    """
    days, at = np.unique(sessions, return_inverse=True)
    if len(days) < LEAST_SESSIONS:
        return None
    means = np.bincount(at, weights=gaps) / np.bincount(at)
    mean, spread = float(means.mean()), float(means.std(ddof=1)) / sqrt(len(days))
    wide = student_quantile(0.5 + LEVEL / 2.0, len(days) - 1) * spread
    return Gap(mean, mean - wide, mean + wide, len(days), len(gaps))


def _shares(counts: np.ndarray) -> np.ndarray:
    whole = counts.sum(axis=-1, keepdims=True)
    return np.asarray((counts + 0.5) / (whole + 0.5 * counts.shape[-1]))


def _placed(values: np.ndarray, ready: np.ndarray, edges: np.ndarray) -> np.ndarray:
    # Which bin each ready value falls into: (T, N) in, (T, N, bins) of 0 and 1 out.
    place = np.searchsorted(edges, values.astype(np.float64), side="right")
    return (place[..., None] == np.arange(len(edges) + 1)) & ready[..., None]


def _largest(placed: np.ndarray, window: int) -> float:
    # Of all windows and symbols; each against the training without it. (T, N, bins) in.
    total = placed.sum(axis=(0, 1))
    return max(
        (
            float(stability_index(inside, total - inside).max())
            for inside in _windows(placed, window)
            if len(inside)
        ),
        default=0.0,
    )


def _windows(placed: np.ndarray, window: int) -> Iterator[np.ndarray]:
    # The counts of every window of one symbol, those in which it hardly traded left out.
    for symbol in range(placed.shape[1]):
        summed = np.cumsum(placed[:, symbol], axis=0, dtype=np.int64)
        summed = np.vstack([np.zeros_like(summed[:1]), summed])
        counts = summed[window:] - summed[:-window]
        rows = counts.sum(axis=1)
        yield counts[rows >= rows.max(initial=0) / 2]
