"""The append-only, hash-chained record of a run, in SQLite; it survives a kill at any moment.

Each entry's hash covers the entry and the hash before it, so a removed or edited row is found by
`verify`. It has one writer that appends and commits, or many that add. It knows nothing of what the
entries mean.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    inspect,
    select,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from engine.errors import DataError

FORMAT = "2"  # 1 had no index by kind
_METADATA = MetaData()
_META = Table("meta", _METADATA, Column("key", String, primary_key=True), Column("value", String))
_ENTRIES = Table(
    "entries",
    _METADATA,
    Column("id", Integer, primary_key=True),
    Column("session", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("hash", String, nullable=False),
)
_BY_KIND = Index("entries_by_kind", _ENTRIES.c.kind, _ENTRIES.c.id)
_LAST = select(_ENTRIES.c.id, _ENTRIES.c.hash).order_by(_ENTRIES.c.id.desc()).limit(1)
START = "0" * 64
_END = "end"  # number and hash of the last entry that was added
_PATIENCE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal; `session` is an exchange date or empty."""

    number: int
    session: str
    kind: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Proof:
    """How far the chain was followed: entries, and the hash of the last one."""

    count: int
    hash: str


_NOTHING = Proof(0, START)


class Journal:
    """Append entries, commit them together, read and verify them.

    A journal of an older format is brought up to date; a copy of it stays beside it. What is
    committed outlives a kill of the process, and a loss of power too unless `durable` is False.
    Raises: DataError when the file is damaged, cannot be written, or is of a newer format.
    """

    def __init__(self, path: Path, durable: bool = True) -> None:
        self.path = path
        self._engine = _connect(path, durable)
        self._waiting: list[dict[str, Any]] = []
        self._number, self._last = self._tail()

    def append(self, kind: str, session: str, body: Mapping[str, Any]) -> int:
        """Add one entry and return its number; it is on disk after the next `commit`."""
        row = _chained(self._last, self._number + 1, session, kind, body)
        self._number, self._last = row["id"], row["hash"]
        self._waiting.append(row)
        return self._number

    @property
    def proof(self) -> Proof:
        """How far this journal goes by what this object read and wrote itself."""
        return Proof(self._number, self._last)

    def commit(self) -> None:
        """Write everything appended since the last commit, all of it or nothing.

        Raises: DataError when the disk does not take it; nothing was written then.
        """
        if not self._waiting:
            return
        with self._transaction() as connection:
            connection.execute(_ENTRIES.insert(), self._waiting)
        self._waiting.clear()

    def add(self, kind: str, session: str, body: Mapping[str, Any]) -> int:
        """Write one entry at once, behind what other processes wrote meanwhile; return its number.

        The end of the chain is noted too, so that `verify` misses entries that were cut off there.
        Raises: DataError as `commit` does, also when others held the file for a minute.
        """
        assert not self._waiting, "append and add do not mix"
        with self._transaction() as connection:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # nobody else writes until it ends
            found = connection.execute(_LAST).first()
            number, last = (found.id, found.hash) if found else (0, START)
            row = _chained(last, number + 1, session, kind, body)
            connection.execute(_ENTRIES.insert(), row)
            connection.execute(_META.delete().where(_META.c.key == _END))
            connection.execute(_META.insert(), {"key": _END, "value": f"{row['id']} {row['hash']}"})
        self._number, self._last = row["id"], row["hash"]
        return self._number

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            self.forget()
            raise DataError(
                f"{self.path}: the journal could not be written: {_cause(error)}; nothing of this "
                "step was recorded: make room on the disk, or give this user the right to write"
            ) from error

    def forget(self) -> None:
        """Drop everything appended since the last commit."""
        self._waiting.clear()
        self._number, self._last = self._tail()

    def entries(self, kind: str | None = None, after: int = 0) -> Iterator[Entry]:
        """Yield committed entries in order, all or of one kind, those numbered above `after`."""
        query = select(_ENTRIES).where(_ENTRIES.c.id > after).order_by(_ENTRIES.c.id)
        if kind is not None:
            query = query.where(_ENTRIES.c.kind == kind)
        for row in self._rows(query):
            yield Entry(row.id, row.session, row.kind, json.loads(row.body))

    def newest(self, kind: str, count: int) -> list[Entry]:
        """Return the last `count` committed entries of one kind, oldest first."""
        query = select(_ENTRIES).where(_ENTRIES.c.kind == kind).order_by(_ENTRIES.c.id.desc())
        rows = reversed(list(self._rows(query.limit(count))))
        return [Entry(row.id, row.session, row.kind, json.loads(row.body)) for row in rows]

    def verify(self, proven: Proof = _NOTHING) -> Proof:
        """Recompute the chain from what is proven on; return how far it holds.

        Raises: DataError naming the first entry that does not fit.
        """
        count, last = proven.count, proven.hash
        end, ending = self._noted_end()
        for row in self._rows(select(_ENTRIES).where(_ENTRIES.c.id > count).order_by("id")):
            count += 1
            last = chain(last, count, row.session, row.kind, row.body)
            if row.id != count or row.hash != last or (count == end and last != ending):
                told = f"{row.kind} of {row.session}" if row.session else row.kind
                raise DataError(
                    f"{self.path}: the hash chain breaks at entry {count} ({told}); a row was "
                    "removed or edited: restore a copy of the file"
                )
        if count < end:
            raise DataError(
                f"{self.path}: {end} entries were written and {count} are there; the last ones were "
                "removed: restore a copy of the file"
            )
        return Proof(count, last)

    def close(self) -> None:
        """Commit and let go of the file."""
        self.commit()
        self._engine.dispose()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.forget()  # a step that broke off leaves nothing behind
        self.close()

    def _tail(self) -> tuple[int, str]:
        row = next(iter(self._rows(_LAST)), None)
        return (row.id, row.hash) if row else (0, START)

    def _noted_end(self) -> tuple[int, str]:
        query = select(_META.c.value).where(_META.c.key == _END)
        row = next(iter(self._rows(query)), None)
        number, last = row.value.split() if row else (0, START)
        return int(number), last

    def _rows(self, query: Any) -> Iterator[Any]:
        try:
            with self._engine.connect() as connection:
                yield from connection.execute(query)
        except SQLAlchemyError as error:
            raise DataError(
                f"{self.path}: the journal is damaged: {_cause(error)}; restore a copy of the file"
            ) from error


def _chained(
    last: str, number: int, session: str, kind: str, body: Mapping[str, Any]
) -> dict[str, Any]:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    digest = chain(last, number, session, kind, text)
    return {"id": number, "session": session, "kind": kind, "body": text, "hash": digest}


def chain(last: str, number: int, session: str, kind: str, body: str) -> str:
    """Return the hash of an entry: it covers the entry and the hash before it, `START` at first."""
    return hashlib.sha256(
        "\x1f".join((last, str(number), session, kind, body)).encode()
    ).hexdigest()


def _connect(path: Path, durable: bool) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")

    try:
        found = _format_of(engine)
        if found is None:
            _METADATA.create_all(engine)
            with engine.begin() as connection:
                connection.execute(_META.insert(), {"key": "format", "value": FORMAT})
        elif found in _MIGRATIONS:
            _migrate(engine, path, found)
    except (SQLAlchemyError, OSError) as error:
        engine.dispose()
        raise DataError(
            f"{path}: not a journal that can be opened: {_cause(error)}; make room on the disk, "
            "restore a copy of the file, or give this user the right to read and write it"
        ) from error
    if found not in (None, FORMAT, *_MIGRATIONS):
        engine.dispose()
        raise DataError(
            f"{path}: journal format {FORMAT} or older expected, found {found}; use the barwise that "
            "wrote it"
        )
    return engine


def _format_of(engine: Engine) -> str | None:
    if not inspect(engine).has_table("meta"):
        return None
    with engine.connect() as connection:
        query = select(_META.c.value).where(_META.c.key == "format")
        found: str | None = connection.execute(query).scalar()
        return found


def _migrate(engine: Engine, path: Path, found: str) -> None:
    # The old file stays as it was, under a name of its own; SQLite itself copies it, log included.
    copy = path.with_name(f"{path.name}.format{found}")
    with sqlite3.connect(path) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    source.close()
    target.close()
    with engine.begin() as connection:
        _MIGRATIONS[found](connection)
        connection.execute(_META.update().where(_META.c.key == "format").values(value=FORMAT))


def _index_by_kind(connection: Connection) -> None:
    _BY_KIND.create(connection, checkfirst=True)


_MIGRATIONS: dict[str, Callable[[Connection], None]] = {"1": _index_by_kind}


def _cause(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error)
