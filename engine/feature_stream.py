"""The live windows of the features: bars come in one by one, rows go out as a history has them.

It keeps the windows and what waits for them; what a feature is, and that its bits are those of a history,
is `engine.features`.
"""

from collections.abc import Mapping

import numpy as np

from engine.bars import CLOSE, VOLUME, Bars
from engine.errors import DataError
from engine.feature_functions import DAY, FIELDS
from engine.feature_windows import (
    PRICE_FACTOR,
    ROWS,
    STORED,
    VOLUME_FACTOR,
    adjust,
    padded,
    price_factor,
    series_of,
    worthless_dividend,
)
from engine.features import FeatureSet
from engine.masks import every, finite, some

SLACK = 64  # bars that live windows slide before they are copied back


class FeatureStream:
    """The live windows: the last `lookback` traded bars of each symbol, pushed session by session.

    Gives the rows of `FeatureSet.history`, bit for bit. Its state is `state()`, nothing else.
    """

    # (R, 8, lookback + SLACK) raw fields, event factors; NaN: not yet filled. R is N rounded up to a
    # multiple of ROWS: the rows behind the last symbol repeat it, so that features need no copy.
    _stored: np.ndarray
    _end: int  # where the windows end in it
    _count: np.ndarray  # (N,) bars held, at most lookback
    _split: np.ndarray  # (N,) events that wait for the next traded bar
    _dividend: np.ndarray
    _session: np.datetime64  # the last one pushed
    _eventless: bool  # no factor in the windows changes an earlier bar; asked as they slide back

    def __init__(
        self, features: FeatureSet, n_symbols: int, symbols: tuple[str, ...] | None = None
    ) -> None:
        self.features = features
        self.symbols = symbols or tuple(f"symbol {at}" for at in range(n_symbols))
        self._clear()

    def push(
        self,
        session: np.datetime64,
        ohlcv: np.ndarray,
        traded: np.ndarray,
        split: np.ndarray,
        dividend: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take in one closed session, return its feature rows and where they exist.

        Shapes: ohlcv (N, 5), traded, split, dividend (N,); (N, F) and (N,) out.
        Raises: DataError for a session that is not after the last one, and as `history`.
        """
        day = session.astype("datetime64[D]")
        if day <= self._session:  # never where none was pushed yet
            raise DataError(
                f"session {day} is not after {self._session}, the last one in the feature windows; "
                "push sessions in order, once each"
            )
        self._append(day, ohlcv, np.asarray(traded, dtype=bool), split, dividend)
        ready = traded & (self._count >= self.features.lookback)
        if every(ready):
            rows = self._rows(self._block, ready)
        else:
            rows = np.full((len(ready), len(self.features)), np.nan)
            if some(ready):
                rows[ready] = self._rows(padded(self._windows[ready]), ready)
        self.features.compare(rows, ready)
        return rows, ready

    def prime(self, bars: Bars) -> None:
        """Start over from a history: the same state as pushing all its sessions, in one go."""
        if len(bars.symbols) != len(self.symbols):
            raise DataError(
                f"feature windows of {len(self.symbols)} symbols, found bars of "
                f"{len(bars.symbols)}; select the same symbols first"
            )
        self._clear()
        self.symbols = bars.symbols
        length = self.features.lookback
        for at in range(len(bars.symbols)):
            series = series_of(bars, at)
            held = min(len(series.rows), length)
            self._stored[at, :, length - held : length] = series.stored[
                :, len(series.rows) - held :
            ]
            self._count[at] = held
            self._split[at], self._dividend[at] = series.split, series.dividend
        self._settle()
        if len(bars.sessions):
            self._session = bars.sessions[-1].astype("datetime64[D]")

    def state(self) -> dict[str, np.ndarray]:
        """Return all state as named arrays."""
        return {
            "stored": self._windows.copy(),
            "count": self._count.copy(),
            "split": self._split.copy(),
            "dividend": self._dividend.copy(),
            "session": np.array(self._session),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state, bit for bit. Raises: DataError when its shape does not fit."""
        if state["stored"].shape != self._windows.shape:
            raise DataError(
                f"feature windows: expected shape {self._windows.shape} (symbols, fields, bars), "
                f"found {state['stored'].shape}; prime the stream from bars instead"
            )
        self._end = self.features.lookback
        self._windows[...] = state["stored"]
        self._settle()
        self._count = state["count"].copy()
        self._split = state["split"].copy()
        self._dividend = state["dividend"].copy()
        self._session = state["session"].astype("datetime64[D]").reshape(1)[0]

    def _append(
        self,
        day: np.datetime64,
        ohlcv: np.ndarray,
        traded: np.ndarray,
        split: np.ndarray,
        dividend: np.ndarray,
    ) -> None:
        # What happens while a symbol does not trade waits for its next bar.
        split_now = self._split * split
        dividend_now = self._dividend / split + dividend
        bar = np.empty((len(traded), STORED))
        bar[:, : VOLUME + 1] = ohlcv
        bar[:, DAY] = day.astype(np.int64)
        bar[:, PRICE_FACTOR:] = 1.0
        if some(split_now != 1.0) or some(dividend_now):
            self._put_factors(bar, day, traded, split_now, dividend_now)
            split_now = np.where(traded, 1.0, split_now)
            dividend_now = np.where(traded, 0.0, dividend_now)
        self._shift(bar, traded)
        self._count = np.minimum(self._count + traded, self.features.lookback)
        self._split, self._dividend, self._session = split_now, dividend_now, day

    def _put_factors(
        self,
        bar: np.ndarray,
        day: np.datetime64,
        traded: np.ndarray,
        split: np.ndarray,
        dividend: np.ndarray,
    ) -> None:
        # A symbol's first bar has nothing before it that its events could change.
        self._eventless, first = False, self._count == 0
        previous = np.where(first, 1.0, self._windows[:, CLOSE, -1])
        factor = np.where(first, 1.0, price_factor(previous, split, dividend))
        worthless = np.flatnonzero(traded & (factor <= 0.0))
        if worthless.size:
            raise worthless_dividend(self.symbols[int(worthless[0])], day)
        bar[:, PRICE_FACTOR] = factor
        bar[:, VOLUME_FACTOR] = np.where(first, 1.0, split)

    @property
    def _block(self) -> np.ndarray:
        # (R, 8, lookback), a view. It slides along a longer store, so that most bars copy nothing.
        return self._stored[:, :, self._end - self.features.lookback : self._end]

    @property
    def _windows(self) -> np.ndarray:
        # (N, 8, lookback), a view.
        return self._block[: len(self.symbols)]

    def _repeat_last(self, first: int) -> None:
        # From bar `first` on; see `_stored`.
        n = len(self.symbols)
        self._stored[n:, :, first : self._end] = self._stored[n - 1 : n, :, first : self._end]

    def _settle(self) -> None:
        # After many bars have changed at once.
        self._repeat_last(0)
        self._eventless = not some(self._block[:, PRICE_FACTOR:, 1:] != 1.0)

    def _shift(self, bar: np.ndarray, traded: np.ndarray) -> None:
        if not some(traded):
            return
        if self._end == self._stored.shape[2]:
            held = self._block.copy()
            self._end = self.features.lookback
            self._block[...] = held
            self._settle()
        before, self._end = self._windows, self._end + 1
        if every(traded):
            self._stored[: len(bar), :, self._end - 1] = bar
            self._repeat_last(self._end - 1)
            return
        idle = ~traded  # whose windows stay what they are, one place further on
        self._windows[idle] = before[idle]
        self._stored[: len(bar)][traded, :, self._end - 1] = bar[traded]
        self._repeat_last(0)

    def _rows(self, block: np.ndarray, ready: np.ndarray) -> np.ndarray:
        # Shapes: block (., 8, lookback), the windows of the symbols that are ready before all others.
        windows = block[:, :FIELDS] if self._eventless else adjust(block)
        found = self.features.of_block(windows)[: np.count_nonzero(ready)]
        if not finite(found):
            names = [self.symbols[at] for at in np.flatnonzero(ready)]
            self.features.require_finite(found, names, np.full(len(found), self._session))
        return found

    def _clear(self) -> None:
        n, self._end = len(self.symbols), self.features.lookback
        rows = -(-n // ROWS) * ROWS
        self._stored = np.full((rows, STORED, self._end + SLACK), np.nan)
        self._eventless = True
        self._count = np.zeros(n, np.int64)
        self._split = np.ones(n)
        self._dividend = np.zeros(n)
        self._session = np.datetime64("NaT", "D")
