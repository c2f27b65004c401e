"""The guard in front of the model: which newest bars may be decided on.

A row of prices is judged by the rules that judge a file (engine.data.rows); this module adds what
only time can tell: late, missing, revised, or a step that no event explains.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from engine import clock
from engine.bars import CLOSE, Bars
from engine.data import rows
from engine.data.jumps import LEAST
from engine.data.revisions import FIELDS
from engine.data.tables import Table
from engine.errors import DataError, TradingHalted, VenueUnavailable
from engine.feature_windows import PRICE_FACTOR, VOLUME_FACTOR, Series, series_of


@dataclass(frozen=True, slots=True)
class AcceptedBars:
    """The sessions not known before, and what is to be written down about them.

    `revisions`: numbers of known sessions that the vendor has changed; they are not applied.
    `missing`: symbols without a bar on a new session; nothing was filled in.
    """

    bars: Bars
    revisions: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def accept(
    new: Bars, known: Bars | None, expected: np.datetime64, collar: float | None
) -> AcceptedBars:
    """Return the sessions of `new` after those of `known`, up to and with `expected`.

    `collar`: the largest step from close to close, events taken out, as a fraction of the lower
    one; None = any.
    Raises: VenueUnavailable for bars that are not there yet; TradingHalted for bars that no
    decision may see, naming symbol, session and numbers.
    """
    _require_newest(new, expected)
    if known is not None and new.symbols != known.symbols:
        raise TradingHalted(
            f"expected bars of {', '.join(known.symbols)}, found {', '.join(new.symbols)}; the "
            "symbols of an account do not change: start another one for others"
        )
    if known is not None and known.source and new.source != known.source:
        raise TradingHalted(
            f"paper.feed: expected bars of {known.source} after those this account has decided on, "
            f"found {new.source}; their volumes are not the same: put the feed back, then resume, or "
            "resume with --new-checkpoint to start from a history of the new one"
        )
    fresh = new
    if known is not None and len(known.sessions):
        fresh = new.between(known.sessions[-1] + 1, None)
    _require_rows(fresh)
    _require_no_gap(new, known, fresh)
    whole = _behind(known, fresh)
    since = len(whole.sessions) - len(fresh.sessions)
    if collar is not None:
        _require_steps(whole, since, collar)
    return AcceptedBars(fresh, tuple(_revisions(new, known)), tuple(_missing(whole, since)))


@contextmanager
def bad_bars_halt() -> Iterator[None]:
    """Turn data that cannot be used into a halt: wrap a download of newest bars in it."""
    try:
        yield
    except DataError as error:
        raise TradingHalted(
            f"the newest bars cannot be used: {error}; nothing was decided on them"
        ) from error


def _require_newest(new: Bars, expected: np.datetime64) -> None:
    traded = new.sessions[new.traded.any(axis=1)] if len(new.sessions) else new.sessions
    found = traded[-1] if len(traded) else None
    if found is None or found != expected or new.sessions[-1] != expected:
        raise VenueUnavailable(
            f"expected the newest bars to be of {expected}, found {found or 'no bar'}; the vendor "
            "is late or serves old bars: nothing was decided, ask again later"
        )


def _require_rows(fresh: Bars) -> None:
    empty = ~np.isnan(fresh.ohlcv).all(axis=2) & ~fresh.traded
    if empty.any():
        t, n = np.argwhere(empty)[0]
        raise TradingHalted(
            f"{fresh.symbols[n]} {fresh.sessions[t]}: expected no numbers where nothing traded, "
            f"found {fresh.ohlcv[t, n].tolist()}; report this, the bars were put together wrongly"
        )
    for n, symbol in enumerate(fresh.symbols):
        on = fresh.traded[:, n]
        table = Table(
            file=fresh.source or "bars",
            symbol=symbol,
            lines=np.flatnonzero(on) + 1,
            stamps=fresh.sessions[on].astype("datetime64[s]"),
            ohlcv=fresh.ohlcv[on, n],
        )
        for finding in rows.judge(table):
            raise TradingHalted(
                f"{symbol} {finding.days[0]}: {finding.message}; compare with another source, and "
                "resume when the vendor has mended it"
            )
    bad = ~(np.isfinite(fresh.split) & (fresh.split > 0))
    bad |= ~(np.isfinite(fresh.dividend) & (fresh.dividend >= 0))
    if bad.any():
        t, n = np.argwhere(bad)[0]
        raise TradingHalted(
            f"{fresh.symbols[n]} {fresh.sessions[t]}: expected a split above zero and a dividend of "
            f"zero or more, found {fresh.split[t, n]} and {fresh.dividend[t, n]}"
        )


def _require_no_gap(new: Bars, known: Bars | None, fresh: Bars) -> None:
    # Every session from the first new one on, and none left out behind the known ones.
    if len(fresh.sessions) == 0 or new.calendar == "none":
        return
    first = fresh.sessions[0]
    if known is not None and len(known.sessions):
        first = known.sessions[-1] + 1
    wanted = clock.sessions(new.calendar, first, fresh.sessions[-1])
    silent = np.setdiff1d(wanted, fresh.sessions[fresh.traded.any(axis=1)])
    strange = np.setdiff1d(fresh.sessions, wanted)
    if len(strange):
        raise TradingHalted(f"found bars on {strange[0]}, when {new.calendar} was closed")
    if len(silent):
        raise VenueUnavailable(
            f"expected bars of every session from {wanted[0]} to {wanted[-1]}, found none of any "
            f"symbol on {silent[0]}; nothing was decided, ask again later"
        )


def _behind(known: Bars | None, fresh: Bars) -> Bars:
    # The known sessions and the new ones in a row, for the steps between them.
    if known is None:
        return fresh
    return replace(
        fresh,
        sessions=np.concatenate([known.sessions, fresh.sessions]),
        ohlcv=np.concatenate([known.ohlcv, fresh.ohlcv]),
        traded=np.concatenate([known.traded, fresh.traded]),
        split=np.concatenate([known.split, fresh.split]),
        dividend=np.concatenate([known.dividend, fresh.dividend]),
    )


def _require_steps(whole: Bars, since: int, collar: float) -> None:
    for n, symbol in enumerate(whole.symbols):
        try:
            series = series_of(whole, n)
        except DataError as error:
            raise TradingHalted(f"{error}; nothing was decided on these bars") from error
        _require_step(symbol, whole, series, since, collar)


def _require_step(symbol: str, whole: Bars, series: Series, since: int, collar: float) -> None:
    # Logs of close over the close before: as printed, and with splits and dividends taken out.
    close = series.stored[CLOSE]
    printed = np.log(close[1:] / close[:-1])
    moved = printed - np.log(series.stored[PRICE_FACTOR, 1:])
    split = np.log(series.stored[VOLUME_FACTOR, 1:])
    denied = (np.abs(split) > LEAST) & (np.abs(moved) > np.abs(printed))
    absurd = np.abs(moved) > np.log1p(collar)
    for at in np.flatnonzero((denied | absurd) & (series.rows[1:] >= since)):
        ratio = float(np.exp(split[at]))
        story = f"a split of {ratio:g} for 1 is listed" if ratio != 1.0 else "no split is listed"
        raise TradingHalted(
            f"{symbol} {whole.sessions[series.rows[at + 1]]}: close {close[at + 1]:g} after "
            f"{close[at]:g} ({np.expm1(printed[at]):+.1%}), and {story}; look it up, and "
            "resume with paper.guards.price_collar off for this session if it is true"
        )


def _revisions(new: Bars, known: Bars | None) -> Iterator[str]:
    if known is None:
        return
    days, at, before = np.intersect1d(new.sessions, known.sessions, return_indices=True)
    now, then = _numbers(new)[at], _numbers(known)[before]
    changed = (now != then) & ~(np.isnan(now) & np.isnan(then))
    for t, n, field in np.argwhere(changed):
        old, found = then[t, n, field], now[t, n, field]
        yield f"{new.symbols[n]} {days[t]}: {FIELDS[field]} was {old:g}, is now {found:g}"


def _numbers(bars: Bars) -> np.ndarray:
    return np.concatenate([bars.ohlcv, bars.split[:, :, None], bars.dividend[:, :, None]], axis=2)


def _missing(whole: Bars, since: int) -> Iterator[str]:
    # A symbol is missed from its first bar on; one that never had a bar, on the newest session.
    listed = np.logical_or.accumulate(whole.traded, axis=0)
    listed[-1:] = True
    for t, n in np.argwhere(listed[since:] & ~whole.traded[since:]):
        yield f"{whole.symbols[n]} {whole.sessions[since + t]}"
