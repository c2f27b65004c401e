"""What the charts draw, as plain lists: one JSON object inside the page. No number is made here."""

from typing import Any

import numpy as np

from engine.measures import drawdown_curve
from engine.report.folder import Run, Table
from engine.report.formats import plain_name

MAX_CANDLES = 30_000  # more bars than this are drawn as closes, to keep the page small


def chart_data(run: Run) -> dict[str, Any]:
    """Return the curves, exposure, prices and marks that the page's script reads."""
    sessions = run.equity["session"].astype(str).tolist()
    return {
        "sessions": sessions,
        "curves": [_curve(run, name) for name in _order(run)],
        "exposure": exposure_data(run.exposure, sessions),
        "days": np.unique(run.bars["session"]).astype(str).tolist(),
        "prices": _prices(run),
    }


def role_of(run: Run, name: str) -> str:
    """Return whether a curve is the agent, its benchmark, or another baseline."""
    benchmark = run.metrics.get("conventions", {}).get("benchmark")
    return {"agent": "agent", benchmark: "benchmark"}.get(name, "other")


def _order(run: Run) -> list[str]:
    # Colours go by position, so the agent and its benchmark look the same on every page.
    names = [name for name in run.equity if name != "session"]
    return sorted(names, key=lambda name: ("agent", "benchmark", "other").index(role_of(run, name)))


def _curve(run: Run, name: str) -> dict[str, Any]:
    return curve_data(plain_name(name), role_of(run, name), run.equity[name])


def curve_data(name: str, role: str, equity: np.ndarray) -> dict[str, Any]:
    """Return one curve with its drawdown, as the script draws it."""
    return {
        "name": name,
        "role": role,
        "equity": _short(equity, 2),
        "drawdown": _short(100 * drawdown_curve(equity), 3),
    }


def line_data(name: str, equity: np.ndarray, **how: Any) -> dict[str, Any]:
    """Return one curve without a drawdown; `how`: group, shade or dashed, as the script reads them."""
    return {"name": name, "role": "other", "equity": _short(equity, 2), **how}


def exposure_data(exposure: Table, sessions: list[str]) -> dict[str, list[Any]]:
    """Return gross and net exposure in percent at these sessions.

    The chart shares its time axis with the equity curve, so both have the same sessions.
    """
    rows = {day: i for i, day in enumerate(exposure["session"].astype(str).tolist())}
    if not rows:
        return {}
    order = [rows.get(day, -1) for day in sessions]
    found = {}
    for name in ("gross", "net"):
        values = _short(100 * exposure[name], 2)
        found[name] = [values[i] if i >= 0 else None for i in order]
    return found


def _prices(run: Run) -> list[dict[str, Any]]:
    bars, days = run.bars, np.unique(run.bars["session"])
    few = len(bars["session"]) <= MAX_CANDLES
    fields = ("open", "high", "low", "close") if few else ("close",)
    found = []
    for symbol in dict.fromkeys(bars["symbol"].tolist()):
        mine = (bars["symbol"] == symbol) & bars["traded"]
        entry: dict[str, Any] = {"symbol": symbol}
        entry["day"] = np.searchsorted(days, bars["session"][mine]).tolist()
        entry |= {field: _significant(bars[field][mine]) for field in fields}
        entry["fills"] = _fills(run, symbol, days)
        entry["splits"] = _splits(run, symbol, days)
        found.append(entry)
    return found


def _fills(run: Run, symbol: str, days: np.ndarray) -> list[list[float]]:
    mine = run.trades["symbol"] == symbol
    day = np.searchsorted(days, run.trades["session"][mine]).tolist()
    qty, price = _short(run.trades["qty"][mine], 4), _significant(run.trades["price"][mine])
    return [list(row) for row in zip(day, qty, price, strict=True)]


def _splits(run: Run, symbol: str, days: np.ndarray) -> list[list[float]]:
    mine = (run.events["symbol"] == symbol) & (run.events["split"] != 1.0)
    inside = mine & np.isin(run.events["session"], days)
    day = np.searchsorted(days, run.events["session"][inside]).tolist()
    ratio = _significant(run.events["split"][inside])
    return [list(row) for row in zip(day, ratio, strict=True)]


def _short(values: np.ndarray, digits: int) -> list[Any]:
    rounded = (np.round(values, digits) + 0.0).tolist()
    return [None if value != value else value for value in rounded]


def _significant(values: np.ndarray) -> list[Any]:
    # Six digits show a price of any size to better than a pixel.
    return [None if value != value else float(f"{value:.6g}") for value in values.tolist()]
