"""Drift of a paper account, found anew at each decision from what its journal holds.

What is found goes into the entry of the decision, so that status and report tell what was known on
the day. Warnings are told and kept; none of them stops, sends or changes an order.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from engine.bars import OPEN, Bars
from engine.checkpoint import CheckpointInfo
from engine.costs import Costs
from engine.drift import LEAST_SESSIONS, Distribution, DriftSettings, Gap, gap_bps, gap_of
from engine.journal import Journal
from engine.run.paper.arrays import unpack

Told = dict[str, Any]
Bodies = Sequence[tuple[date | str, dict[str, Any]]]
NONE_RECORDED = "no training distribution recorded in the checkpoint"


def watch(
    journal: Journal,
    fresh: Bodies,
    info: CheckpointInfo,
    kept: Bars,
    costs: Costs,
    rules: DriftSettings,
) -> Told:
    """Return how far inputs and fill costs have drifted, as a journal entry has it.

    `fresh`: the sessions just decided on, not in the journal yet. What cannot be told has its
    reason under `why`. Units: `outside` fraction of inputs, `gap` basis points.
    """
    count = max(rules.window, info.distribution.window if info.distribution else 0)
    past = [(entry.session, entry.body) for entry in journal.newest("decision", count)]
    bodies = [*past, *fresh][-count:]
    told: Told = {"outside": None, "features": {}, "gap": None, "warnings": [], "why": {}}
    own = _of_agent([body for _, body in bodies], info.digest)
    if info.distribution is None:
        told["why"] |= dict.fromkeys(("outside", "features"), NONE_RECORDED)
    else:
        same = set(info.trained_on.symbols) == set(kept.symbols)
        _inputs(told, own, info.features, info.distribution, same, rules)
    _costs(told, *gaps_of(bodies[-rules.window :], kept, costs), rules)
    return told


def said(told: Told | None) -> dict[str, str]:
    """Return in words what the last decision found."""
    if not told:
        return {"found": "nothing recorded yet"}
    why, features, outside, gap = (told[key] for key in ("why", "features", "outside", "gap"))
    over = sum(index > limit for index, limit in features.values())
    none = {name: f"n/a ({reason})" for name, reason in why.items()}
    words = "; ".join(told["warnings"])
    return {
        "features that left the training": none.get("features", f"{over} of {len(features)}"),
        "inputs beyond it": none.get("outside", f"{outside or 0.0:.1%}"),
        "fill gap": none.get("gap") or f"{gap['mean']:+.1f} bps",
        "warns": f"{words} (nothing is stopped by that)" if words else "of nothing",
    }


def gaps_of(bodies: Bodies, bars: Bars, costs: Costs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return session, symbol column and gap of every fill against the modelled price of its open.

    Shapes: (fills,) each. Fills of sessions whose bar is not known are left out.
    """
    found = []
    for session, body in bodies:
        rows = np.flatnonzero(bars.sessions == np.datetime64(session))
        qty = np.array(body["filled"], dtype=np.float64)
        if not len(rows) or not qty.any():
            continue
        price = np.array(body["price"], dtype=np.float64)
        modelled = costs.slipped(bars.ohlcv[rows[0], :, OPEN], qty)
        gaps = gap_bps(qty, price, modelled)
        found += [(session, n, gaps[n]) for n in np.flatnonzero((qty != 0) & np.isfinite(gaps))]
    sessions, columns, values = zip(*found, strict=True) if found else ((), (), ())
    return np.array(sessions, dtype="datetime64[D]"), np.array(columns, int), np.array(values)


def _of_agent(bodies: list[dict[str, Any]], digest: str) -> list[dict[str, Any]]:
    # The newest decisions of this agent alone; one that was caught up on goes with the one after.
    own: list[dict[str, Any]] = []
    for body in reversed(bodies):
        if body.get("checkpoint", digest) != digest:
            break
        own.insert(0, body)
    return own


def _inputs(
    told: Told,
    own: list[dict[str, Any]],
    names: tuple[str, ...],
    known: Distribution,
    same: bool,
    rules: DriftSettings,
) -> None:
    rows = np.stack([unpack(body["seen_market"]) for body in own])
    ready = (rows != 0).any(axis=-1)  # a row without features is all zero
    outside = float(known.outside(rows[-1:], ready[-1:])[0])
    if outside == outside:
        told["outside"] = outside
    else:
        told["why"]["outside"] = "no symbol had features"
    if outside > rules.outside:
        told["warnings"].append(
            f"{outside:.0%} of the inputs of this session are beyond all but 0.2 % of the training"
        )
    if len(own) < known.window:
        told["why"]["features"] = f"{known.window} sessions are compared, {len(own)} are there"
        return
    index, limit = known.indices(rows, ready), known.limits(rules.factor, same)
    told["features"] = {name: [float(index[n]), float(limit[n])] for n, name in enumerate(names)}
    if drifted := [name for n, name in enumerate(names) if index[n] > limit[n]]:
        told["warnings"].append(
            f"{', '.join(drifted)} left what the training showed over any {known.window} sessions"
        )


def _costs(
    told: Told, sessions: np.ndarray, columns: np.ndarray, gaps: np.ndarray, rules: DriftSettings
) -> None:
    found = gap_of(sessions, gaps)
    if found is None:
        count = len(np.unique(sessions))
        told["why"]["gap"] = f"fills of {LEAST_SESSIONS} sessions are needed, {count} are there"
        return
    told["gap"] = {name: getattr(found, name) for name in Gap.__slots__}
    if found.low > rules.fill_gap_bps:
        told["warnings"].append(
            f"fills cost {found.mean:.1f} bps more than modelled (95 %: {found.low:.1f} to "
            f"{found.high:.1f}, {found.fills} fills); raise costs.slippage_bps and test again"
        )
