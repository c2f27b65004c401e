"""The day's timetable: when the paper cycle looks. What is due is the journal's business.

A look is one call of the job: an idempotent cycle that finds out by itself what has been done. The
schedule looks at the start, at its times relative to every open and close, after trouble again
with growing waits until the window shuts, and after anything it slept through. So a time that is
missed, doubled or late costs nothing but a look.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
)
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from engine.clock import Clock
from engine.errors import TradingHalted, VenueUnavailable
from engine.redaction import hide
from engine.run.paper.result import CycleResult
from engine.run.schedule.clock import ClockScheduler
from engine.run.schedule.health import Health, write_health
from engine.run.schedule.notify import Notifier
from engine.run.schedule.trigger import triggers, window_shuts
from engine.settings_paper import ScheduleSettings

Job = Callable[[], CycleResult]

HEARTBEAT = "heartbeat"
_RETRY_MINUTES = (2, 4, 8, 15)  # the last one again and again
_SET_BACK = timedelta(minutes=1)  # less than that is a clock being corrected
_log = logging.getLogger("barwise.schedule")


class Schedule:
    """Looks at the right times, tells a person about trouble, and says that it is alive."""

    def __init__(
        self,
        settings: ScheduleSettings,
        job: Job,
        clock: Clock,
        notify: Notifier,
        health: Path | None = None,
        still_halted: Callable[[], bool] = lambda: True,
        secrets: Iterable[str] = (),
        beside: Mapping[str, tuple[BaseTrigger, Callable[[], object]]] | None = None,
    ) -> None:
        """Make a schedule that stands still until it is turned.

        `health` names the file to keep. After a halted look nothing but heartbeats run; each asks
        `still_halted`, and looks again once a person has resumed. `secrets` are blotted out of
        everything that is told, whatever an error's text holds. `beside` holds jobs by name that are
        no looks: whatever becomes of one is told, and changes nothing else.
        """
        self.clock = clock
        self.stopping = False
        self._settings, self._job, self._notify = settings, job, notify
        self._health, self._still_halted = health, still_halted
        self._secrets, self._beside = tuple(secrets), dict(beside or {})
        self._last = CycleResult("waiting", None, "has not looked yet")
        self._state = "starting"
        self._told: str | None = None  # the trouble a person knows of
        self._retries, self._retry_waits = 0, False
        self._shuts: datetime | None = None  # when retrying ends
        self._one_shots = 0
        self._seen = clock.now()
        self._scheduler = ClockScheduler(clock, settings.misfire_grace * 60)
        codes = EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES
        self._scheduler.add_listener(self._heard, codes)
        self._scheduler.start()
        self._arm("start")

    def turn(self) -> datetime:
        """Do what is due by now; return when the next job is."""
        now = self.clock.now()
        if now < self._seen - _SET_BACK:
            self._notify.send(f"the clock was set back from {self._seen:%F %T} to {now:%F %T} UTC")
            self._scheduler.remove_all_jobs()
            self._arm("clock")
        coming = self._scheduler.turn()
        self._seen = self.clock.now()
        return coming

    def stop(self) -> None:
        """Let the job at work finish, and start no other."""
        self.stopping = True

    def close(self) -> None:
        """Say that the runner has ended."""
        self._scheduler.shutdown()
        self._report("stopped", None)

    def next_times(self) -> dict[str, datetime]:
        """Return when each job runs next, by name, in UTC."""
        jobs = self._scheduler.get_jobs()
        return {job.id: job.next_run_time.astimezone(UTC) for job in jobs}

    def _arm(self, why: str) -> None:
        # Look at once, whatever was missed while nobody was running; then at every regular time.
        now = self.clock.now()
        self._retries, self._retry_waits, self._shuts = 0, False, None
        for name, trigger in triggers(self._settings).items():
            self._add(name, trigger, self._look)
        # UTC, and a start of our own: in New York's time an interval stumbles over summer time.
        every = timedelta(minutes=self._settings.heartbeat)
        beat = IntervalTrigger(seconds=int(every.total_seconds()), start_date=now + every)
        self._add(HEARTBEAT, beat, self._beat)
        for name, (other, call) in self._beside.items():
            self._add(name, other, call, misfire_grace_time=None)  # late is better than not at all
        self._look_at(now, why)

    def _add(
        self, name: str, trigger: BaseTrigger, call: Callable[[], object], **options: Any
    ) -> None:
        first = trigger.get_next_fire_time(None, self.clock.now())
        self._scheduler.add_job(call, trigger, id=name, next_run_time=first, **options)

    def _look_at(self, at: datetime, why: str) -> None:
        # A name of its own each: APScheduler removes a one-shot after its run, by name. Never too
        # late: it stands for "as soon as possible".
        self._one_shots += 1
        self._scheduler.add_job(
            self._retry if why == "retry" else self._look,
            DateTrigger(at, UTC),
            id=f"{why}-{self._one_shots}",
            next_run_time=at,
            misfire_grace_time=None,
        )

    def _look(self) -> CycleResult | None:
        return None if self._state == "halted" or self.stopping else self._job()

    def _retry(self) -> CycleResult | None:
        self._retry_waits = False
        return self._look()

    def _beat(self) -> None:
        if self._state == "halted" and not self._still_halted():
            self._last = CycleResult("waiting", self._last.session, "a person has resumed it")
            self._state = self._last.state
            self._tell_well(self._last.message)
            self._look_at(self.clock.now(), "resumed")
        self._report(self._state, self._last.session)

    def _heard(self, event: Any) -> None:
        # Of APScheduler: what became of a job.
        if event.code == EVENT_JOB_EXECUTED:
            if isinstance(event.retval, CycleResult):
                self._settle(event.retval)
        elif event.job_id == HEARTBEAT:  # no look: it can neither halt the account nor resume it
            self._tell(f"the heartbeat failed: {getattr(event, 'exception', None)!r}")
        elif event.job_id in self._beside:
            trouble = f"{event.job_id} failed: {getattr(event, 'exception', None)!r}"
            self._notify.send(hide(trouble, self._secrets))
        elif event.code == EVENT_JOB_ERROR:
            self._settle(self._result_of(event.job_id, event.exception))
        else:
            what = "was missed" if event.code == EVENT_JOB_MISSED else "was still running"
            self._tell(f"{event.job_id} {what}; looking now")
            self._look_at(self.clock.now(), "missed")

    def _result_of(self, job_id: str, error: BaseException) -> CycleResult:
        if isinstance(error, TradingHalted):
            return CycleResult("halted", self._last.session, str(error))
        if not isinstance(error, VenueUnavailable):
            # The cycle is crash-only: after an error nobody foresaw, looking again is a restart.
            self._tell(f"{job_id} failed: {type(error).__name__}: {error}")
        return CycleResult("retry", self._last.session, str(error))

    def _settle(self, result: CycleResult) -> None:
        message, news = (hide(text, self._secrets) for text in (result.message, result.news))
        result = replace(result, message=message, news=news)
        self._last, self._state = result, result.state
        _log.info("%s %s: %s", result.session or "-", result.state, result.message)
        if result.news:
            self._notify.send(result.news)
        if result.state == "halted":
            self._tell(f"halted, nothing is sent until a person resumes it: {result.message}")
        elif result.state == "retry":
            self._plan_retry()
        else:
            self._retries, self._shuts = 0, None
            self._tell_well(result.message)
        self._report(result.state, result.session)

    def _plan_retry(self) -> None:
        if self._retry_waits:
            return  # a regular look came in between
        now = self.clock.now()
        self._shuts = self._shuts or window_shuts(self._settings, now)
        wait = _RETRY_MINUTES[min(self._retries, len(_RETRY_MINUTES) - 1)]
        at = now + timedelta(minutes=wait)
        if at < self._shuts:
            self._retries, self._retry_waits = self._retries + 1, True
            self._look_at(at, "retry")
            return
        self._tell(f"no usable answer until the window shut at {self._shuts:%F %T} UTC")
        self._retries, self._shuts = 0, None  # the next regular look starts afresh

    def _tell(self, trouble: str) -> None:
        if trouble != self._told:
            self._told = trouble
            self._notify.send(hide(trouble, self._secrets))

    def _tell_well(self, message: str) -> None:
        if self._told is not None:
            self._told = None
            self._notify.send(f"well again: {message}")

    def _report(self, state: str, session: date | None) -> None:
        if self._health is None:
            return
        # The job at work still stands at its own time. A halted account is not looked at until a
        # heartbeat finds it resumed.
        now, times = self.clock.now(), self.next_times()
        others = {HEARTBEAT, *self._beside}
        looks = [at for name, at in times.items() if name not in others and at > now]
        told = str(session) if session else None
        coming = None if state == "halted" else min(looks, default=None)
        health = Health(now, state, told, self._last.message, coming)
        try:
            write_health(self._health, health)
        except OSError as error:  # a full disk must not stop a look at open orders
            _log.error("%s cannot be written: %s", self._health, error)
