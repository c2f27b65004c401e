"""A paper account against the loopback exchange: one checkpoint, one clock, real HTTP between them.

The agent is untrained with its action head scaled up and centred, so that it trades often.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from brokers.alpaca.keys import Keys
from brokers.exchange.exchange import Exchange
from brokers.exchange.faults import Faults
from brokers.exchange.server import Server, serve
from engine import clock as time
from engine.bars import Bars
from engine.clock import FakeClock
from engine.drift import Distribution
from engine.run.paper.cycle import run_cycle
from engine.run.paper.result import CycleResult
from engine.run.paper.room import CALENDAR, Room, furnish
from engine.settings import Settings
from engine.settings_paper import ExchangeSettings
from engine.sources import DataSettings, load

START = date(2010, 1, 4)
WINDOW = 20  # sessions compared with the training
COSTS = {"rate": 0.0005, "per_order": 1.0, "slippage_bps": 2.0}
FEED = "sample"  # what the agent learned from; its paper account allows it by name
WHOLE = ExchangeSettings(partial_fills=0.0, spread_bps=2.0)


def sample_bars() -> Bars:
    """The bundled real prices, priced as printed."""
    return load(DataSettings(source="sample"))


def save_checkpoint(folder: Path, bars: Bars, **options: Any) -> Path:
    """Write the checkpoint of an agent that trades often; needs torch."""
    import torch

    from agents.checkpoint import Writer
    from engine.observation import market_part
    from tests.rollouts import FEATURES, Parts

    chosen = {"action": {"kind": "levels", "levels": (0.0, 0.3, 0.6, 1.0)}, **options}
    known = bars.between(date(2008, 1, 2), date(2009, 12, 31))
    parts = Parts(bars=known, shorts=False, **chosen)
    features, ready = FEATURES.history(known)
    rows = torch.from_numpy(market_part(features, parts.spec.scaler)[ready])
    flat = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(len(rows), 4)
    with torch.no_grad():
        head, _ = parts.net.step(rows, flat, parts.net.start(len(rows)))
        parts.net.actor[-1].bias.sub_(head.mean(0))
    trained_on = parts.info.trained_on.model_copy(update={"source": FEED, "feed": FEED})
    known_inputs = Distribution.of(market_part(features, parts.spec.scaler), ready, WINDOW)
    told = {"trained_on": trained_on, "distribution": known_inputs}
    Writer(parts.net).save(folder, parts.info.model_copy(update=told), {})
    return folder


@dataclass
class Stage:
    """An account with the exchange behind it; both live by one clock."""

    room: Room
    exchange: Exchange
    server: Server
    faults: Faults
    clock: FakeClock
    settings: Settings

    def at(self, moment: datetime) -> None:
        """Let time pass until a moment; standing still when it is past."""
        if moment > self.clock.now():
            self.clock.set(moment)

    def close_plus(self, session: date, minutes: float = 20) -> None:
        """Let time pass until some minutes after a session's close."""
        self.at(time.closing(session, CALENDAR) + timedelta(minutes=minutes))

    def open_plus(self, session: date, minutes: float = 15) -> None:
        """Let time pass until some minutes after a session's open."""
        self.at(time.opening(session, CALENDAR) + timedelta(minutes=minutes))

    def look(self) -> CycleResult:
        """Look at the account once."""
        return run_cycle(self.room)

    def session(self, session: date) -> list[CycleResult]:
        """Live one session as the schedule does: check, book, decide."""
        results = []
        for wait, minutes in ((self.open_plus, -30), (self.open_plus, 15), (self.close_plus, 20)):
            wait(session, minutes)
            results.append(self.look())
        return results


def settings_for(
    folder: Path, checkpoint: Path, symbols: tuple[str, ...], **paper: Any
) -> Settings:
    """Return settings of an account without its hosts."""
    tree = {
        "data": {"symbols": symbols},
        "costs": COSTS,
        "paper": {
            "checkpoint": str(checkpoint),
            "state_dir": str(folder),
            "allow_feed": FEED,
            **paper,
        },
    }
    return Settings.model_validate(tree)


@contextmanager
def staged(
    folder: Path,
    checkpoint: Path,
    bars: Bars,
    start: date = START,
    exchange_settings: ExchangeSettings = WHOLE,
    **paper: Any,
) -> Iterator[Stage]:
    """Serve an exchange over `bars` from `start` on and furnish an account at it."""
    day = time.previous_session(start, CALENDAR)
    clock = FakeClock(time.closing(day, CALENDAR) + timedelta(hours=1))
    exchange, faults = Exchange(bars, clock, exchange_settings, start), Faults()
    with serve(exchange, faults) as server:
        hosts = {"trading_url": server.url, "data_url": server.url}
        settings = settings_for(folder, checkpoint, bars.symbols, **hosts, **paper)
        room = furnish(settings, Keys(exchange.key_id, exchange.secret), clock)
        yield Stage(room, exchange, server, faults, clock, settings)
        room.gateway.close()
