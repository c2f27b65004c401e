"""The append-only, hash-chained record of a run, in SQLite; it survives a kill at any moment.

Each entry's hash covers the entry and the hash before it, so a removed or edited row is found by
`verify`. It knows nothing of what the entries mean.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, Text, create_engine, event, select
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from engine.errors import DataError

FORMAT = "1"
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
_START = "0" * 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal; `session` is an exchange date or empty."""

    number: int
    session: str
    kind: str
    body: dict[str, Any]


class Journal:
    """Append entries, commit them together, read and verify them.

    Raises: DataError when the file is not a journal of this format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = _connect(path)
        self._waiting: list[dict[str, Any]] = []
        self._number, self._last = self._tail()

    def append(self, kind: str, session: str, body: Mapping[str, Any]) -> None:
        """Add one entry; it is on disk after the next `commit`."""
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        self._number += 1
        self._last = _chain(self._last, self._number, session, kind, text)
        self._waiting.append(
            {
                "id": self._number,
                "session": session,
                "kind": kind,
                "body": text,
                "hash": self._last,
            }
        )

    def commit(self) -> None:
        """Write everything appended since the last commit, all of it or nothing."""
        if self._waiting:
            with self._engine.begin() as connection:
                connection.execute(_ENTRIES.insert(), self._waiting)
            self._waiting.clear()

    def entries(self, kind: str | None = None) -> Iterator[Entry]:
        """Yield committed entries in order, all or of one kind."""
        query = select(_ENTRIES).order_by(_ENTRIES.c.id)
        if kind is not None:
            query = query.where(_ENTRIES.c.kind == kind)
        with self._engine.connect() as connection:
            for row in connection.execute(query):
                yield Entry(row.id, row.session, row.kind, json.loads(row.body))

    def verify(self) -> int:
        """Recompute the chain and return the number of entries.

        Raises: DataError naming the first entry that does not fit.
        """
        last, count = _START, 0
        with self._engine.connect() as connection:
            for row in connection.execute(select(_ENTRIES).order_by(_ENTRIES.c.id)):
                count += 1
                last = _chain(last, count, row.session, row.kind, row.body)
                if row.id != count or row.hash != last:
                    raise DataError(
                        f"{self.path}: the hash chain breaks at entry {count} ({row.kind} of "
                        f"{row.session}); a row was removed or edited: restore a copy of the file"
                    )
        return count

    def close(self) -> None:
        """Commit and let go of the file."""
        self.commit()
        self._engine.dispose()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tail(self) -> tuple[int, str]:
        query = select(_ENTRIES.c.id, _ENTRIES.c.hash).order_by(_ENTRIES.c.id.desc()).limit(1)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return (row.id, row.hash) if row else (0, _START)


def _chain(last: str, number: int, session: str, kind: str, body: str) -> str:
    return hashlib.sha256(
        "\x1f".join((last, str(number), session, kind, body)).encode()
    ).hexdigest()


def _connect(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    try:
        _METADATA.create_all(engine)
        with engine.begin() as connection:
            found = connection.execute(
                select(_META.c.value).where(_META.c.key == "format")
            ).scalar()
            if found is None:
                connection.execute(_META.insert(), {"key": "format", "value": FORMAT})
    except SQLAlchemyError as error:
        engine.dispose()
        raise DataError(f"{path}: not a journal that can be opened: {error}") from error
    if found not in (None, FORMAT):
        engine.dispose()
        raise DataError(
            f"{path}: journal format {FORMAT} expected, found {found}; use the barwise that wrote it"
        )
    return engine
