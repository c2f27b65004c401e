"""One small file that says how the runner is: for `status`, a container's health check, a person.

It holds no secret. A reader sees the old file or the new one, never half of one.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from engine.errors import UsageError
from engine.files import put_text


@dataclass(frozen=True, slots=True)
class Health:
    """How the runner was, and when it said so. Times are aware."""

    at: datetime
    state: str
    session: str | None
    message: str
    next_look: datetime | None


def write_health(path: Path, health: Health) -> None:
    """Put the file in place. Raises: OSError."""
    times = {name: _text(getattr(health, name)) for name in ("at", "next_look")}
    put_text(path, json.dumps({"trading": "PAPER", **asdict(health), **times}, indent=1))


def read_health(path: Path) -> Health:
    """Return what the runner said last.

    Raises: UsageError where there is no such file, or one that the runner did not write.
    """
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        at, coming = tree["at"], tree["next_look"]
        return Health(
            datetime.fromisoformat(at),
            tree["state"],
            tree["session"],
            tree["message"],
            datetime.fromisoformat(coming) if coming else None,
        )
    except FileNotFoundError as error:
        raise UsageError(f"{path}: no such file; the runner has not been started here") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path}: expected what the runner writes, cannot read it: {error!r}; delete the file"
        ) from error


def _text(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None
