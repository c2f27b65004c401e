"""A retraining beside the daily cycle: a process of its own that cannot disturb it.

The runner starts it, looks after it once a minute, ends it when it takes too long, and tells a person
what came of it. It crashes, hangs and is killed alone: nothing here raises into the schedule. The
champion is changed by the retraining itself, under the account's own lock.
"""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from engine.clock import Clock
from engine.files import put_text
from engine.run.retrain.report import verdict
from engine.run.schedule.clock import NEW_YORK
from engine.run.schedule.notify import VARIABLE, Notifier
from engine.settings import Settings
from engine.settings_retrain import RetrainSchedule

STATE, LOG, ANSWER, ASKED = (
    "retraining.state.json",
    "retraining.log",
    "retraining.json",
    "retraining.settings.json",
)
Beside = dict[str, tuple[BaseTrigger, Callable[[], None]]]
_WATCH = timedelta(minutes=1)
_GRACE = timedelta(minutes=1)  # between asking it to end and ending it
_PATIENCE_S = 10.0  # when the runner itself ends
_log = logging.getLogger("barwise.retraining")


class Retrainer:
    """One child process at a time, and what is known of the last one."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        budget: timedelta,
        clock: Clock,
        notify: Notifier,
        environment: Mapping[str, str],
    ) -> None:
        """`command` answers in JSON on stdout; its files go to `folder`, the account's."""
        self._command, self._folder, self._budget = list(command), folder, budget
        self._clock, self._notify = clock, notify
        self._environment = dict(environment)
        self.child: subprocess.Popen[bytes] | None = None
        self._since: datetime = clock.now()
        self._ending: datetime | None = None  # when it was asked to end

    def start(self) -> None:
        """Start a retraining, unless the last one is still at work."""
        if self.child is not None:
            self._tell("running", "the retraining before is still at work; none was started")
            return
        try:
            with self._file(LOG) as log, self._file(ANSWER) as answer:
                self.child = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=answer,
                    stderr=log,
                    env=self._environment,
                    start_new_session=True,  # signals to the runner are not signals to it
                )
        except OSError as error:
            self._tell("failed", f"the retraining could not be started: {error}")
            return
        self._since, self._ending = self._clock.now(), None
        self._note("running", f"process {self.child.pid}")

    def watch(self) -> None:
        """Notice that it has ended, or end it when its time is up."""
        if self.child is None:
            return
        code, now = self.child.poll(), self._clock.now()
        if code is not None:
            self.child = None
            self._ended(code)
        elif self._ending is not None and now >= self._ending + _GRACE:
            self._signal(signal.SIGKILL)
        elif self._ending is None and now >= self._since + self._budget:
            self._ending = now
            self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """End it together with the runner; it can be resumed."""
        if self.child is None:
            return
        self._signal(signal.SIGTERM)
        try:
            self.child.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self.child.wait()
        self.child = None
        self._note("stopped", "ended with the runner")

    def _ended(self, code: int) -> None:
        if not code:  # also one that ended by itself while it was asked to
            self._tell("done", f"retraining: {self._answer()}")
        elif self._ending is not None:
            hours = self._budget.total_seconds() / 3600
            self._tell("failed", f"the retraining was ended after {hours:g} hours; {self._end()}")
        elif code < 0:
            name = signal.Signals(-code).name
            self._tell("failed", f"the retraining was killed by {name}; {self._end()}")
        else:
            self._tell("failed", f"the retraining failed with exit code {code}; {self._end()}")

    def _answer(self) -> str:
        try:
            return verdict(json.loads((self._folder / ANSWER).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"its answer cannot be read: {error!r}; see {self._folder / LOG}"

    def _end(self) -> str:
        # The last thing it said; the champion is as it was, since only its last line changes that.
        lines: list[str] = []
        with suppress(OSError):
            lines = (self._folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        said = next((line for line in reversed(lines) if line.strip()), "it said nothing")
        return f"trading goes on with the agent that it has; last line of {LOG}: {said[:300]}"

    def _signal(self, number: int) -> None:
        # To the whole group: its trainings are processes too.
        assert self.child is not None
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, number)

    def _file(self, name: str) -> IO[bytes]:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self._folder / name, "wb", opener=private)

    def _tell(self, state: str, message: str) -> None:
        self._note(state, message)
        self._notify.send(message)

    def _note(self, state: str, message: str) -> None:
        _log.info("%s: %s", state, message)
        row = {"state": state, "at": self._clock.now().isoformat(timespec="seconds")}
        try:
            put_text(self._folder / STATE, json.dumps(row | {"message": message}))
        except OSError as error:  # a full disk must not stop a look at open orders
            _log.error("%s cannot be written: %s", self._folder / STATE, error)


def retrainer_of(
    settings: Settings, folder: Path, clock: Clock, notify: Notifier, environment: Mapping[str, str]
) -> Retrainer:
    """Return what runs `barwise retrain` with these settings, within the budget that they name.

    It gets no address for messages, and the keys of the account only where it has to fetch bars.
    """
    asked = folder / ASKED
    put_text(asked, settings.model_dump_json())
    program = [sys.executable, "-c", "from engine.cli import main; main()"]
    idle = [path, "-c", "3"] if (path := shutil.which("ionice")) else []
    secret = {VARIABLE} | ({"APCA"} if settings.data.source != "alpaca" else set())
    kept = {k: v for k, v in environment.items() if not k.startswith(tuple(secret))}
    return Retrainer(
        [*idle, *program, "retrain", str(asked), "--json"],
        folder,
        timedelta(hours=settings.retrain.schedule.hours),
        clock,
        notify,
        kept | {"OMP_NUM_THREADS": str(settings.retrain.threads)},
    )


def beside(retrainer: Retrainer, asked: RetrainSchedule, clock: Clock) -> Beside:
    """Return the jobs of a schedule that start a retraining every week and look after it."""
    hour, minute = asked.at.split(":")
    weekly = CronTrigger(day_of_week=asked.day, hour=hour, minute=minute, timezone=NEW_YORK)
    start = clock.now() + _WATCH
    watch = IntervalTrigger(seconds=int(_WATCH.total_seconds()), start_date=start)
    return {"retraining": (weekly, retrainer.start), "retraining-watch": (watch, retrainer.watch)}


def last_retraining(folder: Path) -> str | None:
    """Say what became of the last retraining that the runner started; None where there was none."""
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return f"{found['state']} at {found['at']}: {found['message']}"
    except (ValueError, KeyError, TypeError) as error:
        return f"cannot be read: {error!r}"
