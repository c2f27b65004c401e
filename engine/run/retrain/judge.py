"""Champion and challengers on sessions that none of them was trained or chosen on, beside baselines.

Every judgement is one trial of the ledger, opened before anything is played, with one look an account.
The challenger was picked before, by validation alone.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from engine.bars import Bars
from engine.checkpoint import TrainedOn, read
from engine.errors import TradingError
from engine.evidence import tally
from engine.measures import NotComputable, returns_of
from engine.promotion import Rule, Verdict, decide, enough
from engine.registry import Champion
from engine.report.folder import RunFolder, write_table
from engine.report.retraining import CHAMPION, JUDGED, PICKED, SHOWN
from engine.run.backtest import baseline_trader, new_venue
from engine.run.check.findings import checks_of
from engine.run.counting import SERIES, counted, seen
from engine.run.evaluation import deployed, turnover_a_bar
from engine.run.outputs import metrics_of
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.run.retrain.looks import earlier_looks
from engine.run.retrain.plan import Retraining
from engine.run.training.validation import score_of
from engine.settings import Settings, build
from engine.significance import Moments, deflated_sharpe
from engine.trader import Trader
from engine.trials import Ledger


@dataclass(frozen=True)
class Judgement:
    """A verdict, and what a reader is shown beside it."""

    verdict: Verdict
    told: dict[str, Any]


def judge(
    work: Retraining, picked: int, checkpoints: Mapping[int, Path], champion: Champion | None
) -> Judgement:
    """Compare the picked seed's checkpoint with the champion and baselines.

    Without enough sessions that both have not seen, nothing is played and no look is spent.
    """
    first, why = common(work, champion)
    rule = enough(max(work.held_back.last - first, 0), work.settings.retrain.promotion.sessions)
    if why or not rule.passed:
        return _open(Rule("sessions", False, why or rule.text))
    settings, looks = work.judged(picked, first), earlier_looks(work, first, checkpoints)
    folder, name = work.folder / JUDGED, f"seed-{picked}"
    with counted(settings, work.bars, "test", ("test",), folder, checkpoints[picked]) as (
        ledger,
        trial,
    ):
        try:
            agents = _agents(work, settings, first, checkpoints, champion)
        except TradingError as error:
            trial.status = "failed"
            return _open(Rule(CHAMPION, None, f"the agents cannot be compared here: {error}"))
        for own, record in agents.items():
            score = score_of(record.arrays()["equity"], settings.train.score)
            seen(trial, record, score, folder / SERIES / f"{own}.npy")
        deflated, trials = _deflated(ledger, agents[name])
    agents = {PICKED: agents.pop(name)} | agents
    baselines = _baselines(work, settings, first, turnover_a_bar(agents[PICKED]))
    checks = _checks(settings, folder, checkpoints[picked])
    verdict = _decide(settings, agents, baselines, looks.number, checks, deflated)
    told = _told(work, settings, first, agents, baselines)
    counts = {"looks": looks.number, "looked_before": asdict(looks), "trials": trials}
    checked = checks_of(settings, work.bars.digest(), checkpoints[picked])
    proofs = {"deflated_sharpe": deflated, "checks": checks, "checked": checked}
    return Judgement(verdict, told | counts | proofs)


def _open(rule: Rule) -> Judgement:
    # Nothing was compared: the champion stays, and this is why.
    return Judgement(Verdict((rule,)), {"judged": None, "accounts": {}})


def _decide(
    settings: Settings,
    agents: Mapping[str, Recorder],
    baselines: Mapping[str, Recorder],
    looks: int,
    checks: Mapping[str, bool | None],
    deflated: float | None,
) -> Verdict:
    asked = settings.retrain.promotion
    champion = agents[CHAMPION].arrays()["equity"] if CHAMPION in agents else None
    return decide(
        agents[PICKED].arrays()["equity"],
        champion,
        {name: baselines[name].arrays()["equity"] for name in asked.baselines},
        asked,
        looks,
        checks,
        deflated,
    )


def _told(
    work: Retraining,
    settings: Settings,
    first: int,
    agents: Mapping[str, Recorder],
    baselines: Mapping[str, Recorder],
) -> dict[str, Any]:
    sessions, records = work.bars.sessions[first:], {**agents, **baselines}
    curves = {name: record.arrays()["equity"] for name, record in records.items()}
    write_table(work.folder / JUDGED / "equity.csv", {"session": sessions, **curves})
    return {
        "judged": {"start": str(sessions[0]), "end": str(sessions[-1]), "sessions": len(sessions)},
        "accounts": _accounts(settings, work.bars, agents, baselines),
    }


def common(work: Retraining, champion: Champion | None) -> tuple[int, str]:
    """Return the first bar that neither champion nor challengers have seen; and why that is unknown."""
    first = work.held_back.first
    if champion is None:
        return first, ""
    until = seen_until(read(champion.folder).trained_on)
    if until is None:
        return first, (
            f"the champion {champion.id} does not say on which sessions it was chosen: it was trained "
            "by an older barwise; a person can `barwise promote` the challenger"
        )
    later = int(np.searchsorted(work.bars.sessions, np.datetime64(until, "D"), side="right"))
    return max(first, later), ""


def seen_until(known: TrainedOn) -> date | None:
    """Return the last session that an agent was trained or chosen on; None where it is not known."""
    return None if known.chosen_until is None else max(known.end, known.chosen_until)


def _agents(
    work: Retraining,
    settings: Settings,
    first: int,
    checkpoints: Mapping[int, Path],
    champion: Champion | None,
) -> dict[str, Recorder]:
    found = {}
    if champion is not None:
        found[CHAMPION] = _play(_any_agent(settings), champion.folder, work.bars, first)
    for seed, checkpoint in checkpoints.items():
        found[f"seed-{seed}"] = _play(settings, checkpoint, work.bars, first)
    return found


def _play(settings: Settings, checkpoint: Path, bars: Bars, first: int) -> Recorder:
    spec, policy = deployed(settings, checkpoint, bars)
    trader = Trader(spec, policy, len(bars.symbols))
    return replay(trader, new_venue(settings, bars), bars, first, len(bars.sessions) - 1)


def _any_agent(settings: Settings) -> Settings:
    # The champion may see and act in another way than those that are trained today.
    tree = settings.model_dump(mode="json", exclude={"agent", "observation"})
    return build(tree, "retrain")


def _baselines(
    work: Retraining, settings: Settings, first: int, turnover: float
) -> dict[str, Recorder]:
    names = dict.fromkeys((*settings.retrain.promotion.baselines, *settings.backtest.baselines))
    return {
        name: replay(
            baseline_trader(settings, name, work.bars, turnover),
            new_venue(settings, work.bars),
            work.bars,
            first,
            work.held_back.last,
        )
        for name in names
    }


def _deflated(ledger: Ledger, record: Recorder) -> tuple[float | None, int]:
    # The data grows every week and with it its hash: all trials of the ledger count.
    tried = tally(ledger, "")
    try:
        moments = Moments.of(returns_of(record.arrays()["equity"]))
        count = max(tried.counted, tried.effective)
        found = deflated_sharpe(moments, count, tried.variance) if tried.variance else None
    except NotComputable:
        found = None
    return found, tried.counted


def _checks(settings: Settings, folder: Path, checkpoint: Path) -> dict[str, bool | None]:
    # As `barwise check` runs and enters them, on the same sessions.
    from engine.run.check.commands import run_lookahead, run_parity

    RunFolder(folder).write(settings=settings.model_dump(mode="json"))
    config = str(folder / "settings.json")
    found: dict[str, bool | None] = {}
    for name in settings.retrain.promotion.checks:
        if name == "lookahead":
            found[name] = bool(run_lookahead(config, checkpoint, (), True)["clean"])
        else:
            found[name] = bool(run_parity(config, checkpoint, (), True)["holds"])
    return found


def _accounts(
    settings: Settings,
    bars: Bars,
    agents: Mapping[str, Recorder],
    baselines: Mapping[str, Recorder],
) -> dict[str, Any]:
    rest = {name: record for name, record in agents.items() if name != PICKED}
    found = metrics_of(settings, bars, agents[PICKED], rest | dict(baselines))
    values = {PICKED: found["agent"], **found["baselines"]}
    return {name: {key: row[key] for key in SHOWN} for name, row in values.items()}
