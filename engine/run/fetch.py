"""Download bars into the cache, symbol by symbol; what is done stays done when it is stopped."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from brokers.alpaca.bars import BarSource, closed_sessions, histories
from engine.clock import Clock
from engine.data.cache import Cache
from engine.data.revisions import Revision
from engine.errors import DataError, UsageError
from engine.settings_paper import Feed

# Sessions asked for once more before new ones: vendors correct bars and list events late.
OVERLAP = 40


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of one symbol. `asked` is None where everything was there already."""

    symbol: str
    asked: tuple[date, date] | None
    bars: int = 0
    last_bar: date | None = None
    notes: tuple[str, ...] = ()
    revisions: tuple[Revision, ...] = ()
    error: str | None = None


def fetch(
    gateway: BarSource,
    cache: Cache,
    feed: Feed,
    symbols: tuple[str, ...],
    first: date,
    last: date,
    at: Clock,
    again: bool = False,
) -> Iterator[Fetched]:
    """Make the cache hold each symbol from `first` to `last`, as far as sessions have closed.

    `again` asks for all of it, to find revisions. Bad data ends its own symbol only.
    Raises: UsageError for a range without a closed session; VenueUnavailable and TradingHalted
    from the gateway: what was stored before stays.
    """
    days = closed_sessions(first, last, at)
    if len(days) == 0:
        raise UsageError(
            f"no session closed from {first} to {last}; it is {at.now():%Y-%m-%d %H:%M} UTC"
        )
    start, end = days[0].item(), days[-1].item()
    with cache.writing():
        for symbol in symbols:
            try:
                yield _one(gateway, cache, feed, symbol, start, end, at, again)
            except DataError as error:
                yield Fetched(symbol, (start, end), error=str(error))


def _one(
    gateway: BarSource,
    cache: Cache,
    feed: Feed,
    symbol: str,
    first: date,
    last: date,
    at: Clock,
    again: bool,
) -> Fetched:
    asked = cache.lacking(symbol, first, last, OVERLAP, again)
    if asked is None:
        held = cache.manifest().symbols[symbol]
        return Fetched(symbol, None, held.bars, held.last_bar)
    (found,) = histories(gateway, (symbol,), closed_sessions(*asked, at), feed)
    entry, revised = cache.store(found, *asked, at.now())
    return Fetched(symbol, asked, entry.bars, entry.last_bar, found.notes, revised)
