"""What makes a row of prices unusable: one rule each, every place listed.

Strict loading refuses the first error found here; `barwise data check` prints them all.
"""

from dataclasses import replace

import numpy as np

from engine import clock
from engine.bars import CLOSE, HIGH, LOW, OPEN
from engine.data.findings import CLEAN_REMEDY, Finding
from engine.data.tables import FIELDS, Table

ROUNDING = 1e-6  # relative; vendors store prices as 32-bit floats or with six decimals
FOREIGN = 0.01  # share of rows on closed days from which a file is taken to follow another exchange
OTHER_REMEDY = 'as of another exchange: set data.calendar = "none", or mend the file'
HALF_ADJUSTED = 0.02  # share of bars with close outside [low, high] that is no accident
_PRICES = (OPEN, HIGH, LOW, CLOSE)
_CLAMP_REMEDY = "mend the row, or clamp on request with `barwise data clean --clamp`"
_HALF_REMEDY = (
    "close is adjusted and open, high, low are not: get a file that adjusts all four, or none, or "
    'read the close alone with data.prices = "close"'
)


def judge(table: Table) -> list[Finding]:
    """List what is wrong with the rows of one table, in the order a reader would meet it."""
    faults = [replace(f, symbol=f.symbol or table.symbol) for f in table.faults]
    return [*faults, *_order(table), *_values(table), *_range(table)]


def copies(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Tell which rows repeat a stamp seen above: as identical copies, or in conflict with it.

    Shapes: two masks (n,). A row identical to any earlier row of its stamp is a copy. Of rows in
    conflict the first is not marked.
    """
    identical = np.zeros(len(table.lines), dtype=bool)
    conflict = np.zeros(len(table.lines), dtype=bool)
    order = np.argsort(table.stamps, kind="stable")
    same = table.stamps[order][1:] == table.stamps[order][:-1]
    if not same.any():
        return identical, conflict
    cells = contents(table)
    seen: dict[object, set[bytes]] = {}
    for row in order[np.union1d(np.where(same)[0], np.where(same)[0] + 1)]:
        earlier = seen.setdefault(table.stamps[row], set())
        key = cells[row].tobytes()
        identical[row] = key in earlier
        conflict[row] = bool(earlier) and key not in earlier
        earlier.add(key)
    return identical, conflict


def closed_days(table: Table, calendar: str) -> np.ndarray:
    """Find the rows on days the exchange was closed. Shapes: (k,) indices."""
    covered = clock.covers(calendar, table.days)
    if calendar == "none" or not covered.any():
        return np.array([], dtype=np.int64)
    days = table.days[covered]
    open_days = clock.sessions(calendar, days.min(), days.max())
    return np.where(~np.isin(table.days, open_days) & covered)[0]


def is_foreign(table: Table, calendar: str) -> bool:
    """Tell whether the dates follow another exchange: many rows on days this one was closed."""
    days = np.unique(table.days[clock.covers(calendar, table.days)])
    if len(days) == 0:
        return False
    closed = ~np.isin(days, clock.sessions(calendar, days[0], days[-1]))
    return bool(closed.sum() >= 3 and closed.mean() > FOREIGN)


def closed_finding(table: Table, calendar: str) -> list[Finding]:
    """Name the rows on days the exchange was closed, and on days its calendar cannot judge."""
    findings = []
    beyond = np.where(~clock.covers(calendar, table.days) & ~np.isnat(table.days))[0]
    if len(beyond):
        message = f"{table.days[beyond[0]]} lies outside what is known of {calendar}"
        remedy = "correct the date"
        findings.append(
            found(table, "implausible_date", beyond, message, column="date", remedy=remedy)
        )
    at = closed_days(table, calendar)
    if len(at):
        message = f"{calendar} was closed on {table.days[at[0]]}"
        remedy = OTHER_REMEDY if is_foreign(table, calendar) else CLEAN_REMEDY
        findings.append(found(table, "closed_day", at, message, column="date", remedy=remedy))
    return findings


def contents(table: Table) -> np.ndarray:
    """Return all numbers of each row, NaN and zero in one form each. Shapes: (n, k)."""
    parts = [table.ohlcv]
    parts += [x[:, None] for x in (table.adjusted, table.dividend, table.split) if x is not None]
    cells = np.concatenate(parts, axis=1) + 0.0
    return np.where(np.isnan(cells), np.nan, cells)


def outside(ohlcv: np.ndarray) -> np.ndarray:
    """Tell which bars have open or close outside [low, high]. Shapes: (n, 5) -> (n,)."""
    slack = ROUNDING * (1.0 + np.abs(ohlcv[:, CLOSE]))
    slack[~np.isfinite(slack)] = 0.0  # judged by its own rule
    parts = ohlcv[:, (OPEN, CLOSE)]
    over = parts > (ohlcv[:, HIGH] + slack)[:, None]
    under = parts < (ohlcv[:, LOW] - slack)[:, None]
    return np.asarray((over | under).any(axis=1))


def found(table: Table, kind: str, at: np.ndarray, message: str, **more: str) -> Finding:
    """Make an error finding for the rows `at` (indices)."""
    rows = tuple(int(line) for line in table.lines[at])
    remedy = more.pop("remedy", CLEAN_REMEDY)
    return Finding(
        table.file, table.symbol, kind, "error", message, remedy, rows, when(table, at), **more
    )


def when(table: Table, at: np.ndarray) -> tuple[str, ...]:
    """Write the stamps of rows: the date alone where no stamp of the table carries a time."""
    stamps = table.stamps[at]
    plain = not is_intraday(table)
    return tuple(str(s)[:10] if plain else str(s).replace("T", " ") for s in stamps)


def is_intraday(table: Table) -> bool:
    """Tell whether stamps carry a time of day: such bars are not daily bars."""
    known = table.stamps[~np.isnat(table.stamps)]
    return bool((known != known.astype("datetime64[D]")).any())


def _order(table: Table) -> list[Finding]:
    findings = []
    earlier = np.where(table.stamps[1:] < table.stamps[:-1])[0] + 1
    if len(earlier):
        message = f"expected dates in rising order, found {when(table, earlier[:1])[0]} after "
        message += when(table, earlier[:1] - 1)[0]
        findings.append(found(table, "unsorted", earlier, message, column="date"))
    identical, conflict = (np.where(mask)[0] for mask in copies(table))
    if len(identical):
        message = "the row repeats an earlier row of the same date"
        copy = found(table, "duplicate", identical, message, column="date")
        findings.append(replace(copy, severity="warning"))
    if len(conflict):
        message = "two rows have the same date and different numbers"
        findings.append(found(table, "conflict", conflict, message, column="date"))
    return findings


def _values(table: Table) -> list[Finding]:
    findings = []
    prices = table.ohlcv[:, _PRICES]
    rules = (
        ("nan", np.isnan(table.ohlcv), "expected a number, found nothing (NaN)"),
        ("infinite", np.isinf(table.ohlcv), "expected a finite number, found infinity"),
        ("non_positive", _pad(prices <= 0), "expected a price above zero"),
        ("negative_volume", table.ohlcv < np.array([-np.inf] * 4 + [0.0]), "expected volume >= 0"),
    )
    for kind, wrong, message in rules:
        at = np.where(wrong.any(axis=1))[0]
        if len(at):
            field = int(np.argmax(wrong[at[0]]))
            value = f"{table.ohlcv[at[0], field]:g}"
            text = message if "found" in message else f"{message}, found {value}"
            findings.append(found(table, kind, at, text, column=FIELDS[field], value=value))
    return findings


def _range(table: Table) -> list[Finding]:
    findings = []
    high, low = table.ohlcv[:, HIGH], table.ohlcv[:, LOW]
    crossed = np.where(high < low)[0]
    if len(crossed):
        h, low_ = high[crossed[0]], low[crossed[0]]
        message = f"expected high >= low, found high {h:g} below low {low_:g}"
        findings.append(
            found(table, "high_below_low", crossed, message, column="high", value=f"{h:g}")
        )
    beyond = np.where(outside(table.ohlcv) & ~(high < low))[0]
    if len(beyond):
        o, h, l_, c, _ = table.ohlcv[beyond[0]]
        field = "open" if o > h or o < l_ else "close"
        message = f"expected open and close within [low, high] = [{l_:g}, {h:g}], "
        message += f"found open {o:g}, close {c:g}"
        value = f"{o if field == 'open' else c:g}"
        half = len(beyond) > HALF_ADJUSTED * len(table.lines)
        remedy = _HALF_REMEDY if half else _CLAMP_REMEDY
        findings.append(
            found(table, "outside_range", beyond, message, column=field, value=value, remedy=remedy)
        )
    return findings


def _pad(prices: np.ndarray) -> np.ndarray:
    return np.concatenate([prices, np.zeros((len(prices), 1), dtype=bool)], axis=1)
