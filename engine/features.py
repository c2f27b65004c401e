"""Features: market inputs by name, for windows that lie ready and for a whole history.

Live windows (`engine.feature_stream`) and those of a history go to the same functions, which reduce them in
the same order in whatever way they lie in memory: the same bits. Windows run over the bars a symbol
traded; a row exists where it traded and has traded `lookback` bars, this one counted. This module
knows no book and no agent.
"""

import hashlib
import json

import numpy as np

from engine.bars import Bars
from engine.errors import DataError
from engine.feature_functions import FIELDS, Feature
from engine.feature_names import resolve
from engine.feature_windows import blocks, padded, series_of

VERSION = 1  # raised when a feature of the same name comes to mean another number


class FeatureSet:
    """The features named in the settings, presets expanded, in order.

    Raises: SettingsError for an unknown, malformed or repeated name.
    """

    def __init__(self, specs: tuple[str, ...] | list[str]) -> None:
        self.features: tuple[Feature, ...] = resolve(tuple(specs))
        self.names = tuple(feature.name for feature in self.features)
        self.lookbacks = tuple(feature.lookback for feature in self.features)
        self.lookback = max(self.lookbacks)
        self._across = [
            (at, feature.across) for at, feature in enumerate(self.features) if feature.across
        ]

    @property
    def fingerprint(self) -> str:
        """Return a sha256 of names, lookbacks and version, the same in every process."""
        what = json.dumps([VERSION, self.names, self.lookbacks])
        return hashlib.sha256(what.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.features)

    def compute(self, window: np.ndarray) -> np.ndarray:
        """Return the features of adjusted windows, before any are compared over the symbols.

        Shapes: (..., 6, L) in, L at least `lookback`; (..., F) out.
        """
        if window.ndim < 2 or window.shape[-2] != FIELDS or window.shape[-1] < self.lookback:
            raise DataError(
                f"feature windows: expected (..., {FIELDS}, at least {self.lookback}), "
                f"found {window.shape}; hand in at least the longest lookback"
            )
        windows = window.reshape(-1, *window.shape[-2:])
        block = padded(windows[:, :, windows.shape[-1] - self.lookback :])
        found = self.of_block(block)[: len(windows)]
        return found.reshape(*window.shape[:-2], len(self.features))

    def of_block(self, block: np.ndarray) -> np.ndarray:
        """Return the features of adjusted windows that lie ready, none of them copied.

        Shapes: (n, 6, lookback) in, n a multiple of `feature_windows.ROWS`, the bars of a field next
        to each other in memory, windows one behind the other; (n, F) out.
        """
        out = np.empty((len(block), len(self.features)))
        block = block.view()
        block.flags.writeable = False  # shared: one feature must not change what the next one reads
        for column, feature in enumerate(self.features) if len(block) else ():
            self._fill(out, column, block[:, :, self.lookback - feature.lookback :])
        return out

    def history(self, bars: Bars) -> tuple[np.ndarray, np.ndarray]:
        """Return the features of every session and symbol, and where they exist.

        Shapes: (T, N, F) float64, NaN where not ready; ready (T, N) = traded with enough lookback.
        Raises: DataError naming feature, symbol and session where a feature is not finite.
        """
        features = np.full((*bars.traded.shape, len(self.features)), np.nan)
        ready = np.zeros(bars.traded.shape, dtype=bool)
        for symbol, name in enumerate(bars.symbols):
            series = series_of(bars, symbol)
            out = np.empty((len(series.rows), len(self.features)))
            for lookback in sorted(set(self.lookbacks)):
                columns = [at for at, found in enumerate(self.lookbacks) if found == lookback]
                for place, block in blocks(series, lookback, self.lookback - 1):
                    for column in columns:
                        self._fill(out[place], column, block)
            rows = series.rows[self.lookback - 1 :]
            self.require_finite(out[self.lookback - 1 :], [name] * len(rows), bars.sessions[rows])
            features[rows, symbol] = out[self.lookback - 1 :]
            ready[rows, symbol] = True
        self.compare(features, ready)
        return features, ready

    def compare(self, features: np.ndarray, ready: np.ndarray) -> None:
        """Put what compares the symbols of a session in the place of what each has, where ready.

        Shapes: features (..., N, F), changed in place; ready (..., N).
        """
        for column, function in self._across:
            found = function(features[..., column], ready)
            np.copyto(features[..., column], found, where=ready)

    def require_finite(self, rows: np.ndarray, symbols: list[str], sessions: np.ndarray) -> None:
        """Refuse feature rows that hold NaN or infinity. Shapes: (n, F), n symbols, (n,)."""
        if np.isfinite(rows).all():
            return
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise DataError(
            f"feature {self.names[column]} of {symbols[row]} at {sessions[row]}: expected a finite "
            f"number, found {rows[row, column]}; let the function return a value for every valid "
            "window (flat prices, no volume), or correct the bars"
        )

    def _fill(self, out: np.ndarray, column: int, windows: np.ndarray) -> None:
        feature = self.features[column]
        if feature.packed:
            windows = padded(windows)
            windows.flags.writeable = False
        values = np.asarray(feature.function(windows))
        if values.shape != windows.shape[:1]:
            raise DataError(
                f"feature {feature.name}: expected shape {windows.shape[:1]} for windows of "
                f"shape {windows.shape}, found {values.shape}; reduce fields and bars only"
            )
        out[:, column] = values[: len(out)]
