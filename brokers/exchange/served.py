"""The bars as the data endpoints serve them: a vendor's revisions and gaps, never what fills."""

from dataclasses import replace

import numpy as np

from brokers.exchange.switches import Switches
from engine.bars import VOLUME, Bars


def served(bars: Bars, switches: Switches) -> Bars:
    """Return the bars with what is switched to be revised or dropped."""
    if not switches.revised and not switches.dropped:
        return bars
    ohlcv, traded = bars.ohlcv.copy(), bars.traded.copy()
    for (symbol, session), factor in switches.revised.items():
        ohlcv[bars.index_of(session), bars.symbols.index(symbol), :VOLUME] *= factor
    for symbol, session in switches.dropped:
        at = bars.index_of(session), bars.symbols.index(symbol)
        ohlcv[at], traded[at] = np.nan, False
    return replace(bars, ohlcv=ohlcv, traded=traded)
