"""Training markets beside the real one: the same sessions, prices bootstrapped from training bars.

All stand side by side in one `Bars`: first the N real symbols, then N for each copy. Nothing after
the training dates is drawn from, or kept.
"""

import numpy as np

from engine.bars import Bars
from engine.data.synthetic import bootstrap
from engine.settings_course import AugmentSettings


def augmented(
    bars: Bars, first: int, last: int, settings: AugmentSettings, joint: bool, seed: int
) -> Bars:
    """Return the bars up to `last` with bootstrapped copies of them beside.

    `first` and `last` are the training dates, indices, both inclusive. `joint`: days are drawn for
    all symbols together, which keeps correlation; otherwise each symbol from all days of its own.
    """
    kept = bars.between(None, bars.sessions[last])
    base = bars.between(bars.sessions[first], bars.sessions[last])
    generator = np.random.default_rng([seed, 1])
    groups = [bars.symbols] if joint else [(symbol,) for symbol in bars.symbols]
    made = [
        bootstrap(base.select(group), len(kept.sessions), settings.mean_block, generator)
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
        source=f"{bars.source}, with {settings.copies} bootstrapped copies",
    )
