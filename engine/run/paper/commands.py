"""What each `barwise paper` command does; `engine.cli_paper` only parses words."""

import logging
import os
from datetime import date
from pathlib import Path
from typing import Any

from brokers.alpaca.desk import Desk
from brokers.alpaca.keys import Keys, require_keys
from brokers.alpaca.loopback_clock import LoopbackClock
from brokers.alpaca.notes import Notes
from engine import clock as time
from engine.clock import Clock, SystemClock
from engine.errors import UsageError
from engine.hosts import is_loopback
from engine.journal import Journal
from engine.run.build import find_settings
from engine.run.console import echo, say
from engine.run.log import log_to
from engine.run.paper.bars_kept import day
from engine.run.paper.cycle import load, run_cycle
from engine.run.paper.lock import held
from engine.run.paper.opening import rebased_book
from engine.run.paper.preflight import preflight
from engine.run.paper.reconcile import differences
from engine.run.paper.result import CycleResult
from engine.run.paper.room import CALENDAR, JOURNAL, KILL, LOCK, Room, furnish
from engine.run.paper.state import State, book_body
from engine.run.schedule.notify import addresses, notifier
from engine.settings import Settings

Result = dict[str, Any]
HEALTH, RUNNER = "health.json", "runner.lock"
FAILED = ("retry", "halted")
ELSEWHERE = (
    "a runner that was started in another folder goes on; repeat the command in that folder, or "
    "name its paper.state_dir"
)
_log = logging.getLogger("barwise.paper")


def settings_of(config: str, overrides: tuple[str, ...], checkpoint: Path | None) -> Settings:
    """Load the settings of a paper account; `checkpoint` outranks the file."""
    named = (f"paper.checkpoint={str(checkpoint)!r}",) if checkpoint else ()
    return find_settings(config, (*overrides, *named))


def run_once(settings: Settings, session: date | None, as_json: bool) -> Result:
    """Look at the account once, for a timer or for cron; whatever is due is done."""
    room, keys = _open(settings)
    if session is not None:
        _require_due(room.clock, session)
    tell = notifier(os.environ)  # refused before anything is done, not after
    with log_to(room.folder, room.clock, _secrets(keys)):
        result = run_cycle(room)
        _log.info("%s %s: %s", result.session or "-", result.state, result.message)
        if result.news:
            tell.send(result.news)
        if result.state == "halted":
            tell.send(f"halted, nothing is sent: {result.message}")
    if not as_json:
        echo(f"PAPER {result.state}: {result.message}")
    return _told(result)


def run_forever(settings: Settings) -> Result:
    """Look at the account at the right times of every session, until a signal comes."""
    from engine.run.retrain.beside import beside, retrainer_of
    from engine.run.schedule.loop import run
    from engine.run.schedule.timetable import Schedule

    room, keys = _open(settings)
    secrets = _secrets(keys)
    with held(room.folder / RUNNER), log_to(room.folder, room.clock, secrets):
        say(f"PAPER account in {room.folder}; Ctrl-C finishes the look at work and stops")
        tell = notifier(os.environ)
        weekly, retrainer = settings.retrain.schedule, None
        if weekly.weekly:
            retrainer = retrainer_of(settings, room.folder, room.clock, tell, os.environ)
        schedule = Schedule(
            settings.paper.schedule,
            lambda: run_cycle(room),
            room.clock,
            tell,
            health=room.folder / HEALTH,
            still_halted=lambda: _is_halted(room),
            secrets=secrets,
            beside=beside(retrainer, weekly, room.clock) if retrainer else None,
        )
        try:
            run(schedule)
        finally:
            if retrainer:
                retrainer.stop()
    return {"stopped": True}


def halt(settings: Settings, reason: str, cancel: bool, as_json: bool) -> Result:
    """Switch every further order off, at once, even while a look is at work."""
    folder = Path(settings.paper.state_dir).resolve()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kill = folder / KILL
    kill.write_text(reason + "\n", encoding="utf-8")  # before anything that may fail
    told: Result = {"halted": True, "kill_file": str(kill)}
    if not as_json:
        echo(
            f"PAPER halted: {kill} stops every order until `barwise paper resume CONFIG "
            '--reason "..."`'
        )
    if not (folder / JOURNAL).exists():
        told |= {"warning": f"no account is kept in {folder} yet: {ELSEWHERE}", "exit_code": 1}
        say(told["warning"])
    told["canceled"] = _cancel_all(settings) if cancel else []
    if not as_json:
        for order_id in told["canceled"]:
            echo(f"  asked the venue to cancel {order_id}")
    return told


def resume(
    settings: Settings, reason: str, rebase: bool, new_checkpoint: bool, as_json: bool
) -> Result:
    """Let the account go on after a person has looked; says what is accepted by that."""
    room, _ = _open(settings)
    with held(room.folder / LOCK), Journal(room.folder / JOURNAL) as journal:
        state = load(room, journal)
        notes = Notes(journal, room.clock, state.take)
        body: Result = {"reason": reason, "before": state.halted}
        if rebase:
            account = preflight(room, state)
            desk = _desk(room, notes, state)
            body["written_off"] = desk.write_off()
            desk.poll()  # what has filled since belongs to the new books
            book = rebased_book(room, state, account)
            body |= {"book": book_body(book), "peak": float(book.equity()[0])}
        if new_checkpoint:
            body |= room.choose()
        notes.note("resumed", day(time.last_closed(room.clock.now(), CALENDAR)), body)
        notes.commit()
        room.kill_file.unlink(missing_ok=True)
    if not as_json:
        echo(f"PAPER resumed: {reason}" + ("; books as the venue has them" if rebase else ""))
        wait = settings.paper.schedule.heartbeat
        echo(f"PAPER a runner looks within {wait} minutes, `barwise paper once` at once")
    return {"resumed": True, **{k: v for k, v in body.items() if k != "book"}}


def reconcile(settings: Settings, as_json: bool) -> Result:
    """Book the fills that the venue reports, and show how our books differ; nothing is sent."""
    room, _ = _open(settings)
    with held(room.folder / LOCK), Journal(room.folder / JOURNAL) as journal:
        state = load(room, journal)
        if state.opened is None:
            raise UsageError(f"{room.folder}: no account has been opened here; run it once first")
        _desk(room, Notes(journal, room.clock, state.take), state).poll()
        found = differences(room, state, room.gateway.account())
    if not as_json:
        for line in found or ["our books and the venue's agree"]:
            echo(f"PAPER {line}")
    return {"differences": found, "exit_code": 1 if found else 0}


def _desk(room: Room, notes: Notes, state: State) -> Desk:
    return Desk(room.gateway, notes, room.clock, state.lines, calendar=CALENDAR)


def _open(settings: Settings) -> tuple[Room, Keys]:
    keys = require_keys(os.environ, Path(".env"))
    return furnish(settings, keys, clock_of(settings, keys)), keys


def clock_of(settings: Settings, keys: Keys) -> Clock:
    """Return the computer's clock, or that of the exchange where it runs on this machine."""
    url = settings.paper.trading_url
    return LoopbackClock(url, keys) if is_loopback(url) else SystemClock()


def _secrets(keys: Keys) -> list[str]:
    return [keys.key_id, keys.secret, *addresses(os.environ)]


def _require_due(clock: Clock, session: date) -> None:
    due = time.last_closed(clock.now(), CALENDAR)
    if str(due) != str(session):
        raise UsageError(
            f"--session {session}: expected the newest closed session, {due}; a past session cannot "
            "be decided any more, and a future one not yet"
        )


def _is_halted(room: Room) -> bool:
    with Journal(room.folder / JOURNAL) as journal:
        newest = {e.kind: e.number for k in ("halted", "resumed") for e in journal.entries(k)}
    return newest.get("halted", 0) > newest.get("resumed", 0)


def _cancel_all(settings: Settings) -> list[str]:
    # Asks for keys alone: an agent that is gone or does not fit must not keep orders alive.
    from brokers.alpaca.gateway import Gateway

    keys = require_keys(os.environ, Path(".env"))
    with Gateway(settings.paper, keys, clock_of(settings, keys)) as gateway:
        orders = gateway.open_orders()
        for order in orders:
            gateway.cancel(order.id)
    return [order.client_order_id for order in orders]


def _told(result: CycleResult) -> Result:
    return {
        "state": result.state,
        "session": str(result.session) if result.session else None,
        "message": result.message,
        "news": result.news,
        "exit_code": 1 if result.state in FAILED else 0,
    }
