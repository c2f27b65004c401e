"""Replay: a trader on a simulated venue, bar after bar, without Backtrader.

The fast way to score a checkpoint or a baseline; parity with the Backtrader path is a check. A trader
and a venue of several books go through the same bars at once, and share a memory that follows from them.
"""

import numpy as np

from engine.bars import Bars
from engine.burn_in import last_rows
from engine.foreseen import foresee
from engine.observation import market_part
from engine.run.record import Recorder
from engine.trader import Trader
from engine.venue import SimVenue


def replay(
    trader: Trader,
    venue: SimVenue,
    bars: Bars,
    first: int,
    last: int,
    recorder: Recorder | None = None,
    rows: tuple[np.ndarray, np.ndarray] | None = None,
) -> Recorder:
    """Decide on bars `first` to `last` (indices, both inclusive) and record every bar.

    Bars before `first` prime windows and memory; features of the whole range are computed at once,
    which gives the same bits as the live windows. A venue that has traded and its `recorder` go on:
    what was ordered on the bar before fills on `first`. `rows`: `features.history(bars)`, if known.
    Of several books no memory is left behind: their trader starts anew.
    """
    features, fresh = rows or trader.spec.features.history(bars)
    market = market_part(features, trader.spec.scaler)
    (books, symbols), policy = trader.shape, trader.policy
    if books > 1:
        used = np.concatenate(
            (last_rows(fresh[:first], trader.spec.burn_in), fresh[first : last + 1])
        )
        trader.policy = foresee(policy, market[: last + 1], used, books) or policy
    # Every book looks at the same bars: (T, B, N, .).
    market = np.broadcast_to(market[:, None], (len(market), books, *market.shape[1:]))
    fresh, traded = (
        np.broadcast_to(x[:, None], (len(x), books, symbols)) for x in (fresh, bars.traded)
    )
    trader.burn_in(market[:first], fresh[:first])
    recorder = recorder or Recorder(several=books > 1)
    watched = recorder.watch(trader, venue)
    for t in range(first, last + 1):
        watched.advance(bars.row(t))
        held = venue.book, venue.pending.qty
        watched.submit(trader.step(market[t], fresh[t], traded[t], *held).orders)
    trader.observer = None
    if books > 1:
        trader.policy = policy
        trader.reset(np.ones(books, dtype=bool))
    return recorder
