"""Look at price files as they are and list everything a user should know before trusting them.

Reads every format of engine.data.sheets; repairs nothing; a file that cannot be read is a finding too.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from engine import clock
from engine.bars import CLOSE, ENDED_AFTER, HIGH, LOW, VOLUME
from engine.data import adjustment, clean, daily, factors, intraday, rows, sheets, tables
from engine.data.findings import Finding, several
from engine.data.tables import Table
from engine.errors import DataError, UsageError

_BESIDE = ("factor_files", "map_files")
_FEW = 5  # so many bars with close outside [low, high] may be single errors
_LONG_AGO = np.datetime64("0001-01-01")


def check_files(paths: list[Path]) -> list[Finding]:
    """List what is wrong, doubtful or worth knowing in files and folders of prices.

    A folder stands for the price files in it and below. Files of one folder are also compared.
    Raises: UsageError for a folder without any.
    """
    findings: list[Finding] = []
    read: list[tuple[Path, Table]] = []
    for path in _expand(paths):
        try:
            found = tables.read(path, tables.symbol_of(path))
            with np.errstate(all="ignore"):  # absurd numbers are compared here, never used
                findings += [finding for table in found for finding in check_table(table)]
            read += [(path.parent, table) for table in found]
        except DataError as error:
            message, _, remedy = str(error).removeprefix(str(path)).lstrip(",: ").rpartition("; ")
            findings.append(Finding(str(path), "", "unreadable", "error", message, remedy))
    return findings + _across(read)


def check_table(table: Table) -> list[Finding]:
    """List what there is to say about the rows of one symbol in one file."""
    findings = rows.judge(table)
    half = _half_adjusted(table)
    findings += [*_lost_events(table), *_zero_volume(table), *half]
    usable, _ = clean.repair(table, "none")
    usable = usable.take(clock.covers("XNYS", usable.days))
    if len(usable.lines) == 0:
        return findings
    foreign = rows.is_foreign(usable, "XNYS")
    if half:
        usable.ohlcv[:, :CLOSE] = usable.ohlcv[:, CLOSE:VOLUME]  # nothing but close can be used
    if foreign:
        findings.append(_foreign(usable))
    else:
        findings += rows.closed_finding(table, "XNYS")
    if not rows.is_intraday(usable):
        return findings + _daily(usable, "none" if foreign else "XNYS")
    if foreign:
        return findings
    findings += intraday.check(usable)
    days, ohlcv = intraday.to_daily(usable)
    return findings + daily.check(_series(usable, days, ohlcv, adjustment.none(len(days))), "XNYS")


def _series(
    table: Table,
    days: np.ndarray,
    ohlcv: np.ndarray,
    events: adjustment.Events,
    trusted: bool = False,
) -> daily.Series:
    # What factor and map files beside the file tell goes before what the file itself tells.
    told = factors.beside(Path(table.file), days, ohlcv[:, CLOSE]) if table.lean else None
    if told is None:
        told = factors.Told(np.zeros(len(days), dtype=int), np.full(len(days), trusted), events)
    return daily.Series(table.file, table.symbol, days, ohlcv, told.events, told.known, told.owner)


def _expand(paths: list[Path]) -> list[Path]:
    files = []
    for path in paths:
        if path.is_dir():
            inside = [f for f in sorted(path.rglob("*")) if f.is_file()]
            found = [f for f in inside if f.name.lower().endswith(sheets.SUFFIXES)]
            if not found:
                endings = ", ".join(sheets.SUFFIXES)
                raise UsageError(f"{path}: the folder holds no file ending in one of {endings}")
            files += found
        else:
            files.append(path)
    return [f for f in files if f.parent.name not in _BESIDE]


def _daily(table: Table, calendar: str) -> list[Finding]:
    if calendar != "none":
        closed = rows.closed_days(table, calendar)
        table = table.take(~np.isin(np.arange(len(table.lines)), closed))
    if (table.ohlcv[:, : CLOSE + 1] <= 0).any() or np.isinf(table.ohlcv).any():
        return []  # judged above; nothing more can be said about such prices
    days, first = np.unique(table.days, return_index=True)
    table = table.take(first)
    events, trusted, findings = _events(table)
    series = _series(table, days, table.ohlcv, events, trusted)
    return findings + daily.check(series, calendar)


def _events(table: Table) -> tuple[adjustment.Events, bool, list[Finding]]:
    # The events as the file tells them, whether they are complete, and doubts about them.
    close = table.ohlcv[:, CLOSE]
    try:
        events = adjustment.of_table(table, "raw")
    except DataError as error:
        message, _, remedy = str(error).rpartition("; ")
        odd = Finding(table.file, table.symbol, "bad_events", "warning", message, remedy)
        return adjustment.none(len(close)), False, [odd]
    doubts = []
    if table.adjusted is not None and (table.dividend is not None or table.split is not None):
        at = adjustment.mismatches(events, close, table.adjusted)
        doubts = [_mismatch(table, events, int(t)) for t in at]
    elif events.notes:
        text = events.notes[0].partition(": ")[2]
        remedy = "check the distribution against another source"
        doubts = [Finding(table.file, table.symbol, "distribution", "warning", text, remedy)]
    told = bool((events.split != 1.0).any() or events.dividend.any())
    return events, table.adjusted is not None and told, doubts


def _mismatch(table: Table, events: adjustment.Events, t: int) -> Finding:
    close = table.ohlcv[:, CLOSE]
    assert table.adjusted is not None
    step = adjustment.steps(close, table.adjusted)[t]
    told = adjustment.implied(close, events.split, events.dividend)[t]
    message = f"adjusted close steps by {step:.6f} and the listed events give {told:.6f}"
    at = np.array([t])
    doubt = rows.found(table, "event_mismatch", at, message, column="adj close")
    return replace(doubt, severity="warning", remedy="an event is missing or wrong; look it up")


def _lost_events(table: Table) -> list[Finding]:
    # Events on rows that cannot be used, and events told twice on one date.
    findings = []
    unusable = np.isnan(table.ohlcv).any(axis=1)
    for name, values, none in (("dividend", table.dividend, 0.0), ("split", table.split, 1.0)):
        if values is None:
            continue
        told = np.isfinite(values) & (values != 0.0) & (values != none)
        message = f"a {name} stands on a row without prices"
        at = np.where(told & unusable)[0]
        if len(at):
            value = f"{values[at[0]]:g}"
            lost = rows.found(table, "event_on_bad_row", at, message, column=name, value=value)
            remedy = f"find out whether the {name} of {value} belongs to the next session"
            findings.append(replace(lost, severity="warning", remedy=remedy))
        days, times = np.unique(table.days[told], return_counts=True)
        for day in days[times > 1]:
            at = np.where(told & (table.days == day))[0]
            message = f"the {name} of {day} is told {len(at)} times"
            twice = rows.found(table, "event_twice", at, message, column=name)
            findings.append(replace(twice, severity="warning", remedy="count it once"))
    return findings


def _half_adjusted(table: Table) -> list[Finding]:
    outside = rows.outside(table.ohlcv) & (table.ohlcv[:, HIGH] >= table.ohlcv[:, LOW])
    if outside.sum() < max(_FEW, rows.HALF_ADJUSTED * len(table.lines)):
        return []
    message = (
        f"{int(outside.sum()):,} of {len(table.lines):,} bars have close outside [low, high]: close is "
        "adjusted, open, high and low are not (half adjusted)"
    )
    remedy = "use it close-only, or get a file that adjusts all four"
    return [rows.found(table, "half_adjusted", np.where(outside)[0], message, remedy=remedy)]


def _foreign(table: Table) -> Finding:
    at = rows.closed_days(table, "XNYS")
    message = (
        f"{len(at):,} of {len(table.lines):,} rows are on days XNYS was closed: another exchange"
    )
    found = rows.found(table, "other_calendar", at, message)
    return replace(found, severity="warning", remedy='set calendar = "none"')


def _zero_volume(table: Table) -> list[Finding]:
    at = np.where(table.ohlcv[:, VOLUME] == 0)[0]
    if len(at) == 0:
        return []
    flat = int((table.ohlcv[at, HIGH] == table.ohlcv[at, LOW]).sum())
    shown = f", {flat:,} of them flat" if flat else ""
    message = f"{several(len(at), 'bar')} of volume 0{shown}: nobody traded"
    found = rows.found(table, "zero_volume", at, message, column="volume", value="0")
    remedy = 'they load as not traded; zero_volume = "traded" is for indices'
    return [replace(found, severity="warning", remedy=remedy)]


def _across(read: list[tuple[Path, Table]]) -> list[Finding]:
    findings = []
    by_name: dict[tuple[Path, str], list[Table]] = {}
    for folder, table in read:
        by_name.setdefault((folder, table.symbol), []).append(table)
    for same in by_name.values():
        findings += _overlaps(same)
    for folder in sorted({folder for folder, _ in by_name}):
        daily = (same for (f, _), same in by_name.items() if f == folder)
        findings += _ended([same for same in daily if not rows.is_intraday(same[0])])
    return findings


def _overlaps(same: list[Table]) -> list[Finding]:
    findings = []
    for i, left in enumerate(same):
        for right in same[i + 1 :]:
            common = np.intersect1d(left.stamps, right.stamps)
            common = common[~np.isnat(common)]
            if len(common):
                at = np.where(np.isin(right.stamps, common))[0]
                message = f"{several(len(common), 'date')} also in {left.file}"
                both = rows.found(right, "overlap", at, message, column="date")
                remedy = "cut by date, not by file: no date may be in two parts of a split"
                findings.append(replace(both, severity="warning", remedy=remedy))
    return findings


def _ended(folder: list[list[Table]]) -> list[Finding]:
    lasts = [max(t.days[~np.isnat(t.days)].max(initial=_LONG_AGO) for t in same) for same in folder]
    findings = []
    for same, last in zip(folder, lasts, strict=True):
        if np.busday_count(last, max(lasts)) >= ENDED_AFTER:
            message = f"the last bar is {last}, other files of the folder go to {max(lasts)}"
            remedy = "delisted, renamed, or a short file; a position ends at that last price"
            file, symbol, days = same[-1].file, same[-1].symbol, (str(last),)
            findings.append(Finding(file, symbol, "ended", "warning", message, remedy, days=days))
    return findings
