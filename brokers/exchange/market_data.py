"""The market data endpoints: daily bars, latest bars, snapshots.

Prices go out exactly as the bars hold them, and only of sessions that have closed; the switch
`forming` serves the bar of the running session too, as far as it is known. A bar is stamped with
midnight in New York. What daily bars do not tell is not made up where the format allows it: the
number of trades is 0, and `vw` is the mean of high, low and close.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import lru_cache, partial
from itertools import islice
from typing import Any

import numpy as np
from starlette.routing import Route

from brokers.exchange.answers import Ask, endpoint
from brokers.exchange.exchange import Exchange
from brokers.exchange.paging import limit_of, next_token, refuse, rising, symbols_of, token_of
from brokers.exchange.wire import NEW_YORK, moment, new_york_date
from engine import clock
from engine.bars import CLOSE, HIGH, LOW, OPEN, VOLUME, Bars

FEEDS = ("iex", "sip", "otc", "boats", "delayed_sip", "overnight")
MOST_BARS = 10_000
Wire = dict[str, Any]


def data_routes(exchange: Exchange) -> list[Route]:
    """Return the routes of the stock data API."""
    calls = {
        "/v2/stocks/bars": many_bars,
        "/v2/stocks/bars/latest": latest_bars,
        "/v2/stocks/snapshots": snapshots,
        "/v2/stocks/{symbol}/bars": bars_of_one,
    }
    return [
        Route(path, endpoint(exchange, partial(call, exchange)), methods=["GET"])
        for path, call in calls.items()
    ]


def many_bars(exchange: Exchange, ask: Ask) -> Wire:
    """Answer GET /v2/stocks/bars: a page of bars by symbol."""
    page, token = _page(exchange, ask, symbols_of(ask.query))
    found: Wire = {}
    for symbol, bar in page:
        found.setdefault(symbol, []).append(bar)
    return {"bars": found, "next_page_token": token}


def bars_of_one(exchange: Exchange, ask: Ask) -> Wire:
    """Answer GET /v2/stocks/{symbol}/bars: a page of one symbol's bars."""
    symbol = ask.path["symbol"].upper()
    page, token = _page(exchange, ask, [symbol])
    return {"bars": [bar for _, bar in page], "symbol": symbol, "next_page_token": token}


def latest_bars(exchange: Exchange, ask: Ask) -> Wire:
    """Answer GET /v2/stocks/bars/latest: each symbol's newest daily bar."""
    _check_feed(ask.query)
    bars = known(exchange)
    newest = ((symbol, _newest(bars, symbol, 1)) for symbol in symbols_of(ask.query))
    return {"bars": {symbol: _bar(bars, symbol, rows[0]) for symbol, rows in newest if rows}}


def snapshots(exchange: Exchange, ask: Ask) -> Wire:
    """Answer GET /v2/stocks/snapshots: the last two daily bars and the closing trade."""
    _check_feed(ask.query)
    bars = known(exchange)
    found: Wire = {}
    for symbol in symbols_of(ask.query):
        rows = _newest(bars, symbol, 2)
        if rows:
            names = ("dailyBar", "prevDailyBar")
            days = {name: _bar(bars, symbol, t) for name, t in zip(names, rows, strict=False)}
            found[symbol] = {"latestTrade": _last_trade(exchange, bars, symbol, rows[0]), **days}
    return found


def known(exchange: Exchange) -> Bars:
    """Return the bars that may be served now."""
    whole, closed = exchange.served(), exchange.newest()
    if exchange.switches.forming and exchange.hours.opened(exchange.clock.now()) == closed + 1:
        return _with_forming(whole, closed + 1)
    return whole.between(None, whole.sessions[closed] if closed >= 0 else whole.sessions[0] - 1)


def _with_forming(whole: Bars, upto: int) -> Bars:
    # The running session's bar as its first trade leaves it: nothing later is told.
    bars = whole.between(None, whole.sessions[upto])
    ohlcv = bars.ohlcv.copy()
    ohlcv[-1, :, [HIGH, LOW, CLOSE]] = ohlcv[-1, :, OPEN]
    ohlcv[-1, :, VOLUME] = 1.0
    return replace(bars, ohlcv=ohlcv)


def _page(
    exchange: Exchange, ask: Ask, symbols: list[str]
) -> tuple[list[tuple[str, Wire]], str | None]:
    query = ask.query
    _check_format(query)
    limit, after, up = limit_of(query, 1000, MOST_BARS), token_of(query, 2), rising(query)
    bars = known(exchange)
    first, last = _days(query, exchange.clock.now())
    every = _rows(bars, sorted(symbols), bars.span(first, last), up)
    following = ((s, t) for s, t in every if after is None or _is_after(bars, s, t, after, up))
    left = list(islice(following, limit + 1))
    page = [(symbol, _bar(bars, symbol, t)) for symbol, t in left[:limit]]
    if len(left) <= limit:
        return page, None
    symbol, t = left[limit - 1]
    return page, next_token(symbol, str(bars.sessions[t]))


def _rows(
    bars: Bars, symbols: list[str], span: tuple[int, int], up: bool
) -> Iterator[tuple[str, int]]:
    first, last = span
    for symbol in symbols:
        if symbol in bars.symbols:
            n = bars.symbols.index(symbol)
            rows = first + np.flatnonzero(bars.traded[first : last + 1, n])
            yield from ((symbol, int(t)) for t in (rows if up else rows[::-1]))


def _is_after(bars: Bars, symbol: str, t: int, after: list[str], up: bool) -> bool:
    name, day = after
    if symbol != name:
        return symbol > name
    here = str(bars.sessions[t])
    return here > day if up else here < day


def _newest(bars: Bars, symbol: str, count: int) -> list[int]:
    # Rows of the last bars of a symbol, newest first.
    if symbol not in bars.symbols:
        return []
    rows = np.flatnonzero(bars.traded[:, bars.symbols.index(symbol)])
    return [int(t) for t in rows[::-1][:count]]


def _bar(bars: Bars, symbol: str, t: int) -> Wire:
    o, h, low, c, v = bars.ohlcv[t, bars.symbols.index(symbol)].tolist()
    volume = int(v) if v == int(v) else v
    mean = (h + low + c) / 3
    stamp = _stamp(str(bars.sessions[t]))
    return {"t": stamp, "o": o, "h": h, "l": low, "c": c, "v": volume, "n": 0, "vw": mean}


def _last_trade(exchange: Exchange, bars: Bars, symbol: str, t: int) -> Wire:
    price = float(bars.ohlcv[t, bars.symbols.index(symbol), CLOSE])
    closed = clock.closes_at(bars.sessions[t : t + 1], bars.calendar)[0].item()
    at = min(closed.replace(tzinfo=UTC), exchange.clock.now())
    return {"t": moment(at), "p": price, "s": 0, "x": "V", "c": [], "i": 0, "z": "A"}


@lru_cache(maxsize=65_536)
def _stamp(day: str) -> str:
    midnight = datetime.combine(date.fromisoformat(day), time_of_day(), NEW_YORK)
    return midnight.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_format(query: dict[str, str]) -> None:
    _check_feed(query)
    if query.get("timeframe") not in ("1Day", "1D"):
        raise refuse(f"invalid timeframe: {query.get('timeframe')}; this exchange has 1Day only")
    if query.get("adjustment", "raw") != "raw":
        raise refuse(f"invalid adjustment: {query['adjustment']}; this exchange has raw only")


def _check_feed(query: dict[str, str]) -> None:
    if query.get("feed", "iex") not in FEEDS:
        raise refuse(f"invalid feed: {query['feed']}")
    if query.get("currency", "USD") != "USD":
        raise refuse(f"invalid currency: {query['currency']}; this exchange has USD only")


def _days(query: dict[str, str], now: datetime) -> tuple[date, date]:
    # The sessions whose stamps lie from start to end, both inclusive.
    start = _when("start", query["start"]) if query.get("start") else None
    end = _when("end", query["end"]) if query.get("end") else now.astimezone(NEW_YORK)
    first = new_york_date(now) if start is None else start.date()
    if start is not None and start.time() != time_of_day():
        first += timedelta(days=1)
    if start is not None and end < start:
        raise refuse("end should not be before start")
    return first, end.date()


def _when(name: str, text: str) -> datetime:
    # A date alone is midnight in New York, as the stamps of daily bars are.
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise refuse(f"invalid {name}: {text}; expected RFC 3339 or YYYY-MM-DD") from None
    zone = NEW_YORK if len(text) == len("2026-01-31") else UTC
    return (at.replace(tzinfo=zone) if at.tzinfo is None else at).astimezone(NEW_YORK)
