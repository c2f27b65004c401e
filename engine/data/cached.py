"""Bars from the cache alone, never from the network; what is not there is named with its command."""

from datetime import date

from engine import clock
from engine.bars import Bars
from engine.data import history
from engine.data.cache import Cache, Manifest
from engine.data.history import ZeroVolume
from engine.errors import DataError


def load(
    cache: Cache,
    symbols: tuple[str, ...],
    start: date | None,
    end: date | None,
    zero_volume: ZeroVolume,
) -> Bars:
    """Return the bars of a range; None = as far as any of the symbols goes.

    Raises: DataError with the command that fetches what is not there.
    """
    manifest = cache.manifest()
    names = symbols or tuple(manifest.symbols)
    first, last = _range(manifest, names, start, end)
    short = tuple(s for s in names if not _covers(manifest, s, first, last))
    if short or not names:
        raise DataError(
            f"{cache.folder}: expected bars of {', '.join(short) or 'a symbol'} from {first} to "
            f"{last}, found {_held(manifest, short)}; "
            f"run `{cache.command(short or ('SYMBOL',), first, last)}`"
        )
    found = [cache.read(s, manifest.symbols[s]) for s in names]
    return history.bars(found, manifest.calendar, zero_volume, cache.source)


def _range(
    manifest: Manifest, names: tuple[str, ...], start: date | None, end: date | None
) -> tuple[date, date]:
    # What is open at either end is as far as any symbol goes; nothing is expected of the future.
    closed = date.fromisoformat(str(clock.last_closed(clock.now(), manifest.calendar)))
    held = [manifest.symbols[s] for s in names if s in manifest.symbols]
    ten_years = date(closed.year - 10, 1, 1)
    first = start or (min(entry.first for entry in held) if held else ten_years)
    last = min(end or closed, max(entry.last for entry in held) if held and not end else closed)
    return first, last


def _held(manifest: Manifest, symbols: tuple[str, ...]) -> str:
    entries = manifest.symbols
    told = [f"{s} {entries[s].first} to {entries[s].last}" for s in symbols if s in entries]
    return ", ".join(told) or "none"


def _covers(manifest: Manifest, symbol: str, first: date, last: date) -> bool:
    entry = manifest.symbols.get(symbol)
    if entry is None:
        return False
    asked = clock.sessions(manifest.calendar, first, last)
    inside = (asked >= clock.as_day(entry.first)) & (asked <= clock.as_day(entry.last))
    return bool(inside.all())
