"""Where the time of a thread goes, by looking at it now and then. Nothing of it is changed."""

import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from engine import clock

EVERY_S = 0.01
REST = "rest"


class Where:
    """Samples the thread that watches itself; `parts` name the files that make up each part.

    The innermost frame of a named file decides; the order of the parts does not matter.
    """

    def __init__(self, parts: Mapping[str, tuple[str, ...]]) -> None:
        self._parts = {file: name for name, files in parts.items() for file in files}
        self._found: Counter[str] = Counter({name: 0 for name in (*parts, REST)})
        self._known: dict[str, str | None] = {}
        self.seconds = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the calling thread as long as the context lasts."""
        done = threading.Event()
        thread = threading.Thread(
            target=self._watch, args=(threading.get_ident(), done), name="where", daemon=True
        )
        began = clock.now()
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.seconds += (clock.now() - began).total_seconds()

    def shares(self) -> dict[str, float]:
        """Return the share of each part, and of the rest; they add up to one."""
        total = max(sum(self._found.values()), 1)
        return {name: count / total for name, count in self._found.items()}

    def _watch(self, thread: int, done: threading.Event) -> None:
        while not done.wait(EVERY_S):
            self._found[self._part(sys._current_frames().get(thread))] += 1

    def _part(self, frame: FrameType | None) -> str:
        while frame is not None:
            file = frame.f_code.co_filename
            if file not in self._known:
                self._known[file] = next((p for f, p in self._parts.items() if f in file), None)
            name = self._known[file]
            if name is not None:
                return name
            frame = frame.f_back
        return REST
