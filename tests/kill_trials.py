"""Trials of death: an account against the exchange, killed where the trial says, until it is done.

The exchange lives here, in a thread; the runner is a process of its own (`tests.kill_runner`). Both
go by one clock, which stands still while nobody moves it. A trial returns all that can be seen from
outside afterwards: the exchange's own books, every request, the journal, how each life ended.
"""

import json
import os
import signal
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from brokers.exchange.exchange import Exchange
from brokers.exchange.faults import Faults, Rule, Seen
from brokers.exchange.server import serve
from engine import clock as time
from engine.bars import Bars
from engine.run.paper.room import CALENDAR, JOURNAL, LOCK
from engine.settings_paper import CHAMPION, ExchangeSettings
from tests.kill_points import POSTED
from tests.kill_runner import ASKED, OUTPUT, RESULTS, STRANGERS, End, Job, Runner
from tests.paper_account import sample_bars
from tests.registries import Change, changes_of
from tests.shared_clock import SharedClock

LIVES = 8  # a trial that is not done by then never will be
Kill = tuple[str, int]  # a kill point, and at which of its occurrences in that life
Arrange = Callable[[Exchange, str], object]  # gets the exchange and how our client ids begin


@dataclass(frozen=True)
class Scenario:
    """What a trial is about, besides where it dies."""

    seed: int
    bars: Bars
    start: date  # the first session decided on
    looks: tuple[datetime, ...]
    exchange: ExchangeSettings
    rules: tuple[Rule, ...] = ()
    arrange: Arrange | None = None
    read_timeout_s: float | None = None
    back: datetime | None = None  # nobody starts a dead runner before
    paper: dict[str, Any] = field(default_factory=dict)
    agents: tuple[Path, ...] = ()  # of a registry; its champion trades, the first one at first
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Sent:
    """One POST of an order as the exchange saw it arrive, before it did anything."""

    cid: str
    at: datetime
    durable: bool  # the journal on disk had its intent
    excess: str | None  # why the account would be past its limits with it


@dataclass
class Trial:
    """What came of it."""

    scenario: Scenario
    folder: Path
    ends: list[End]
    died_at: list[str]
    sent: list[Sent]
    log: list[Seen]
    books: dict[str, Any]
    account_id: str
    secret: str

    @property
    def journal(self) -> Path:
        """The file."""
        return self.folder / "account" / JOURNAL

    def told(self, name: str) -> list[dict[str, Any]]:
        """Return what the lives wrote down under one name, oldest first."""
        path = self.folder / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def results(self) -> list[dict[str, Any]]:
        """How each look ended."""
        return self.told(RESULTS)

    @property
    def asked(self) -> list[dict[str, Any]]:
        """Every time the policy was to decide: the session, and what was decided by then."""
        return self.told(ASKED)

    @property
    def strangers(self) -> list[dict[str, Any]]:
        """Connections to anything but the exchange."""
        return self.told(STRANGERS)

    @property
    def output(self) -> str:
        """Everything the runner printed."""
        return (self.folder / OUTPUT).read_text()

    def rows(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        """Return (session, body) of the journal's entries of one kind, read without our code."""
        with closing(sqlite3.connect(self.journal)) as file:
            query = "SELECT session, body FROM entries WHERE kind = ? ORDER BY id"
            return [(on, json.loads(body)) for on, body in file.execute(query, (kind,))]


@cache
def bars_of(symbols: tuple[str, ...]) -> Bars:
    """The bundled prices of some symbols."""
    return sample_bars().select(symbols)


def scenario_of(seed: int, partial: float | None = None, decisions: int = 2) -> Scenario:
    """Draw a scenario: symbols, sessions, looks, how orders fill and how the venue misbehaves.

    `partial` is the share of orders that fill in part first.
    """
    rng = np.random.default_rng([seed, 20_100])
    every = ("AAPL", "GOOG", "IBM", "MSFT")
    chosen = sorted(rng.choice(4, size=int(rng.integers(2, 5)), replace=False).tolist())
    bars = bars_of(tuple(every[n] for n in chosen))
    row = int(rng.integers(bars.index_of(date(2009, 6, 1)), bars.index_of(date(2012, 6, 1))))
    while (bars.split[row - 2 : row + 5] != 1.0).any():
        row += 5
    first, *after = (bars.sessions[row + n].item() for n in range(decisions + 1))
    looks = [moment_of(first, close=20)]
    for session in after:
        looks += [moment_of(session, open=minutes) for minutes in (-30, 5) if rng.random() < 0.5]
        looks += [moment_of(session, open=15)]
        looks += [moment_of(session, close=20)] if session != after[-1] else []
    share = (1.0 - 0.5 * (seed % 2)) if partial is None else partial
    settings = ExchangeSettings(
        seed=seed, spread_bps=float(rng.integers(0, 5)), partial_fills=share
    )
    window = bars.between(bars.sessions[row - 250], bars.sessions[row + 5])
    return Scenario(seed, window, first, tuple(looks), settings, _misbehaviour(rng))


def run_trial(
    runner: Runner,
    folder: Path,
    checkpoint: Path,
    scenario: Scenario,
    kills: Sequence[Kill] = (),
    bug: str | None = None,
) -> Trial:
    """Let a runner live, die where it must, and live again until its plan is done."""
    account = folder / "account"
    account.mkdir(parents=True)
    clock = SharedClock(folder / "clock", scenario.looks[0])
    opens = time.next_session(scenario.start, CALENDAR).astype(date)
    exchange = Exchange(scenario.bars, clock, scenario.exchange, opens)
    label = f"barwise-{exchange.state.account_id.replace('-', '')[:6]}"
    if scenario.arrange:
        scenario.arrange(exchange, label)
    faults = Watched(scenario.rules, exchange, account)
    job = Job(
        folder=str(folder),
        checkpoint=str(checkpoint),
        symbols=scenario.bars.symbols,
        url="",
        keys=(exchange.key_id, exchange.secret),
        looks=[at.isoformat() for at in scenario.looks],
        bug=bug,
        read_timeout_s=scenario.read_timeout_s,
        paper=scenario.paper,
    )
    if scenario.agents:
        job.checkpoint, job.agents = CHAMPION, [str(path) for path in scenario.agents]
        job.registry = str(folder / "registry")
        faults.changes = changes_of(
            scenario.agents, scenario.changes, Path(job.registry), clock.now
        )
    with serve(exchange, faults) as server:
        job.url = server.url
        ends, died_at = _live(
            runner, job, kills, faults, lambda: clock.set(scenario.back or clock.now())
        )
        books = exchange.dump()
    return Trial(
        scenario, folder, ends, died_at, faults.sent, list(faults.log), books,
        exchange.state.account_id, exchange.secret,
    )  # fmt: skip


def _live(
    runner: Runner,
    job: Job,
    kills: Sequence[Kill],
    faults: "Watched",
    on_death: Callable[[], object],
) -> tuple[list[End], list[str]]:
    waiting, ends, died_at = list(kills), [], []
    for _ in range(LIVES):
        point, nth = waiting.pop(0) if waiting else (None, 1)
        faults.kill_after = nth if point == POSTED else 0
        job.point, job.nth = point, nth
        ends.append(runner.live(job))
        if ends[-1].signal != signal.SIGKILL:
            break
        died_at.append(str(point))
        on_death()
    return ends, died_at


class Watched(Faults):
    """Faults that look at every order as it arrives, and may kill its sender once it is accepted."""

    def __init__(self, rules: Sequence[Rule], exchange: Exchange, account: Path) -> None:
        super().__init__(list(rules))
        self.exchange, self.account = exchange, account
        self.sent: list[Sent] = []
        self.changes: Callable[[], None] = lambda: None
        self.kill_after = 0  # how many more orders are accepted before the sender is killed

    def run_hooks(self, phase: Any, seen: Seen) -> None:
        """Look, and kill; see `Faults`."""
        super().run_hooks(phase, seen)
        self.changes()
        if seen.method != "POST" or seen.path != "/v2/orders":
            return
        if phase == "before":
            durable = seen.cid in durable_intents(self.account / JOURNAL)
            excess = _excess(self.exchange, json.loads(seen.body))
            self.sent.append(Sent(str(seen.cid), seen.at, durable, excess))
        elif self.kill_after:
            self.kill_after -= 1
            if not self.kill_after:
                os.kill(int((self.account / LOCK).read_text()), signal.SIGKILL)


def durable_intents(journal: Path) -> set[str]:
    """Return the client order ids whose intents another process finds in the file."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as file:
        rows = file.execute("SELECT body FROM entries WHERE kind = 'intent'")
        return {json.loads(body)["client_order_id"] for (body,) in rows}


def _excess(exchange: Exchange, order: dict[str, Any]) -> str | None:
    # Open orders count as filled: nothing is short, no symbol holds more than its share of equity.
    with exchange.lock:
        state, symbol = exchange.state, order["symbol"]
        column = state.columns[symbol]
        price, equity = state.price(column), state.equity()
        qty = float(order["qty"]) * (1 if order["side"] == "buy" else -1)
        coming = sum(x.sign * x.left for x in state.live.values() if x.column == column)
        after = state.held(column) + coming + qty
    share = 1.05 * equity / len(state.columns)
    if after < -1e-9:
        return f"{symbol}: {after:g} shares with every order filled"
    if qty > 0 and after * price > share:
        return f"{symbol}: {after * price:,.0f} dollars with every order filled, above {share:,.0f}"
    return None


def moment_of(session: date, open: float | None = None, close: float = 0.0) -> datetime:
    """Return some minutes after a session's open, or else after its close."""
    moment = time.closing(session, CALENDAR) if open is None else time.opening(session, CALENDAR)
    return moment + timedelta(minutes=close if open is None else open)


ORDERS, LOOKUP = r"/v2/orders", r"/v2/orders:by_client_order_id"
MISBEHAVIOUR: tuple[tuple[Rule, ...], ...] = (
    (),
    (),
    (Rule(action="accept_then_504", method="POST", path=ORDERS),),
    (Rule(action="accept_then_reset", method="POST", path=ORDERS),),
    (Rule(action="reset", method="POST", path=ORDERS),),
    (Rule(action="status", status=429, method="POST", path=ORDERS),),
    (Rule(action="accept_then_504", method="POST", path=ORDERS, times=2),
     Rule(action="status", status=503, method="GET", path=LOOKUP, times=2)),
    (Rule(action="status", status=500, body="<html>", method="GET", path=ORDERS, nth=2, times=2),),
    (Rule(action="html200", method="POST", path=ORDERS),),
    (Rule(action="drop", method="GET", path="/v2/positions"),),
)  # fmt: skip


def _misbehaviour(rng: np.random.Generator) -> tuple[Rule, ...]:
    return MISBEHAVIOUR[int(rng.integers(len(MISBEHAVIOUR)))]
