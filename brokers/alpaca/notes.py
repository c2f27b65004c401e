"""Writing down and knowing are one step: every journal entry is taken into the state at once."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from engine.clock import Clock
from engine.journal import Entry, Journal


class Notes:
    """A journal whose entries are handed to `take` as they are written.

    Every entry carries the time. What was taken in is only true after `commit`: after an error
    throw the state away and read the journal again.
    """

    def __init__(self, journal: Journal, clock: Clock, take: Callable[[Entry], object]) -> None:
        self.journal, self._clock, self._take = journal, clock, take

    def note(self, kind: str, session: date | None, body: Mapping[str, Any]) -> None:
        """Append one entry; `body` holds what JSON gives back unchanged."""
        whole = {**body, "at": self._clock.now().isoformat()}
        on = session.isoformat() if session else ""
        self._take(Entry(self.journal.append(kind, on, whole), on, kind, whole))

    def commit(self) -> None:
        """Make everything noted since the last commit durable, all of it or nothing."""
        self.journal.commit()
