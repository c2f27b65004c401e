"""`barwise paper status`: what the journal and the health file say, without asking the venue."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from engine import clock as time
from engine.clock import SystemClock
from engine.errors import UsageError
from engine.hosts import is_loopback
from engine.journal import Entry, Journal
from engine.run.console import echo
from engine.run.paper.drift import said
from engine.run.paper.pickup import standing
from engine.run.paper.room import CALENDAR, JOURNAL, KILL
from engine.run.paper.state import State
from engine.run.schedule.health import read_health
from engine.settings import Settings

Result = dict[str, Any]


def status(settings: Settings, as_json: bool) -> Result:
    """Return and print how the account stands. Raises: UsageError where there is none yet."""
    folder = Path(settings.paper.state_dir)
    if not (folder / JOURNAL).exists():
        raise UsageError(
            f"{folder}: expected the journal of a paper account, found none; `barwise paper once` or "
            "`barwise paper run` opens the account"
        )
    state = State()
    with Journal(folder / JOURNAL) as journal:
        journal.verify()
        for entry in journal.entries():
            state.take(entry)
        halts = [entry.body["reason"] for entry in journal.entries("halted")]
        newest = list(journal.entries(after=state.number - 1))
    told = _told(settings, state, folder, _now(settings, newest))
    told["last_halt"] = halts[-1] if halts else None
    if not as_json:
        for name, value in told.items():
            echo(f"PAPER {name.replace('_', ' '):16} {_text(value)}")
    return told | {"exit_code": 1 if told["halted"] else 0}


def _told(settings: Settings, state: State, folder: Path, now: datetime) -> Result:
    from engine.run.retrain.beside import last_retraining

    opened = state.opened or {}
    symbols = opened.get("symbols", [])
    health = read_health(folder / "health.json") if (folder / "health.json").exists() else None
    upcoming = time.next_session(time.last_closed(now, CALENDAR), CALENDAR)
    kill = (folder / KILL).exists()
    return {
        "account": opened.get("number", "not opened yet"),
        "checkpoint": str(state.checkpoint)[:12] if state.checkpoint else None,
        "since": state.since or None,
        "promotion": standing(settings, state),
        "halted": "kill switch is on" if kill else state.halted,
        "decided": _day(state.decided),
        "closed": _day(state.closed),
        "missed": _day(state.skipped),
        "next_session": str(upcoming),
        "next_decision": _decision_at(settings, upcoming),
        "memory_age": _age(state, now),
        "positions": _positions(state, symbols),
        "orders": {
            x.cid: f"{x.status}, {x.left:g} left" for x in state.lines.values() if not x.over
        },
        "equity": state.decision.get("equity"),
        "venue_equity": state.decision.get("venue_equity"),
        "limits_used": _limits(settings, state),
        "drift": said(state.decision.get("drift")),
        "retraining": last_retraining(folder),
        "runner": f"{health.state} at {health.at.isoformat()}" if health else "never ran",
    }


def _now(settings: Settings, newest: list[Entry]) -> datetime:
    # An exchange on this machine lives at a time of its own: that of the last entry.
    if is_loopback(settings.paper.trading_url) and newest:
        return datetime.fromisoformat(newest[-1].body["at"])
    return SystemClock().now()


def _decision_at(settings: Settings, upcoming: np.datetime64) -> str:
    wait = timedelta(minutes=settings.paper.schedule.decide_after_close)
    return (time.closing(upcoming, CALENDAR) + wait).isoformat()


def _age(state: State, now: datetime) -> str:
    # Sessions that have closed since the memory last moved.
    if state.decided is None:
        return "no memory yet"
    last = time.last_closed(now, CALENDAR)
    since = time.sessions(CALENDAR, np.datetime64(state.decided) + 1, last)
    return f"{len(since)} sessions behind the newest close"


def _positions(state: State, symbols: list[str]) -> dict[str, float]:
    if state.book is None:
        return {}
    held = dict(zip(symbols, state.book.qty[0].tolist(), strict=True))
    for line in state.lines.values():
        held[line.intent.symbol] += sum(fill.qty for fill in line.fills[line.booked :])
    return {symbol: qty for symbol, qty in held.items() if qty}


def _limits(settings: Settings, state: State) -> dict[str, str]:
    if state.book is None or not state.decision:
        return {}
    equity, guards = float(state.book.equity()[0]), settings.paper.guards
    gross = float(np.abs(state.book.value()).sum()) / equity if equity > 0 else float("nan")
    used = {"gross": f"{gross:.1%} of {settings.limits.max_gross:.0%}"}
    if guards.max_drawdown is not None:
        used["drawdown"] = f"{1 - equity / state.peak:.1%} of {guards.max_drawdown:.0%}"
    if guards.max_orders is not None:
        count = sum(bool(x) for x in state.decision.get("orders", []))
        used["orders"] = f"{count} of {guards.max_orders}"
    return used


def _day(session: Any) -> str | None:
    return str(session) if session else None


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in value.items()
        )
    return (
        f"{value:,.2f}" if isinstance(value, float) else "-" if value in (None, "") else str(value)
    )
