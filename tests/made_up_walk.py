"""A walk-forward's folder made from seeded random walks: four seeds, a twin, two windows."""

from pathlib import Path

import numpy as np

from engine.account import Account, Conventions
from engine.across_seeds import compare
from engine.evidence import NO_MEMORY, Tally, evidence_of
from engine.metrics import summarise
from engine.report.folder import RunFolder, write_json, write_table
from engine.round_trips import Fills
from engine.run.training.seeds import COVERAGE
from engine.run.walkforward.compare import across
from engine.run.walkforward.tables import HEADLINE
from tests import made_up_run

SEEDS = (0, 1, 2, 3)
DAYS = 260
BPS = (0.0, 10.0)


def write(path: Path) -> Path:
    """Write the whole folder and return its path."""
    days = made_up_run.sessions(DAYS)
    rng = np.random.default_rng(5)
    prices = made_up_run.market(days, rng)
    held = made_up_run.account(days, prices, np.full((DAYS, 4), 0.24))
    found = {
        kind: [record(path / place / f"seed-{n}", days, prices, held, 10 * at + n)
               for n in SEEDS]
        for at, (kind, place) in enumerate((("agent", "stitched"), ("twin", "twin")))
    }  # fmt: skip
    papers = made_up_run.paperwork(days, "x", held[0])
    settings = papers["settings"] | {
        "train": {"score": "sharpe"},
        "agent": {"memory": "carry", "burn_in": 8},
        "walkforward": {"cost_bps": list(BPS)},
    }
    data = papers["data"]
    RunFolder(path).write(settings=settings, versions=papers["versions"], data=data)
    write_table(path / "windows.csv", {"window": [1, 2]})
    made = summary(days, found)
    RunFolder(path).write(summary=made)
    seed = made["median_seed"]["agent"]
    tried = Tally(10, 40, 12.5, 30, 0.03**2, 0, None, None)
    curve = RunFolder(path / "stitched" / f"seed-{seed}").part("equity")["agent"]
    proof = evidence_of(curve, tried, NO_MEMORY)
    checks = [{"name": "Look-ahead", "passed": True, "text": "200 dates, no decision moved"}]
    write_json(path / "evidence.json", {"seed": seed, **proof, "doubts": [], "checks": checks})
    return path


def record(path, days, prices, rival, seed):
    """Write the stitched test of one seed and return its metrics."""
    plan = made_up_run.wishes(days, np.random.default_rng(100 + seed))
    equity, weights, trades = made_up_run.account(days, prices, plan)
    agent = Account(equity, abs(weights).sum(1), weights.sum(1), Fills.from_columns(trades))
    other = Account(rival[0], abs(rival[1]).sum(1), rival[1].sum(1), Fills.from_columns(rival[2]))
    flat = Account(np.full(len(days), made_up_run.CASH))
    metrics = summarise(days, agent, {"buy_and_hold": other, "flat": flat}, None, Conventions())
    exposure = {"session": days, "gross": abs(weights).sum(1), "net": weights.sum(1)}
    exposure |= {name: weights[:, n] for n, name in enumerate(made_up_run.SYMBOLS)}
    curves = {"session": days, "agent": equity, "buy_and_hold": rival[0], "flat": flat.equity}
    RunFolder(path).write(metrics=metrics, equity=curves, exposure=exposure, trades=trades)
    return metrics


def summary(days, found):
    """Return summary.json as a walk-forward writes it."""
    agent = found["agent"]
    own = {kind: [m["agent"] for m in each] for kind, each in found.items()}
    others = {name: [m["baselines"][name] for m in agent] for name in agent[0]["baselines"]}
    accounts = {
        name: {key: across([values[key] for values in each]) for key in HEADLINE}
        for name, each in {**own, **others}.items()
    }
    ratios = {kind: [values["sharpe"] for values in each] for kind, each in own.items()}
    pair = compare(np.array(ratios["agent"]), np.array(ratios["twin"]))
    ranked = {kind: int(np.argsort(values)[1]) for kind, values in ratios.items()}
    part = {"validation": across([1.0, 2.0, 3.0, 4.0]), "returned": across([0.1, 0.2, 0.3, 0.4])}
    return {
        "name": "made up",
        "kind": "walk-forward",
        "symbols": list(made_up_run.SYMBOLS),
        "windows": 2,
        "scheme": "expanding",
        "purge": "label: nothing scored is learned from",
        "gap_sessions": 0,
        "tested": {"start": str(days[0]), "end": str(days[-1]), "sessions": DAYS}
        | {"short_last": True},
        "seeds": list(SEEDS),
        "trainings": 16,
        "selection": "in each window the checkpoint with the best validation sharpe",
        "books": "cash, positions and waiting orders go from window to window",
        "costs": "0.1 % of value",
        "conventions": agent[0]["conventions"],
        "coverage": COVERAGE,
        "accounts": accounts,
        "twin": {
            "by": "sharpe",
            "weights": {"agent": 100, "twin": 100},
            "steps": {"agent": 5, "twin": 5},
            "difference": pair.difference,
            "interval": list(pair.interval),
            "improvement": pair.improvement,
            "verdict": NO_MEMORY,
            "why": "",
        },
        "median_seed": ranked,
        "rivals": [
            {"account": "flat", "seeds": None, "dates": None, "verdict": None, "why": "no Sharpe"}
        ],
        "by_window": [window(1, False, 200, part), window(2, True, 60, part)],
        "window_returns": {"agent": across([0.2, 0.4]), "twin": across([0.1, 0.3])},
        "warnings": [],
        "costs_swept": [
            {"account": name, "bps": bps}
            | {key: accounts[name][key] for key in ("sharpe", "total_return")}
            for bps in BPS
            for name in accounts
        ],
    }


def window(number, short, sessions, part):
    """Return one row of the windows."""
    dates = {
        f"{name}_{end}": f"20{10 + number}-0{at + 1}-0{1 + late}"
        for at, name in enumerate(("train", "validation", "test"))
        for late, end in enumerate(("start", "end"))
    }
    return {"window": number, "short": short, "test_sessions": sessions, **dates} | {
        "agent": part,
        "twin": part,
        "baselines": {"buy_and_hold": 0.05 * number, "flat": 0.0},
    }
