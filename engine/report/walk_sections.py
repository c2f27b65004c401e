"""The tables of a walk-forward's page: rows of text, ready to be set. No number is made here."""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.metrics import BY_KEY
from engine.report.formats import NOT_AVAILABLE, PERCENT, definition, percent, plain_name, shown
from engine.report.walk import AGENT, TWIN, Walk

NAMES = {AGENT: "Agent", TWIN: "Twin, no memory"}
SEED_METRICS = (
    "total_return", "cagr", "sharpe", "max_drawdown", "gross_exposure", "turnover", "trades",
    "total_costs",
)  # fmt: skip


def name_of(account: str) -> str:
    """Return an account's name as people read it."""
    return NAMES.get(account, plain_name(account))


def span_of(interval: Sequence[float] | None, unit: str) -> str:
    """Return an interval with its unit, or a dash where there is none."""
    if interval is None:
        return "\u2013"
    low, high = (shown(value, unit) for value in interval)
    return f"{low.removesuffix(PERCENT)} to {high}"


def columns(walk: Walk) -> list[tuple[str, str]]:
    """Return the heads of the table of accounts with their roles; what learned has an interval."""
    heads = []
    for account in walk.summary["accounts"]:
        role = {AGENT: "agent", walk.benchmark: "benchmark"}.get(account, "other")
        heads.append((name_of(account), role))
        if account in NAMES:
            heads.append(("95 % interval", role))
    return heads


def account_rows(walk: Walk) -> list[dict[str, Any]]:
    """Return one row per metric: over seeds for what learned, with its interval."""
    accounts, conventions = walk.summary["accounts"], walk.summary["conventions"]
    rows = []
    for key in accounts[AGENT]:
        metric, cells, reasons = BY_KEY[key], list[str](), dict[str, None]()
        for account, values in accounts.items():
            cells.append(shown(values[key]["mean"], metric.unit))
            if account in NAMES:
                cells.append(span_of(values[key]["interval"], metric.unit))
            if values[key]["why"] and (account in NAMES or values[key]["mean"] is None):
                reasons[values[key]["why"]] = None
        told = definition(metric, conventions)
        rows.append(
            {"name": metric.name, "group": metric.group, "definition": told}
            | {"cells": cells, "reasons": list(reasons)}
        )
    return rows


def rival_rows(walk: Walk) -> list[list[str]]:
    """Return the agent against its twin and each baseline, by difference of Sharpe ratios."""
    rows = []
    if pair := walk.summary.get("twin"):
        told = pair["verdict"] or f"cannot be told: {pair['why']}"
        rows.append([NAMES[TWIN], *_paired(pair if pair["verdict"] else None), "\u2013", told])
    for rival in walk.summary["rivals"]:
        told = rival["verdict"] or f"cannot be told: {rival['why']}"
        dates = span_of(rival["dates"]["interval"], "ratio") if rival["dates"] else "\u2013"
        rows.append([name_of(rival["account"]), *_paired(rival["seeds"]), dates, told])
    return rows


def twin_words(pair: Mapping[str, Any]) -> str:
    """Return the sentence on agent and memoryless twin, from their paired interval alone."""
    if pair["verdict"] is None:
        return f"Agent against its memoryless twin: cannot be told, {pair['why']}."
    low, high = pair["interval"]
    weights = " and ".join(f"{count:,}" for count in pair["weights"].values())
    return (
        f"The agent {_VERDICTS.get(pair['verdict'], pair['verdict'])}: {pair['by']} ratio "
        f"{pair['difference']:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}, better in "
        f"{100 * pair['improvement']:.0f} % of pairs ({weights} weights)."
    )


_VERDICTS = {
    "no evidence that memory helps": "against its twin: no evidence that memory helps",
    "worse than its twin": "is worse than its twin",
}


def _paired(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return [NOT_AVAILABLE, "\u2013", "\u2013"]
    better = percent(found["improvement"], 0)
    return [f"{found['difference']:+.2f}", span_of(found["interval"], "ratio"), better]


def seed_heads(walk: Walk) -> list[str]:
    """Return the heads of the table of seeds."""
    heads = [BY_KEY[key].name for key in SEED_METRICS]
    return ["Seed", *heads, *(["Sharpe of its twin"] if TWIN in walk.curves else [])]


def seed_rows(walk: Walk) -> list[list[str]]:
    """Return every seed's numbers, then the interquartile mean and its interval."""
    agent, twin = walk.summary["accounts"][AGENT], walk.summary["accounts"].get(TWIN)
    rows = []
    for at, seed in enumerate(walk.summary["seeds"]):
        cells = [shown(agent[key]["by_seed"][at], BY_KEY[key].unit) for key in SEED_METRICS]
        cells += [shown(twin["sharpe"]["by_seed"][at], "ratio")] if twin else []
        rows.append([f"{seed} (median)" if seed == walk.median else str(seed), *cells])
    for name, show in (("IQM", _mean), ("95 % interval", _interval)):
        cells = [show(agent, key) for key in SEED_METRICS]
        rows.append([name, *cells, *([show(twin, "sharpe")] if twin else [])])
    return rows


def _mean(account: Mapping[str, Any], key: str) -> str:
    return shown(account[key]["mean"], BY_KEY[key].unit)


def _interval(account: Mapping[str, Any], key: str) -> str:
    return span_of(account[key]["interval"], BY_KEY[key].unit)


def strip(walk: Walk) -> dict[str, Any]:
    """Return the Sharpe ratio of every seed as places on one line, baselines beside them.

    Units: `at` in percent of the line's width.
    """
    accounts = walk.summary["accounts"]
    values = [
        value
        for account, found in accounts.items()
        for value in _dots(account, found)
        if value is not None
    ]
    if not values:
        return {"rows": [], "low": "", "high": ""}
    low, high = min(values), max(values)
    width = (high - low) or 1.0
    rows = []
    for account, found in accounts.items():
        dots = [value for value in _dots(account, found) if value is not None]
        places = [
            {"at": f"{100 * (value - low) / width:.2f}", "text": f"{value:.2f}"} for value in dots
        ]
        mean = found["sharpe"]["mean"]
        middle = None if mean is None else f"{100 * (mean - low) / width:.2f}"
        role = {AGENT: "agent", walk.benchmark: "benchmark"}.get(account, "other")
        rows.append(
            {"name": name_of(account), "role": role, "dots": places, "middle": middle}
            | {"text": shown(mean, "ratio")}
        )
    return {"rows": rows, "low": f"{low:.2f}", "high": f"{high:.2f}"}


def _dots(account: str, found: Mapping[str, Any]) -> list[float | None]:
    # A baseline that does the same for every seed is one dot.
    values = found["sharpe"]["by_seed"]
    return list(values) if account in NAMES else list(dict.fromkeys(values))


def window_heads(walk: Walk) -> list[str]:
    """Return the heads of the table of windows."""
    twin = ["Twin"] if TWIN in walk.curves else []
    heads = ["Window", "Tested", "Return", "95 % interval", *twin, name_of(walk.benchmark)]
    return [*heads, "Validation score", "Trained", "Validated"]


def window_rows(walk: Walk) -> list[list[str]]:
    """Return every window: what the test earned, what validation chose, and its dates."""
    rows = []
    for row in walk.summary["by_window"]:
        tested, *before = (f"{row[f'{part}_start']} to {row[f'{part}_end']}" for part in _PARTS)
        agent, twin = row[AGENT], row.get(TWIN)
        cells = [*_returned(agent), *([_returned(twin)[0]] if twin else [])]
        cells.append(shown(row.get("baselines", {}).get(walk.benchmark), "percent"))
        cells.append(shown(agent["validation"]["mean"], "ratio"))
        mark = f"{row['window']} (short)" if row["short"] else str(row["window"])
        rows.append([mark, tested, *cells, *before])
    found = walk.summary["window_returns"]
    own = [shown(found[AGENT]["mean"], "percent"), span_of(found[AGENT]["interval"], "percent")]
    own += [shown(found[TWIN]["mean"], "percent")] if TWIN in found else []
    return [*rows, ["IQM", "", *own, "", "", "", ""]]


_PARTS = ("test", "train", "validation")


def _returned(found: Mapping[str, Any]) -> list[str]:
    returned = found["returned"]
    return [shown(returned["mean"], "percent"), span_of(returned["interval"], "percent")]


def sweep(walk: Walk, key: str) -> dict[str, Any]:
    """Return one metric of every account at every cost: heads and rows."""
    swept = walk.summary["costs_swept"]
    costs = list(dict.fromkeys(row["bps"] for row in swept))
    found = {(row["account"], row["bps"]): row[key]["mean"] for row in swept}
    rows = [
        [name_of(account), *(shown(found.get((account, bps)), BY_KEY[key].unit) for bps in costs)]
        for account in walk.summary["accounts"]
    ]
    return {"heads": ["Account", *(f"{bps:g} bp" for bps in costs)], "rows": rows}
