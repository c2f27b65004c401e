"""Turning a schedule: in real time until a signal comes, or through virtual time to a moment."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import FrameType

from engine.run.schedule.timetable import Schedule

_PAUSE_S = 1.0  # how soon a signal, a set clock or the end of a suspend is seen


def run(schedule: Schedule) -> None:
    """Run until SIGTERM or SIGINT, finishing the job at work. Main thread only.

    A second signal ends the process at once, as a power cut would; the journal is made for that.
    """
    with _stopped_by_signals(schedule):
        while not schedule.stopping:
            coming = schedule.turn()
            if not schedule.stopping:
                rest = (coming - schedule.clock.now()).total_seconds()
                schedule.clock.sleep(min(max(rest, 0.0), _PAUSE_S))
    schedule.close()


def run_virtual(schedule: Schedule, until: datetime) -> None:
    """Run everything due up to a moment, jumping a FakeClock from job to job; repeatable."""
    clock = schedule.clock
    while not schedule.stopping:
        coming = schedule.turn()
        now = clock.now()
        if coming > until:
            clock.sleep((until - now).total_seconds())
            return
        clock.sleep((coming - now).total_seconds())


@contextmanager
def _stopped_by_signals(schedule: Schedule) -> Iterator[None]:
    def handle(number: int, frame: FrameType | None) -> None:
        if schedule.stopping:
            os._exit(128 + number)
        schedule.stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
