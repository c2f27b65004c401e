"""From judged tables to Bars: the outer join of several symbols on one list of sessions."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from engine import clock
from engine.bars import CLOSE, VOLUME, Bars, PriceBasis, last_bars
from engine.data import adjustment, factors, jumps, rows
from engine.data.findings import place, refuse, several
from engine.data.tables import Table
from engine.errors import DataError


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


def _series(table: Table, basis: PriceBasis, calendar: str) -> _Series:
    findings = rows.judge(table)
    refuse(findings)
    _refuse_intraday(table)
    refuse(rows.closed_finding(table, calendar))
    identical, _ = rows.copies(table)
    table = table.take(~identical)
    happened, known, notes = _events(table, basis)
    notes += [
        f"{table.symbol} {j.day}: {j.text()}"
        for j in jumps.suspects(table.days, table.ohlcv, happened.split)
        if not known[j.index]
    ]
    notes = [f.text() for f in findings] + notes
    return _Series(table.symbol, table.days, table.ohlcv, happened, tuple(notes))


def _events(table: Table, basis: PriceBasis) -> tuple[adjustment.Events, np.ndarray, list[str]]:
    # The events, which bars they are known to cover, and what to note.
    close = table.ohlcv[:, CLOSE]
    beside = table.lean and basis == "raw"
    told = factors.beside(Path(table.file), table.days, close) if beside else None
    if told is not None:
        other = np.where(told.owner[1:] != told.owner[:-1])[0] + 1
        notes = [
            f"{table.symbol}: bars before {table.days[t]} belong to another security that had the "
            "same ticker; use data.start or data.end to keep one"
            for t in other
        ]
        return told.events, told.known, notes
    events = adjustment.of_table(table, basis)
    informed = table.adjusted is not None and bool(
        (events.split != 1).any() or events.dividend.any()
    )
    return events, np.full(len(close), informed), list(events.notes)


def _refuse_intraday(table: Table) -> None:
    if not rows.is_intraday(table):
        return
    at = np.where(table.stamps != table.days)[0][:1]
    raise DataError(
        f"{place(table.file, table.lines[at[0]])}, column date: expected one bar a session stamped "
        f"with its date, found {rows.when(table, at)[0]} (New York time); "
        "make daily bars of it, or write the date alone"
    )


def _sessions(series: list[_Series], calendar: str) -> np.ndarray:
    every = np.unique(np.concatenate([s.days for s in series]))
    return every if calendar == "none" else clock.sessions(calendar, every[0], every[-1])


def _missing(one: _Series, sessions: np.ndarray) -> list[str]:
    inside = sessions[(sessions >= one.days[0]) & (sessions <= one.days[-1])]
    absent = np.setdiff1d(inside, one.days)
    silent = np.diff(np.searchsorted(inside, one.days)) - 1
    if len(absent) == 0:
        return []
    shown = ", ".join(str(d) for d in absent[:5]) + (", ..." if len(absent) > 5 else "")
    notes = [f"{one.symbol}: no bar on {several(len(absent), 'session')} ({shown}); not traded"]
    notes += [
        f"{one.symbol}: no bar for {silent[t]:,} sessions before {one.days[t + 1]}; renamed, or another "
        "company with that ticker"
        for t in np.where(silent >= jumps.HOLE)[0]
    ]
    return notes


def _drop_empty(ohlcv: np.ndarray, symbols: list[str]) -> list[str]:
    empty = ohlcv[:, :, VOLUME] == 0
    ohlcv[empty] = np.nan
    return [
        f"{symbol}: {several(int(count), 'bar')} of volume 0; not traded"
        for symbol, count in zip(symbols, empty.sum(axis=0), strict=True)
        if count
    ]
