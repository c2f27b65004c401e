"""What the agent sees: the market part (scaled features) and the book part, in float32.

The one cast from float64 to float32 happens here. This module knows no prices and no venue: a book
is anything with the fields of `BookView`.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from engine.errors import CheckpointError, DataError, SettingsError
from engine.features import FeatureSet
from engine.masks import every, some, within

LIMIT = 10.0  # book inputs, and market inputs without a scaler, are cut here
RECENT_BARS = 20  # trades further back than this look the same
SINCE = np.append(np.arange(RECENT_BARS + 1) / RECENT_BARS, 1.0)  # the last (at -1): never traded
CONSTANT = 1e-8  # a feature that moves less than this in training is left unscaled


@dataclass(frozen=True, slots=True)
class Observation:
    """One bar as the agent sees it.

    Shapes: `market` (B, N, F) and `book` (B, N, P) float32; `fresh` (B, N) = this bar traded and
    its features exist; `valid` (B, N, A) bool = actions that can do something, None = all of them.
    """

    market: np.ndarray
    book: np.ndarray
    fresh: np.ndarray
    valid: np.ndarray | None = None


class BookView(Protocol):
    """The fields of a book that are seen. Shapes: cash (B,), the others (B, N)."""

    @property
    def cash(self) -> np.ndarray: ...
    @property
    def qty(self) -> np.ndarray: ...
    @property
    def basis(self) -> np.ndarray: ...
    @property
    def mark(self) -> np.ndarray: ...
    @property
    def since(self) -> np.ndarray: ...
    def equity(self) -> np.ndarray: ...
    def value(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Scaler:
    """Mean and scale of each feature, fitted once on training rows and then frozen.

    Shapes: `mean`, `scale` (F,) float64. `clip` cuts the scaled value on both sides.
    """

    mean: np.ndarray
    scale: np.ndarray
    clip: float

    @classmethod
    def fit(cls, features: np.ndarray, ready: np.ndarray, clip: float = 5.0) -> "Scaler":
        """Fit on the ready rows and on nothing else.

        Shapes: features (..., F), ready (...).
        Raises: DataError with fewer than two rows, or where a ready row is not finite.
        """
        rows = np.ascontiguousarray(features[ready])
        if len(rows) < 2:
            raise DataError(
                f"scaler: expected at least 2 rows with features in the training range, "
                f"found {len(rows)}; give training more bars than the lookback"
            )
        if not np.isfinite(rows).all():
            row, column = np.argwhere(~np.isfinite(rows))[0]
            raise DataError(
                f"scaler: expected finite features, found {rows[row, column]} in input {column} of "
                f"row {row}; fit only on rows that are ready"
            )
        deviation = rows.std(axis=0)
        return cls(rows.mean(axis=0), np.where(deviation > CONSTANT, deviation, 1.0), float(clip))

    @classmethod
    def none(cls, width: int, clip: float = LIMIT) -> "Scaler":
        """Return a scaler that only cuts."""
        return cls(np.zeros(width), np.ones(width), float(clip))

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Scale, cut and cast. Shapes: (..., F) float64 in, float32 out; NaN stays NaN."""
        scaled = (features - self.mean) / self.scale
        return within(scaled, self.clip).astype(np.float32)

    def undo(self, scaled: np.ndarray, column: int) -> np.ndarray:
        """Return one feature as it was before scaling; what was cut stays at the cut.

        Shapes: scaled (..., F) in, float64 (...) out.
        """
        seen = scaled[..., column].astype(np.float64)
        return np.asarray(seen * self.scale[column] + self.mean[column])

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers that JSON carries exactly."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist(), "clip": self.clip}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Scaler":
        """Rebuild a scaler, bit for bit. Raises: CheckpointError when it is not one."""
        try:
            mean = np.array(data["mean"], dtype=np.float64)
            scale = np.array(data["scale"], dtype=np.float64)
            clip = float(data["clip"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"scaler: expected mean, scale and clip, found {sorted(data)} ({error}); "
                "the checkpoint is damaged: train or fetch it again"
            ) from error
        sound = mean.ndim == 1 and mean.shape == scale.shape and np.isfinite(mean).all()
        if not (sound and np.isfinite(scale).all() and (scale > 0).all() and clip > 0):
            raise CheckpointError(
                "scaler: expected as many finite means as positive scales and a positive clip, "
                f"found shapes {mean.shape} and {scale.shape}, clip {clip}; the checkpoint is "
                "damaged: train or fetch it again"
            )
        return cls(mean, scale, clip)


def market_part(features: np.ndarray, scaler: Scaler | None) -> np.ndarray:
    """Return the market inputs, 0 where a row has no features.

    Shapes: (..., F) float64 in, float32 out.
    """
    scaled = (scaler or Scaler.none(features.shape[-1])).apply(features)
    missing = np.isnan(scaled)
    return np.where(missing, np.float32(0.0), scaled) if some(missing) else scaled


def book_part(book: BookView, sleeve: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Return the book inputs named.

    Shapes: sleeve (B, N) in dollars, or (B, 1) where all are alike; (B, N, P) float32 out, within
    LIMIT on both sides; P may be 0.
    """
    out = np.empty((*book.qty.shape, len(names)))
    for at, name in enumerate(names):
        out[..., at] = BOOK_INPUTS[name](book, sleeve)
    return within(out, LIMIT).astype(np.float32)


def _position(book: BookView, sleeve: np.ndarray) -> np.ndarray:
    # At most full: beside others in one account a kept position may outgrow its sleeve, which a
    # book of one symbol never shows in training.
    return within(_over(book.value(), sleeve), 1.0)


def _unrealised(book: BookView, sleeve: np.ndarray) -> np.ndarray:
    # Return on the average entry price: a short gains when the price falls.
    change = _over(book.mark - book.basis, book.basis)
    signed = np.where(book.mark > 0.0, np.sign(book.qty) * change, 0.0)
    return within(signed, 1.0)  # a position kept for years is no stranger than one doubled


def _cash(book: BookView, sleeve: np.ndarray) -> np.ndarray:
    return _over(book.cash, book.equity())[:, None]  # one account for all of them


def _bars_since_trade(book: BookView, sleeve: np.ndarray) -> np.ndarray:
    return SINCE[np.minimum(book.since, RECENT_BARS)]


def _over(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    # A book without equity, or a symbol without a position, has a share of 0.
    known = below > 0.0
    if every(known):
        return np.asarray(above / below)
    return np.divide(above, below, out=np.zeros(above.shape), where=known)


BOOK_INPUTS: dict[str, Callable[[BookView, np.ndarray], np.ndarray]] = {
    "position": _position,  # value held / sleeve, at most 1 on both sides
    "unrealised": _unrealised,  # return on the average entry price, within 1; 0 if flat
    "cash": _cash,  # cash / equity
    "bars_since_trade": _bars_since_trade,  # bars since the last fill / 20, at most 1; 1 if never
}


@dataclass(frozen=True)
class Layout:
    """Which input stands where: what a checkpoint and its user must agree on."""

    features: tuple[str, ...]
    lookbacks: tuple[int, ...]
    book: tuple[str, ...]
    clip: float
    feature_fingerprint: str

    @classmethod
    def of(cls, features: FeatureSet, book: tuple[str, ...], clip: float) -> "Layout":
        """Return the layout of these inputs.

        Raises: SettingsError for a book input that is unknown or named twice.
        """
        for name in book:
            if name not in BOOK_INPUTS:
                raise SettingsError(f'unknown book input "{name}"; known: {", ".join(BOOK_INPUTS)}')
            if book.count(name) > 1:
                raise SettingsError(
                    f'book input "{name}" is named {book.count(name)} times; name it once'
                )
        return cls(
            features.names, features.lookbacks, tuple(book), float(clip), features.fingerprint
        )

    def fingerprint(self) -> str:
        """Return a sha256 of the layout, the same in every process."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
