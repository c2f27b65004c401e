"""Run trainings, one after the other or side by side: the one seam between what and where.

An executor gets jobs and answers when all have ended. What a job did is in its folder and nowhere
else, so a job may run in any process, or on any machine that shares the folder; a job that was
killed goes on from its last checkpoint.
"""

import fcntl
import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from engine.errors import TradingError
from engine.report.folder import RunFolder
from engine.run.training.folder import TRAINING
from engine.run.training.run import train_run
from engine.settings import Settings, build
from engine.settings_training import TrainSettings

# What the settings of a job say of it: a job is done where it is, so its files are the same anywhere.
HERE = {"executor": "local", "ray_address": ""}


@dataclass(frozen=True)
class Job:
    """One training and the run folder that it is written to."""

    settings: Settings
    folder: Path


class Executor(Protocol):
    """Where jobs run. With `resume`, folders that hold a training go on with it.

    `tick` is called now and then while they run. Returns whether a person stopped it. A job that
    fails leaves the others alone; `outcome` says how each one ended.
    """

    def run(self, jobs: Sequence[Job], tick: Callable[[], None], resume: bool = False) -> bool: ...


def outcome(job: Job) -> dict[str, Any] | None:
    """Return how a job ended, as its training/summary.json has it; None where it did not."""
    path = job.folder / TRAINING / "summary.json"
    found: dict[str, Any] | None = None
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
    return found


def is_done(job: Job) -> bool:
    """Tell whether a job has trained to its end."""
    found = outcome(job)
    return found is not None and "error" not in found and not found["interrupted"]


def was_stopped(job: Job) -> bool:
    """Tell whether a job that ran was ended by a person before its time."""
    found = outcome(job)
    return found is None or bool(found.get("interrupted"))


class Inline:
    """One job after the other, in this process."""

    def run(self, jobs: Sequence[Job], tick: Callable[[], None], resume: bool = False) -> bool:
        """See `Executor`."""
        for job in jobs:
            train_job(job, resume, lambda done, text: tick())
            if was_stopped(job):
                return True
        return False


@dataclass(frozen=True)
class Processes:
    """So many jobs at once on this machine, each process doing one after the other."""

    count: int

    def run(self, jobs: Sequence[Job], tick: Callable[[], None], resume: bool = False) -> bool:
        """See `Executor`. Ctrl-C stops them all, each with a usable checkpoint."""
        waiting, running = list(jobs), list[_Worker]()
        with _one_thread_each():
            try:
                while waiting or running:
                    while waiting and len(running) < self.count:
                        running.append(_Worker.start(waiting.pop(0), resume))
                    free = wait([worker.pipe for worker in running], timeout=1.0)
                    running = [
                        worker
                        for worker in running
                        if worker.pipe not in free or worker.goes_on(waiting)
                    ]
                    tick()
            except KeyboardInterrupt:
                for worker in running:
                    worker.process.terminate()
                for worker in running:
                    worker.process.join()
                return True
        return False


@dataclass
class _Worker:
    # A process that trains what comes through its pipe. Only the first training of a process pays
    # for starting one and for laying out its networks.
    process: BaseProcess
    pipe: "Connection[Task | None, None]"

    @classmethod
    def start(cls, job: Job, resume: bool) -> "_Worker":
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_work, args=(theirs, resume, os.getpid()))
        process.start()
        theirs.close()  # so that the pipe ends when the process does
        ours.send(_task(job))
        return cls(process, ours)

    def goes_on(self, waiting: list[Job]) -> bool:
        """Give it the next job; False when it has died, or has nothing left to do."""
        try:
            self.pipe.recv()
            self.pipe.send(_task(waiting[0]) if waiting else None)
        except (EOFError, OSError):
            self.process.join()
            return False
        if waiting:
            waiting.pop(0)
            return True
        self.process.join()
        return False


def local(workers: int | None) -> Executor:
    """Return an executor on this machine. `workers`: jobs at once; None = as many as it has cores."""
    count = workers or os.cpu_count() or 1
    return Inline() if count == 1 else Processes(count)


def chosen(train: TrainSettings, here: Executor) -> Executor:
    """Return the executor that the settings name; `here` is the one on this machine."""
    if train.executor == "local":
        return here
    from engine.run.training.executor_ray import Ray

    return Ray(train.ray_address, train.workers)


Task = tuple[dict[str, Any], str]


def _task(job: Job) -> Task:
    return job.settings.model_dump(mode="json"), str(job.folder)


def _work(pipe: "Connection[None, Task | None]", resume: bool, parent: int) -> None:
    # Ctrl-C reaches the parent, which then says SIGTERM to each child; a child whose parent is gone
    # stops by itself.
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def show(done: int, text: str) -> None:
        if os.getppid() != parent:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    with suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        while (task := pipe.recv()) is not None:
            tree, folder = task
            job = Job(build(tree, folder), Path(folder))
            train_job(job, resume, show)
            if was_stopped(job):
                return
            pipe.send(None)


def train_job(
    job: Job,
    resume: bool,
    show: Callable[[int, str], None] = lambda done, text: None,
    ledger: Path | None = None,
) -> None:
    """Do one job in this process; `ledger` takes the place of the one that its settings name.

    One writer a folder: the child of a run that was killed may still be at its last update.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    summary = job.folder / TRAINING / "summary.json"
    with (job.folder / ".lock").open("w") as lock, suppress(KeyboardInterrupt):
        fcntl.flock(lock, fcntl.LOCK_EX)
        summary.unlink(missing_ok=True)
        try:
            known = resume and (job.folder / "settings.json").is_file()
            train_run(job.settings, job.folder, known, show, ledger)
        except TradingError as error:
            RunFolder(job.folder / TRAINING).write(summary={"error": str(error)})


@contextmanager
def _one_thread_each() -> Iterator[None]:
    # Children read this when NumPy starts: as many threads as cores in each would only collide.
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
