"""A process that runs paper looks in children of its own, which may be killed at any moment.

`python -m tests.kill_runner` loads everything once and forks a child for every job it reads, a line
of JSON each; it answers how the child ended. A job is a `Job` as a dict. No torch is loaded here.
"""

import gc
import hashlib
import json
import os
import subprocess
import sys
import traceback
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS, OUTPUT, STRANGERS, ASKED = "results", "output", "strangers", "asked"
TRIES = 5  # looks in a row that may end in "retry" before the next planned one is waited for


@dataclass
class Job:
    """One life of a runner: who it is, when it looks, where it dies, what is wrong with it.

    `looks` are moments; one in the past is left out, and the first look is always at once.
    """

    folder: str
    checkpoint: str
    symbols: tuple[str, ...]
    url: str
    keys: tuple[str, str]
    looks: list[str]
    point: str | None = None
    nth: int = 1
    bug: str | None = None
    read_timeout_s: float | None = None
    paper: dict[str, Any] = field(default_factory=dict)
    registry: str | None = None  # where the champion comes from
    agents: list[str] = field(default_factory=list)

    @property
    def state_dir(self) -> Path:
        """Where the account's own files lie."""
        return Path(self.folder) / "account"


@dataclass(frozen=True)
class End:
    """How a life ended: the signal that killed it or 0, and its exit code."""

    signal: int
    code: int


class Runner:
    """The process above, as its owner sees it; `under` is a program that watches it."""

    def __init__(self, under: tuple[str, ...] = ()) -> None:
        self._process = subprocess.Popen(
            [*under, sys.executable, "-m", "tests.kill_runner"],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def live(self, job: Job) -> End:
        """Let one child live its life; return how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        return End(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()


def run(job: Job) -> None:
    """Live one life; what it did is told by the files in `job.folder`."""
    from brokers.alpaca.gateway import Gateway
    from brokers.alpaca.keys import Keys
    from brokers.alpaca.transport import Timeouts
    from engine.run.paper import cycle, look
    from engine.run.paper.room import furnish
    from tests import planted_bugs
    from tests.kill_points import Points
    from tests.paper_account import settings_for
    from tests.shared_clock import SharedClock

    folder = Path(job.folder)
    _watch_connections(job.url, folder / STRANGERS)
    clock = SharedClock(folder / "clock")
    hosts = {"trading_url": job.url, "data_url": job.url}
    checkpoint = Path(job.checkpoint)
    settings = settings_for(job.state_dir, checkpoint, tuple(job.symbols), **hosts, **job.paper)
    if job.registry:
        found = settings.registry.model_copy(update={"dir": job.registry})
        settings = settings.model_copy(update={"registry": found})
    room = furnish(settings, Keys(*job.keys), clock)
    room._policy = None if job.registry else _policy(checkpoint)
    if job.read_timeout_s:
        limits = Timeouts(1.0, job.read_timeout_s, 2 * job.read_timeout_s)
        room.gateway = Gateway(settings.paper, Keys(*job.keys), clock, limits)
    if job.bug:
        planted_bugs.plant(job.bug, folder)
    _tell_decisions(look, folder / ASKED)
    points = Points(job.point, job.nth)
    points.arm()
    for at in [None, *job.looks]:
        moment = datetime.fromisoformat(at) if at else clock.now()
        if at and moment <= clock.now():
            continue
        clock.set(moment)
        for _ in range(TRIES):
            result = cycle.run_cycle(room)
            told = {"state": result.state, "message": result.message, "at": str(clock.now())}
            ended = {"counts": points.counts, "fold": digest(room.seen[1]) if room.seen else None}
            _append(folder / RESULTS, told | ended)
            if result.state != "retry":
                break
            clock.sleep(60.0)
    room.gateway.close()


def digest(state: Any) -> str:
    """Return a hash of every bit of a state, however it was come by."""
    text = json.dumps(asdict(state), sort_keys=True, default=_text)
    return hashlib.sha256(text.encode()).hexdigest()


def _text(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _tell_decisions(look: Any, path: Path) -> None:
    # The policy's work is told with the number of decisions that were durable when it was asked.
    real = look.decide

    def decide(room: Any, state: Any, desk: Any, kept: Any, label: str) -> Any:
        _append(path, {"session": str(kept.sessions[-1]), "decided": str(state.decided)})
        return real(room, state, desk, kept, label)

    look.decide = decide


def _watch_connections(url: str, path: Path) -> None:
    host, port = url.removeprefix("http://").split(":")
    allowed = (host, int(port))

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.connect" and tuple(args[1][:2]) != allowed:
            _append(path, {"to": str(args[1])})

    sys.addaudithook(watch)


def _append(path: Path, told: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(told) + "\n")


_POLICIES: dict[Path, Any] = {}


def _policy(folder: Path) -> Any:
    from engine.step import StepPolicy

    if folder not in _POLICIES:
        _POLICIES[folder] = StepPolicy.load(folder)
    return _POLICIES[folder]


def _preload() -> None:
    # What a look imports as it goes, so that no child has to; and nothing slow that it need not.
    import brokers.feed
    import strategies.agent
    from engine import clock
    from engine.journal import Journal
    from tests import kill_points, paper_account, planted_bugs

    assert all((brokers.feed, strategies.agent, kill_points, paper_account, planted_bugs))
    clock.next_session(paper_account.START, "XNYS")
    with TemporaryDirectory() as folder, Journal(Path(folder) / "warm") as journal:
        journal.append("warm", "", {})
        journal.commit()
        journal.verify()
    assert "torch" not in sys.modules


def _child(job: Job) -> None:
    output = os.open(Path(job.folder) / OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 3
    try:
        run(job)
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def main() -> None:
    """Serve jobs until standard input ends."""
    _preload()
    gc.disable()  # children are short-lived; a collection would only copy the pages they share
    for line in sys.stdin:
        job = Job(**json.loads(line))
        for folder in job.agents or [job.checkpoint]:
            _policy(Path(folder))
        child = os.fork()
        if not child:
            _child(job)
        status = os.waitpid(child, 0)[1]
        killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
        sys.stdout.write(json.dumps({"signal": killed, "code": code}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
