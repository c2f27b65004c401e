"""A run folder made from a seeded random walk: a market, an account that trades it, baselines."""

from pathlib import Path

import numpy as np

from engine.account import Account, Conventions
from engine.evidence import Tally, evidence_of
from engine.metrics import summarise
from engine.report.folder import RunFolder, stacked
from engine.round_trips import Events, Fills

SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
CASH = 100_000.0
SLIPPAGE, RATE = 0.0005, 0.001


def sessions(count):
    """Return weekdays from 2010-01-04 on."""
    days = np.arange("2010-01-04", "2022-01-01", dtype="datetime64[D]")
    return days[np.is_busday(days)][:count]


def market(days, rng):
    """Return raw open, high, low, close (T, N), traded, and the split of the first symbol."""
    shape = (len(days), len(SYMBOLS))
    steps = 0.0004 + 0.012 * rng.standard_t(5, shape) / np.sqrt(5 / 3)
    steps += 0.006 * rng.standard_normal((len(days), 1))
    close = np.array([210.0, 310.0, 130.0, 30.0]) * np.exp(np.cumsum(steps, axis=0))
    split = np.ones(shape)
    split[len(days) // 2, 0] = 7.0
    close /= np.cumprod(split, axis=0)
    before = np.vstack([close[:1], close[:-1]]) / split
    opened = before * np.exp(0.004 * rng.standard_normal(shape))
    wick = 1 + 0.006 * rng.random(shape)
    high, low = np.maximum(opened, close) * wick, np.minimum(opened, close) / wick
    traded = np.ones(shape, dtype=bool)
    traded[: len(days) // 6, 1] = False  # listed late
    traded[100, 2] = False  # a day without a bar
    return opened, high, low, close, traded, split


def account(days, prices, wanted):
    """Trade `wanted` (T, N) weights, decided at each close, filled at the next open."""
    opened, _, _, close, traded, split = prices
    cash, qty = CASH, np.zeros(len(SYMBOLS))
    equity, weights, rows, last = [CASH], [np.zeros(len(SYMBOLS))], [], close[0]
    for t in range(1, len(days)):
        qty = qty * split[t]
        last = last / split[t]
        for n in range(len(SYMBOLS)):
            target = np.trunc(wanted[t - 1, n] * equity[-1] / last[n]) if traded[t, n] else qty[n]
            change = target - qty[n]
            if abs(change) * last[n] < 0.02 * equity[-1]:
                continue
            price = opened[t, n] * (1 + SLIPPAGE * np.sign(change))
            fee = RATE * abs(change) * price
            slippage = abs(change * opened[t, n]) * SLIPPAGE
            cash -= change * price + fee
            qty[n] = target
            rows.append((days[t], SYMBOLS[n], change, price, fee, slippage))
        last = np.where(traded[t], close[t], last)
        equity.append(cash + float(qty @ last))
        weights.append(qty * last / equity[-1])
    names = ("session", "symbol", "qty", "price", "fee", "slippage")
    columns = zip(*rows, strict=True) if rows else [[]] * 6
    trades = {name: np.array(column) for name, column in zip(names, columns, strict=True)}
    trades["session"] = trades["session"].astype("datetime64[D]")
    return np.array(equity), np.array(weights), trades


def wishes(days, rng):
    """Return what a restless agent wants: (T, N) weights, 0 or a quarter, kept for weeks."""
    held = rng.random((len(days) // 12 + 1, len(SYMBOLS))) < 0.6
    return np.repeat(held, 12, axis=0)[: len(days)] * 0.25


def write(path: Path, count: int = 760, seed: int = 11, title: str = "Demo agent on four stocks"):
    """Write the whole run folder and return its path."""
    rng = np.random.default_rng(seed)
    days = sessions(count)
    prices = market(days, rng)
    plans = plans_of(days, rng)
    done = {name: account(days, prices, plan) for name, plan in plans.items()}
    opened, high, low, close, traded, split = prices
    events = stacked(days, SYMBOLS, split != 1, split=split, dividend=0.0)
    held = done["agent"][1]
    RunFolder(path).write(
        **paperwork(days, title, done["agent"][0]),
        metrics=measured(days, done, events),
        equity={"session": days} | {name: curve for name, (curve, _, _) in done.items()},
        exposure={"session": days, "gross": abs(held).sum(1), "net": held.sum(1)}
        | {symbol: held[:, n] for n, symbol in enumerate(SYMBOLS)},
        bars=stacked(days, SYMBOLS, traded, open=opened, high=high, low=low, close=close, traded=1),
        trades=done["agent"][2],
        events=events,
        refusals=refusals(days, rng),
        actions=actions(days, plans["agent"]),
    )
    return path


def plans_of(days, rng):
    """Return what each account wants: (T, N) weights by name."""
    wanted = wishes(days, rng)
    return {
        "agent": wanted,
        "flat": np.zeros_like(wanted),
        "buy_and_hold": np.full_like(wanted, 0.24),
        "equal_weight_monthly": np.full_like(wanted, 0.2),
        "sma_cross": wishes(days, rng),
        "momentum_12_1": wishes(days, rng) * 1.2,
        "random": wishes(days, rng),
    }


def measured(days, done, events):
    """Return metrics.json of every account."""
    accounts = {
        name: Account(equity, abs(held).sum(1), held.sum(1), Fills.from_columns(trades))
        for name, (equity, held, trades) in done.items()
    }
    agent = accounts.pop("agent")
    return summarise(days, agent, accounts, Events.from_columns(events), Conventions())


def refusals(days, rng):
    """Return a few refusals of two kinds."""
    shape = (len(days), len(SYMBOLS))
    why = np.where(
        rng.random(shape) < 0.7,
        "cut or refused: more than the buying power at acceptance",
        "refused at the fill: the cash does not pay for it",
    )
    return stacked(days, SYMBOLS, rng.random(shape) < 0.012, reason=why, qty=-37.0)


def actions(days, wanted):
    """Return the agent's wishes as it would say them: keep where nothing changes."""
    keep = np.vstack([np.zeros((1, len(SYMBOLS)), dtype=bool), wanted[1:] == wanted[:-1]])
    return stacked(days, SYMBOLS, exposure=wanted * 4, keep=keep, target=wanted, reasons="")


def proven(equity):
    """Return what the account proves after a dozen checkpoints were looked at."""
    choice = 0.01 * np.random.default_rng(3).standard_normal((400, 12))
    tried = Tally(4, 15, 13.5, 14, 0.03**2, 0, choice, ("2008-01-02", "2009-08-05"))
    return evidence_of(equity, tried)


def paperwork(days, title, equity):
    """Return settings, versions, data and summary."""
    return {
        "settings": {
            "name": "demo",
            "data": {"source": "sample", "symbols": list(SYMBOLS), "calendar": "XNYS"},
            "venue": {"fill": "open", "account": "margin", "leverage": 2.0},
            "costs": {"rate": RATE, "slippage_bps": 1e4 * SLIPPAGE},
            "backtest": {"cash": CASH},
        },
        "versions": {"python": "3.11.7", "numpy": np.__version__, "barwise": "0.1.0"},
        "data": {
            "digest": "5f2c" * 16,
            "symbols": list(SYMBOLS),
            "start": days[0],
            "end": days[-1],
            "price_basis": "raw",
            "source": "made from a random walk",
            "notes": [f"AAPL: split 7 for 1 on {days[len(days) // 2]}", "IBM: 1 bar is missing"],
        },
        "summary": {
            "name": "demo",
            "title": title,
            "agent": "ppo-lstm, 64 units, 4a1f09",
            "seed": 7,
            "costs": "0.1 % of value and 5 bps slippage per side",
            "fill": "market orders at the next open",
            "warnings": [],
            "evidence": proven(equity),
            "checks": [
                {"name": "look-ahead", "passed": True, "text": "200 dates, no decision moved"},
                "parity with the plain replay: equal",
            ],
        },
    }


FOUR_DAYS = np.array(
    ["2020-01-30", "2020-01-31", "2020-02-28", "2021-01-04"], dtype="datetime64[D]"
)


def small(path, agent=(100.0, 110.0, 99.0, 108.9), **parts):
    """Write a run of four sessions; `parts` replace or add."""
    rival = np.array([100.0, 101.0, 102.0, 103.02])
    agent = np.array(agent)
    found = summarise(FOUR_DAYS, Account(agent), {"buy_and_hold": Account(rival)})
    equity = {"session": FOUR_DAYS, "agent": agent, "buy_and_hold": rival}
    RunFolder(path).write(**{"metrics": found, "equity": equity, "summary": {"name": "x"}, **parts})
    return RunFolder(path)
