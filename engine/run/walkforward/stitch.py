"""The tested segments of one seed as one record: books handed on, baselines beside it, costs swept.

Cash, positions and the orders of a segment's last bar go on into the next segment; the memory starts
anew from its burn-in, because the checkpoint is another. The first bar of the record only marks the
start. Nothing here depends on what other seeds did.
"""

from dataclasses import dataclass, field
from typing import Any

from engine.bars import Bars
from engine.costs import Costs
from engine.policy import Policy
from engine.report.folder import RunFolder
from engine.report.formats import FILL_RULES
from engine.run.backtest import baseline_trader, new_venue
from engine.run.counting import SERIES, counted, seen
from engine.run.evaluation import costs_text, turnover_a_bar
from engine.run.outputs import metrics_of, write_run
from engine.run.record import Recorder
from engine.run.relay import Turn, relay_at_costs
from engine.run.replay import replay
from engine.run.training.validation import score_of
from engine.run.walkforward.plan import AGENT, TWIN, WalkForward
from engine.settings import Settings
from engine.windows import Segment

SWEPT = ("total_return", "cagr", "sharpe", "max_drawdown", "turnover", "total_costs")
BOOKS = (
    "cash, positions and waiting orders go from window to window; memory starts from its burn-in"
)


def write_record(walk: WalkForward, kind: str, seed: int, rivals: "Rivals") -> None:
    """Test one seed over all windows and write its run folder, at every cost of the sweep.

    It is one trial: its row in the ledger is opened before anything is played. The sweep asks how the
    same agents stand other costs; nothing is chosen by it, and it is not counted again.
    """
    settings, folder = walk.settings_of(kind, seed), walk.record(kind, seed)
    folder.mkdir(parents=True, exist_ok=True)
    swept = _costs_swept(walk, settings)
    with counted(settings, walk.bars, "test", ("test",), folder, seed=seed) as (_, trial):
        at = [settings.costs, *swept.values()]
        agent, *others = relay_at_costs(settings, walk.bars, turns_of(walk, kind, seed), at)
        score = score_of(agent.arrays()["equity"], settings.train.score)
        seen(trial, agent, score, folder / f"{SERIES}.npy")
    baselines = rivals.of(settings, turnover_a_bar(agent))
    sweep = [
        row
        for (bps, costs), record in zip(swept.items(), others, strict=True)
        for row in _accounts(
            walk, kind, settings.model_copy(update={"costs": costs}), bps, record, rivals
        )
    ]
    summary = _summary(walk, kind, seed, settings) | {"costs_swept": sweep}
    write_run(RunFolder(folder), settings, walk.bars, agent, baselines, summary)


def turns_of(walk: WalkForward, kind: str, seed: int) -> list[Turn]:
    """Return the chosen checkpoint of every window with the bars of its test segment."""
    return [
        Turn(walk.part(window, kind, seed).checkpoint, window.test.first, window.test.last)
        for window in walk.windows
    ]


def _costs_swept(walk: WalkForward, settings: Settings) -> dict[float, Costs]:
    return {
        bps: settings.costs.model_copy(update={"rate": bps * 1e-4})
        for bps in walk.settings.walkforward.cost_bps
    }


@dataclass
class Rivals:
    """Baselines on the tested bars; one that would do the same again is played once."""

    bars: Bars
    tested: Segment
    played: dict[tuple[str, Policy, str], Recorder] = field(default_factory=dict)

    def of(self, settings: Settings, turnover: float) -> dict[str, Recorder]:
        """Return the records of every baseline. Units: `turnover` as in `run_baselines`."""
        return {
            name: self._record(settings, name, turnover) for name in settings.backtest.baselines
        }

    def _record(self, settings: Settings, name: str, turnover: float) -> Recorder:
        trader = baseline_trader(settings, name, self.bars, turnover)
        known = (name, trader.policy, settings.costs.model_dump_json())
        if known not in self.played:
            venue = new_venue(settings, self.bars)
            self.played[known] = replay(
                trader, venue, self.bars, self.tested.first, self.tested.last
            )
        return self.played[known]


def _accounts(
    walk: WalkForward, kind: str, settings: Settings, bps: float, record: Recorder, rivals: Rivals
) -> list[dict[str, Any]]:
    # One line for the agent, and one for each baseline, at one cost.
    baselines = rivals.of(settings, turnover_a_bar(record)) if kind == AGENT else {}
    found = metrics_of(settings, walk.bars, record, baselines)
    accounts = {kind: found["agent"], **found["baselines"]}
    return [
        {"account": name, "bps": bps, **{key: values[key] for key in SWEPT}}
        for name, values in accounts.items()
    ]


def _summary(walk: WalkForward, kind: str, seed: int, settings: Settings) -> dict[str, Any]:
    told = {AGENT: "agent", TWIN: "memoryless twin"}[kind]
    count = len(walk.windows)
    return {
        "name": settings.name,
        "title": f"{settings.name}, {told}, seed {seed}, {count} windows",
        "agent": f"{told} of {count} windows, seed {seed}",
        "learned": True,
        "seed": seed,
        "costs": costs_text(settings.costs),
        "fill": f"{FILL_RULES[settings.venue.fill]}; {settings.venue.account} account",
        "books": BOOKS,
        "warnings": [],
        "checks": [],
    }
