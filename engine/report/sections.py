"""The tables of the page: rows of text and numbers, ready to be set.

Nothing is measured here that `engine.metrics` measures; this only arranges and compounds by month.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from engine import measures
from engine.metrics import BY_KEY, CATALOGUE, Metric
from engine.reasons import TEXT, Reason
from engine.report.folder import Run, Table
from engine.report.formats import definition, percent, plain_name, shown
from engine.round_trips import Events, Fills, round_trips

KEY_METRICS = (
    "total_return", "cagr", "volatility", "sharpe", "sortino", "max_drawdown", "calmar",
    "psr", "gross_exposure", "turnover", "trades", "hit_rate", "total_costs",
)  # fmt: skip
MONTH_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MAX_LEVELS = 12  # more exposures than this are a continuum
MAX_ROWS = 500  # of a list on the page; the CSV has all of them


def listed(symbols: Sequence[str], shown_of: int = 12) -> str:
    """Return the first symbols in words."""
    more = len(symbols) - shown_of
    told = ", ".join(str(symbol) for symbol in symbols[:shown_of])
    return told + (f" and {more} more" if more > 0 else "")


def accounts(run: Run) -> dict[str, Mapping[str, Any]]:
    """Return the metrics of each account by name: the agent, its benchmark, the other baselines."""
    baselines = run.metrics.get("baselines", {})
    first = run.metrics.get("conventions", {}).get("benchmark")
    ordered = sorted(baselines, key=lambda name: name != first)
    return {"agent": run.metrics.get("agent", {})} | {name: baselines[name] for name in ordered}


def metric_rows(run: Run, keys: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
    """Return one row per metric: name, definition, a cell for each account, and why any is n/a."""
    chosen = [BY_KEY[key] for key in keys] if keys else list(CATALOGUE)
    return [_metric_row(run, metric) for metric in chosen]


def _metric_row(run: Run, metric: Metric) -> dict[str, Any]:
    cells, reasons = [], Counter[str]()
    for name, values in accounts(run).items():
        value = values.get(metric.key)
        cells.append(shown(value, metric.unit))
        if value is None:
            known = run.metrics.get("reasons", {}).get(name, {})
            reasons[known.get(metric.key, "not recorded by this run")] += 1
    conventions = run.metrics.get("conventions", {})
    return {
        "name": metric.name,
        "group": metric.group,
        "definition": definition(metric, conventions),
        "cells": cells,
        "reasons": list(reasons),
    }


def monthly(run: Run) -> dict[str, Any]:
    """Return compounded returns by month and year of the agent, the year beside the benchmark's."""
    return months(run.equity, run.metrics.get("conventions", {}).get("benchmark"))


def months(equity: Table, benchmark: str | None) -> dict[str, Any]:
    """Return the same of any table of curves that has an agent."""
    sessions, rows = equity["session"], []
    by_month = _compounded(sessions, equity["agent"], "M")
    ours = _compounded(sessions, equity["agent"], "Y")
    theirs = _compounded(sessions, equity[benchmark], "Y") if benchmark in equity else {}
    for year, value in ours.items():
        each = [by_month.get(f"{year}-{month:02d}") for month in range(1, 13)]
        rows.append({"year": year, "months": each, "total": value, "rival": theirs.get(year)})
    return {"months": MONTH_NAMES, "rows": rows, "benchmark": plain_name(benchmark or "")}


def _compounded(sessions: np.ndarray, equity: np.ndarray, unit: str) -> dict[str, float]:
    # The first row is the start, so the first period begins there.
    period = sessions.astype(f"datetime64[{unit}]")
    last = np.append(np.flatnonzero(period[1:] != period[:-1]), len(period) - 1)
    last = last[last > 0]
    before = np.concatenate([[0], last[:-1]])
    values = equity[last] / equity[before] - 1.0
    return dict(zip(period[last].astype(str).tolist(), values.tolist(), strict=True))


def drawdown_rows(equity: Table, count: int = 5) -> list[dict[str, Any]]:
    """Return the agent's deepest drawdowns with their dates."""
    days = equity["session"].astype(str)
    return [
        {
            "depth": percent(drop.depth),
            "peak": days[drop.peak],
            "trough": days[drop.trough],
            "end": "not yet" if drop.end is None else days[drop.end],
            "bars": drop.bars,
        }
        for drop in measures.drawdowns(equity["agent"])[:count]
    ]


def cost_rows(run: Run) -> list[list[str]]:
    """Return what each account paid, by kind, in all, and as a share of its gross profit."""
    keys = ("commission", "regulatory_fees", "slippage", "total_costs", "cost_share")
    return [
        [plain_name(name), *(shown(values.get(key), BY_KEY[key].unit) for key in keys)]
        for name, values in accounts(run).items()
    ]


def refusal_counts(run: Run) -> list[tuple[str, int]]:
    """Return how often each reason was given, the commonest first."""
    return Counter(run.refusals["reason"].tolist()).most_common()


def refusal_rows(run: Run) -> list[tuple[str, ...]]:
    """Return the first refusals: session, symbol, quantity, reason."""
    return list(_rows(run.refusals, ("session", "symbol", "qty", "reason")))


def trip_rows(run: Run) -> list[dict[str, Any]]:
    """Return the agent's closed round trips, newest first."""
    paid = bool(run.metrics.get("conventions", {}).get("dividends_paid", False))
    fills, events = Fills.from_columns(run.trades), Events.from_columns(run.events)
    trips, _ = round_trips(fills, run.equity["session"], events, paid)
    return [
        {
            "symbol": trip.symbol,
            "side": "long" if trip.side > 0 else "short",
            "opened": str(trip.opened),
            "closed": str(trip.closed),
            "bars": trip.bars,
            "qty": f"{trip.qty:,.10g}",
            "entry": f"{trip.entry:,.2f}",
            "exit": f"{trip.exit:,.2f}",
            "profit": shown(trip.profit, "money"),
            "gain": percent(trip.gain),
            "won": trip.profit > 0,
        }
        for trip in reversed(trips[-MAX_ROWS:])
    ]


def action_mix(run: Run) -> dict[str, Any]:
    """Return what the agent asked for: shares by kind, for all symbols and for each.

    A wish is short, flat or long by its exposure; keep outranks all of them. Where it chose among a
    few exposures, they are the kinds, and one that the no-trade band kept counts as chosen.
    """
    kind, kinds, classes = _kinds_of(run)
    symbols = run.actions["symbol"]
    names = list(dict.fromkeys(symbols.tolist()))
    count = len(kinds)
    shares = {"All": _shares(kind, count)}
    shares |= {name: _shares(kind[symbols == name], count) for name in names}
    changed = [kind[symbols == name][1:] != kind[symbols == name][:-1] for name in names]
    together = np.concatenate(changed) if changed else np.empty(0)
    positive = [share for share in shares["All"] if share > 0]
    return {
        "kinds": kinds,
        "classes": classes,
        "shares": shares if len(names) > 1 else {"All": shares["All"]},
        "changed": float(together.mean()) if len(together) else None,
        "entropy": -sum(share * float(np.log2(share)) for share in positive) + 0.0,
        "bits": float(np.log2(count)),
        "count": len(kind),
    }


def _kinds_of(run: Run) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...]]:
    # The kind of every wish by number, the names of the kinds, and how the page colours them.
    exposure, keep = run.actions["exposure"], run.actions["keep"]
    banded = np.char.find(run.actions["reasons"].astype(str), TEXT[Reason.BAND]) >= 0
    chosen = ~keep | banded
    levels = np.unique(exposure[chosen])
    if len(levels) > MAX_LEVELS or np.isin(levels, (-1.0, 0.0, 1.0)).all():
        kind = np.where(keep, 3, np.where(exposure > 0, 2, np.where(exposure < 0, 0, 1)))
        names = ("short", "flat", "long", "keep")
        return kind, names, names
    kind = np.where(chosen, np.searchsorted(levels, exposure), len(levels))
    sides = [("short", "flat", "long")[int(np.sign(level)) + 1] for level in levels]
    depth = [f"q{int(np.ceil(4 * min(abs(level), 1.0)))}" for level in levels]
    classes = [f"{side} {q}" for side, q in zip(sides, depth, strict=True)]
    return kind, (*(f"{100 * x:g}\u00a0%" for x in levels), "keep"), (*classes, "keep")


def _shares(kind: np.ndarray, kinds: int) -> list[float]:
    counts = np.bincount(kind, minlength=kinds)
    return [float(count) / max(len(kind), 1) for count in counts]


def flat_settings(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every setting as dotted key and text."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat_settings(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            yield f"{prefix}{key}", text


def _rows(table: Table, keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for i in range(min(len(table["session"]), MAX_ROWS)):
        yield tuple(
            f"{table[key][i]:,.10g}" if table[key].dtype.kind == "f" else str(table[key][i])
            for key in keys
        )
