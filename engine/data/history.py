"""Raw bars and events of one symbol as a vendor tells them, and several symbols as Bars.

An event on a session without a bar stays on its session. Rows are judged by engine.data.assemble,
like those of a file. This module knows no vendor and no folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from engine.bars import CLOSE, Bars
from engine.data import assemble
from engine.data.tables import Table
from engine.errors import DataError

ZeroVolume = Literal["not_traded", "traded"]
_REMEDY = "ask again later; if it stays, leave the symbol or these dates out, or use another feed"


@dataclass(frozen=True, slots=True)
class Event:
    """What a company did before the open of a day. Units: as in engine.bars.MarketRow."""

    day: np.datetime64
    split: float = 1.0
    dividend: float = 0.0


@dataclass(frozen=True, slots=True)
class History:
    """One symbol, a row for each session that had a bar or an event.

    Shapes: `days` (n,) datetime64[D], rising; `ohlcv` (n, 5), NaN where there was no bar; `split`
    and `dividend` (n,).
    """

    symbol: str
    days: np.ndarray
    ohlcv: np.ndarray
    split: np.ndarray
    dividend: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def has_bar(self) -> np.ndarray:
        """Tell which rows hold a bar. Shapes: (n,) bool."""
        return ~np.isnan(self.ohlcv[:, CLOSE])


def empty(symbol: str) -> History:
    """Return the history of a symbol of which nothing is known."""
    nothing = np.empty(0)
    return History(symbol, nothing.astype("datetime64[D]"), np.empty((0, 5)), nothing, nothing)


def judged(table: Table, calendar: str) -> History:
    """Turn an answer into a history without events: sorted, identical copies dropped.

    Raises: DataError for the first row that is not what it must be, as for a file.
    """
    ordered = table.take(np.argsort(table.stamps, kind="stable"))
    if len(ordered.lines) == 0:
        return empty(table.symbol)
    try:
        found = assemble.bars([ordered], "raw", calendar, "traded", table.file)
    except DataError as error:
        raise DataError(f"{str(error).rpartition('; ')[0]}; {_REMEDY}") from error
    on = found.traded[:, 0]
    ones, zeros = np.ones(int(on.sum())), np.zeros(int(on.sum()))
    return History(table.symbol, found.sessions[on], found.ohlcv[on, 0], ones, zeros)


def with_events(plain: History, events: Sequence[Event], sessions: np.ndarray) -> History:
    """Put events on their sessions; one on a day without a session goes to the next session.

    Shapes: `sessions` (T,), the range of the history; events outside are left out.
    """
    at = np.searchsorted(sessions, np.array([e.day for e in events], dtype="datetime64[D]"))
    inside = [(int(t), e) for t, e in zip(at, events, strict=True) if t < len(sessions)]
    days = np.union1d(plain.days, sessions[sorted({t for t, _ in inside})])
    rows = np.searchsorted(days, plain.days)
    ohlcv = np.full((len(days), 5), np.nan)
    ohlcv[rows] = plain.ohlcv
    split, dividend = np.ones(len(days)), np.zeros(len(days))
    split[rows], dividend[rows] = plain.split, plain.dividend
    for t, event in inside:
        row = np.searchsorted(days, sessions[t])
        split[row] *= event.split
        dividend[row] += event.dividend
    return replace(plain, days=days, ohlcv=ohlcv, split=split, dividend=dividend)


def bars(
    histories: Sequence[History],
    calendar: str,
    zero_volume: ZeroVolume,
    source: str,
    sessions: np.ndarray | None = None,
) -> Bars:
    """Join the histories of several symbols; one without any bar never trades.

    Shapes: `sessions` (T,), those of the result; None = from the first bar to the last.
    Raises: DataError as engine.data.assemble.
    """
    told = [_table(one, source) for one in histories if one.has_bar.any()]
    if not told:
        days = np.empty(0, dtype="datetime64[D]") if sessions is None else sessions
        return _with_all(_nothing(calendar, source), histories, days)
    found = assemble.bars(told, "raw", calendar, zero_volume, source)
    return _with_all(found, histories, found.sessions if sessions is None else sessions)


def _table(one: History, source: str) -> Table:
    on = one.has_bar
    return Table(
        file=source,
        symbol=one.symbol,
        lines=np.arange(1, int(on.sum()) + 1),
        stamps=one.days[on].astype("datetime64[s]"),
        ohlcv=one.ohlcv[on],
        dividend=one.dividend[on],
        split=one.split[on],
    )


def _nothing(calendar: str, source: str) -> Bars:
    return Bars(
        sessions=np.empty(0, dtype="datetime64[D]"),
        symbols=(),
        ohlcv=np.empty((0, 0, 5)),
        traded=np.empty((0, 0), dtype=bool),
        split=np.empty((0, 0)),
        dividend=np.empty((0, 0)),
        ended=np.empty(0, dtype="datetime64[D]"),
        calendar=calendar,
        source=source,
    )


def _with_all(found: Bars, histories: Sequence[History], sessions: np.ndarray) -> Bars:
    # Symbols and sessions without a bar get their place back, and events theirs.
    symbols = tuple(one.symbol for one in histories)
    shape = (len(sessions), len(symbols))
    ohlcv = np.full((*shape, 5), np.nan)
    split, dividend = np.ones(shape), np.zeros(shape)
    ended = np.full(len(symbols), np.datetime64("NaT"), dtype="datetime64[D]")
    have = np.array([symbols.index(s) for s in found.symbols], dtype=np.int64)
    rows = np.isin(found.sessions, sessions)
    at = np.searchsorted(sessions, found.sessions[rows])
    ohlcv[at[:, None], have], ended[have] = found.ohlcv[rows], found.ended
    for n, one in enumerate(histories):
        rows = np.isin(one.days, sessions)
        at = np.searchsorted(sessions, one.days[rows])
        split[at, n], dividend[at, n] = one.split[rows], one.dividend[rows]
    notes = tuple(note for one in histories for note in one.notes)
    silent = tuple(f"{s}: no bar" for s in symbols if s not in found.symbols)
    return replace(
        found,
        sessions=sessions,
        symbols=symbols,
        ohlcv=ohlcv,
        traded=~np.isnan(ohlcv[:, :, CLOSE]),
        split=split,
        dividend=dividend,
        ended=ended,
        notes=found.notes + notes + silent,
    )
