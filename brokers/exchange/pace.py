"""A clock that runs some times as fast as the computer's, from a time of one's choice."""

from datetime import UTC, datetime, timedelta

from engine.clock import Clock, SystemClock


class PacedClock:
    """Tells `start` now and runs `speed` times as fast as `real` from there; it can jump ahead."""

    def __init__(self, start: datetime, speed: float, real: Clock | None = None) -> None:
        if start.tzinfo is None or speed <= 0:
            raise ValueError(f"expected an aware start and a speed above 0, found {start}, {speed}")
        self._start, self._speed = start.astimezone(UTC), speed
        self._real = real or SystemClock()
        self._began = self._real.now()

    def now(self) -> datetime:
        """Return the time, aware and in UTC."""
        return self._start + (self._real.now() - self._began) * self._speed

    def sleep(self, seconds: float) -> None:
        """Let some seconds of this clock pass."""
        self._real.sleep(max(seconds, 0.0) / self._speed)

    def set(self, at: datetime) -> None:
        """Jump forward to a time."""
        ahead = at - self.now()
        if ahead < timedelta(0):
            raise ValueError(f"expected a time after {self.now()}, found {at}")
        self._start += ahead
