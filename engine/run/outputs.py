"""From a recorded run to the tables and records of its run folder."""

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from engine import VERSION
from engine.account import Account, Conventions
from engine.bars import CLOSE, HIGH, LOW, OPEN, Bars
from engine.costs import Costs
from engine.metrics import summarise
from engine.reasons import explain
from engine.report.folder import TABLES, RunFolder, stacked
from engine.round_trips import FLAT, Events, Fills
from engine.run.record import Recorder, refusals
from engine.settings import Settings


def write_run(
    folder: RunFolder,
    settings: Settings,
    bars: Bars,
    agent: Recorder,
    baselines: Mapping[str, Recorder],
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    """Write every part of a run folder and return its metrics."""
    sessions = np.array(agent.sessions, dtype="datetime64[D]")[: agent.complete()]
    tested = bars.between(sessions[0], sessions[-1])
    fills = fills_of(agent, tested, settings.costs)
    metrics = metrics_of(settings, bars, agent, baselines)
    rows = agent.arrays()
    folder.write(
        settings=settings.model_dump(mode="json"),
        versions=versions(),
        data=describe_data(bars, tested),
        metrics=metrics,
        equity=_equity(sessions, agent, baselines),
        exposure=_exposure(sessions, rows, tested.symbols),
        bars=_bars(tested),
        trades={name: getattr(fills, name) for name in _FILL_COLUMNS},
        events=_events(tested),
        refusals=_refusals(agent, tested.symbols),
        actions=_actions(agent, tested.symbols),
        summary=dict(summary) | {"settled": settlements(agent, tested.symbols)},
    )
    return metrics


def metrics_of(
    settings: Settings, bars: Bars, agent: Recorder, baselines: Mapping[str, Recorder]
) -> dict[str, Any]:
    """Return metrics.json of records over the same bars: every metric of the agent and baselines."""
    sessions = np.array(agent.sessions, dtype="datetime64[D]")[: agent.complete()]
    tested = bars.between(sessions[0], sessions[-1])
    return summarise(
        sessions,
        _account(agent, tested, settings.costs),
        {name: _account(rec, tested, settings.costs) for name, rec in baselines.items()},
        Events.from_columns(_events(tested)),
        Conventions(benchmark=_benchmark(baselines), dividends_paid=settings.venue.pay_dividends),
    )


def _benchmark(baselines: Mapping[str, Recorder]) -> str:
    # It may carry a number: buy_and_hold(30).
    plain = Conventions().benchmark
    return next((name for name in baselines if name.partition("(")[0] == plain), plain)


_FILL_COLUMNS = ("session", "symbol", "qty", "price", "fee", "slippage", "regulatory")


def fills_of(record: Recorder, bars: Bars, costs: Costs) -> Fills:
    """Return everything that changed hands, settlements and split fractions included."""
    rows = record.arrays()
    filled, settled, qty = rows["filled"], -rows["settled"], rows["qty"]  # what is closed leaves
    before = np.vstack((np.zeros((1, qty.shape[1])), qty[:-1])) * bars.split
    rest = qty - before - filled - settled
    last = np.vstack((np.zeros((1, qty.shape[1])), rows["mark"][:-1])) / bars.split
    none = np.zeros_like(qty)
    parts = [
        _rows(np.where(np.abs(rest) > FLAT, rest, 0.0), last, none, 0.0),
        _rows(filled, rows["price"], rows["fee"], costs.slippage_bps * 1e-4),
        _rows(settled, rows["mark"], none, 0.0),
    ]
    at, symbol, moved, price, fee, slip = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    order = np.argsort(at, kind="stable")
    at, symbol, moved, price, fee, slip = (x[order] for x in (at, symbol, moved, price, fee, slip))
    plain = price / (1.0 + np.sign(moved) * slip)
    return Fills(
        session=bars.sessions[at],
        symbol=np.array(bars.symbols)[symbol],
        qty=moved,
        price=price,
        fee=fee,
        slippage=np.abs(moved * (price - plain)),
        regulatory=np.minimum(costs.parts(moved, price, bars.sessions[at]).regulatory, fee),
    )


def _rows(
    moved: np.ndarray, price: np.ndarray, fee: np.ndarray, slip: float
) -> tuple[np.ndarray, ...]:
    at, symbol = np.nonzero(moved)
    where = (at, symbol)
    return at, symbol, moved[where], price[where], fee[where], np.full(len(at), slip)


def _account(record: Recorder, bars: Bars, costs: Costs) -> Account:
    rows = record.arrays()
    weights = _weights(rows)
    return Account(
        equity=rows["equity"],
        gross=np.abs(weights).sum(axis=1),
        net=weights.sum(axis=1),
        fills=fills_of(record, bars, costs),
    )


def _weights(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    weights: np.ndarray = rows["qty"] * rows["mark"] / rows["equity"][:, None]
    return weights


def _equity(
    sessions: np.ndarray, agent: Recorder, baselines: Mapping[str, Recorder]
) -> dict[str, np.ndarray]:
    curves = {name: record.arrays()["equity"] for name, record in baselines.items()}
    return {"session": sessions, "agent": agent.arrays()["equity"], **curves}


def _exposure(
    sessions: np.ndarray, rows: Mapping[str, np.ndarray], symbols: tuple[str, ...]
) -> dict[str, np.ndarray]:
    weights = _weights(rows)
    columns = {symbol: weights[:, n] for n, symbol in enumerate(symbols)}
    gross, net = np.abs(weights).sum(axis=1), weights.sum(axis=1)
    return {"session": sessions, "gross": gross, "net": net, **columns}


def _bars(bars: Bars) -> dict[str, np.ndarray]:
    return stacked(
        bars.sessions,
        bars.symbols,
        open=bars.ohlcv[..., OPEN],
        high=bars.ohlcv[..., HIGH],
        low=bars.ohlcv[..., LOW],
        close=bars.ohlcv[..., CLOSE],
        traded=bars.traded,
    )


def _events(bars: Bars) -> dict[str, np.ndarray]:
    where = (bars.split != 1.0) | (bars.dividend != 0.0)
    return stacked(bars.sessions, bars.symbols, where, split=bars.split, dividend=bars.dividend)


def settlements(record: Recorder, symbols: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return every position that ended because its symbol stopped trading."""
    return [
        {
            "session": str(session),
            "symbol": symbols[n],
            "qty": float(row["settled"][n]),
            "price": float(row["mark"][n]),
        }
        for session, row in zip(record.sessions, record.rows, strict=True)
        for n in np.flatnonzero(row["settled"])
    ]


def _refusals(record: Recorder, symbols: tuple[str, ...]) -> dict[str, list[Any]]:
    found = [
        (str(session), symbols[n], text, qty)
        for session, row in zip(record.sessions, record.rows, strict=True)
        for n, bits, qty in refusals(row)
        for text in explain(bits)
    ]
    return {name: [row[i] for row in found] for i, name in enumerate(TABLES["refusals"])}


def _actions(record: Recorder, symbols: tuple[str, ...]) -> dict[str, np.ndarray]:
    rows = record.arrays()
    sessions = np.array(record.sessions, dtype="datetime64[D]")[: record.complete()]
    reasons = np.empty(rows["reasons"].shape, dtype=object)
    for at, n in np.ndindex(*reasons.shape):
        reasons[at, n] = "; ".join(explain(int(rows["reasons"][at, n])))
    return stacked(
        sessions,
        symbols,
        exposure=rows["exposure"],
        keep=rows["keep"],
        target=rows["target"],
        reasons=reasons,
    )


def describe_data(bars: Bars, tested: Bars | None = None) -> dict[str, Any]:
    """Return data.json: what the bars are, and the dates of the run (all of them by default)."""
    tested = tested or bars
    return {
        "digest": bars.digest(),
        "symbols": list(bars.symbols),
        "start": str(tested.sessions[0]),
        "end": str(tested.sessions[-1]),
        "price_basis": bars.price_basis,
        "source": bars.source,
        "notes": list(bars.notes),
    }


def versions() -> dict[str, str]:
    """Return the versions of everything that can move a result."""
    found = {"barwise": VERSION, "python": platform.python_version()}
    for name in ("numpy", "pandas", "torch", "onnxruntime", "backtrader", "exchange_calendars"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
