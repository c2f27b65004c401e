"""Look-ahead check: change the future at many dates and see that nothing before it moves.

At each date t the bars after t are cut off, replaced by noise, and scrambled (with a split planted
just after t). Features are computed again from the changed bars and fitted steps are refitted where
their fit window lies before t; then many changed markets are stepped side by side with the unchanged
one, and every output up to t must be the same bits. `Pipeline` holds each part that could leak, so
that a test can plant a leak there and see it found.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from engine.bars import CLOSE, HIGH, LOW, OPEN, VOLUME, Bars, MarketRow
from engine.observation import Scaler, market_part
from engine.policy import Policy
from engine.trader import Trader, TraderSpec
from engine.venue import Outcome, SimVenue

CHANGES = ("cut", "noise", "scramble")
ROWS = 480  # rows (changed markets x symbols) stepped side by side
History = Callable[[Bars], tuple[np.ndarray, np.ndarray]]
Fit = Callable[[np.ndarray, np.ndarray], Scaler]


@dataclass(frozen=True)
class Pipeline:
    """What is checked. `history` gives features; `fit` the scaler from rows and readiness, or None.

    `fit_last` is the last bar that the fit may use. `venue` makes a venue for B books.
    """

    spec: TraderSpec
    policy: Policy
    history: History
    fit: Fit | None
    fit_last: int
    venue: Callable[[int], SimVenue]


@dataclass(frozen=True, slots=True)
class Leak:
    """An output that moved: `seen` is the bar whose output changed, `changed_after` the date.

    `features` names those that moved, where it is features.
    """

    output: str
    change: str
    changed_after: str
    seen: str
    symbol: str
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LookaheadResult:
    """What was tried and what moved."""

    dates: int
    changes: int
    compared: int
    leaks: tuple[Leak, ...]

    @property
    def clean(self) -> bool:
        """True when nothing moved."""
        return not self.leaks


def standard(
    spec: TraderSpec, policy: Policy, fit: Fit | None, fit_last: int, cash: float, symbols: int
) -> Pipeline:
    """Return the pipeline exactly as backtests run it."""
    return Pipeline(
        spec=spec,
        policy=policy,
        history=spec.features.history,
        fit=fit,
        fit_last=fit_last,
        venue=lambda books: SimVenue(cash, (books, symbols), spec.costs, spec.venue),
    )


def check_lookahead(
    pipeline: Pipeline,
    bars: Bars,
    first: int,
    last: int,
    dates: int = 200,
    seed: int = 0,
    progress: Callable[[int, str], None] = lambda done, text: None,
) -> LookaheadResult:
    """Check `dates` dates between the bars `first` and `last`, each with every change."""
    generator = np.random.default_rng(seed)
    chosen = generator.choice(np.arange(first, last), size=min(dates, last - first), replace=False)
    cases = [(int(t), change) for t in np.sort(chosen) for change in CHANGES]
    base = pipeline.history(bars)
    leaks: list[Leak] = []
    compared = 0
    size = max(ROWS // len(bars.symbols), len(CHANGES))
    for start in range(0, len(cases), size):
        batch = cases[start : start + size]
        changed = [_changed(bars, t, change, generator) for t, change in batch]
        seen = [pipeline.history(item) for item in changed]
        leaks += _feature_leaks(bars, base, seen, batch, pipeline.spec.features.names)
        found, steps = _decision_leaks(pipeline, bars, base, changed, seen, batch, first)
        leaks += found
        compared += steps
        progress(min(start + size, len(cases)), f"{len(leaks)} leaks")
    return LookaheadResult(len(chosen), len(cases), compared, tuple(leaks))


def _changed(bars: Bars, t: int, change: str, generator: np.random.Generator) -> Bars:
    if change == "cut":
        return bars.between(None, bars.sessions[t])
    ohlcv, split, dividend = bars.ohlcv.copy(), bars.split.copy(), bars.dividend.copy()
    rest = len(bars.sessions) - t - 1
    if change == "noise":
        factor = np.exp(generator.normal(0.0, 0.5, (rest, len(bars.symbols), 1)))
        ohlcv[t + 1 :, :, : CLOSE + 1] *= factor * 1000.0
        ohlcv[t + 1 :, :, VOLUME] *= generator.uniform(0.1, 10.0, (rest, len(bars.symbols)))
        return replace(bars, ohlcv=ohlcv)
    order = t + 1 + generator.permutation(rest)
    ohlcv[t + 1 :], traded = ohlcv[order], bars.traded.copy()
    traded[t + 1 :] = traded[order]
    split[t + 1 :], dividend[t + 1 :] = 1.0, 0.0
    if rest:
        split[t + 1] = 7.0
        ohlcv[t + 1 :, :, [OPEN, HIGH, LOW, CLOSE]] /= 7.0
    return replace(bars, ohlcv=ohlcv, traded=traded, split=split, dividend=dividend)


def _feature_leaks(
    bars: Bars,
    base: tuple[np.ndarray, np.ndarray],
    seen: list[tuple[np.ndarray, np.ndarray]],
    batch: list[tuple[int, str]],
    names: tuple[str, ...],
) -> list[Leak]:
    leaks = []
    for (rows, ready), (t, change) in zip(seen, batch, strict=True):
        other = _bits(rows[: t + 1]) != _bits(base[0][: t + 1])
        moved = (ready[: t + 1] != base[1][: t + 1]) | other.any(axis=-1)
        found = _leaks(bars, "features", moved, t, change)
        leaks += [replace(leak, features=moved_of(other, names)) for leak in found]
    return leaks


def moved_of(moved: np.ndarray, names: tuple[str, ...]) -> tuple[str, ...]:
    """Name the features that moved anywhere. Shapes: moved (T, N, F) bool."""
    columns = np.flatnonzero(moved.any(axis=(0, 1)))
    return tuple(names[column] for column in columns if column < len(names))


def _decision_leaks(
    pipeline: Pipeline,
    bars: Bars,
    base: tuple[np.ndarray, np.ndarray],
    changed: list[Bars],
    seen: list[tuple[np.ndarray, np.ndarray]],
    batch: list[tuple[int, str]],
    first: int,
) -> tuple[list[Leak], int]:
    # Two sets of books of one shape, so that equal inputs must give equal bits.
    last = max(t for t, _ in batch) + 1  # one more: the fill of the last decision
    scaler = _scaler(pipeline, *base)
    refit = [
        _scaler(pipeline, *item) if t >= pipeline.fit_last else scaler
        for item, (t, _) in zip(seen, batch, strict=True)
    ]
    plain = _Books(
        pipeline, bars, [bars] * len(batch), [base] * len(batch), [scaler] * len(batch), last
    )
    other = _Books(pipeline, bars, changed, seen, refit, last)
    until = np.array([t for t, _ in batch])
    found: dict[tuple[str, int], Leak] = {}
    stale: list[Leak] = []
    declared = pipeline.spec.venue.fill == "same_close"
    steps = 0
    for at in range(first, last + 1):
        mine, theirs = plain.step(at, first), other.step(at, first)
        stale += [] if declared else _stale_fills(bars, plain, other, batch, at)
        before = at <= until
        steps += int(before.sum())
        for name, array in mine.items():
            moved = (_bits(array) != _bits(theirs[name])).any(axis=-1) & before[:, None]
            for book in np.flatnonzero(moved.any(axis=1)):
                if (name, int(book)) not in found:
                    t, change = batch[book]
                    row = np.zeros((at + 1, moved.shape[1]), dtype=bool)
                    row[at] = moved[book]
                    found[name, int(book)] = _leaks(bars, name, row, t, change)[0]
    return stale + list(found.values()), steps


class _Books:
    # One book for each market, all stepped together.
    def __init__(
        self,
        pipeline: Pipeline,
        bars: Bars,
        markets: list[Bars],
        seen: list[tuple[np.ndarray, np.ndarray]],
        scalers: list[Scaler],
        last: int,
    ) -> None:
        books, symbols = len(markets), len(bars.symbols)
        self.markets = markets
        self.fresh = _stack([ready for _, ready in seen], last, False)
        parts = [market_part(rows, by) for (rows, _), by in zip(seen, scalers, strict=True)]
        self.market = _stack(parts, last, 0.0)
        self.trader = Trader(pipeline.spec, pipeline.policy, symbols, books)
        self.venue = pipeline.venue(books)
        self.ohlcv = _stack([item.ohlcv for item in markets], last, np.nan)
        self.traded = _stack([item.traded for item in markets], last, False)
        self.split = _stack([item.split for item in markets], last, 1.0)
        self.dividend = _stack([item.dividend for item in markets], last, 0.0)
        self.sessions = bars.sessions
        self.outcome = Outcome.nothing(bars.sessions[:1], books, symbols)

    def step(self, at: int, first: int) -> dict[str, np.ndarray]:
        if at == first:
            self.trader.burn_in(
                np.moveaxis(self.market[:, :first], 0, 1), np.moveaxis(self.fresh[:, :first], 0, 1)
            )
        ended = np.stack([self.sessions[at] > item.ended for item in self.markets])
        ohlcv = self.ohlcv[:, at]
        row = MarketRow(
            session=np.full(len(self.markets), self.sessions[at]),
            open=ohlcv[..., OPEN],
            high=ohlcv[..., HIGH],
            low=ohlcv[..., LOW],
            close=ohlcv[..., CLOSE],
            traded=self.traded[:, at],
            split=self.split[:, at],
            dividend=self.dividend[:, at],
            ended=ended,
        )
        self.outcome = self.venue.advance(row)
        book = self.venue.book
        decision = self.trader.step(
            self.market[:, at], self.fresh[:, at], self.traded[:, at], book, self.venue.pending.qty
        )
        self.venue.submit(decision.orders)
        return {
            "observation": _fold(decision.obs.market, decision.obs.book),
            "memory": self.trader.memory,
            "action": np.stack([decision.wish.exposure, decision.wish.keep], axis=-1),
            "order": decision.orders.qty[..., None],
        }


def _stale_fills(
    bars: Bars, plain: _Books, other: _Books, batch: list[tuple[int, str]], at: int
) -> list[Leak]:
    # A fill belongs to the session after its decision: new prices there must give a new fill.
    mine, theirs = plain.outcome, other.outcome
    asked = np.array([at == t + 1 and change == "noise" for t, change in batch])
    both = (mine.filled != 0) & (theirs.filled != 0) & asked[:, None]
    same = both & (mine.price == theirs.price)
    return [
        Leak("fill", "noise", str(bars.sessions[at - 1]), str(bars.sessions[at]), bars.symbols[n])
        for _, n in np.argwhere(same)
    ]


def _scaler(pipeline: Pipeline, rows: np.ndarray, ready: np.ndarray) -> Scaler:
    return pipeline.spec.scaler if pipeline.fit is None else pipeline.fit(rows, ready)


def _stack(arrays: list[np.ndarray], last: int, fill: float | bool) -> np.ndarray:
    shape = (len(arrays), last + 1, *arrays[0].shape[1:])
    out = np.full(shape, fill, dtype=arrays[0].dtype)
    for book, array in enumerate(arrays):
        have = min(len(array), last + 1)
        out[book, :have] = array[:have]
    return out


def _fold(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts, axis=-1)


def _bits(array: np.ndarray) -> np.ndarray:
    # NaN equals NaN, and 0.0 differs from -0.0 nowhere that matters.
    return np.nan_to_num(array.astype(np.float64), nan=1e308)


def _leaks(bars: Bars, output: str, moved: np.ndarray, t: int, change: str) -> list[Leak]:
    where = np.argwhere(moved)
    if not len(where):
        return []
    at, symbol = where[0]
    return [
        Leak(output, change, str(bars.sessions[t]), str(bars.sessions[at]), bars.symbols[symbol])
    ]
