"""A paper account that follows a registry: lives sessions, and says who decided on each."""

from datetime import date
from pathlib import Path
from typing import Any

from engine import checkpoint
from engine.run.paper.result import CycleResult
from engine.run.paper.status import status
from tests.fault_account import Account

FIRST, SECOND = date(2010, 1, 4), date(2010, 1, 5)


def name_of(folder: Path) -> str:
    """What the registry calls a checkpoint."""
    return checkpoint.read(folder).digest[:12]


def deciders(acc: Account) -> list[str]:
    """Who decided on each session, by the journal."""
    return [entry.body["checkpoint"][:12] for entry in acc.entries("decision")]


def changes(acc: Account) -> list[tuple[str, str]]:
    """The session and the agent of each promotion that was taken up."""
    return [(entry.session, entry.body["id"]) for entry in acc.entries("promoted")]


def next_session(acc: Account, session: date) -> CycleResult:
    """Live from a session's open past its close; return the deciding look."""
    acc.open_plus(session)
    acc.look()
    acc.close_plus(session)
    return acc.look()


def shown(acc: Account) -> dict[str, Any]:
    """What `barwise paper status` says."""
    return status(acc.settings, as_json=True)
