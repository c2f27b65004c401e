"""The registry's history as a story: its lines, what they add up to, and where they contradict.

It knows no folder of checkpoints and writes nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import DataError, UsageError
from engine.journal import chain

HISTORY = "history.jsonl"
_KEYS = {"number", "at", "kind", "body", "hash"}


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the history; `at` is a UTC text."""

    number: int
    at: str
    kind: str
    body: dict[str, Any]


def added(events: list[Event]) -> dict[str, str]:
    """Return the digest of every checkpoint that was added, by its id."""
    return {event.body["id"]: event.body["digest"] for event in events if event.kind == "added"}


def champions(events: list[Event]) -> list[str]:
    """Return the champion last, and before it those that a rollback would go back to.

    Raises: DataError naming the first event that does not follow from those before it.
    """
    past: list[str] = []
    known: set[str] = set()
    for event in events:
        name, before = event.body["id"], past[-1] if past else None
        if event.kind == "added":
            known.add(name)
        elif event.kind == "promoted" and name in known and event.body["previous"] == before:
            past.append(name)
        elif event.kind == "rolled_back" and [event.body["previous"], name] == past[:-3:-1]:
            past.pop()
        else:
            raise DataError(
                f"event {event.number} of the registry, {event.kind} {name}, does not follow from "
                f"those before it (champion {before}): restore a copy of {HISTORY}"
            )
    return past


def earlier(path: Path, past: list[str]) -> list[str]:
    """Return the champions, of which there are two or more. Raises: UsageError where not."""
    if len(past) < 2:
        found = f"only {past[0]}, the first one" if past else "no champion at all"
        raise UsageError(f"{path}: expected a champion to go back to, found {found}")
    return past


def event_of(line: bytes, number: int, last: str, path: Path) -> tuple[Event, str]:
    """Return a line as an event, and its hash. Raises: DataError where it was removed or edited."""
    try:
        row = json.loads(line)
        sound = row.keys() == _KEYS and row["number"] == number
        digest = chain(last, number, row["at"], row["kind"], text_of(row["body"]))
    except (ValueError, AttributeError, TypeError, KeyError):
        sound, row, digest = False, {}, ""
    if not sound or row["hash"] != digest:
        raise DataError(
            f"{path}: the hash chain breaks at line {number}; a line was removed or edited: restore "
            "a copy of the file"
        )
    return Event(number, row["at"], row["kind"], row["body"]), digest


def text_of(body: Mapping[str, Any]) -> str:
    """Return what is hashed and written."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"))
