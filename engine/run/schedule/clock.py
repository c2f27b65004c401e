"""APScheduler on our Clock: one loop for real time and for virtual time.

APScheduler 3.11 asks the time in two functions that matter here, by the name `datetime` of their
own modules: BaseScheduler._process_jobs and run_job. This scheduler runs those very functions,
rebound to globals in which `datetime` reads our Clock. Nothing of the library is copied, and
nothing in it is changed for anybody else. tests/unit/test_schedule.py holds the list of places.

Jobs run one at a time in the thread that turns the scheduler, so no two looks ever overlap, and a
signal finds either a job at work or nobody at home.
"""

from collections.abc import Callable
from datetime import datetime, tzinfo
from types import FunctionType
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.executors.base import run_job
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.base import BaseScheduler

from engine.clock import Clock

NEW_YORK = ZoneInfo("America/New_York")


class ClockScheduler(BaseScheduler):  # type: ignore[misc]  # APScheduler has no types
    """A scheduler that is turned from outside and whose time is our Clock's."""

    def __init__(self, clock: Clock, grace_s: int) -> None:
        defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": grace_s}
        super().__init__(timezone=NEW_YORK, job_defaults=defaults)
        self.add_executor(_ClockExecutor(clock), "default")
        self._turn = reading(clock, BaseScheduler._process_jobs)

    def turn(self) -> datetime:
        """Run every job that is due, one after the other; return when the next one is."""
        self._turn(self)
        return min(job.next_run_time for job in self.get_jobs())

    def wakeup(self) -> None:
        """Do nothing: whoever turns the scheduler looks again anyway."""

    def shutdown(self, wait: bool = True) -> None:
        """Stop; no job can be running, since jobs run inside `turn`."""
        super().shutdown(wait)


class _ClockExecutor(DebugExecutor):  # type: ignore[misc]  # APScheduler has no types
    """Run the job at once, in this thread, its lateness measured on our Clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._run_job = reading(clock, run_job)

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        events = self._run_job(job, job._jobstore_alias, run_times, self._logger.name)
        self._run_job_success(job.id, events)


class _Reading:
    """What `datetime` means inside a rebound function: something to call `now` on."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self, zone: tzinfo) -> datetime:
        return self._clock.now().astimezone(zone)


def reading(clock: Clock, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of a library that asks our Clock where it asked `datetime.now`."""
    assert isinstance(function, FunctionType)
    return FunctionType(
        function.__code__,
        {**function.__globals__, "datetime": _Reading(clock)},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
