"""Show the trial ledger, and prove it."""

from dataclasses import asdict
from typing import Any

from engine.errors import DataError, UsageError
from engine.evidence import Tally, tally
from engine.run.build import find_settings
from engine.run.console import echo
from engine.settings import Settings
from engine.trials import Ledger, Trial

HEAD = (
    f"{'row':>5} {'opened':20} {'status':8} {'purpose':9} {'seed':>5} {'scores':>6} {'best':>7}"
    f" {'settings':8} {'data':8} folder"
)


def list_trials(
    config: str | None, overrides: tuple[str, ...], data: str, as_json: bool
) -> dict[str, Any]:
    """Print one line a trial, and the count of each data set."""
    with _ledger(find_settings(config, overrides)) as ledger:
        trials = _chosen(ledger, data)
        counts = {name: tally(ledger, name) for name in dict.fromkeys(t.plan.data for t in trials)}
        path = str(ledger.path)
    if not as_json:
        echo(HEAD)
        for trial in trials:
            echo(_line(trial))
        for name, found in counts.items():
            echo(_count(name, found))
    told = [
        {"data": name, "rows": found.rows, "trials": found.counted, "effective": found.effective}
        for name, found in counts.items()
    ]
    return {"ledger": path, "trials": [asdict(trial) for trial in trials], "counts": told}


def verify_trials(
    config: str | None, overrides: tuple[str, ...], data: str, as_json: bool
) -> dict[str, Any]:
    """Recompute the hash chain of the whole ledger, and look for the return series."""
    with _ledger(find_settings(config, overrides)) as ledger:
        proof = ledger.verify()
        trials = _chosen(ledger, data)
        looks = [look for trial in trials for look in trial.looks]
        lost = [look.series for look in looks if look.series and ledger.series(look) is None]
        path = str(ledger.path)
    if not as_json:
        echo(f"{path}: {proof.count:,} entries, the chain holds; last hash {proof.hash[:16]}")
        echo(f"{len(trials):,} trials, {len(looks):,} scores seen")
        for series in lost:
            echo(
                f"! the returns in {series} are gone or were changed; the score counts all the same"
            )
    return {
        "ledger": path,
        "entries": proof.count,
        "hash": proof.hash,
        "trials": len(trials),
        "scores": len(looks),
        "lost": lost,
    }


def _ledger(settings: Settings) -> Ledger:
    if not settings.ledger.is_file():
        raise UsageError(
            f"{settings.ledger}: no trial ledger here yet; `barwise train` and `barwise backtest` "
            "write it: name the settings they were run with, or --set runs_dir=..."
        )
    return Ledger(settings.ledger)


def _chosen(ledger: Ledger, data: str) -> list[Trial]:
    found = ledger.trials(data)
    if data and not found:
        known = ", ".join(sorted({trial.plan.data[:8] for trial in ledger.trials()}))
        raise DataError(f"--data {data}: no trial on such data; known: {known or 'none'}")
    return found


def _line(trial: Trial) -> str:
    plan, scores = trial.plan, [look.score for look in trial.looks if look.score is not None]
    best = f"{max(scores):.3f}" if scores else "none"
    seed = "-" if plan.seed is None else str(plan.seed)
    text = (
        f"{trial.number:>5} {trial.opened:20} {trial.status:8} {plan.purpose:9} {seed:>5}"
        f" {len(trial.looks):>6} {best:>7} {plan.settings[:8]} {plan.data[:8]} {plan.folder}"
    )
    return f"{text}  {trial.error}" if trial.error else text


def _count(name: str, found: Tally) -> str:
    return (
        f"data {name[:8]}: trials counted {found.counted:,} (trainings and evaluations "
        f"{found.rows:,}), effective {found.effective:,.1f}"
    )
