"""A clock that several processes share: its time lies in a small file which each of them maps."""

import mmap
import struct
from datetime import UTC, datetime, timedelta
from pathlib import Path

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class SharedClock:
    """Stands still until somebody moves it; outlives a killed process. See `engine.clock.Clock`.

    Give `at` to whoever makes the file; one process at a time may move it.
    """

    def __init__(self, path: Path, at: datetime | None = None) -> None:
        if at is not None:
            path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        if at is not None:
            self._put(at)

    def now(self) -> datetime:
        """Return the time, aware and in UTC."""
        return _EPOCH + struct.unpack("q", self._page[:8])[0] * _MICROSECOND

    def sleep(self, seconds: float) -> None:
        """Move forward instead of waiting."""
        self._put(self.now() + timedelta(seconds=max(seconds, 0.0)))

    def set(self, at: datetime) -> None:
        """Move forward to a moment; standing still when it is past."""
        self._put(max(at, self.now()))

    def _put(self, at: datetime) -> None:
        self._page[:8] = struct.pack("q", (at - _EPOCH) // _MICROSECOND)
