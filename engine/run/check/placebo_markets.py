"""Placebo markets: what the configured bars look like without anything that could be foretold.

Each keeps the days in which every symbol traded, with their dates, and rebuilds open, high and low
around new closes. Days of all symbols move together, so correlation stays.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from agents.augment import walks
from engine.bars import CLOSE, VOLUME, Bars
from engine.data.synthetic import bootstrap, prices, whole_days
from engine.files import atomic
from engine.settings_course import AugmentSettings
from engine.settings_placebo import PlaceboSettings

# Draws (t, N, 5) of a market made from the one given.
Maker = Callable[[Bars, int, PlaceboSettings, np.random.Generator], np.ndarray]
COLUMNS = ("open", "high", "low", "close", "volume")
PRICE = 100.0  # each symbol's close before the first tested day, so that shares stay affordable


def shuffled(
    base: Bars, t: int, settings: PlaceboSettings, generator: np.random.Generator
) -> np.ndarray:
    """Play the real days in a random order, each once."""
    _, ratios, volume = whole_days(base)
    order = generator.permutation(t)
    overnight, high, low, close = np.moveaxis(ratios[order], -1, 0)
    return prices(overnight, high, low, close, volume[order])


def in_blocks(
    base: Bars, t: int, settings: PlaceboSettings, generator: np.random.Generator
) -> np.ndarray:
    """Play real days in blocks: what lasts for less than a block is kept."""
    return bootstrap(base, t, settings.mean_block, generator)


def walked(
    base: Bars, t: int, settings: PlaceboSettings, generator: np.random.Generator
) -> np.ndarray:
    """Walk at random with the drift and noise of each symbol."""
    return walks(base, t, AugmentSettings(), generator)


def flipped(
    base: Bars, t: int, settings: PlaceboSettings, generator: np.random.Generator
) -> np.ndarray:
    """Turn half of the real days upside down, at random: the size of moves stays, not their sign."""
    _, ratios, volume = whole_days(base)
    down = generator.random(t) < 0.5
    overnight, high, low, close = np.moveaxis(ratios, -1, 0)
    high, low = np.where(down[:, None], (1.0 / low, 1.0 / high), (high, low))
    sign = np.where(down, -1.0, 1.0)[:, None]
    return prices(overnight**sign, high, low, close**sign, volume)


MARKETS: dict[str, Maker] = {"Q1": shuffled, "Q2": in_blocks, "Q3": walked, "Q4": flipped}


def placebo(
    base: Bars, name: str, settings: PlaceboSettings, seed: int, tested: np.datetime64
) -> Bars:
    """Draw one placebo market; `tested` is the first tested day."""
    rows, _, _ = whole_days(base)
    generator = np.random.default_rng([seed, int(name.removeprefix("Q"))])
    ohlcv = MARKETS[name](base, len(rows), settings, generator)
    days = base.sessions[rows]
    before = max(int(np.searchsorted(days, tested)) - 1, 0)
    ohlcv[..., :VOLUME] *= PRICE / ohlcv[before, :, CLOSE][:, None]
    ohlcv[..., VOLUME] = np.maximum(np.round(ohlcv[..., VOLUME]), 1.0)
    return Bars(
        sessions=days,
        symbols=base.symbols,
        ohlcv=ohlcv,
        traded=np.ones(ohlcv.shape[:2], dtype=bool),
        split=np.ones(ohlcv.shape[:2]),
        dividend=np.zeros(ohlcv.shape[:2]),
        ended=np.full(len(base.symbols), np.datetime64("NaT"), dtype="datetime64[D]"),
        price_basis="total",
        calendar="none",
        source=f"placebo {name}, seed {seed}",
    )


def write(bars: Bars, path: Path) -> None:
    """Write a market as a parquet file that `data.source = "parquet"` reads, every bit of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    t, n = bars.traded.shape
    table = {
        "date": np.repeat(bars.sessions.astype("datetime64[ms]"), n),
        "symbol": np.tile(np.array(bars.symbols), t),
    }
    table |= {name: bars.ohlcv[..., at].ravel() for at, name in enumerate(COLUMNS)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path, "wb") as file:
        pq.write_table(pa.table(table), file)
