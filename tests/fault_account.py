"""A paper account for tests of faults: few bars, a quick journal, and nothing it writes holds a key.

The exchange has a key of its own in every run, so every account is its own canary: when it is done
with, its folder, what was logged down to DEBUG, and every result are searched for it.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from brokers.alpaca.keys import KEY_ID, SECRET, Keys
from brokers.exchange.faults import Rule
from engine.bars import Bars
from engine.journal import Entry, Journal
from engine.run.paper import commands
from engine.run.paper.result import CycleResult
from engine.run.paper.room import JOURNAL, Room
from engine.settings_paper import ExchangeSettings
from engine.step import StepPolicy
from tests.paper_account import START, WHOLE, Stage, sample_bars, staged

EVENING = date(2009, 12, 31)  # the session before START: the first decision
HISTORY, COMING = 250, 6  # sessions before START that are served, and those that can be lived
READS = (
    "/v2/account", "/v2/clock", "/v2/orders", "/v2/positions", "/v2/calendar", "/v2/stocks/bars",
    "/v1/corporate-actions", "/v2/assets/[A-Z]+",
)  # fmt: skip


@cache
def few_bars() -> Bars:
    """The bundled prices around START."""
    bars = sample_bars()
    row = bars.index_of(START)
    return bars.between(bars.sessions[row - HISTORY], bars.sessions[row + COMING])


@cache
def policy_of(checkpoint: Path) -> StepPolicy:
    """The deployed policy of a checkpoint, opened once."""
    return StepPolicy.load(checkpoint)


@dataclass
class Account(Stage):
    """A staged account that can be spoilt, and asked what became of it."""

    told: list[CycleResult] = field(default_factory=list)

    def look(self) -> CycleResult:
        """Look once; the result is kept to be searched for keys."""
        self.told.append(super().look())
        return self.told[-1]

    def spoil(self, action: str, path: str, method: str = "GET", **more: Any) -> None:
        """Put one fault in force; `times` = 0 is for ever."""
        self.faults.add(
            Rule.model_validate({"action": action, "path": path, "method": method} | more)
        )

    def decided(self) -> CycleResult:
        """Decide and send on the first evening; every order is accepted."""
        found = self.look()
        assert (found.state, found.session) == ("waiting", EVENING), found
        return found

    def filled(self) -> CycleResult:
        """Have the orders of the first evening filled and booked."""
        self.decided()
        self.open_plus(START)
        found = self.look()
        assert found.state == "closed", found
        return found

    def resume(self, **options: bool) -> None:
        """Let the account go on, as the command does."""
        chosen = {"rebase": False, "new_checkpoint": False} | options
        keys = {KEY_ID: self.exchange.key_id, SECRET: self.exchange.secret}
        with patch.dict(os.environ, keys):
            commands.resume(self.settings, "looked at it", as_json=True, **chosen)
        self.room.seen = None

    @property
    def posts(self) -> list[str]:
        """The client order ids that were sent, in their order."""
        sent = [x for x in self.faults.log if (x.method, x.path) == ("POST", "/v2/orders")]
        return [str(x.cid) for x in sent]

    @property
    def orders(self) -> list[dict[str, Any]]:
        """The orders of ours that the exchange holds, by its own books."""
        mine = self.exchange.dump()["orders"]
        return [x for x in mine if x["client_order_id"].startswith("barwise-")]

    @property
    def wanted(self) -> dict[str, str]:
        """What was ordered, by client order id: side and quantity."""
        return {x["client_order_id"]: f"{x['side']} {x['qty']}" for x in self.orders}

    def entries(self, kind: str | None = None) -> list[Entry]:
        """The journal's entries."""
        with Journal(self.room.folder / JOURNAL) as journal:
            return list(journal.entries(kind))

    def held_by_journal(self) -> dict[str, float]:
        """Shares by the fills that the journal holds."""
        held: Counter[str] = Counter()
        for entry in self.entries("fill"):
            held[entry.body["symbol"]] += entry.body["qty"]
        return {symbol: qty for symbol, qty in held.items() if qty}

    def require_sound(self) -> None:
        """Every order once, every fill once (I1, I2)."""
        legs = Counter((x["symbol"], x["client_order_id"].split("-")[2]) for x in self.orders)
        assert set(legs.values()) <= {1}, legs
        assert self.held_by_journal() == self.exchange.dump()["qty"]

    def another(self, folder: Path, **changes: Any) -> Room:
        """Return a second runner of the same account, with a journal of its own."""
        folder.mkdir(exist_ok=True)
        return replace(self.room, folder=folder, seen=None, **changes)


@contextmanager
def account(
    folder: Path,
    checkpoint: Path,
    bars: Bars | None = None,
    exchange_settings: ExchangeSettings = WHOLE,
    **paper: Any,
) -> Iterator[Account]:
    """Stage an account; at the end it must not have shown its keys anywhere."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        overheard() as said,
        staged(folder, checkpoint, bars or few_bars(), START, exchange_settings, **paper) as stage,
    ):
        stage.room.durable = False
        if stage.room.registry is None:
            stage.room._policy = policy_of(checkpoint)
        made = Account(**vars(stage))
        try:
            yield made
        except Exception as error:
            said.append(repr(error))
            raise
        finally:
            said += [f"{x.message} {x.news}" for x in made.told]
            keys = Keys(made.exchange.key_id, made.exchange.secret)
            assert leaks(keys, folder, said) == []


def leaks(keys: Keys, folder: Path, said: list[str]) -> list[str]:
    """Name every file and every text that holds a key, or half of one."""
    found = []
    for key in (keys.key_id, keys.secret):
        for part in (key, key[: len(key) // 2 + 4]):
            found += [text for text in said if part in text]
            files = (path for path in folder.rglob("*") if path.is_file())
            found += [path.name for path in files if part.encode() in path.read_bytes()]
    return found


@contextmanager
def overheard() -> Iterator[list[str]]:
    """Collect everything that anybody logs, down to DEBUG, tracebacks included."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(self.format(record))

    root, ear = logging.getLogger(), Ear()
    before = root.level
    root.addHandler(ear)
    root.setLevel(logging.DEBUG)
    try:
        yield said
    finally:
        root.removeHandler(ear)
        root.setLevel(before)


def swapped(keys: Keys) -> Keys:
    """The same two keys, each in the place of the other."""
    return Keys(keys.secret, keys.key_id)
