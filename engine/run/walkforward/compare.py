"""What a walk-forward's agent is worth beside others: its windows, its baselines, its median seed.

Every number is over all seeds. Where a picture needs one of them, it is the median seed by Sharpe
ratio (of an even number the lower of the middle two), never the best.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from engine.across_seeds import bootstrap_interval, compare, interquartile_mean
from engine.measures import NotComputable, returns_of
from engine.paired import EQUAL, apart, in_words
from engine.report.folder import RunFolder, Table
from engine.run.walkforward.plan import AGENT, WalkForward, window_table
from engine.run.walkforward.tables import Tests, ended, segment_returns

PAIRED = "sharpe"  # what accounts are compared by


def across(values: Sequence[float | None]) -> dict[str, Any]:
    """Return the interquartile mean of one number over seeds, its interval, or why there is none."""
    runs = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return _told(runs) | {"by_seed": list(values)}


def _told(runs: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {"mean": None, "interval": None, "why": ""}
    try:
        found["mean"] = interquartile_mean(runs)
        found["interval"] = list(bootstrap_interval(runs))
    except NotComputable as error:
        found["why"] = str(error)
    return found


def median_seed(walk: WalkForward, tests: Tests, kind: str) -> int:
    """Return the seed whose Sharpe ratio is the median; one without a ratio ranks lowest."""
    ratios = [test["metrics"]["agent"][PAIRED] for test in tests[kind]]
    ranked = sorted(
        zip(walk.seeds, ratios, strict=True),
        key=lambda pair: (-np.inf if pair[1] is None else pair[1], pair[0]),
    )
    return ranked[(len(ranked) - 1) // 2][0]


def by_window(walk: WalkForward) -> dict[str, Any]:
    """Return what every window chose and earned: over seeds, and over seeds and windows at once.

    The interval over both draws seeds again within each window.
    """
    dates = window_table(walk)
    equity = {
        (kind, seed): RunFolder(walk.record(kind, seed)).part("equity")
        for kind in walk.kinds
        for seed in walk.seeds
    }
    earned = {
        kind: np.array([segment_returns(walk, equity[kind, seed]["agent"]) for seed in walk.seeds])
        for kind in walk.kinds
    }
    rows = [
        {name: values[at] for name, values in dates.items()} | _window(walk, at, earned)
        for at in range(len(walk.windows))
    ]
    _add_baselines(walk, equity[AGENT, walk.seeds[0]], rows)
    return {"by_window": rows, "window_returns": {kind: _told(earned[kind]) for kind in earned}}


def _window(walk: WalkForward, at: int, earned: dict[str, np.ndarray]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for kind, returns in earned.items():
        scores = [
            ended(walk.part(walk.windows[at], kind, seed))["validation_score"]
            for seed in walk.seeds
        ]
        row[kind] = {"validation": across(scores), "returned": across(returns[:, at].tolist())}
    return row


def _add_baselines(walk: WalkForward, equity: Table, rows: list[dict[str, Any]]) -> None:
    for name in walk.settings.backtest.baselines:
        for row, value in zip(rows, segment_returns(walk, equity[name]), strict=True):
            row.setdefault("baselines", {})[name] = value


def against_baselines(walk: WalkForward, tests: Tests, median: int) -> list[dict[str, Any]]:
    """Return one row for each baseline: the agent against it over seeds, and over dates.

    Over seeds, Sharpe ratios are paired seed by seed; over dates, the returns of the median seed and
    the baseline day by day. "Better" needs both intervals above zero.
    """
    equity = RunFolder(walk.record(AGENT, median)).part("equity")
    periods = tests[AGENT][0]["metrics"]["conventions"]["periods"]
    return [_against(tests, name, equity, periods) for name in walk.settings.backtest.baselines]


def _against(tests: Tests, name: str, equity: Table, periods: int) -> dict[str, Any]:
    ours = [test["metrics"]["agent"][PAIRED] for test in tests[AGENT]]
    theirs = [test["metrics"]["baselines"][name][PAIRED] for test in tests[AGENT]]
    row: dict[str, Any] = {"account": name, "seeds": None, "dates": None, "verdict": None}
    if None in theirs:
        return row | {"why": _reason(tests, name)}
    try:
        pairs = np.array(ours, dtype=np.float64), np.array(theirs, dtype=np.float64)
        row["seeds"] = asdict(compare(*pairs))
        over = apart(returns_of(equity["agent"]), returns_of(equity[name]), periods)
    except NotComputable as error:
        return row | {"why": str(error)}
    said = in_words(*row["seeds"]["interval"])
    row["dates"] = asdict(over)
    return row | {"verdict": said if said == over.verdict else EQUAL, "why": ""}


def _reason(tests: Tests, name: str) -> str:
    # Why a baseline has no Sharpe ratio, as its metrics say.
    each = (test["metrics"].get("reasons", {}).get(name, {}) for test in tests[AGENT])
    return next((str(found[PAIRED]) for found in each if PAIRED in found), "not known")
