"""A retraining's folder made from seeded random walks: a champion, three challengers, two baselines."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from engine.promotion import decide
from engine.report.folder import RunFolder, write_json, write_table
from engine.report.retraining import JUDGED, RESULT, SEGMENTS
from engine.settings import Settings, build
from tests import made_up_run

BARS, PICKED, CHAMPION = 62, 1, "c0ffee123456"
DRIFT = {"challenger": 0.004, "champion": -0.002, "seed-0": 0.001, "buy_and_hold": 0.0005}
SPANS = {
    "train": {"start": "2001-01-02", "end": "2003-03-03"},
    "validation": {"start": "2003-03-04", "end": "2004-03-03"},
    "held_back": {"start": "2004-03-04", "end": "2004-06-01"},
}


def curves(seed: int = 3) -> dict[str, np.ndarray]:
    """Equity of every account over one path of days, so that they are correlated."""
    rng = np.random.default_rng(seed)
    shared = 0.008 * rng.standard_normal(BARS)
    found = {"flat": np.full(BARS + 1, 100_000.0)}
    for name, drift in DRIFT.items():
        returns = shared + drift + 0.004 * rng.standard_normal(BARS)
        found[name] = 100_000.0 * np.concatenate([[1.0], np.cumprod(1.0 + returns)])
    return {name: found[name] for name in (*DRIFT, "flat")}


def write(path: Path, looks: int = 2, **told: object) -> Path:
    """Write the whole folder and return its path; `told` takes the place of what retrain.json says."""
    settings = build({"name": "made-up"}, "test")
    days = made_up_run.sessions(BARS + 1)
    accounts = curves()
    data = {"symbols": ["AAA", "BBB"], "price_basis": "raw", "source": "made up", "notes": []}
    RunFolder(path).write(
        settings=settings.model_dump(mode="json"),
        versions={"python": "3.12", "libraries": {}},
        data=data | {"digest": "d" * 64},
    )
    write_table(path / SEGMENTS, {"segment": list(SPANS)})
    (path / JUDGED).mkdir()
    write_table(path / JUDGED / "equity.csv", {"session": days, **accounts})
    write_json(path / RESULT, result(settings, days, accounts, looks) | told)
    return path


def result(
    settings: Settings, days: np.ndarray, accounts: dict[str, np.ndarray], looks: int
) -> dict[str, object]:
    """Return retrain.json as a retraining writes it, its rules by the real ones."""
    asked = settings.retrain.promotion
    checks = {"lookahead": True, "parity": False}
    baselines = {name: accounts[name] for name in asked.baselines}
    verdict = decide(
        accounts["challenger"], accounts["champion"], baselines, asked, looks, checks, 0.6
    )
    return {
        "name": "made-up",
        "data": "d" * 64,
        "segments": SPANS,
        "champion": CHAMPION,
        "challengers": [challenger(0, 0.5), challenger(PICKED, 1.5), failed(2)],
        "picked": PICKED,
        "picked_by": "validation sharpe",
        "score": "sharpe",
        "judged": {"start": str(days[0]), "end": str(days[-1]), "sessions": len(days)},
        "accounts": {name: measured(curve) for name, curve in accounts.items()},
        "looks": looks,
        "looked_before": {"judgements": looks - 1, "tests": 0},
        "trials": 40,
        "deflated_sharpe": 0.6,
        "checks": checks,
        "checked": [{"name": "Memory", "passed": None, "text": "not run here"}],
        "rules": [asdict(rule) for rule in verdict.rules],
        "promote": verdict.promote,
        "reason": verdict.reason,
        "promoted": None,
        "scored": True,
        "lineage": {"challenger": lived(PICKED, CHAMPION), "champion": leading()},
    }


def measured(curve: np.ndarray) -> dict[str, float | None]:
    """Return the numbers of an account that the table shows."""
    returns = curve[1:] / curve[:-1] - 1.0
    moves = returns.std(ddof=1) > 0
    ratio = float(np.sqrt(252) * returns.mean() / returns.std(ddof=1)) if moves else None
    return {
        "total_return": float(curve[-1] / curve[0] - 1.0),
        "sharpe": ratio,
        "max_drawdown": float((curve / np.maximum.accumulate(curve) - 1.0).min()),
        "gross_exposure": 0.5,
        "turnover": 2.0,
        "total_costs": 70.0,
    }


def challenger(seed: int, score: float) -> dict[str, object]:
    """Return a challenger that was trained."""
    told = {"seed": seed, "validation_score": score, "update": 8, "warnings": []}
    return told | {"checkpoint": f"seed-{seed}/training/best", "digest": f"{seed}" * 64}


def failed(seed: int) -> dict[str, object]:
    """Return a challenger whose training failed."""
    return {"seed": seed, "validation_score": None, "error": f"seed-{seed}: no feature row exists"}


def lived(seed: int, parent: str | None) -> dict[str, object]:
    """Return where a checkpoint comes from."""
    return {
        "id": f"{seed}" * 12,
        "seed": seed,
        "update": 8,
        "validation_score": 1.5,
        "trained_from": "2001-01-02",
        "trained_until": "2003-03-03",
        "chosen_until": "2004-03-03",
        "symbols": ["AAA", "BBB"],
        "data": "d" * 64,
        "settings": "5" * 64,
        "parent": parent,
        "seeds": 3,
        "trials": 40,
    }


def leading() -> dict[str, object]:
    """Return where the champion comes from, and since when it leads."""
    since = {"at": "2004-01-05T06:00:00Z", "how": "promoted", "by": "person", "reason": "first"}
    told = {"id": CHAMPION, "validation_score": 0.75, "since": since, "held_back_sharpe": 0.25}
    return lived(7, None) | told
