"""Bars: what the market did, session by session, at the prices printed that day.

Prices are raw and events (splits, dividends) stand beside them with their dates. The adjusted view
is made where features read, inside one window. This module knows no files and no agents.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Literal

import numpy as np

from engine import clock
from engine.errors import DataError

OPEN, HIGH, LOW, CLOSE, VOLUME = range(5)
ENDED_AFTER = 5  # a symbol silent for this many sessions at the end of the set has ended

PriceBasis = Literal["raw", "split", "total"]


@dataclass(frozen=True, slots=True)
class MarketRow:
    """What the market did in one session, for every book.

    Shapes: `session` (B,), everything else (B, N). Prices are raw, NaN where not traded.
    Units: `split` new shares per old (1 = none), before this session's open; `dividend` dollars per
    share held before this session's open, in prices after this session's split (0 = none).
    `ended` is True in every session after a delisted symbol's last bar.
    """

    session: np.ndarray
    open: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    traded: np.ndarray
    split: np.ndarray
    dividend: np.ndarray
    ended: np.ndarray


@dataclass(frozen=True)
class Bars:
    """Daily bars of several symbols on one list of sessions.

    Shapes: `sessions` (T,) datetime64[D]; `ohlcv` (T, N, 5), NaN where not traded; `traded`,
    `split` and `dividend` (T, N); `ended` (N,) datetime64[D], the last session of a delisted
    symbol, NaT while alive. `price_basis` says what the source had already taken out of its prices.
    Units: as in MarketRow.
    """

    sessions: np.ndarray
    symbols: tuple[str, ...]
    ohlcv: np.ndarray
    traded: np.ndarray
    split: np.ndarray
    dividend: np.ndarray
    ended: np.ndarray
    price_basis: PriceBasis = "raw"
    calendar: str = "XNYS"
    source: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        t, n = len(self.sessions), len(self.symbols)
        wanted = {
            "ohlcv": (t, n, 5),
            "traded": (t, n),
            "split": (t, n),
            "dividend": (t, n),
            "ended": (n,),
        }
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise DataError(
                    f"bars.{name}: expected shape {shape}, found {getattr(self, name).shape}"
                )
        if len(set(self.symbols)) != n:
            raise DataError(f"expected every symbol once, found {self.symbols}")
        if t > 1 and not (self.sessions[1:] > self.sessions[:-1]).all():
            raise DataError("expected sessions in rising order; sort the bars by date")

    def digest(self) -> str:
        """Return a sha256 of everything that can change a decision or a fill.

        Where the bars came from (`source`) and what was said about them (`notes`) do not count.
        """
        head = json.dumps([self.symbols, self.ohlcv.shape, self.price_basis, self.calendar])
        sha = hashlib.sha256(head.encode())
        for days in (self.sessions, self.ended):
            sha.update(days.astype("datetime64[D]").astype("<i8").tobytes())
        sha.update(np.ascontiguousarray(self.traded, dtype=np.bool_).tobytes())
        for numbers in (self.ohlcv, self.split, self.dividend):
            sha.update(_canonical(numbers).tobytes())
        return sha.hexdigest()

    def select(self, symbols: tuple[str, ...]) -> "Bars":
        """Return these symbols only, in this order, on the same sessions."""
        missing = [s for s in symbols if s not in self.symbols]
        if missing:
            raise DataError(
                f"{missing[0]}: no such symbol; the bars hold {', '.join(self.symbols)}"
            )
        at = [self.symbols.index(s) for s in symbols]
        return replace(
            self,
            symbols=tuple(symbols),
            ohlcv=self.ohlcv[:, at],
            traded=self.traded[:, at],
            split=self.split[:, at],
            dividend=self.dividend[:, at],
            ended=self.ended[at],
        )

    def between(
        self, start: date | np.datetime64 | None, end: date | np.datetime64 | None
    ) -> "Bars":
        """Return the sessions from `start` to `end`, both inclusive; None = as far as it goes.

        A delisting stays known: `ended` is kept even where it lies outside.
        """
        first, last = self.span(start, end)
        cut = slice(first, max(first, last + 1))
        return replace(
            self,
            sessions=self.sessions[cut],
            ohlcv=self.ohlcv[cut],
            traded=self.traded[cut],
            split=self.split[cut],
            dividend=self.dividend[cut],
        )

    def span(
        self, start: date | np.datetime64 | None, end: date | np.datetime64 | None
    ) -> tuple[int, int]:
        """Return the first and last row from `start` to `end`, both inclusive; None = open.

        The last lies before the first where no session is inside.
        """
        days = self.sessions
        first = 0 if start is None else int(np.searchsorted(days, clock.as_day(start)))
        after = (
            len(days)
            if end is None
            else int(np.searchsorted(days, clock.as_day(end), side="right"))
        )
        return first, after - 1

    def index_of(self, session: date | np.datetime64) -> int:
        """Return the row of one session.

        Raises: DataError where the date is not a session of these bars.
        """
        day = clock.as_day(session)
        row = int(np.searchsorted(self.sessions, day))
        if row == len(self.sessions) or self.sessions[row] != day:
            held = (
                f"{self.sessions[0]}..{self.sessions[-1]}" if len(self.sessions) else "no session"
            )
            raise DataError(
                f"{day} is not a session of these bars ({held}); choose a trading day in that range"
            )
        return row

    def row(self, t: int) -> MarketRow:
        """Return session `t` for one book (B = 1)."""
        prices = self.ohlcv[t : t + 1]
        return MarketRow(
            session=self.sessions[t : t + 1],
            open=prices[:, :, OPEN],
            high=prices[:, :, HIGH],
            low=prices[:, :, LOW],
            close=prices[:, :, CLOSE],
            traded=self.traded[t : t + 1],
            split=self.split[t : t + 1],
            dividend=self.dividend[t : t + 1],
            ended=self._gone[t : t + 1],
        )

    def has_ended(self) -> np.ndarray:
        """Tell, per session, which symbols had their last bar in the past. Shapes: (T, N) bool."""
        return self._gone.copy()

    @cached_property
    def _gone(self) -> np.ndarray:
        return self.sessions[:, None] > self.ended[None, :]  # a comparison with NaT is False

    def closed_at(self) -> np.ndarray:
        """Return when each bar was complete. Shapes: (T,) datetime64[s] in UTC."""
        return clock.closes_at(self.sessions, self.calendar)


def last_bars(sessions: np.ndarray, traded: np.ndarray) -> np.ndarray:
    """Find the symbols that have ended: the `ended` field of new bars.

    Shapes: (T,) and (T, N) -> (N,) datetime64[D]. A symbol has ended on its last bar when that lies
    `ENDED_AFTER` sessions or more before the last session of the set.
    """
    last = len(traded) - 1 - np.argmax(traded[::-1], axis=0)
    silent = len(traded) - 1 - last
    ended: np.ndarray = sessions[last].astype("datetime64[D]")
    ended[(silent < ENDED_AFTER) | ~traded.any(axis=0)] = np.datetime64("NaT")
    return ended


def _canonical(numbers: np.ndarray) -> np.ndarray:
    # One bit pattern for every NaN and for zero, so that equal bars have equal digests.
    plain: np.ndarray = np.where(np.isnan(numbers), np.nan, numbers + 0.0).astype("<f8")
    return plain
