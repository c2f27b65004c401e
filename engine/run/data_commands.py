"""The `barwise data` commands: look at data, check it, clean it, fetch it."""

import os
from collections import Counter
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from engine.data.cache import Cache, require_symbol
from engine.data.check import check_files
from engine.data.clean import clean_file
from engine.errors import UsageError
from engine.run.console import echo, say
from engine.run.fetch import Fetched, fetch
from engine.settings import Settings
from engine.sources import DataSettings, load

Result = dict[str, Any]
SOURCES = {
    "sample": "real daily prices that come with barwise, 2000-2013, public domain",
    "csv": "one file, or a folder of SYMBOL.csv; needs data.path and data.price_basis",
    "parquet": "the same as Parquet",
    "alpaca": "daily bars that `barwise data fetch` has downloaded; needs data.symbols",
    "synthetic": "made-up markets: bootstrap of real days, gbm (no edge), echo (known optimum)",
}


def list_data(as_json: bool) -> Result:
    """List the sources, and each symbol of the sample with its dates and events."""
    bars = load(DataSettings(source="sample"))
    symbols: list[Result] = []
    for n, symbol in enumerate(bars.symbols):
        traded = bars.sessions[bars.traded[:, n]]
        symbols.append(
            {
                "symbol": symbol,
                "start": str(traded[0]),
                "end": str(traded[-1]),
                "bars": len(traded),
                "splits": [str(day) for day in bars.sessions[bars.split[:, n] != 1.0]],
                "dividends": int((bars.dividend[:, n] != 0.0).sum()),
            }
        )
    if not as_json:
        for name, text in SOURCES.items():
            echo(f"{name:10} {text}")
        for row in symbols:
            splits = ", ".join(row["splits"]) or "none"
            echo(
                f"  {row['symbol']:6} {row['start']} to {row['end']}  {row['bars']:,} bars, "
                f"{row['dividends']} dividends, splits: {splits}"
            )
    return {"sources": SOURCES, "sample": symbols}


def check_data(files: list[Path], as_json: bool) -> Result:
    """Print every finding, errors first; exit code 1 when there is an error."""
    for path in files:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder")
    order = {"error": 0, "warning": 1, "info": 2}
    findings = sorted(check_files(files), key=lambda found: order[found.severity])
    counts: Counter[str] = Counter(found.severity for found in findings)
    if not as_json:
        for found in findings:
            echo(f"{found.severity:8}{found.text()}")
        told = ", ".join(f"{counts[kind]} {kind}" for kind in order if counts[kind])
        echo(told or "nothing found")
    return {
        "findings": [asdict(found) | {"count": found.count} for found in findings],
        "counts": dict(counts),
        "exit_code": 1 if counts["error"] else 0,
    }


def clean_data(file: Path, out: Path, clamp: bool, calendar: str, as_json: bool) -> Result:
    """Write a repaired copy and list every repair."""
    if not file.is_file():
        raise UsageError(f"{file}: no such file")
    repairs = clean_file(file, out, calendar=calendar, clamp=clamp)
    if not as_json:
        for repair in repairs:
            echo(repair.text())
        echo(f"{len(repairs)} repairs, written to {out}; {file} is as it was")
    return {"file": str(file), "out": str(out), "repairs": [asdict(repair) for repair in repairs]}


def fetch_data(
    symbols: list[str],
    first: date,
    last: date,
    settings: Settings,
    again: bool,
    as_json: bool,
) -> Result:
    """Download daily bars and events into the cache; exit code 1 when a symbol failed.

    The feed and the folder are those of `settings.data`.
    """
    from brokers.alpaca.bars import source_name
    from brokers.alpaca.gateway import Gateway
    from brokers.alpaca.keys import require_keys
    from engine.clock import SystemClock

    names = tuple(dict.fromkeys(require_symbol(s) for s in symbols or settings.data.symbols))
    if first > last:
        raise UsageError(f"data fetch: --from {first} is after --to {last}")
    if not names:
        raise UsageError("data fetch: expected symbols, or a --config that has data.symbols")
    feed = settings.data.feed
    cache = Cache(Path(settings.data.cache), source_name(feed))
    clock = SystemClock()
    done: list[Fetched] = []
    with Gateway(settings.paper, require_keys(os.environ, Path(".env")), clock) as gateway:
        for one in fetch(gateway, cache, feed, names, first, last, clock, again):
            done.append(one)
            _tell_fetched(one, len(done), len(names))
    failed = [one.symbol for one in done if one.error]
    if not as_json:
        echo(
            f"{len(names) - len(failed)} of {len(names)} symbols of {cache.source} in {cache.folder}"
        )
    return {
        "folder": str(cache.folder),
        "source": cache.source,
        "symbols": [
            asdict(one) | {"revisions": [r.model_dump(mode="json") for r in one.revisions]}
            for one in done
        ],
        "exit_code": 1 if failed else 0,
    }


def _tell_fetched(one: Fetched, n: int, of: int) -> None:
    asked = f"asked for {one.asked[0]} to {one.asked[1]}" if one.asked else "nothing new to ask for"
    held = f"{one.bars:,} bars up to {one.last_bar}, {asked}"
    say(f"{n}/{of} {one.error or f'{one.symbol}: {held}'}")
    for note in one.notes:
        say(f"  note: {note}")
    for revision in one.revisions:
        say(f"  revised by the vendor: {revision.text(one.symbol)}")
