"""The trial ledger: every training and evaluation ever run on a data set, counted before its result.

    opened  before the work begins: what is tried, on which data, for what purpose
    looked  each score that was seen: of one checkpoint on one segment, with its moments and series
    closed  when it ends: done, failed or aborted
    checked what a check of a configuration found (no trial: it is of no score)

A trial that was never closed was killed, and counts like any other. The file is a hash-chained
journal that several processes may add to at once; `verify` finds what was removed or edited.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from errno import ENOSPC
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np

from engine import clock
from engine.errors import DataError
from engine.files import atomic
from engine.journal import Journal, Proof
from engine.measures import NotComputable, returns_of
from engine.significance import Moments

Purpose = Literal["tune", "validate", "test", "report"]
Status = Literal["running", "done", "failed", "aborted"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is about to be tried.

    Hashes are sha256: `data` of the bars, `settings` of the configuration without its seed,
    `checkpoint` of the policy evaluated. `segments` holds first and last session by name; `folder`
    is where the run writes, as seen from the ledger.
    """

    purpose: Purpose
    data: str
    settings: str
    code: str
    segments: Mapping[str, tuple[str, str]]
    seed: int | None
    costs: Mapping[str, Any]
    folder: str
    checkpoint: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """One score that was seen; `moments` is None where the returns have none."""

    update: int | None
    score: float | None  # None where it is not a finite number
    first: str
    last: str
    moments: Moments | None
    series: str | None  # returns per bar, .npy, as seen from the ledger
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Trial:
    """One row of the ledger. Times are UTC texts; `closed` is empty until it is."""

    number: int
    plan: Plan
    opened: str
    closed: str
    status: Status
    looks: tuple[Look, ...]
    error: str = ""
    chosen: str | None = None  # sha256 of the checkpoint that came out


@dataclass(frozen=True, slots=True)
class Checked:
    """What one check found. Hashes as in `Plan`; `checkpoint` is None where it is of no one agent."""

    name: str
    passed: bool
    text: str
    data: str
    settings: str
    code: str
    checkpoint: str | None = None
    at: str = ""  # UTC


@dataclass
class OpenTrial:
    """A trial at work: tell it every score that is seen."""

    journal: Journal
    number: int
    status: Status = "done"  # how it is closed when nothing goes wrong
    chosen: str | None = None

    def look(
        self,
        equity: np.ndarray,
        sessions: np.ndarray,
        score: float,
        series: Path,
        update: int | None = None,
    ) -> None:
        """Count one score and keep its returns in the file `series`. Shapes: both (T+1,)."""
        moments, kept, digest = None, None, None
        with suppress(NotComputable):
            returns = returns_of(equity)
            kept, digest = _seen_from(self.journal.path, series), _save(series, returns)
            moments = asdict(Moments.of(returns))
        told = float(score) if isfinite(score) else None
        body = {"trial": self.number, "update": update, "score": told, "moments": moments}
        span = {"first": str(sessions[0]), "last": str(sessions[-1])}
        self.journal.add("looked", "", {**body, **span, "series": kept, "sha256": digest})


class Ledger:
    """The ledger in one file; it is made if it is not there.

    Raises: DataError when the file is damaged or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            _create(path)
        self.path = path
        self._journal = Journal(path)

    @contextmanager
    def trial(self, plan: Plan) -> Iterator[OpenTrial]:
        """Open a trial, and close it however the work inside ends."""
        began = {"opened": _now(), "process": os.getpid()}
        found = OpenTrial(self._journal, self._journal.add("opened", "", {**asdict(plan), **began}))
        try:
            yield found
        except KeyboardInterrupt:
            self._close(found, "aborted", "interrupted")
            raise
        except BaseException as error:
            self._close(found, "failed", f"{type(error).__name__}: {error}")
            raise
        self._close(found, found.status)

    def trials(self, data: str = "") -> list[Trial]:
        """Return every trial on the data whose hash begins so, oldest first; "" = all of them."""
        looks: dict[int, list[Look]] = {}
        ends = {entry.body["trial"]: entry.body for entry in self._journal.entries("closed")}
        for entry in self._journal.entries("looked"):
            looks.setdefault(entry.body["trial"], []).append(_look(entry.body))
        return [
            _trial(entry.number, entry.body, ends.get(entry.number), looks.get(entry.number, []))
            for entry in self._journal.entries("opened")
            if entry.body["data"].startswith(data)
        ]

    def enter(self, found: Checked) -> None:
        """Keep what a check found."""
        self._journal.add("checked", "", asdict(found) | {"at": _now()})

    def checks(self) -> list[Checked]:
        """Return what every check found, oldest first."""
        return [Checked(**entry.body) for entry in self._journal.entries("checked")]

    def take_in(self, part: Path) -> None:
        """Add all trials of another ledger behind these; what they wrote is seen from here."""
        numbers: dict[int, int] = {}
        with Journal(part) as journal:
            for entry in journal.entries():
                body = dict(entry.body)
                for name in ("folder", "series"):
                    if body.get(name):
                        body[name] = _seen_from(self.path, part.parent / body[name])
                if entry.kind == "opened":
                    numbers[entry.number] = self._journal.add("opened", "", body)
                else:
                    body["trial"] = numbers[body["trial"]]
                    self._journal.add(entry.kind, "", body)

    def verify(self) -> Proof:
        """Recompute the hash chain. Raises: DataError naming the first entry that does not fit."""
        return self._journal.verify()

    def series(self, look: Look) -> np.ndarray | None:
        """Return the returns that a look was at; None where the file is gone or was changed."""
        if look.series is None:
            return None
        path = self.path.parent / look.series
        if not path.is_file() or _sha256(path) != look.sha256:
            return None
        return np.asarray(np.load(path, allow_pickle=False))

    def close(self) -> None:
        """Let go of the file."""
        self._journal.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _close(self, found: OpenTrial, status: Status, error: str = "") -> None:
        body = {"trial": found.number, "closed": _now(), "status": status, "error": error}
        self._journal.add("closed", "", body | {"chosen": found.chosen})


def _create(path: Path) -> None:
    # Made elsewhere and linked in, so that of two processes the first wins and both see it whole.
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=".trials-") as folder:
            made = Path(folder) / path.name
            Journal(made).close()
            if made.with_name(f"{made.name}-wal").exists():  # the file itself is not whole
                raise OSError(ENOSPC, os.strerror(ENOSPC))
            with suppress(FileExistsError):
                os.link(made, path)
    except OSError as error:
        raise DataError(
            f"{path}: the trial ledger cannot be made: {error}; no run goes uncounted: set "
            "trials_path to a place that can be written, or make room on the disk"
        ) from error


def _trial(
    number: int, body: dict[str, Any], end: dict[str, Any] | None, looks: list[Look]
) -> Trial:
    kept = {name: body[name] for name in Plan.__dataclass_fields__}
    plan = Plan(**kept | {"segments": {k: tuple(v) for k, v in body["segments"].items()}})
    if end is None:
        status: Status = "running" if _is_alive(body["process"]) else "aborted"
        return Trial(number, plan, body["opened"], "", status, tuple(looks), "never closed")
    known = (end["closed"], end["status"], tuple(looks), end["error"], end["chosen"])
    return Trial(number, plan, body["opened"], *known)


def _look(body: dict[str, Any]) -> Look:
    known = {name: body[name] for name in Look.__dataclass_fields__}
    moments = Moments(**body["moments"]) if body["moments"] else None
    return Look(**known | {"moments": moments})


def _is_alive(process: int) -> bool:
    # A number that was given to another process since reads as running; it counts all the same.
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _save(path: Path, returns: np.ndarray) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path, "wb") as file:
        np.save(file, returns, allow_pickle=False)
    return _sha256(path)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _seen_from(ledger: Path, path: Path) -> str:
    return os.path.relpath(path, ledger.parent)


def _now() -> str:
    return clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
