"""Start-up: what a command costs before and besides its work, against a Python that does nothing.

Every command is a new process, as a person or a timer starts it; before it ends it writes down which
heavy libraries it has loaded. The paper commands meet a loopback exchange in this process, four
symbols of the bundled sample: "decides" opens the account and sends its first orders, "nothing due"
looks again. The backtest is of thirty sessions with an ONNX checkpoint. `--help` has 3 times
the bare interpreter as its target, 10 where a library reads the command line, as it does here
(importing typer alone takes twice the bare interpreter).
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from brokers.alpaca.keys import KEY_ID, SECRET
from tests.benchmarks.harness import Row, interleave, seconds
from tests.paper_account import FEED, Stage, sample_bars, save_checkpoint, staged

HEAVY = (
    "torch",
    "onnxruntime",
    "backtrader",
    "pandas",
    "alpaca",
    "exchange_calendars",
    "sqlalchemy",
)
BARE = "pass"
SCRIPT = (
    "import sys\n"
    "from engine.cli import run\n"
    "code = run(sys.argv[2:])\n"
    f"found = [name for name in {HEAVY!r} if name in sys.modules]\n"
    "open(sys.argv[1], 'w').write(' '.join(found))\n"
    "sys.exit(code)\n"
)
BACKTEST = """
[data]
source = "sample"

[split]
train = { end = 2007-12-31 }
validation = { start = 2008-01-02, end = 2009-12-31 }
test = { start = 2010-01-04, end = 2010-02-16 }
"""
TORCHLESS = ("backtest", "paper once, decides", "paper once, nothing due", "paper status")
SMOKE = ("--help", "paper once, decides", "paper status")


def measure(quick: bool) -> tuple[list[Row], list[str]]:
    """Return the rows, and for every command which heavy libraries it imported."""
    rounds, warm = (1, 0) if quick else (7, 1)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        agent = save_checkpoint(Path(folder) / "agent", sample_bars())
        desk = Desk(Path(folder), agent, stack)
        names = SMOKE if quick else tuple(desk.commands)
        runs: dict[str, Callable[[], float]] = {"bare": seconds(lambda: python(BARE))}
        runs |= {name: desk.timed(name) for name in names}
        took = interleave(runs, rounds, warm)
    said = [f"{name}: imports {_said(libs)}" for name, libs in desk.imported.items()]
    return _rows(took, desk.imported), said


@dataclass
class Desk:
    """The commands in their order, and the paper account that they are about.

    "paper once, decides" begins a new account at a new exchange; what follows meets that one.
    """

    folder: Path
    agent: Path
    stack: ExitStack
    commands: dict[str, list[str]] = field(default_factory=dict)
    imported: dict[str, list[str]] = field(default_factory=dict)
    accounts: int = 0
    stage: Stage | None = None

    def __post_init__(self) -> None:
        paper = ["p.toml", "--json"]
        self.commands = {
            "--help": ["--help"],
            "--version": ["--version"],
            "config show": ["config", "show", "demo"],
            "data list": ["data", "list"],
            "doctor": ["doctor", *paper],
            "backtest": ["backtest", "b.toml", "--checkpoint", str(self.agent), "--json"],
            "paper once, decides": ["paper", "once", *paper],
            "paper once, nothing due": ["paper", "once", *paper],
            "paper status": ["paper", "status", *paper],
        }
        self.open()

    def open(self) -> None:
        """Begin a new account at a new exchange."""
        self.stack.close()
        self.accounts += 1
        home = self.folder / f"account{self.accounts}"
        self.stage = self.stack.enter_context(staged(home / "unused", self.agent, sample_bars()))
        (home / "p.toml").write_text(_settings(self.stage, self.agent), encoding="utf-8")
        (home / "b.toml").write_text(BACKTEST, encoding="utf-8")

    def run(self, name: str) -> None:
        """Run one command in a process of its own; it must not fail (a doctor may find fault)."""
        assert self.stage is not None
        home, out = self.folder / f"account{self.accounts}", self.folder / "imported"
        keys = {KEY_ID: self.stage.exchange.key_id, SECRET: self.stage.exchange.secret}
        may_fail = name == "doctor"
        python(SCRIPT, str(out), *self.commands[name], cwd=home, env=keys, may_fail=may_fail)
        self.imported[name] = out.read_text(encoding="utf-8").split()

    def timed(self, name: str) -> Callable[[], float]:
        """Return a system that answers how many seconds the command takes."""
        run = seconds(lambda: self.run(name))
        if name != "paper once, decides":
            return run

        def anew() -> float:
            self.open()
            return run()

        return anew


def python(
    code: str,
    *arguments: str,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    may_fail: bool = False,
) -> None:
    """Run code in a new interpreter of ours. Raises: RuntimeError with what it said where it failed."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **(env or {})}
    )
    if done.returncode and not may_fail:
        raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stderr[-500:]}")


def _settings(stage: Stage, agent: Path) -> str:
    paper = {
        "checkpoint": str(agent),
        "allow_feed": FEED,
        "trading_url": stage.server.url,
        "data_url": stage.server.url,
        "state_dir": "state",
    }
    symbols = json.dumps(list(stage.settings.data.symbols))
    lines = [f"{key} = {json.dumps(value)}" for key, value in paper.items()]
    return f"[data]\nsymbols = {symbols}\n\n[paper]\n" + "\n".join(lines) + "\n"


def _rows(took: dict[str, np.ndarray], found: dict[str, list[str]]) -> list[Row]:
    target = dict.fromkeys(("--help", "--version"), "at most 10 x (3 x without typer)")
    rows = [Row("bare interpreter", took["bare"] * 1e3, "ms")]
    for name in found:
        bound = target.get(name, "none")
        rows.append(
            Row(f"barwise {name} / bare interpreter", took[name] / took["bare"], "x", bound)
        )
    torch = sum("torch" in found.get(name, ()) for name in TORCHLESS)
    what = "imports of torch: backtest, paper once, paper status"
    return [*rows, Row(what, np.array([float(torch)]), "imports", "at most 0")]


def _said(libraries: list[str]) -> str:
    return ", ".join(libraries) or "nothing heavy"
