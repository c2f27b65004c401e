"""From judged tables to Bars: the outer join of several symbols on one list of sessions."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine import adjustment, clock, jumps, rows
from engine.bars import CLOSE, VOLUME, Bars, PriceBasis, last_bars
from engine.errors import DataError
from engine.findings import Finding, refuse
from engine.tables import Table


@dataclass(frozen=True, slots=True)
class _Series:
    # One symbol, valid: days (n,), ohlcv (n, 5), events (n,).
    symbol: str
    days: np.ndarray
    ohlcv: np.ndarray
    events: adjustment.Events
    notes: tuple[str, ...]


def bars(
    found: list[Table],
    basis: PriceBasis,
    calendar: str,
    zero_volume: Literal["not_traded", "traded"],
    source: str,
) -> Bars:
    """Join the tables of several symbols.

    Raises: DataError for the first row, event or date that is not what it must be.
    """
    series = [_series(table, basis, calendar) for table in found]
    sessions = _sessions(series, calendar)
    shape = (len(sessions), len(series))
    ohlcv = np.full((*shape, 5), np.nan)
    split, dividend = np.ones(shape), np.zeros(shape)
    notes: list[str] = []
    for n, one in enumerate(series):
        at = np.searchsorted(sessions, one.days)
        ohlcv[at, n] = one.ohlcv
        split[at, n], dividend[at, n] = one.events.split, one.events.dividend
        notes += one.notes
        notes += _missing(one, sessions)
    if zero_volume == "not_traded":
        notes += _drop_empty(ohlcv, [s.symbol for s in series])
    traded = ~np.isnan(ohlcv[:, :, CLOSE])
    return Bars(
        sessions=sessions,
        symbols=tuple(s.symbol for s in series),
        ohlcv=ohlcv,
        traded=traded,
        split=split,
        dividend=dividend,
        ended=last_bars(sessions, traded),
        price_basis=basis,
        calendar=calendar,
        source=source,
        notes=tuple(notes),
    )


def closed_days(table: Table, calendar: str) -> np.ndarray:
    """Find the rows on days the exchange was closed. Shapes: (k,) indices."""
    known = table.days[~np.isnat(table.days)]
    if calendar == "none" or len(known) == 0:
        return np.array([], dtype=np.int64)
    open_days = clock.sessions(calendar, known.min(), known.max())
    return np.where(~np.isin(table.days, open_days) & ~np.isnat(table.days))[0]


def closed_finding(table: Table, calendar: str) -> list[Finding]:
    """Name the rows on closed days, if there are any."""
    at = closed_days(table, calendar)
    if len(at) == 0:
        return []
    message = f"{calendar} was closed on {table.days[at[0]]}"
    return [rows.found(table, "closed_day", at, message, column="date")]


def _series(table: Table, basis: PriceBasis, calendar: str) -> _Series:
    findings = rows.judge(table)
    refuse(findings)
    _refuse_intraday(table)
    refuse(closed_finding(table, calendar))
    identical, _ = rows.copies(table)
    table = table.take(~identical)
    notes = [f.text() for f in findings]
    happened = adjustment.of_table(table, basis)
    known = table.adjusted is not None and bool(
        (happened.split != 1).any() or happened.dividend.any()
    )
    if basis == "raw" and not known:
        notes += [
            j.text(table.symbol) for j in jumps.suspects(table.days, table.ohlcv, happened.split)
        ]
    return _Series(table.symbol, table.days, table.ohlcv, happened, (*notes, *happened.notes))


def _refuse_intraday(table: Table) -> None:
    if not rows.is_intraday(table):
        return
    at = np.where(table.stamps != table.days)[0][:1]
    raise DataError(
        f"{table.file}, line {table.lines[at[0]]}, column date: expected one bar a session stamped "
        f"with its date, found {rows.when(table, at)[0]} (New York time); "
        "make daily bars of it, or write the date alone"
    )


def _sessions(series: list[_Series], calendar: str) -> np.ndarray:
    every = np.unique(np.concatenate([s.days for s in series]))
    return every if calendar == "none" else clock.sessions(calendar, every[0], every[-1])


def _missing(one: _Series, sessions: np.ndarray) -> list[str]:
    inside = sessions[(sessions >= one.days[0]) & (sessions <= one.days[-1])]
    absent = np.setdiff1d(inside, one.days)
    if len(absent) == 0:
        return []
    shown = ", ".join(str(d) for d in absent[:5]) + (", ..." if len(absent) > 5 else "")
    return [f"{one.symbol}: no bar on {len(absent):,} sessions ({shown}); taken as not traded"]


def _drop_empty(ohlcv: np.ndarray, symbols: list[str]) -> list[str]:
    empty = ohlcv[:, :, VOLUME] == 0
    ohlcv[empty] = np.nan
    return [
        f"{symbol}: {count:,} bars of volume 0; taken as not traded"
        for symbol, count in zip(symbols, empty.sum(axis=0), strict=True)
        if count
    ]
