"""Trainings in processes of their own, one seed each, as `barwise train --seeds 2` runs them.

    python -m tests.benchmarks.workers '{"episode": 256, "train": {...}}'

makes a training, says so, and does one round for every line it reads; it answers the seconds that took
and its largest resident memory so far in MiB.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("OMP_NUM_THREADS", "1")

READY = "ready"


@contextmanager
def workers(train: dict[str, object], episode: int, count: int) -> Iterator["Workers"]:
    """Start `count` trainings with seeds of their own; end them with the block."""
    found = []
    try:
        for seed in range(count):
            told = json.dumps({"episode": episode, "train": {**train, "seed": seed}})
            command = [sys.executable, "-m", "tests.benchmarks.workers", told]
            found.append(
                subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
                )
            )
        yield Workers(found)
    finally:
        for process in found:
            process.communicate()  # its input ends, and with it the process


class Workers:
    """Trainings that wait to be told."""

    def __init__(self, processes: list[subprocess.Popen[str]]) -> None:
        self.processes = processes
        self.peak_mib = 0.0
        for process in processes:
            assert _answer(process) == READY

    def seconds(self) -> float:
        """Let all of them do a round at once; return how long it took the last of them."""
        began = time.perf_counter()
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        peaks = [float(_answer(process).split()[1]) for process in self.processes]
        self.peak_mib = max(self.peak_mib, *peaks)
        return time.perf_counter() - began


def _answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, f"a training ended early with code {process.wait()}; its words are above"
    return line


def _main() -> None:
    import torch

    from agents.machine import keep_pages
    from engine.settings_training import TrainSettings
    from tests.benchmarks.systems import ours

    told = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    keep_pages()
    settings = TrainSettings.model_validate(told["train"])
    run = ours(settings, told["episode"])
    _say(READY)
    for _ in sys.stdin:
        steps = 2 * settings.rollout_steps * settings.books
        spent = steps / run()
        _say(f"{spent} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
