"""Trainings on Ray, for those who outgrow one machine: on this one, or on a cluster by its address.

A task writes the run folder of its job, as a local process does, so folder, data and the directory
barwise was started in must lie on a file system that every node sees under the same path, and barwise
must be installed on each. Each task proves that first. It keeps a ledger of its own, since SQLite cannot
be shared between machines; the one who started them all takes its trials in.
"""

import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.report.folder import RunFolder
from engine.run.console import say
from engine.run.training.executor import Job, train_job
from engine.run.training.folder import TRAINING
from engine.settings import build
from engine.trials import Ledger

PART = ".trials.sqlite"  # the ledger of a task, in the folder of its job
ANSWER_S = 10.0  # for a cluster to be reached
SHARED = ".shared"  # what the starter wrote there, and the task must see; the task stops without it


@dataclass(frozen=True)
class Ray:
    """So many tasks at once, one core each. `address` "" = a Ray of our own on this machine.

    `count` None = as many as there are cores.
    """

    address: str = ""
    count: int | None = None

    def run(self, jobs: Sequence[Job], tick: Callable[[], None], resume: bool = False) -> bool:
        """See `Executor`. Ctrl-C stops them all, each with a usable checkpoint."""
        _take_in(jobs)  # what a starter that was killed has left
        try:
            with _connected(self.address, self.count) as ray:
                count = self.count or int(ray.cluster_resources().get("CPU", 1))
                return _run(ray, count, jobs, tick, resume)
        finally:
            _take_in(jobs)


@contextmanager
def _connected(address: str, count: int | None) -> Iterator[Any]:
    # Ray is imported here and nowhere else; it reports on nobody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise UsageError(
            'train.executor = "ray": expected the package ray, found none; '
            "pip install 'barwise[ray]', or leave train.executor out"
        ) from error
    before = signal.getsignal(signal.SIGTERM)  # Ray puts its own in its place
    # "local": also where another cluster of this machine runs, or has left its address behind.
    own = {
        "address": "local",
        "num_cpus": count,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
    }
    try:
        _require_answer(address)
        ray.init(**{"address": address} if address else own, log_to_driver=False, logging_level=40)
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"train.ray_address = {address!r}: expected a Ray cluster that answers, found: {error}; "
            "start it with `ray start --head`, set RAY_AUTH_MODE=token in the environment if it asks for "
            "a token (from Ray 2.59 on it does), or leave train.ray_address out"
        ) from error
    try:
        _on_sigterm(_interrupt)
        yield ray
    finally:
        _on_sigterm(signal.SIG_IGN)  # it is ending already
        ray.shutdown()
        _on_sigterm(before or signal.SIG_DFL)


def _require_answer(address: str) -> None:
    # Ray itself goes on asking a place that does not answer for many minutes.
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()


def _on_sigterm(answer: Any) -> None:
    # Ray answers SIGTERM in native code, and the driver ends by SIGABRT in the middle of its shutdown
    # (2.60, each time). Set behind ray.init, a handler of ours is asked instead: it ends as by Ctrl-C.
    if threading.current_thread() is threading.main_thread():  # no other may say what a signal does
        signal.signal(signal.SIGTERM, answer)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _run(ray: Any, count: int, jobs: Sequence[Job], tick: Callable[[], None], resume: bool) -> bool:
    task = ray.remote(num_cpus=1, max_retries=0)(_train_there)
    waiting, running = list(jobs), dict[Any, Job]()
    try:
        while waiting or running:
            while waiting and len(running) < count:
                job = waiting.pop(0)
                running[task.remote(*_asked(job), resume, os.getcwd())] = job
            done, _ = ray.wait(list(running), timeout=1.0)
            for ref in done:
                _ended(ray, ref, running.pop(ref))
            tick()
    except KeyboardInterrupt:
        for job in running.values():
            (job.folder / SHARED).unlink(missing_ok=True)
        ray.wait(list(running), num_returns=len(running))
        return True
    return False


def _asked(job: Job) -> tuple[dict[str, Any], str, str]:
    # Settings, folder, and the word that proves the folder is the same one there.
    word = uuid.uuid4().hex
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / SHARED).write_text(word, encoding="utf-8")
    return job.settings.model_dump(mode="json"), str(job.folder), word


def _ended(ray: Any, ref: Any, job: Job) -> None:
    # How it ended is in its folder; where the task could not write it, it is written here.
    try:
        ray.get(ref)
    except ray.exceptions.RayTaskError as error:
        RunFolder(job.folder / TRAINING).write(summary={"error": str(error.cause)})
    except ray.exceptions.RayError as error:
        say(f"{job.folder}: the task was lost: {type(error).__name__}")


def _train_there(tree: dict[str, Any], folder: str, word: str, resume: bool, cwd: str) -> None:
    # In a process of Ray, on any node.
    with suppress(OSError):
        os.chdir(cwd)
        if cwd not in sys.path:
            sys.path.append(cwd)  # features named module:function lie beside the user
    proof = Path(folder) / SHARED
    if not proof.is_file() or proof.read_text(encoding="utf-8") != word:
        raise UsageError(
            f"{folder}: node {os.uname().nodename} does not see this folder, expected a file system that "
            f"all nodes share under the same path (started in {cwd}); set runs_dir to such a place"
        )

    def show(done: int, text: str) -> None:
        if not proof.is_file():
            raise KeyboardInterrupt

    train_job(Job(build(tree, folder), Path(folder)), resume, show, Path(folder) / PART)


def _take_in(jobs: Sequence[Job]) -> None:
    for job in jobs:
        (job.folder / SHARED).unlink(missing_ok=True)
        part = job.folder / PART
        if part.is_file():
            with Ledger(job.settings.ledger) as ledger:
                ledger.take_in(part)
            for name in (PART, f"{PART}-wal", f"{PART}-shm"):
                (job.folder / name).unlink(missing_ok=True)
