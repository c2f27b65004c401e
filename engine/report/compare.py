"""Runs side by side: each read into one curve, cut to the sessions they share, told apart.

A backtest gives its agent, a walk-forward its median seed, a retraining the challenger that it judged, a
paper export the account's equity. What differs in how they were made is listed, because curves of
different markets or costs only look alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from engine.account import Account, Conventions
from engine.across_seeds import compare as over_seeds
from engine.errors import DataError, UsageError
from engine.measures import NotComputable, returns_of
from engine.metrics import summarise
from engine.paired import LEAST, apart

BACKTEST, WALK, PAPER, VALIDATED = "backtest", "walk-forward", "paper account", "validation"
RETRAINED = "retraining"


@dataclass(frozen=True)
class Entry:
    """One run. Shapes: `sessions`, `equity` (T+1,). What is not known of it is empty.

    `whole` are metrics over all its sessions; `by_seed` Sharpe ratios of the same seeds, if several.
    """

    name: str
    kind: str
    path: Path
    sessions: np.ndarray
    equity: np.ndarray
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    whole: Mapping[str, Any] = field(default_factory=dict)
    by_seed: Mapping[int, float | None] = field(default_factory=dict)
    over_seeds: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Runs on the sessions they share. `pairs` are each run after the first against the first."""

    entries: tuple[Entry, ...]
    sessions: np.ndarray
    curves: tuple[np.ndarray, ...]  # 100 on the first shared session
    metrics: tuple[dict[str, Any], ...]
    reasons: tuple[dict[str, str], ...]
    pairs: tuple[dict[str, Any], ...]
    differences: tuple[tuple[str, tuple[str, ...]], ...]


def compared(entries: Sequence[Entry]) -> Comparison:
    """Cut runs to the sessions they share and compare each with the first.

    Raises: UsageError on fewer than two runs or one named twice; DataError without 20 shared bars.
    """
    _require_several(entries)
    shared = reduce(np.intersect1d, (entry.sessions for entry in entries))
    if len(shared) <= LEAST:
        spans = "; ".join(f"{e.name}: {e.sessions[0]} to {e.sessions[-1]}" for e in entries)
        raise DataError(
            f"the runs share {len(shared)} sessions, more than {LEAST} are needed ({spans}); compare "
            "runs over the same dates"
        )
    curves = tuple(_rebased(entry, shared) for entry in entries)
    rules = Conventions(periods=_periods(entries), benchmark="")
    found = [summarise(shared, Account(curve), {}, conventions=rules) for curve in curves]
    pairs = tuple(
        _pair(entries[0], curves[0], entry, curve, rules.periods)
        for entry, curve in zip(entries[1:], curves[1:], strict=True)
    )
    return Comparison(
        tuple(entries),
        shared,
        curves,
        tuple(each["agent"] for each in found),
        tuple(each["reasons"]["agent"] for each in found),
        pairs,
        tuple(_differences(entries)),
    )


def _require_several(entries: Sequence[Entry]) -> None:
    if len(entries) < 2:
        raise UsageError("compare: expected two runs or more, found one; name another run folder")
    places = [entry.path.resolve() for entry in entries]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice:
        raise UsageError(f"compare: {twice} is named twice; name each run once")


def _periods(entries: Sequence[Entry]) -> int:
    known = {e.whole["conventions"]["periods"] for e in entries if e.whole.get("conventions")}
    if len(known) > 1:
        raise DataError(f"the runs count {sorted(known)} bars a year; compare runs of one market")
    return int(known.pop()) if known else Conventions().periods


def _rebased(entry: Entry, shared: np.ndarray) -> np.ndarray:
    values = entry.equity[np.searchsorted(entry.sessions, shared)]
    if values[0] <= 0:
        raise DataError(
            f"{entry.path}: the equity is {values[0]} on {shared[0]}; it cannot be drawn"
        )
    return np.asarray(100.0 * values / values[0])


def _pair(
    first: Entry, base: np.ndarray, entry: Entry, curve: np.ndarray, periods: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"run": entry.name, "against": first.name, "same": False, "why": ""}
    row |= {"over_dates": None, "verdict": None, "over_seeds": None}
    try:
        ours, theirs = returns_of(curve), returns_of(base)
        row["same"] = bool(np.array_equal(curve, base))
        found = apart(ours, theirs, periods)
        row |= {"over_dates": found, "verdict": found.verdict}
    except NotComputable as error:
        row["why"] = str(error)
    seeds = list(entry.by_seed)
    if seeds and seeds == list(first.by_seed):
        left, right = (np.array(list(e.by_seed.values()), dtype=float) for e in (entry, first))
        try:
            row["over_seeds"] = over_seeds(left, right)
        except NotComputable as error:
            row["why"] = row["why"] or str(error)
    return row


# What must be the same for numbers to be comparable: a name, and where it stands.
FACTS = {
    "kind of record": None,
    "data": ("data", "digest"),
    "symbols": ("data", "symbols"),
    "prices": ("data", "price_basis"),
    "costs": ("settings", "costs"),
    "fill rule": ("settings", "venue", "fill"),
    "market rules": ("settings", "venue"),
    "order sizing": ("settings", "sizing"),
    "limits": ("settings", "limits"),
    "capital": ("settings", "backtest", "cash"),
}
UNKNOWN = "not known"


def _differences(entries: Sequence[Entry]) -> list[tuple[str, tuple[str, ...]]]:
    found = [("dates", tuple(f"{e.sessions[0]} to {e.sessions[-1]}" for e in entries))]
    gaps = tuple(f"{len(e.sessions):,} sessions" for e in entries)
    found.append(("sessions", gaps))
    found += [(name, tuple(_fact(e, where) for e in entries)) for name, where in FACTS.items()]
    return [(name, _apart_only(values)) for name, values in found if len(set(values)) > 1]


def _fact(entry: Entry, where: tuple[str, ...] | None) -> str:
    if where is None:
        return "simulated test" if entry.kind in (BACKTEST, WALK, RETRAINED) else entry.kind
    place: Any = getattr(entry, where[0])
    for key in where[1:]:
        if not isinstance(place, Mapping) or key not in place:
            return UNKNOWN
        place = place[key]
    if isinstance(place, Mapping):
        told = FACTS.values()  # what has a fact of its own is not said twice
        return ", ".join(f"{k} {v}" for k, v in place.items() if (*where, k) not in told)
    return " ".join(map(str, place)) if isinstance(place, list) else str(place)[:16]


def _apart_only(values: tuple[str, ...]) -> tuple[str, ...]:
    # Of long lists only the items that are not in all of them.
    known = [set(value.split(", ")) for value in values if value != UNKNOWN]
    if len(known) < 2:
        return values
    common = set.intersection(*known)
    told = []
    for value in values:
        own = [item for item in value.split(", ") if item not in common]
        told.append(", ".join(own) or "as the others")
    return tuple(told)


def setting_rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """Return every setting that is not the same in all runs: its key and each run's value."""
    from engine.report.sections import flat_settings

    flat = [dict(flat_settings(entry.settings)) for entry in entries]
    keys = dict.fromkeys(key for values in flat for key in values if key not in PLACES)
    rows = [(key, *(values.get(key, UNKNOWN) for values in flat)) for key in keys]
    return [row for row in rows if any(a != b for a, b in pairwise(row[1:]))]


PLACES = ("name", "runs_dir", "trials_path")  # move no result
