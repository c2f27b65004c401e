"""How a backtest grows: CPU and memory over symbols and sessions, each size in a process of its own.

Through Backtrader, whole (`tests.benchmarks.grown`): "agent" is the LSTM 128 agent; "flat" the same
trader with a policy that wants nothing, so without network and orders. Symbols grow at 1,000
sessions, sessions at 30 symbols, and both stand at the top together. Making the market and loading
libraries are not counted. Where growth is straight, a symbol and bar costs the same everywhere; at few
symbols the fixed cost of a bar shows. Drawn into runs/growth.svg, doubly logarithmic; the dotted
lines are in proportion to the last point.

"peak of barwise backtest" is the command itself: resident memory of its process, the report and the
baselines included, the agent's record as well.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from agents.checkpoint import Writer
from tests.benchmarks.agent import network, random_walks, record, sample, spec_for
from tests.benchmarks.grown import WARM_UP, grown
from tests.benchmarks.harness import Row
from tests.benchmarks.loglog import Chart, page

KINDS = ("agent", "flat")
DRAWN = Path("runs") / "growth.svg"
YEAR = 252
KIB, MIB = 1024, 1024**2
COMMAND = (
    "import sys\n"
    "from engine.cli import run\n"
    "code = run(sys.argv[1:])\n"
    "from tests.benchmarks.grown import peak_bytes\n"
    "sys.stderr.write(f' {peak_bytes()}')\n"
    "sys.exit(code)\n"
)
STRAIGHT = "at most 1.3 x"
Size = tuple[int, int]  # symbols, sessions


@dataclass(frozen=True)
class Plan:
    """Which sizes, how often; `top` is measured once."""

    symbols: tuple[int, ...]
    sessions: tuple[int, ...]
    few: int  # symbols while sessions grow
    long: int  # sessions while symbols grow
    top: Size
    rounds: int
    whole: Size  # of the command whose memory is measured
    alone: bool = True  # in a process each; a smoke run is not, and has no memory to tell of

    @property
    def sizes(self) -> list[Size]:
        """All of them but the top."""
        grown = [(n, self.long) for n in self.symbols]
        return grown + [(self.few, t) for t in self.sessions if t != self.long]


WHOLE = Plan(
    (10, 30, 100, 300, 500), (250, 1_000, 2_500, 5_000), 30, 1_000, (500, 5_000), 3, (30, 2_500)
)
SMOKE = Plan((2, 4), (20, 40), 2, 20, (4, 40), 1, (2, 20), alone=False)


@dataclass
class Grown:
    """What every size cost, round by round. Units: `us` a symbol and bar, `held` bytes."""

    us: dict[tuple[str, Size], list[float]] = field(default_factory=dict)
    held: dict[tuple[str, Size], list[float]] = field(default_factory=dict)
    orders: dict[tuple[str, Size], int] = field(default_factory=dict)

    def take(self, kind: str, size: Size, found: dict[str, float]) -> None:
        """Add one run."""
        symbol_bars = size[0] * size[1]
        self.us.setdefault((kind, size), []).append(found["seconds"] / symbol_bars * 1e6)
        self.held.setdefault((kind, size), []).append(found["bytes"])
        self.orders[kind, size] = int(found["orders"])

    def row(self, kind: str, size: Size) -> Row:
        """Return the cost of one size."""
        busy = f", {self.orders[kind, size]:,} orders" if kind == "agent" else ""
        what = f"{kind}, {_named(size)}{busy}, a symbol-bar"
        return Row(what, np.array(self.us[kind, size]), "us")

    def ratio(self, kind: str, big: Size, small: Size) -> Row:
        """Return how much more a symbol-bar costs at one size than at another."""
        found, base = (np.array(self.us[kind, size]) for size in (big, small))
        rounds = min(len(found), len(base))
        what = f"a symbol-bar at {_named(big)} / {_named(small)}, {kind}"
        return Row(what, found[:rounds] / base[:rounds], "x", STRAIGHT)


def measure(quick: bool) -> tuple[list[Row], list[str]]:
    """Return the rows, and where the drawing is."""
    plan = SMOKE if quick else WHOLE
    with TemporaryDirectory() as scratch:
        agent = checkpoint(Path(scratch) / "agent")
        found = grow(plan, agent)
        peak = peak_of_command(agent, Path(scratch), *plan.whole)
        drawn = Path(scratch) / DRAWN if quick else DRAWN
        draw(found, plan, drawn)
    rows = [found.row(kind, size) for kind in KINDS for size in [*plan.sizes, plan.top]]
    for kind in KINDS:
        rows += _ratios(found, plan, kind)
    if plan.alone:
        rows += [_memory(found, size) for size in ((plan.few, plan.sessions[-1]), plan.top)]
    what = f"peak of barwise backtest, {_named(plan.whole)}"
    rows.append(Row(what, np.array([peak / MIB]), "MiB", "under 1024 MiB"))
    return rows, [f"growth is drawn in {drawn}"] * (not quick)


def checkpoint(folder: Path) -> Path:
    """Write the benchmarks' agent as a checkpoint."""
    spec = spec_for(sample())
    net = network(spec)
    info = record(spec).model_copy(update={"memory_width": net.memory_width})
    Writer(net).save(folder, info)
    return folder


def grow(plan: Plan, agent: Path) -> Grown:
    """Run every size, all of them once a round."""
    found, run = Grown(), _alone if plan.alone else grown
    for turn in range(plan.rounds):
        for size in [*plan.sizes, *([plan.top] if turn == 0 else [])]:
            for kind in KINDS:
                found.take(kind, size, run(agent, *size, kind))
    return found


def peak_of_command(agent: Path, folder: Path, symbols: int, sessions: int) -> int:
    """Run `barwise backtest` over made-up bars; return the most bytes its process held."""
    first = random_walks(symbols, WARM_UP + sessions).sessions
    made = f'kind = "gbm", sessions = {WARM_UP + sessions}, symbols = {symbols}, seed = 1'
    (folder / "b.toml").write_text(
        f'[data]\nsource = "synthetic"\ncalendar = "none"\nsynthetic = {{ {made} }}\n'
        f"[split]\ntrain = {{ end = {first[WARM_UP // 2]} }}\n"
        f"validation = {{ start = {first[WARM_UP // 2 + 1]}, end = {first[WARM_UP - 1]} }}\n"
        f"test = {{ start = {first[WARM_UP]} }}\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-c", COMMAND, "backtest", "b.toml", "--checkpoint", str(agent)]
    where = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=where)
    if done.returncode:
        raise RuntimeError(f"backtest ended with {done.returncode}: {done.stderr[-500:]}")
    return int(done.stderr.split()[-1])


def draw(found: Grown, plan: Plan, path: Path) -> None:
    """Draw seconds over symbols and over sessions."""
    over_symbols = [(n, plan.long) for n in plan.symbols]
    over_sessions = [(plan.few, t) for t in plan.sessions]
    many = [(plan.top[0], t) for t in (plan.long, plan.top[1])]
    charts = [
        Chart(f"{plan.long:,} sessions", "symbols", "CPU seconds", _curves(found, over_symbols, 0)),
        Chart(f"{plan.few} symbols", "sessions", "CPU seconds", _curves(found, over_sessions, 1)),
        Chart(f"{plan.top[0]} symbols", "sessions", "CPU seconds", _curves(found, many, 1)),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(charts), encoding="utf-8")


def _curves(
    found: Grown, sizes: Sequence[Size], axis: int
) -> dict[str, tuple[list[float], list[float]]]:
    across = [float(size[axis]) for size in sizes]
    return {
        kind: (
            across,
            [float(np.median(found.us[kind, size])) * size[0] * size[1] / 1e6 for size in sizes],
        )
        for kind in KINDS
    }


def _ratios(found: Grown, plan: Plan, kind: str) -> list[Row]:
    wide, narrow = (plan.top[0], plan.long), (plan.few, plan.long)
    return [
        found.ratio(kind, wide, narrow),
        found.ratio(kind, (plan.few, plan.sessions[-1]), narrow),
        found.ratio(kind, plan.top, wide),
    ]


def _memory(found: Grown, size: Size) -> Row:
    held = np.array(found.held["agent", size]) / (size[0] * size[1] / YEAR)
    return Row(f"memory of a symbol-year, agent, {_named(size)}", held / KIB, "KiB")


def _alone(agent: Path, symbols: int, sessions: int, kind: str) -> dict[str, float]:
    sizes = (str(symbols), str(sessions))
    command = [sys.executable, "-m", "tests.benchmarks.grown", str(agent), *sizes, kind]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{_named((symbols, sessions))}, {kind}: {done.stderr[-500:]}")
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def _named(size: Size) -> str:
    return f"{size[0]} symbols x {size[1]:,}"
