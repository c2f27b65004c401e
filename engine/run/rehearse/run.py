"""A rehearsal: the paper loop lives through past sessions at the loopback exchange.

Everything is as in life, from the schedule to the sockets, but the time: one FakeClock moves the
runner and the exchange. The first decision falls on the close of the first session, as in a
backtest, so both can be compared row by row.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from brokers.alpaca.gateway import Gateway
from brokers.alpaca.keys import Keys
from brokers.alpaca.transport import Timeouts
from brokers.exchange.exchange import Exchange
from brokers.exchange.faults import Faults
from brokers.exchange.server import serve
from engine import checkpoint as checkpoints
from engine import clock as time
from engine.bars import Bars
from engine.clock import Clock, FakeClock
from engine.errors import SettingsError
from engine.journal import Entry, Journal
from engine.registry import Lineage, Registry
from engine.run.log import log_to
from engine.run.paper.bars_kept import day
from engine.run.paper.cycle import run_cycle
from engine.run.paper.result import CycleResult
from engine.run.paper.room import CALENDAR, JOURNAL, Room, furnish
from engine.run.rehearse.where import Where
from engine.run.schedule.loop import run_virtual
from engine.run.schedule.timetable import Schedule
from engine.settings import Settings
from engine.settings_paper import CHAMPION, ExchangeSettings

NOTICES, REGISTRY = "notices.log", "registry"
PARTS = {  # of the time, by the file that the runner stands in
    "exchange and HTTP": ("brokers/alpaca/",),
    "journal": ("engine/journal.py",),
    "decision": ("engine/run/backtest.py", "engine/trader.py"),
}
_KINDS = (
    "decision", "intent", "order", "fill", "refused", "missed", "skipped", "halted", "promoted",
    "declined",
)  # fmt: skip
_START = timedelta(minutes=1)  # after the first close: bars are not due yet
Told = Callable[[CycleResult], None]
FaultsOf = Callable[[Clock], Faults]
Promote = Callable[[datetime], None]


@dataclass(frozen=True)
class Promotion:
    """Another agent for the decision of session `on`: it becomes champion while that session trades.

    `checkpoint` None = the champion is rolled back.
    """

    on: date
    checkpoint: Path | None


@dataclass(frozen=True)
class Play:
    """What is rehearsed: an agent on bars, from row `first` to row `last`, both decided on.

    With `promotions`, oldest first, the agent comes from a registry, as paper.checkpoint = "champion"
    takes it.
    """

    settings: Settings
    checkpoint: Path
    bars: Bars
    first: int
    last: int
    promotions: tuple[Promotion, ...] = ()

    @property
    def sessions(self) -> np.ndarray:
        """The sessions to decide on."""
        return self.bars.sessions[self.first : self.last + 1]


@dataclass
class Rehearsed:
    """What became of it. `requests` counts those from one close to the next, by session."""

    entries: dict[str, list[Entry]]
    orders: list[dict[str, Any]]  # as the exchange has them
    cash: float  # at the exchange
    requests: np.ndarray
    faults: Counter[str]
    seconds: float
    shares: dict[str, float] = field(default_factory=dict)

    @property
    def halted(self) -> str | None:
        """Why nothing was done any more; None where it went on to the end."""
        found = self.entries["halted"]
        return str(found[-1].body["reason"]) if found else None


def rehearse(
    play: Play,
    folder: Path,
    faults_of: FaultsOf = lambda clock: Faults(),
    timeouts: Timeouts | None = None,
    told: Told = lambda result: None,
) -> Rehearsed:
    """Live through the sessions; journal, log and notices are left in `folder`.

    `told` hears what every look came to. `timeouts` are those of the client, in real seconds.
    Raises: SettingsError for a market that the exchange cannot play.
    """
    first, last = play.sessions[0], play.sessions[-1]
    clock = FakeClock(time.closing(first, CALENDAR) + _START)
    faults = faults_of(clock)
    rules = exchange_settings(play.settings)
    exchange = Exchange(play.bars, clock, rules, day(time.next_session(first, CALENDAR)))
    where = Where(PARTS)
    with serve(exchange, faults) as server, where.watching():
        keys = Keys(exchange.key_id, exchange.secret)
        room = furnish(room_settings(play, folder, server.url), keys, clock)
        room.durable = False  # it can be rehearsed again; waiting for the disk is half the time
        if timeouts is not None:
            room.gateway.close()
            room.gateway = Gateway(room.settings.paper, keys, clock, timeouts)
        with log_to(folder, clock, (keys.key_id, keys.secret), screen=False):
            promote = _promoter(play.promotions, room.registry)
            _live(room, clock, _end(room, last), folder, promote, told)
        room.gateway.close()
    state = exchange.dump()
    return Rehearsed(
        entries=_entries(folder),
        orders=state["orders"],
        cash=state["cash"],
        requests=_per_session(play.sessions, [seen.at for seen in faults.log]),
        faults=Counter(seen.action for seen in faults.log if seen.action),
        seconds=where.seconds,
        shares=where.shares(),
    )


def room_settings(play: Play, folder: Path, url: str) -> Settings:
    """Return the settings of the account: those of the play, at the exchange of this process."""
    feed = checkpoints.read(play.checkpoint).trained_on.feed
    here = {
        "checkpoint": str(play.checkpoint), "state_dir": str(folder), "trading_url": url,
        "data_url": url, "allow_feed": feed,
    }  # fmt: skip
    data = play.settings.data.model_copy(update={"symbols": play.bars.symbols})
    update: dict[str, Any] = {"data": data}
    if play.promotions:
        registry = Registry(folder / REGISTRY)
        registry.promote(_added(registry, play.checkpoint), "the first", "person")
        update["registry"] = play.settings.registry.model_copy(update={"dir": str(registry.path)})
        here["checkpoint"] = CHAMPION
    update["paper"] = play.settings.paper.model_copy(update=here)
    return play.settings.model_copy(update=update)


def exchange_settings(settings: Settings) -> ExchangeSettings:
    """Return an exchange that treats the account as the settings' simulated market does.

    Raises: SettingsError where it cannot.
    """
    venue = settings.venue
    if venue.fill != "open":
        raise SettingsError(
            f'venue.fill: a rehearsal fills at the open as an exchange does, found "{venue.fill}"; '
            'set venue.fill = "open"'
        )
    power = 1.0 if venue.account == "cash" else venue.leverage
    if power not in (1.0, 2.0, 4.0):
        raise SettingsError(
            f"venue.leverage: the exchange grants 1, 2 or 4 times equity, found {power:g}; choose "
            "one of them"
        )
    same = {
        "cash": settings.backtest.cash,
        "spread_bps": settings.costs.slippage_bps,
        "multiplier": int(power),
        "shorting": settings.limits.allow_short,
        "pay_dividends": venue.pay_dividends,
    }
    return settings.exchange.model_copy(update=same)


class Notices:
    """Tells nobody: every message goes to a file, with the time of the rehearsal."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path, self._clock = path, clock

    def send(self, message: str) -> None:
        """Write a message down."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{self._clock.now():%F %T} PAPER {message}\n")


def _promoter(promotions: tuple[Promotion, ...], registry: Registry | None) -> Promote:
    # Does what is due by the time of the rehearsal; from a second hand, as a retraining would.
    waiting = list(promotions)

    def promote(now: datetime) -> None:
        while waiting and now >= time.opening(waiting[0].on, CALENDAR):
            assert registry is not None
            folder = waiting.pop(0).checkpoint
            if folder is None:
                registry.rollback("rehearsed")
            else:
                registry.promote(_added(registry, folder), "rehearsed", "person")

    return promote


def _added(registry: Registry, folder: Path) -> str:
    return registry.add(folder, Lineage(data=checkpoints.read(folder).trained_on.digest))


def _live(
    room: Room, clock: FakeClock, until: datetime, folder: Path, promote: Promote, told: Told
) -> None:
    def look() -> CycleResult:
        promote(clock.now())
        result = run_cycle(room)
        if result.state == "halted":
            schedule.stop()  # nobody is there to resume it
        told(result)
        return result

    notices = Notices(folder / NOTICES, clock)
    schedule = Schedule(room.hours, look, clock, notices)
    run_virtual(schedule, until)
    schedule.close()


def _end(room: Room, last: np.datetime64) -> datetime:
    # When the orders of the last decision cannot be sent any more.
    following = time.opening(time.next_session(last, CALENDAR), CALENDAR)
    return following - room.minutes("submit_until_open")


def _entries(folder: Path) -> dict[str, list[Entry]]:
    with Journal(folder / JOURNAL) as journal:
        journal.verify()
        return {kind: list(journal.entries(kind)) for kind in _KINDS}


def _per_session(sessions: np.ndarray, at: list[datetime]) -> np.ndarray:
    closes = time.closes_at(sessions, CALENDAR)
    plain = np.array([x.astimezone(UTC).replace(tzinfo=None) for x in at], dtype="datetime64[s]")
    rows = np.searchsorted(closes, plain, side="right") - 1
    return np.bincount(np.maximum(rows, 0), minlength=len(sessions))
