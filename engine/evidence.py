"""What one result proves: its Sharpe ratio beside everything that was tried on the same data.

The word "edge" is allowed only where every gate holds: the deflated Sharpe ratio, the probability
of backtest overfitting, enough bars, and a memoryless twin that was beaten.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from engine.measures import NotComputable, autocorrelation, returns_of
from engine.significance import (
    BLOCKS,
    Moments,
    deflated_sharpe,
    effective_trials,
    luck_alone,
    overfitting_probability,
    probabilistic_sharpe,
    track_record_needed,
)
from engine.trials import Ledger, Look, Trial

SURE = 0.95  # deflated Sharpe ratio needed
ALPHA = 0.05
OVERFIT, WEAK = 0.1, 0.2  # probability of overfitting allowed, and with the word "weak"
EDGE, WEAK_EDGE, NO_EDGE = (
    "evidence of an edge",
    "weak evidence of an edge",
    "no evidence of an edge",
)
BEATEN, NO_MEMORY, WORSE = (
    "beats its twin",
    "no evidence that memory helps",
    "worse than its twin",
)


@dataclass(frozen=True, slots=True)
class Tally:
    """What was tried on one data set.

    `rows` are trainings and evaluations, `counted` the scores seen in them: a row without any counts
    as one. `effective` counts correlated trials less. `variance` is that of the `measured` Sharpe
    ratios per bar. `choice` holds the returns (T, N) of the checkpoints chosen among, over one span.
    """

    rows: int
    counted: int
    effective: float
    measured: int
    variance: float | None
    lost: int  # return series that are gone or were changed
    choice: np.ndarray | None
    span: tuple[str, str] | None
    others: tuple[np.ndarray, ...] = ()  # the same over further spans, where a run chose on several


def tally(ledger: Ledger, data: str, spans: Sequence[tuple[str, str]] = ()) -> Tally:
    """Count every trial on the data with this hash, after proving the ledger.

    `spans` are the first and last sessions that the run chose on, one for each of its choices;
    without, it is the span on which most checkpoints were seen.
    Raises: DataError when a row of the ledger was removed or edited.
    """
    ledger.verify()
    trials = ledger.trials(data)
    looks = [look for trial in trials for look in trial.looks]
    ratios = [look.moments.sharpe for look in looks if look.moments]
    counted = sum(max(len(trial.looks), 1) for trial in trials)
    groups, lost = _by_span(ledger, trials)
    correlated = sum(effective_trials(series) for _, series in groups)
    alone = counted - sum(series.shape[1] for _, series in groups)
    chosen = [
        (key, series)
        for key, series in groups
        if key[0] == "validate" and (not spans or key[1:] in spans)
    ]
    chosen.sort(key=lambda item: -item[1].shape[1])
    used = chosen if spans else chosen[:1]
    return Tally(
        rows=len(trials),
        counted=counted,
        effective=correlated + alone,
        measured=len(ratios),
        variance=float(np.var(ratios, ddof=1)) if len(ratios) > 1 else None,
        lost=lost,
        choice=used[0][1] if used else None,
        span=(min(key[1] for key, _ in used), max(key[2] for key, _ in used)) if used else None,
        others=tuple(series for _, series in used[1:]),
    )


def _by_span(
    ledger: Ledger, trials: Sequence[Trial]
) -> tuple[list[tuple[tuple[str, str, str], np.ndarray]], int]:
    # The series over the same sessions side by side (T, N), by purpose, first and last session.
    groups: dict[tuple[str, str, str, int], list[np.ndarray]] = defaultdict(list)
    lost = 0
    for purpose, look in _looks(trials):
        series = ledger.series(look)
        if series is not None:
            groups[purpose, look.first, look.last, len(series)].append(series)
        elif look.series:
            lost += 1
    return [(key[:3], np.stack(found, axis=1)) for key, found in groups.items()], lost


def _looks(trials: Sequence[Trial]) -> list[tuple[str, Look]]:
    return [(trial.plan.purpose, look) for trial in trials for look in trial.looks]


def against_twin(low: float, high: float) -> str:
    """Return what the paired interval of agent - memoryless twin says of memory."""
    return BEATEN if low > 0 else WORSE if high < 0 else NO_MEMORY


def evidence_of(equity: np.ndarray, tried: Tally | None, twin: str | None = None) -> dict[str, Any]:
    """Return everything that qualifies a result, ready for summary.json.

    Shapes: `equity` (T+1,). `tried` is None where the trials are not known; `twin` is one of the
    phrases of `against_twin`, alone where it may count; None where no twin was run. What cannot be
    computed is None, and "reasons" says why. Units: "sharpe" and "luck" per bar.
    """
    found: dict[str, Any] = {"bars": len(equity) - 1, "twin": twin, "reasons": {}}
    measures: dict[str, Callable[[], float]] = {
        "sharpe": lambda: _moments(equity).sharpe,
        "autocorrelation": lambda: autocorrelation(returns_of(equity)),
        "psr": lambda: probabilistic_sharpe(_moments(equity)),
        "track_record": lambda: ceil(track_record_needed(_moments(equity), alpha=ALPHA)),
        "luck": lambda: luck_alone(*_counted(tried)),
        "dsr": lambda: deflated_sharpe(_moments(equity), *_counted(tried)),
        "pbo": lambda: float(
            np.mean([overfitting_probability(choice, BLOCKS) for choice in _choices(tried)])
        ),
    }
    for name, measure in measures.items():
        try:
            found[name] = measure()
        except NotComputable as error:
            found[name], found["reasons"][name] = None, str(error)
    found |= {"trials": _told(tried), "blocks": BLOCKS}
    gates = _gates(found)
    return found | {"gates": gates, "verdict": _verdict(found, gates)}


def _moments(equity: np.ndarray) -> Moments:
    return Moments.of(returns_of(equity))


def _counted(tried: Tally | None) -> tuple[float, float]:
    if tried is None:
        raise NotComputable("the trials were not counted")
    if tried.counted < 2:
        raise NotComputable("needs at least 2 trials")
    if tried.variance is None:
        raise NotComputable("fewer than 2 trials have a Sharpe ratio")
    return max(tried.counted, tried.effective), tried.variance


def _choices(tried: Tally | None) -> tuple[np.ndarray, ...]:
    if tried is None or tried.choice is None:
        raise NotComputable("no checkpoints were chosen among on this data")
    return (tried.choice, *tried.others)


def _told(tried: Tally | None) -> dict[str, Any] | None:
    if tried is None:
        return None
    names = ("rows", "counted", "effective", "measured", "variance", "lost")
    chosen = 0 if tried.choice is None else tried.choice.shape[1]
    told = {name: getattr(tried, name) for name in names}
    return told | {
        "chosen_among": chosen,
        "choices": len(tried.others) + (tried.choice is not None),
        "span": list(tried.span or ()),
    }


def _gates(found: dict[str, Any]) -> list[dict[str, Any]]:
    # What must hold for the word edge; passed is None where it is not known, which is not enough.
    dsr, pbo, needed, why = found["dsr"], found["pbo"], found["track_record"], found["reasons"]
    counted = (found["trials"] or {}).get("counted", 0)
    rows: list[tuple[str, bool | None, str]] = [
        (
            "Deflated Sharpe ratio",
            None if dsr is None else dsr >= SURE,
            f"not known: {why.get('dsr')}"
            if dsr is None
            else f"{dsr:.2f} after {counted:,} trials, {SURE:g} needed",
        ),
        (
            "Probability of overfitting",
            None if pbo is None else pbo <= OVERFIT,
            f"not known: {why.get('pbo')}" if pbo is None else f"{pbo:.2f}, at most {OVERFIT:g}",
        ),
        (
            "Track record",
            needed is not None and found["bars"] >= needed,
            f"{'not known: ' if found['sharpe'] is None else ''}{why.get('track_record', '')}"
            if needed is None
            else f"{found['bars']:,} bars, {needed:,} needed",
        ),
        (
            "Memoryless twin",
            None if found["twin"] is None else found["twin"] == BEATEN,
            found["twin"] or "not run",
        ),
    ]
    return [{"name": name, "passed": passed, "text": text} for name, passed, text in rows]


def _verdict(found: dict[str, Any], gates: list[dict[str, Any]]) -> str:
    open_gates = [gate["name"] for gate in gates if not gate["passed"]]
    if not open_gates:
        return EDGE
    pbo = found["pbo"]
    weak = open_gates == ["Probability of overfitting"] and pbo is not None and pbo <= WEAK
    return WEAK_EDGE if weak else NO_EDGE
