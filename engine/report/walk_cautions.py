"""What a reader must know before any number of a walk-forward, gravest first."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from engine.report.cautions import (
    DISGUISE,
    STILL,
    Caution,
    of_few,
    of_luck,
    of_market,
    of_pace,
    without_skill,
)
from engine.report.formats import plain_name
from engine.report.walk import AGENT, Walk

ENOUGH_SEEDS = 10
DEAR_BPS = 10.0  # costs a side that an edge should outlive
Summary = Mapping[str, Any]


def walk_cautions(walk: Walk) -> list[Caution]:
    """Return every warning of a walk-forward, grave ones first."""
    found = [
        *of_summary(walk.summary),
        *(Caution(str(text), grave=True) for text in walk.evidence.get("doubts", [])),
        *of_market(walk.settings, walk.data),
        *of_pace(walk.equity["session"], walk.summary["conventions"]),
        *of_luck(walk.profits),
        *_disguise(walk),
        *_proof(walk),
    ]
    return sorted(found, key=lambda caution: not caution.grave)


def of_summary(summary: Summary) -> Iterator[Caution]:
    """Yield what the numbers over seeds say by themselves."""
    count, tested = len(summary["seeds"]), summary["tested"]
    if count < ENOUGH_SEEDS:
        yield Caution(
            f"{count} seed{'s' if count > 1 else ''}: too few to compare, {ENOUGH_SEEDS} or more are "
            "needed.",
            grave=True,
        )
    if tested["short_last"]:
        last = summary["by_window"][-1]["test_sessions"]
        yield Caution(f"The last window tests {last} sessions, fewer than the others.")
    pair = summary.get("twin", {})
    if any(len(set(pair.get(name, {}).values())) > 1 for name in ("weights", "steps")):
        yield Caution(
            "Agent and twin differ in the numbers they learned or the bars they trained on: "
            "the comparison says less."
        )
    yield from _trades(summary)
    yield from _costs(summary)


def _trades(summary: Summary) -> Iterator[Caution]:
    agent = summary["accounts"][AGENT]
    trips, turnover = agent["trades"]["mean"], agent["turnover"]["mean"]
    never = sum(value == 0 for value in agent["turnover"]["by_seed"])
    if never:
        of = len(summary["seeds"])
        yield Caution(f"The agent never traded in {never} of {of} seeds.", grave=True)
    if trips is not None and never < len(summary["seeds"]):
        fills = agent.get("fills", {}).get("mean")  # older summaries do not count them
        yield from of_few(fills, trips, " (interquartile means over seeds)")
    if turnover is not None and 0 < turnover < STILL:
        yield Caution("The agent hardly trades: its turnover is near zero.", grave=True)


def _costs(summary: Summary) -> Iterator[Caution]:
    swept = {(row["account"], row["bps"]): row for row in summary["costs_swept"]}
    costs = sorted({bps for _, bps in swept})
    dear = [bps for bps in costs if bps >= DEAR_BPS]
    if not dear or costs[0] >= DEAR_BPS:
        return
    cheap, dear_one, rival = costs[0], dear[0], summary["conventions"]["benchmark"]
    words = []
    for name, text in (("sharpe", "a Sharpe ratio above {}"), ("total_return", "a profit")):
        before, after = (_ahead(swept, bps, rival, name) for bps in (cheap, dear_one))
        if before and after is False:
            words.append(text.format(plain_name(rival).lower()))
    if words:
        yield Caution(
            f"The edge is gone at {dear_one:g} basis points a side: at {cheap:g} the agent has "
            f"{' and '.join(words)}, there it has not.",
            grave=True,
        )


def _ahead(
    swept: Mapping[tuple[str, float], Summary], bps: float, rival: str, name: str
) -> bool | None:
    # Of the benchmark by its Sharpe ratio, of nothing by its return; None where it is not known.
    ours = swept[AGENT, bps][name]["mean"]
    other = swept.get((rival, bps))
    theirs = 0.0 if name == "total_return" else other[name]["mean"] if other else None
    return None if ours is None or theirs is None else ours > theirs


def _disguise(walk: Walk) -> Iterator[Caution]:
    seeds, rival = walk.curves[AGENT], walk.benchmark
    name, count = plain_name(rival), len(seeds)
    if rival not in walk.equity:
        return
    same = sum(np.array_equal(curve, walk.equity[rival]) for curve in seeds.values())
    near = sum(
        value is not None and value > DISGUISE
        for value in walk.summary["accounts"][AGENT]["correlation"]["by_seed"]
    )
    if same:
        yield Caution(f"In {same} of {count} seeds the agent is identical to {name}.", grave=True)
    elif near:
        yield Caution(
            f"In {near} of {count} seeds the agent moves with its benchmark ({name}, correlation above "
            f"{DISGUISE:g}): it may be the benchmark in disguise.",
            grave=True,
        )


def _proof(walk: Walk) -> Iterator[Caution]:
    found = walk.evidence
    if not found:
        yield Caution(
            "evidence.json is missing: the trials were not counted, nothing is proven.", grave=True
        )
        return
    needed, bars = found["track_record"], found["bars"]
    if needed is None:
        yield without_skill(found["sharpe"])
    elif needed > bars:
        yield Caution(
            f"{bars:,} bars are too few: a Sharpe ratio this small needs {needed:,} bars before luck "
            "can be ruled out at 95 %, even if it were the only one tried."
        )
