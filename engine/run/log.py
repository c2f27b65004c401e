"""The log of a long-running command: one line an event, each marked PAPER, secrets blotted out.

Lines go to stderr and to a file in the state folder that is rolled over before it grows large.
Times are those of the Clock, so the log of a rehearsal is told in the rehearsal's time.
"""

import io
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from engine.clock import Clock
from engine.redaction import Redacting

FILE = "paper.log"
OURS = ("barwise", "engine", "brokers")
_LARGEST_BYTES = 5_000_000
_KEPT = 5  # older files


@contextmanager
def log_to(
    folder: Path,
    clock: Clock,
    secrets: Iterable[str] = (),
    level: int = logging.INFO,
    screen: bool = True,
) -> Iterator[Path]:
    """Write the log to stderr and to a file in `folder` as long as the context lasts.

    With `screen` False it goes to the file alone.
    Our own loggers speak from `level` on, libraries from warnings on. Raises: OSError where the
    file cannot be opened.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / FILE
    shape = Redacting(_OneLine(clock), secrets)
    handlers: list[logging.Handler] = [_PrivateFile(path)]
    handlers += [_Stderr()] if screen else []
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in OURS}
    for handler in handlers:
        handler.setFormatter(shape)
        root.addHandler(handler)
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    try:
        yield path
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)


class _OneLine(logging.Formatter):
    def __init__(self, clock: Clock) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        # A traceback, and a text made by somebody else, must not look like further events.
        line = " | ".join(part for part in super().format(record).splitlines() if part.strip())
        return f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ} PAPER {line}"


class _Discreet:
    def handleError(self, record: logging.LogRecord) -> None:
        # The library's own version prints the message as it came, secrets and all.
        kind = type(sys.exc_info()[1]).__name__
        sys.stderr.write(f"PAPER a line of {record.name} cannot be logged: {kind}\n")


class _Stderr(_Discreet, logging.StreamHandler[TextIO]):
    pass


class _PrivateFile(_Discreet, RotatingFileHandler):
    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=_LARGEST_BYTES, backupCount=_KEPT, encoding="utf-8")

    def _open(self) -> io.TextIOWrapper:
        def private(name: str, flags: int) -> int:
            return os.open(name, flags, 0o600)

        return open(self.baseFilename, "a", encoding=self.encoding, opener=private)
