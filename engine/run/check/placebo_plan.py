"""What a placebo check consists of: one training for each made-up market and seed, in a folder each.

RUN/settings.json data.json versions.json    what it was made from
RUN/Q1/seed-0/market.parquet                 the market, and the run folder of the training on it
RUN/Q1/seed-0/score.json                     what the agent did on its test dates
RUN/Q5/seed-0  RUN/Q5-twin/seed-0            the positive control, and the same without memory
RUN/Q6/seed-0/score.json                     random actions on the real market
RUN/summary.json
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.bars import Bars
from engine.data.synthetic import FIRST
from engine.errors import UsageError
from engine.run.build import dates
from engine.run.check.placebo_markets import MARKETS, placebo, write
from engine.run.training.executor import HERE, Job
from engine.settings import Settings, build
from engine.settings_agent import window_of

CONTROL, TWIN, RANDOM = "Q5", "Q5-twin", "Q6"
TITLES = {
    "Q1": "returns shuffled",
    "Q2": "block bootstrap",
    "Q3": "random walk",
    "Q4": "signs flipped",
    CONTROL: "known optimum",
    TWIN: "its twin, no memory",
    RANDOM: "random actions, real market",
}
NO_EDGE = ("Q1", "Q3", "Q4")  # Q2 is reported only: an edge shorter than a block survives there
SYMBOLS = 4  # of the control
MU, SIGMA = 0.02, 0.01  # what its signal pays a session, and the noise around it
SEEN = "volume_z(20)"  # the control shows its signal through volume
TESTED, VALIDATED = 0.25, 0.15  # shares of the control's sessions, the last ones


@dataclass(frozen=True)
class Case:
    """One market and seed, and the job that trains on it."""

    market: str
    seed: int
    job: Job

    @property
    def score(self) -> Path:
        """The file that says what the agent did on the test dates."""
        return self.job.folder / "score.json"


@dataclass(frozen=True)
class Placebo:
    """A placebo check of some settings on some bars, into one folder."""

    settings: Settings
    bars: Bars
    folder: Path
    seeds: int
    only: tuple[str, ...]

    def cases(self, market: str) -> list[Case]:
        """Return the cases of one market, its files written."""
        first = self.settings.train.seed
        return [self._case(market, seed) for seed in range(first, first + self.seeds)]

    @property
    def trained(self) -> tuple[str, ...]:
        """The markets that agents are trained on."""
        asked = [name for name in (*MARKETS, CONTROL) if name in self.only]
        twin = CONTROL in self.only and needs_twin(self.settings)
        return (*asked, *([TWIN] if twin else []))

    def _case(self, market: str, seed: int) -> Case:
        folder = self.folder / market / f"seed-{seed}"
        make = _control if market in (CONTROL, TWIN) else self._on_placebo
        settings = make(self.settings, market, seed, folder)
        return Case(market, seed, Job(settings, folder))

    def _on_placebo(self, settings: Settings, market: str, seed: int, folder: Path) -> Settings:
        path = folder / "market.parquet"
        if not path.is_file():
            first, _ = dates(self.bars, settings, "test")
            tested = self.bars.sessions[first]
            write(placebo(self.bars, market, settings.placebo, seed, tested), path)
        data = {
            "source": "parquet",
            "path": str(path),
            "symbols": self.bars.symbols,
            "calendar": "none",
            "price_basis": "total",
        }
        return _made(settings, seed, settings.placebo.updates, data=data)


def needs_twin(settings: Settings) -> bool:
    """Tell whether the control is one that the agent needs its memory for."""
    return control_k(settings) > 1


def control_k(settings: Settings) -> int:
    """Return after how many days the control's signal pays; the next day for an agent without memory."""
    return 1 if window_of(settings.agent.memory) == 1 else settings.placebo.control_k


def chosen_markets(text: str | None) -> tuple[str, ...]:
    """Return the markets that a text such as "Q1,Q3" names; all of them for None.

    Raises: UsageError for a name that is none.
    """
    known = (*MARKETS, CONTROL, RANDOM)
    names = tuple(part.strip().upper() for part in text.split(",")) if text else known
    for name in names:
        if name not in known:
            raise UsageError(f"--only {name}: expected some of {', '.join(known)}")
    return names


def _made(settings: Settings, seed: int, updates: int, **parts: Any) -> Settings:
    tree = settings.model_dump(mode="json") | parts
    tree["trials_path"] = str(settings.ledger)
    every = min(settings.train.validate_every, updates)
    short = {"seed": seed, "updates": updates, "validate_every": every, "stages": ()}
    tree["train"] |= {**short, "patience": None, "watch_training": False, **HERE}
    return build(tree, "placebo")


def _control(settings: Settings, market: str, seed: int, folder: Path) -> Settings:
    # The agent as configured, on a market of its own; it sees the day's signal and nothing else.
    asked = settings.placebo
    t = asked.control_sessions
    days = np.busday_offset(FIRST, np.arange(t))
    chosen, tested = round(t * (1 - TESTED - VALIDATED)), round(t * (1 - TESTED))
    made = {"kind": "echo", "k": control_k(settings), "mu": MU, "sigma": SIGMA}
    made |= {"sessions": t, "symbols": SYMBOLS, "seed": seed}
    agent = settings.agent.model_dump(mode="json")
    if market == TWIN:
        agent["memory"] = "window(1)"
    return _made(
        settings,
        seed,
        asked.control_updates,
        data={"source": "synthetic", "calendar": "none", "synthetic": made},
        split={
            "train": {"end": str(days[chosen - 1])},
            "validation": {"start": str(days[chosen]), "end": str(days[tested - 1])},
            "test": {"start": str(days[tested])},
        },
        observation={**settings.observation.model_dump(mode="json"), "features": [SEEN]},
        agent=agent,
        limits={"allow_short": False},
        sizing={},
    )
