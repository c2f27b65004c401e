"""The ICAIF 2020 protocol with our agents, and the paper's ensemble of them, as tables.

    python -m tests.benchmarks.icaif PPO_RUN A2C_RUN DDPG_RUN --out tests/benchmarks/icaif2020

The runs are walk-forwards that have ended (`configs/icaif2020-agents.toml`), one a learning rule, over
the same bars, windows and seeds. In every window the ensemble trades with the rule that had the best
validation score of that seed; its book goes on from window to window. In the committee all rules and seeds
decide together. Each seed of the ensemble is one more trial, and so is the committee.

OUT/windows.csv   what the ensemble chose in every window, and the validation scores it chose by
OUT/seeds.csv     one row a rule and seed, at the costs of the protocol
OUT/costs.csv     one row a rule and cost: the Sharpe ratio over seeds
OUT/trials.csv    every trial of the ledgers: what was tried on which dates, and the last score seen
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.across_seeds import bootstrap_interval, interquartile_mean
from engine.checkpoint import read
from engine.report.folder import write_table
from engine.run.backtest import new_venue
from engine.run.build import bars_of
from engine.run.counting import SERIES, counted, seen
from engine.run.outputs import metrics_of
from engine.run.record import Recorder
from engine.run.relay import Turn, relay
from engine.run.training.validation import score_of
from engine.run.walkforward.plan import AGENT, Part, WalkForward, plan
from engine.settings import Settings, load
from engine.trials import Ledger, Trial
from tests.benchmarks.committee import together

ENSEMBLE, COMMITTEE = "ensemble", "committee"
SHOWN = ("sharpe", "total_return", "cagr", "volatility", "max_drawdown", "turnover")
HEAD = ("account", "Sharpe of each seed", "Sharpe, IQM", "95 %", *SHOWN[1:])
Walks = Mapping[str, WalkForward]  # by learning rule
Row = dict[str, Any]


def walk_of(run: Path) -> WalkForward:
    """Return the walk-forward of a run folder."""
    settings = load(run / "settings.json")
    return plan(settings, bars_of(settings), run)


def candidates(walks: Walks, window: int, seed: int) -> dict[str, Part]:
    """Return the training of every rule for one window (from 0) and seed."""
    return {rule: walk.part(walk.windows[window], AGENT, seed) for rule, walk in walks.items()}


def chosen(scores: Mapping[str, float]) -> str:
    """Return the rule with the best validation score; the first of those that are equal."""
    return max(scores, key=lambda rule: scores[rule])


def scores_of(parts: Mapping[str, Part]) -> dict[str, float]:
    """Return the validation score that each rule's checkpoint was chosen by."""
    found = {rule: read(part.checkpoint).validation_score for rule, part in parts.items()}
    return {rule: -np.inf if score is None else score for rule, score in found.items()}


def turns_of(walks: Walks, seed: int) -> list[Turn]:
    """Return whose turn it is in every window of the ensemble."""
    turns = []
    for at, window in enumerate(next(iter(walks.values())).windows):
        parts = candidates(walks, at, seed)
        best = parts[chosen(scores_of(parts))]
        turns.append(Turn(best.checkpoint, window.test.first, window.test.last))
    return turns


def ensemble(walks: Walks, seed: int, settings: Settings) -> Recorder:
    """Replay what was chosen in every window, with one book throughout."""
    walk = next(iter(walks.values()))
    return relay(settings, walk.bars, turns_of(walks, seed), new_venue(settings, walk.bars))


def at_cost(settings: Settings, bps: float) -> Settings:
    """Return settings with another commission."""
    return settings.model_copy(
        update={"costs": settings.costs.model_copy(update={"rate": bps * 1e-4})}
    )


def measured(walks: Walks, account: str, seed: int, bps: float) -> Row:
    """Return the numbers of an ensemble or the committee at one commission."""
    walk = next(iter(walks.values()))
    settings = at_cost(walk.settings_of(AGENT, seed), bps)
    record = played(walks, account, seed, settings)
    found = metrics_of(settings, walk.bars, record, {})["agent"]
    return {"account": account, "seed": seed, "bps": bps, **{key: found[key] for key in SHOWN}}


def reported(walk: WalkForward, rule: str) -> list[Row]:
    """Return the numbers of a walk-forward's own tables; volatility at the costs of the run alone."""
    steady = {row["seed"]: row["volatility"] for row in _read(walk.folder / "seeds.csv")}
    plain = walk.settings.costs.rate * 1e4
    rows = []
    for row in _read(walk.folder / "costs.csv"):
        if row["account"] == AGENT:
            seed, bps = int(row["seed"]), float(row["bps"])
            volatility = steady[row["seed"]] if np.isclose(bps, plain) else "nan"
            found = {key: float((row | {"volatility": volatility})[key]) for key in SHOWN}
            rows.append({"account": rule, "seed": seed, "bps": bps, **found})
    return rows


def played(walks: Walks, account: str, seed: int, settings: Settings) -> Recorder:
    """Replay the ensemble of a seed, or the committee, which has no seed of its own."""
    if account == COMMITTEE:
        return together(tuple(walks.values()), settings)
    return ensemble(walks, seed, settings)


def count(walks: Walks, account: str, seed: int, folder: Path) -> None:
    """Enter an ensemble or the committee in the trial ledger, as a walk-forward enters its tests."""
    walk = next(iter(walks.values()))
    settings = walk.settings_of(AGENT, seed)
    with counted(settings, walk.bars, "test", ("test",), folder, seed=seed) as (_, trial):
        record = played(walks, account, seed, settings)
        score = score_of(record.arrays()["equity"], settings.train.score)
        folder.mkdir(parents=True, exist_ok=True)
        seen(trial, record, score, folder / f"{SERIES}-{account}-{seed}.npy")


def run(walks: Walks, out: Path, series: Path) -> list[Row]:
    """Measure every rule and the ensemble, every seed and cost; write the tables; return the rows."""
    walk = next(iter(walks.values()))
    mixed = [*((ENSEMBLE, seed) for seed in walk.seeds), (COMMITTEE, walk.seeds[0])]
    rows = [row for rule, own in walks.items() for row in reported(own, rule)]
    for account, seed in mixed:
        count(walks, account, seed, series)
        bps = walk.settings.walkforward.cost_bps
        rows += [measured(walks, account, seed, each) for each in bps]
    plain = [row for row in rows if np.isclose(row["bps"], walk.settings.costs.rate * 1e4)]
    out.mkdir(parents=True, exist_ok=True)
    write_table(out / "windows.csv", windows_table(walks))
    write_table(out / "seeds.csv", _columns(plain, ("account", "seed", *SHOWN)))
    write_table(out / "costs.csv", _columns(swept(rows), ("account", "bps", "sharpe")))
    return plain


def windows_table(walks: Walks) -> dict[str, list[Any]]:
    """Return what the ensemble chose, one row a window and seed."""
    walk = next(iter(walks.values()))
    rows = []
    for at, window in enumerate(walk.windows):
        for seed in walk.seeds:
            scores = scores_of(candidates(walks, at, seed))
            first = walk.day(window.test.first)
            row = {"window": window.number, "traded_from": first, "seed": seed}
            rows.append({**row, **scores, "chosen": chosen(scores)})
    return _columns(rows, tuple(rows[0]))


def swept(rows: Sequence[Row]) -> list[Row]:
    """Return the interquartile mean over seeds of the Sharpe ratio, one row an account and cost."""
    pairs = sorted({(row["account"], row["bps"]) for row in rows})
    return [
        {"account": account, "bps": bps, "sharpe": interquartile_mean(_of(rows, account, bps))}
        for account, bps in pairs
    ]


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the table of all accounts: every seed, and interquartile means over them."""
    lines = [" | ".join(HEAD), " | ".join("---" for _ in HEAD)]
    for account in dict.fromkeys(row["account"] for row in rows):
        own = [row for row in rows if row["account"] == account]
        each = np.array([row["sharpe"] for row in own])
        means = {key: interquartile_mean(np.array([row[key] for row in own])) for key in SHOWN}
        cells = [account, ", ".join(f"{x:.2f}" for x in each), f"{means['sharpe']:.3f}"]
        cells.append("{:.2f} to {:.2f}".format(*bootstrap_interval(each)) if len(each) > 1 else "-")
        cells += [f"{100 * means[key]:.1f} %" for key in SHOWN[1:-1]] + [f"{means['turnover']:.2f}"]
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def trials_table(ledgers: Sequence[Path]) -> dict[str, list[Any]]:
    """Return every trial of some ledgers, the ledgers counted from 1."""
    rows = []
    for at, path in enumerate(ledgers, start=1):
        with Ledger(path) as ledger:
            rows += [{"ledger": at, **_tried(trial)} for trial in ledger.trials()]
    return _columns(rows, tuple(rows[0]))


def _tried(trial: Trial) -> Row:
    plan, scores = trial.plan, [look.score for look in trial.looks if look.score is not None]
    dates = " ".join(f"{part} {first}..{last}" for part, (first, last) in plan.segments.items())
    return {
        "trial": trial.number,
        "purpose": plan.purpose,
        "status": trial.status,
        "settings": plan.settings[:12],
        "seed": "" if plan.seed is None else str(plan.seed),
        "dates": dates,
        "looks": len(trial.looks),
        "last_score": round(scores[-1], 4) if scores else float("nan"),
    }


def _of(rows: Sequence[Row], account: str, bps: float) -> np.ndarray:
    return np.array(
        [row["sharpe"] for row in rows if (row["account"], row["bps"]) == (account, bps)]
    )


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row.get("kind", AGENT) == AGENT]


def _columns(rows: Sequence[Row], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in names}


def main(arguments: Sequence[str] | None = None) -> str:
    """Write the tables of some runs and return the one to show."""
    parser = argparse.ArgumentParser(description="tables of walk-forwards and their ensemble")
    parser.add_argument("runs", type=Path, nargs="+", help="run folders, one a learning rule")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--ledger", type=Path, nargs="*", default=[], help="trials before the test")
    asked = parser.parse_args(arguments)
    walks = {walk.settings.train.algorithm: walk for walk in map(walk_of, asked.runs)}
    rows = run(walks, asked.out, asked.runs[0].parent / ENSEMBLE)
    own = {walk.settings.ledger for walk in walks.values()}
    write_table(asked.out / "trials.csv", trials_table([*asked.ledger, *sorted(own)]))
    return as_markdown(rows)


if __name__ == "__main__":
    import sys

    sys.stdout.write(main() + "\n")
