"""What a person sees: results on stdout, everything else on stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """Called as work proceeds: how many units are done, and a few words."""

    def __call__(self, done: int, text: str) -> None: ...


def say(text: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def echo(text: str) -> None:
    """Write one line of the result to stdout."""
    sys.stdout.write(text + "\n")


class TimeLeft:
    """How long it will take yet, from how fast it went since the first question."""

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None

    def of(self, done: int, total: int) -> str:
        """Return it in words, "" while nothing is known."""
        now = time.monotonic()
        if self._began is None:
            self._began = (now, done)
        at, since = self._began
        if done <= since:
            return ""
        seconds = (now - at) / (done - since) * (total - done)
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{rest:02} left"


@contextmanager
def progress(title: str, total: int) -> Iterator[Progress]:
    """Show a bar on a terminal, and about ten plain lines where there is none."""
    if sys.stderr.isatty():
        with _bar(title, total) as show:
            yield show
        return
    every, told = max(total // 10, 1), 0

    def line(done: int, text: str) -> None:
        nonlocal told
        if done // every > told // every or done == total > told:
            told = done
            say(f"{title} {done}/{total} {text}")

    yield line


@contextmanager
def _bar(title: str, total: int) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.fields[text]}"), console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total, text="")
        yield lambda done, text: bar.update(task, completed=done, text=text)
