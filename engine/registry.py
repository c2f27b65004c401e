"""The registry: every checkpoint that may trade, where it comes from, and which is the champion.

    checkpoints/<id>/   a whole copy of a checkpoint folder, never changed again; the id is the
                        beginning of its digest
    history.jsonl       added, promoted, rolled_back: a line each, chained by hashes; it only grows

The champion is what the last promotion or rollback says. A copy without its line is nobody; a line
torn by a kill is set aside and never trusted. A chain cannot know that whole lines were cut off its
end: whoever acts on a champion notes its event's number.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

from engine import clock
from engine.checkpoint import read
from engine.errors import CheckpointError, DataError, UsageError
from engine.files import to_disk
from engine.journal import START, Proof, chain
from engine.registry_story import HISTORY, Event, added, champions, earlier, event_of, text_of

CHECKPOINTS, LOCK = "checkpoints", ".lock"
By = Literal["rules", "person"]
ID_DIGITS = 12  # of the digest


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a checkpoint comes from.

    `data` and `settings` are sha256, `parent` is the id of the champion it was to replace, `trials`
    how many were counted on its data when it was added, `seeds` how many it was chosen from.
    `scored` says whether it was judged on bars that it was not trained on; False for a refit.
    """

    data: str
    settings: str = ""
    parent: str | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    trials: int | None = None
    seeds: int | None = None
    scored: bool = True


@dataclass(frozen=True, slots=True)
class Champion:
    """The checkpoint that trades; `number` and `at` are those of the event that made it so."""

    id: str
    digest: str
    folder: Path
    number: int
    at: str


class Registry:
    """The registry in one folder; the first checkpoint added makes it.

    Several processes may use it. Raises: DataError where the history was edited or cannot be
    written, CheckpointError where a copy is not what was added; UsageError where a file is there.
    """

    def __init__(self, path: Path) -> None:
        if path.exists() and not path.is_dir():
            raise UsageError(
                f"registry.dir {path}: expected a folder, or none yet, found a file; name another place"
            )
        self.path = path

    def add(self, checkpoint: Path, lineage: Lineage) -> str:
        """Copy a checkpoint in and return its id; one that is there already stays as it is.

        Raises: CheckpointError for a folder that does not prove itself.
        """
        digest = read(checkpoint).digest
        name = digest[:ID_DIGITS]
        with self._writing():
            self._keep(checkpoint, name, digest)
            if name not in added(self.history()):
                self._write("added", {"id": name, "digest": digest, **asdict(lineage)})
        return name

    def promote(self, name: str, reason: str, by: By) -> Champion:
        """Make a checkpoint of the registry the champion.

        Raises: UsageError where it is not in the registry, or is the champion already.
        """
        with self._writing():
            events = self.history()
            past = champions(events)
            if name not in added(events):
                raise UsageError(
                    f"{self.path}: no checkpoint {name} in the registry; `barwise registry list` "
                    "shows those that are, and `barwise promote FOLDER` adds one"
                )
            if past and past[-1] == name:
                raise UsageError(f"{self.path}: {name} is the champion already; nothing to promote")
            self._proven(name, added(events)[name])
            previous = past[-1] if past else None
            body = {"id": name, "previous": previous, "reason": reason, "by": by}
            self._write("promoted", body)
            return self._leader(self.history())

    def rollback(self, reason: str) -> str:
        """Go back to the champion before this one, and return its id.

        A second rollback goes back one more; to undo one, promote again.
        Raises: UsageError where there was none before.
        """
        earlier(self.path, champions(self.history()))  # before anything is written, a lock neither
        with self._writing():
            events = self.history()
            past = earlier(self.path, champions(events))
            previous, name = past[-1], past[-2]
            self._proven(name, added(events)[name])
            self._write("rolled_back", {"id": name, "previous": previous, "reason": reason})
        return name

    def champion(self) -> Champion | None:
        """Return the champion, its copy proven to be what was added; None before the first."""
        events = self.history()
        return self._leader(events) if champions(events) else None

    def history(self) -> list[Event]:
        """Return every event, oldest first. Raises: DataError naming the first line that is wrong."""
        found, last = [], START
        for number, line in enumerate(self._lines(), start=1):
            event, last = event_of(line, number, last, self.path / HISTORY)
            found.append(event)
        return found

    def verify(self) -> Proof:
        """Follow the chain, the story it tells and every copy; return how far the chain goes.

        Raises: DataError or CheckpointError naming the first thing that does not fit.
        """
        events = self.history()
        champions(events)
        for name, digest in added(events).items():
            self._proven(name, digest)
        lines = self._lines()
        return Proof(len(lines), json.loads(lines[-1])["hash"] if lines else START)

    def folder(self, name: str) -> Path:
        """Return the folder of a checkpoint that was added. Raises: UsageError where it was not."""
        if name not in added(self.history()):
            raise UsageError(f"{self.path}: no checkpoint {name} in the registry")
        return self.path / CHECKPOINTS / name

    def place(self, digest: str) -> Path:
        """Return where the copy of a checkpoint stands, whatever the history says or cannot say.

        Nothing is proven: whoever reads it compares the digest.
        """
        return self.path / CHECKPOINTS / digest[:ID_DIGITS]

    def _leader(self, events: list[Event]) -> Champion:
        last = next(event for event in reversed(events) if event.kind != "added")
        name = last.body["id"]
        digest = added(events)[name]
        return Champion(name, digest, self._proven(name, digest), last.number, last.at)

    def _proven(self, name: str, digest: str) -> Path:
        folder = self.path / CHECKPOINTS / name
        found = read(folder).digest
        if found != digest:
            raise CheckpointError(
                f"{folder}: expected the checkpoint {digest} that was added, found {found}; the "
                "copy was replaced: restore it, or roll back"
            )
        return folder

    def _keep(self, checkpoint: Path, name: str, digest: str) -> None:
        # Whole or absent: copied under another name and renamed. Killed before its line is written,
        # it stands there and is nobody; adding it again finds it and proves it.
        home = self.path / CHECKPOINTS
        if (home / name).exists():
            self._proven(name, digest)
            return
        home.mkdir(exist_ok=True)
        for dead in home.glob(".*-*"):  # of a copy that was killed; nobody else writes now
            shutil.rmtree(dead)
        made = Path(mkdtemp(dir=home, prefix=f".{name}-"))
        try:
            shutil.copytree(checkpoint, made / name)
            if read(made / name).digest != digest:
                raise CheckpointError(
                    f"{checkpoint}: was changed while it was copied; add it again when its training "
                    "has ended"
                )
            for path in (made / name).rglob("*"):
                to_disk(path)
            os.rename(made / name, home / name)
            to_disk(home)
        finally:
            shutil.rmtree(made)

    def _write(self, kind: str, body: dict[str, Any]) -> None:
        lines, at = self._lines(), clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        last = json.loads(lines[-1])["hash"] if lines else START
        number = len(lines) + 1
        row = {"number": number, "at": at, "kind": kind, "body": body}
        row["hash"] = chain(last, number, at, kind, text_of(body))
        path = self.path / HISTORY
        with path.open("ab") as file:
            file.write(text_of(row).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        to_disk(self.path)

    def _lines(self) -> list[bytes]:
        # A line counts once it has its end; what stands behind the last end was torn by a kill, or
        # is being written at this moment.
        path = self.path / HISTORY
        return path.read_bytes().split(b"\n")[:-1] if path.exists() else []

    @contextmanager
    def _writing(self) -> Iterator[None]:
        # One writer at a time; the kernel frees the lock when its holder dies.
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with (self.path / LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._set_aside()
                yield
        except OSError as error:
            raise DataError(
                f"{self.path}: the registry cannot be written: {error}; make room on the disk, or "
                "give this user the right to write"
            ) from error

    def _set_aside(self) -> None:
        path = self.path / HISTORY
        whole = path.read_bytes() if path.exists() else b""
        end = whole.rfind(b"\n") + 1
        if end == len(whole):
            return
        with (self.path / f"{HISTORY}.torn").open("ab") as file:
            file.write(whole[end:] + b"\n")
        os.truncate(path, end)
