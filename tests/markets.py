"""Made-up markets for tests: a random walk with gaps, late listings, splits and dividends.

`made_up` is deterministic for a seed. Prices are raw: they jump at a split by its ratio.
"""

from dataclasses import replace

import numpy as np

from engine.bars import CLOSE, HIGH, LOW, OPEN, VOLUME, Bars
from engine.feature_stream import FeatureStream
from engine.features import FeatureSet

KINDS = ("walk", "flat", "still", "ticks", "near_flat", "idle", "constant_volume")


def made_up(
    seed: int,
    sessions: int = 700,
    symbols: int = 3,
    kind: str = "walk",
    gaps: float = 0.05,
    events: float = 0.02,
    late: int = 40,
) -> Bars:
    """Return a market of one kind.

    `gaps` and `events` are shares of all sessions; symbol j lists after j * `late` sessions.
    flat: one price for ever; still: bars without range; ticks: whole cents that often repeat;
    near_flat: changes of 1e-9; idle: no volume; constant_volume: as it says.
    """
    rng = np.random.default_rng(seed)
    shape = (sessions, symbols)
    split, dividend = np.ones(shape), np.zeros(shape)
    ratios = np.array([2.0, 3.0, 1.5, 0.1, 1 / 3])
    hit = rng.random(shape) < events / 2
    split[hit] = rng.choice(ratios, hit.sum())
    close = _closes(rng, kind, shape) / np.cumprod(split, axis=0)
    hit = rng.random(shape) < events
    dividend[hit] = (rng.uniform(0.001, 0.05, shape) * close)[hit]
    ohlcv = _candles(rng, kind, close)
    traded = rng.random(shape) >= gaps
    for symbol in range(symbols):
        traded[: symbol * late, symbol] = False
    ohlcv[~traded] = np.nan
    days = np.busday_offset("2001-03-01", np.arange(sessions), roll="forward")
    return Bars(
        sessions=days,
        symbols=tuple(f"S{at}" for at in range(symbols)),
        ohlcv=ohlcv,
        traded=traded,
        split=split,
        dividend=dividend,
        ended=np.full(symbols, np.datetime64("NaT", "D")),
    )


def scaled(bars: Bars, symbol: int, factor: float) -> Bars:
    """Return the market with one symbol quoted in another unit: prices and dividends times factor."""
    ohlcv, dividend = bars.ohlcv.copy(), bars.dividend.copy()
    ohlcv[:, symbol, :VOLUME] *= factor
    dividend[:, symbol] *= factor
    return replace(bars, ohlcv=ohlcv, dividend=dividend)


def first(bars: Bars, sessions: int) -> Bars:
    """Return the market up to and including its first so many sessions."""
    return bars.between(None, bars.sessions[sessions - 1])


def require_live_equals_history(features: FeatureSet, bars: Bars, primed: int) -> None:
    """Push every session behind the first `primed`; each row must be the history's, bit for bit."""
    found, ready = features.history(bars)
    primed = min(primed, len(bars.sessions))
    stream = FeatureStream(features, len(bars.symbols))
    if primed:
        stream.prime(first(bars, primed))
    for t in range(primed, len(bars.sessions)):
        now = (bars.ohlcv[t], bars.traded[t], bars.split[t], bars.dividend[t])
        row, fresh = stream.push(bars.sessions[t], *now)
        assert row.tobytes() == found[t].tobytes()
        assert (fresh == ready[t]).all()


def _closes(rng: np.random.Generator, kind: str, shape: tuple[int, int]) -> np.ndarray:
    if kind == "flat":
        return np.full(shape, 33.37)
    if kind == "ticks":
        return 5.0 + 0.01 * np.cumsum(rng.integers(-1, 2, shape), axis=0)
    step = 1e-9 if kind == "near_flat" else 0.02
    return np.asarray(rng.uniform(5, 500) * np.exp(np.cumsum(rng.normal(0, step, shape), axis=0)))


def _candles(rng: np.random.Generator, kind: str, close: np.ndarray) -> np.ndarray:
    width = {"flat": 0.0, "still": 0.0, "near_flat": 1e-9}.get(kind, 0.01)
    ohlcv = np.empty((*close.shape, 5))
    ohlcv[..., CLOSE] = close
    ohlcv[..., OPEN] = close * np.exp(width * rng.normal(size=close.shape))
    top, bottom = np.maximum(ohlcv[..., OPEN], close), np.minimum(ohlcv[..., OPEN], close)
    ohlcv[..., HIGH] = top * np.exp(width * rng.random(close.shape))
    ohlcv[..., LOW] = bottom * np.exp(-width * rng.random(close.shape))
    volume = np.floor(rng.lognormal(12, 1, close.shape))
    ohlcv[..., VOLUME] = {"idle": 0.0, "constant_volume": 12_345.0}.get(kind, volume)
    return ohlcv
