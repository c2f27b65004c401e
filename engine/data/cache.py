"""Bars kept on disk: one Parquet file for each symbol of a feed, and a manifest that names them.

The manifest is replaced last and in one step, and it holds every file's hash: whatever was written
before that step does not count, and a file that is not what the manifest says is found out.
"""

import hashlib
import io
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from engine import clock
from engine.data.history import History
from engine.data.revisions import FIELDS, Revision, joined, numbers, revisions
from engine.errors import DataError, UsageError
from engine.files import atomic, locked, put_text

FORMAT = 1
MANIFEST = "manifest.json"
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-]{0,31}")
_LEFT_OVER = re.compile(
    r"\.?[A-Z0-9][A-Z0-9.\-]*\.[0-9a-f]{12}\.parquet(\.\w+)?|\.manifest\.json\.\w+"
)


class Entry(BaseModel, frozen=True, extra="forbid"):
    """What is held of one symbol: every session from `first` to `last` has been asked for."""

    file: str
    sha256: str
    first: date
    last: date
    last_bar: date
    bars: int
    fetched_at: datetime
    notes: tuple[str, ...] = ()
    revisions: tuple[Revision, ...] = ()


class Manifest(BaseModel, frozen=True, extra="forbid"):
    """What a cache folder holds: raw prices of one vendor and feed."""

    format_version: int = FORMAT
    source: str = Field(description="vendor and feed")
    price_basis: str = "raw"
    calendar: str = "XNYS"
    symbols: dict[str, Entry] = {}


@dataclass(frozen=True, slots=True)
class Cache:
    """The folder of one vendor and feed, such as `alpaca:iex`, inside a cache folder."""

    root: Path
    source: str

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.root / self.source.replace(":", "-")

    def manifest(self) -> Manifest:
        """Read the manifest; one without symbols where there is none.

        Raises: DataError for one that cannot be read or is of another format or feed.
        """
        path = self.folder / MANIFEST
        if not path.is_file():
            return Manifest(source=self.source)
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            version = tree.get("format_version") if isinstance(tree, dict) else None
            if version != FORMAT:
                raise ValueError(f"format version {version}")
            found = Manifest.model_validate(tree)
        except (ValueError, ValidationError) as error:
            raise DataError(
                f"{path}: expected a manifest of format version {FORMAT}, found {error}; move the "
                "folder away and fetch again"
            ) from error
        if found.source != self.source:
            raise DataError(
                f"{path}: expected bars of {self.source}, found {found.source}; feeds are never "
                "mixed: move the folder away and fetch again"
            )
        return found

    def read(self, symbol: str, entry: Entry) -> History:
        """Return what is held of a symbol. Raises: DataError when its file is not the one written."""
        path = self.folder / entry.file
        data = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            found = "another file" if data else "no such file"
            raise DataError(
                f"{path}: expected sha256 {entry.sha256}, found {found}; run "
                f"`{self.command((symbol,), entry.first, entry.last)}` to get it again"
            )
        return _from_parquet(symbol, data, entry.notes)

    def store(
        self, new: History, first: date, last: date, at: datetime
    ) -> tuple[Entry, tuple[Revision, ...]]:
        """Put the bars of `first` to `last` beside what is held; return what had been revised.

        The new numbers win inside the range, and every number they change is kept in the manifest.
        The range must touch what is held: call with `lacking`'s answer. A damaged file is replaced.
        Raises: DataError where there would be no bar at all.
        """
        manifest = self.manifest()
        old = manifest.symbols.get(new.symbol)
        held = self._sound(new.symbol, old)
        revised: tuple[Revision, ...] = ()
        if held is not None and old is not None:
            known = max(first, old.first), min(last, old.last_bar)
            revised = tuple(revisions(held, new, *known, at))
            new = joined(held, new, first, last)
            first, last = min(first, old.first), max(last, old.last)
        if not new.has_bar.any():
            raise DataError(
                f"{new.symbol}: {self.source} has no bar from {first} to {last}; check the ticker, "
                "or ask for later dates (iex begins in 2020, sip in 2016)"
            )
        data = _to_parquet(new)
        digest = hashlib.sha256(data).hexdigest()
        entry = Entry(
            file=f"{new.symbol}.{digest[:12]}.parquet",
            sha256=digest,
            first=first,
            last=last,
            last_bar=new.days[new.has_bar][-1].item(),
            bars=int(new.has_bar.sum()),
            fetched_at=at,
            notes=new.notes,
            revisions=(*(old.revisions if old else ()), *revised),
        )
        with atomic(self.folder / entry.file, "wb") as file:
            file.write(data)
        self._commit(manifest, new.symbol, entry)
        return entry, revised

    def lacking(
        self, symbol: str, first: date, last: date, overlap: int = 0, again: bool = False
    ) -> tuple[date, date] | None:
        """Return the one range to ask for so that `first` to `last` is held; None = it is.

        What is held stays in one piece, so the range reaches from it to what is asked. `overlap`
        sessions before new ones are asked for once more, with `again` all of them. Sessions behind
        the last bar count as not held: the vendor may only have been late.
        """
        entry = self.manifest().symbols.get(symbol)
        if entry is None or self._sound(symbol, entry) is None:
            return first, last
        if again:
            return min(first, entry.last), max(last, entry.first)
        if first < entry.first:
            return first, max(last, entry.first)
        silent = clock.sessions("XNYS", entry.last_bar, entry.last)[1:]
        if last <= (entry.last_bar if len(silent) else entry.last):
            return None
        known = clock.sessions("XNYS", entry.first, entry.last_bar)[-overlap:]
        return (known[0].item() if overlap else entry.last_bar), last

    def command(self, symbols: tuple[str, ...], first: date, last: date) -> str:
        """Return the command that fetches a range into this cache."""
        feed = self.source.partition(":")[2]
        where = f"--feed {feed} --cache {shlex.quote(str(self.root))}"
        return f"barwise data fetch {' '.join(symbols)} --from {first} --to {last} {where}"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder for one writer, and clear away what a killed one left.

        Raises: UsageError when another process is writing.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            if not locked(lock.fileno()):
                raise UsageError(
                    f"{self.folder}: another fetch is writing here; wait until it is done"
                )
            self._sweep()
            yield

    def _sound(self, symbol: str, entry: Entry | None) -> History | None:
        try:
            return None if entry is None else self.read(symbol, entry)
        except DataError:
            return None

    def _commit(self, manifest: Manifest, symbol: str, entry: Entry) -> None:
        symbols = dict(sorted((manifest.symbols | {symbol: entry}).items()))
        told = manifest.model_copy(update={"symbols": symbols})
        put_text(self.folder / MANIFEST, told.model_dump_json(indent=1))
        old = manifest.symbols.get(symbol)
        if old is not None and old.file != entry.file:
            (self.folder / old.file).unlink(missing_ok=True)

    def _sweep(self) -> None:
        named = {entry.file for entry in self.manifest().symbols.values()}
        for path in self.folder.iterdir():
            if path.name not in named and _LEFT_OVER.fullmatch(path.name):
                path.unlink(missing_ok=True)


def require_symbol(symbol: str) -> str:
    """Return a ticker in capitals. Raises: UsageError for what cannot be one."""
    ticker = symbol.upper()
    if not _SYMBOL.fullmatch(ticker):
        raise UsageError(f"{symbol!r}: expected a ticker such as AAPL or BRK.B")
    return ticker


def _to_parquet(one: History) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = dict(zip(FIELDS, numbers(one).T, strict=True))
    table = pa.table({"date": one.days, **{name: pa.array(v) for name, v in columns.items()}})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def _from_parquet(symbol: str, data: bytes, notes: tuple[str, ...]) -> History:
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    days = table.column("date").to_numpy().astype("datetime64[D]")
    rows = np.column_stack([table.column(name).to_numpy() for name in FIELDS])
    return History(symbol, days, rows[:, :5], rows[:, 5], rows[:, 6], notes)
