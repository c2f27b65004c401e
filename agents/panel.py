"""Bars made ready for stepping many books at once: scaled features, prices, and rows without gaps.

A symbol's *rows* are the bars on which its features exist; memory advances on rows only, so rows are
also kept gap-free per symbol (`compact`). It knows no books and no torch.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.bars import CLOSE, HIGH, LOW, OPEN, Bars, MarketRow
from engine.features import FeatureSet
from engine.observation import Scaler, market_part


@dataclass(frozen=True)
class Panel:
    """What the environment reads.

    Shapes: market (T, N, F) float32; fresh, traded (T, N); rank (T + 1, N) = rows before bar t;
    compact (N, K, F) = the rows of each symbol in order, zero after its last.
    """

    bars: Bars
    market: np.ndarray
    fresh: np.ndarray
    rank: np.ndarray
    compact: np.ndarray
    ended: np.ndarray

    @classmethod
    def of(cls, bars: Bars, features: FeatureSet, scaler: Scaler) -> "Panel":
        """Compute features over all of `bars` and scale them."""
        raw, fresh = features.history(bars)
        return cls.from_history(bars, market_part(raw, scaler), fresh)

    @classmethod
    def from_history(cls, bars: Bars, market: np.ndarray, fresh: np.ndarray) -> "Panel":
        """Build from market inputs already computed; shapes as in the class."""
        sessions, symbols = fresh.shape
        rank = np.zeros((sessions + 1, symbols), dtype=np.int64)
        np.cumsum(fresh, axis=0, out=rank[1:])
        compact = np.zeros(
            (symbols, max(int(rank[-1].max()), 1), market.shape[2]), dtype=np.float32
        )
        for n in range(symbols):
            compact[n, : rank[-1, n]] = market[fresh[:, n], n]
        return cls(bars, market, fresh, rank, compact, bars.has_ended())

    @cached_property
    def growth(self) -> np.ndarray:
        """Value of a holding after each session / before it: without dividends, and with them.

        Shapes: (2, T, N). 1 until the session after a symbol's first close.
        """
        bars, result = self.bars, np.ones((2, *self.fresh.shape))
        mark = np.zeros(self.fresh.shape[1])
        for t in range(len(bars.sessions)):
            held, mark = mark > 0, mark / bars.split[t]
            before = np.where(held, mark, 1.0)
            mark = np.where(bars.traded[t], bars.ohlcv[t, :, CLOSE], mark)
            result[0, t] = np.where(held, mark / before, 1.0)
            result[1, t] = np.where(held, (mark + bars.dividend[t]) / before, 1.0)
        return result

    def row(self, at: np.ndarray, symbol: np.ndarray) -> MarketRow:
        """Return the market of each book's own session.

        Shapes: at (B,) bar index; symbol (B, N) symbol index.
        """
        bars, when = self.bars, at[:, None]
        ohlcv = bars.ohlcv[when, symbol]
        return MarketRow(
            session=bars.sessions[at],
            open=ohlcv[..., OPEN],
            high=ohlcv[..., HIGH],
            low=ohlcv[..., LOW],
            close=ohlcv[..., CLOSE],
            traded=bars.traded[when, symbol],
            split=bars.split[when, symbol],
            dividend=bars.dividend[when, symbol],
            ended=self.ended[when, symbol],
        )
