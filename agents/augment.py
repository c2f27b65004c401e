"""Training markets beside the real one: the same sessions, prices drawn from training bars.

All stand side by side in one `Bars`: first the N real symbols, then N for each copy. Nothing after
the training dates is drawn from, or kept.
"""

from collections.abc import Callable

import numpy as np

from engine.bars import Bars
from engine.data.synthetic import bootstrap, gbm, moves
from engine.settings_course import AugmentSettings

# Draws (t, N, 5) of a market like the one given.
Maker = Callable[[Bars, int, AugmentSettings, np.random.Generator], np.ndarray]


def bootstrapped(
    base: Bars, t: int, settings: AugmentSettings, generator: np.random.Generator
) -> np.ndarray:
    """Draw real days in a new order."""
    return bootstrap(base, t, settings.mean_block, generator)


def walks(
    base: Bars, t: int, settings: AugmentSettings, generator: np.random.Generator
) -> np.ndarray:
    """Draw random walks of the drift and noise of each symbol, or of the settings'; nothing here can
    be timed, and no symbol moves with another."""
    moved, n = moves(base), len(base.symbols)
    mu = moved.mean(axis=0) - 1.0 if settings.mu is None else np.full(n, settings.mu)
    own = np.log(moved).std(axis=0, ddof=1)
    return gbm(t, n, mu, own if settings.sigma is None else np.full(n, settings.sigma), generator)


def augmented(
    bars: Bars,
    first: int,
    last: int,
    settings: AugmentSettings,
    joint: bool,
    seed: int,
    maker: Maker = bootstrapped,
) -> Bars:
    """Return the bars up to `last` with made-up markets like them beside.

    `first` and `last` are the training dates, indices, both inclusive. `joint`: days are drawn for
    all symbols together, which keeps correlation; otherwise each symbol from all days of its own.
    """
    kept = bars.between(None, bars.sessions[last])
    base = bars.between(bars.sessions[first], bars.sessions[last])
    generator = np.random.default_rng([seed, 1])
    groups = [bars.symbols] if joint else [(symbol,) for symbol in bars.symbols]
    made = [
        maker(base.select(group), len(kept.sessions), settings, generator)
        for _ in range(settings.copies)
        for group in groups
    ]
    ohlcv = np.concatenate([kept.ohlcv, *made], axis=1)
    extra = (len(kept.sessions), ohlcv.shape[1] - len(bars.symbols))
    names = [f"{name}~{copy}" for copy in range(1, settings.copies + 1) for name in bars.symbols]
    alive = np.full(extra[1], np.datetime64("NaT"), dtype="datetime64[D]")
    return Bars(
        sessions=kept.sessions,
        symbols=(*bars.symbols, *names),
        ohlcv=ohlcv,
        traded=np.hstack([kept.traded, np.ones(extra, dtype=bool)]),
        split=np.hstack([kept.split, np.ones(extra)]),
        dividend=np.hstack([kept.dividend, np.zeros(extra)]),
        ended=np.concatenate([kept.ended, alive]),
        price_basis=bars.price_basis,
        calendar=bars.calendar,
        source=f"{bars.source}, with {settings.copies} made-up copies",
    )
