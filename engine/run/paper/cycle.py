"""One look at a paper account. Starting, going on and recovering are this one function.

The journal says what has been done and the clock says what is due; nothing else decides. Order of a
look: lock, read the journal, preflight, settle what is in doubt, follow orders, close the session,
reconcile, and, when a session has closed and its window is open, accept bars, decide, commit, send.
"""

import os
import socket
from datetime import date, datetime, timedelta

from brokers.alpaca.desk import Desk
from brokers.alpaca.notes import Notes
from brokers.alpaca.records import Intent
from brokers.alpaca.venue import intents_of
from engine import clock as time
from engine.errors import TradingError, TradingHalted, UsageError, VenueUnavailable
from engine.journal import Journal
from engine.run.paper.bars_kept import bars_from, day
from engine.run.paper.decide import decide, orders_from
from engine.run.paper.fetch import fetch_bars
from engine.run.paper.lock import held
from engine.run.paper.opening import open_account
from engine.run.paper.preflight import preflight, require_calendar, require_no_kill
from engine.run.paper.reconcile import label_of, reconcile
from engine.run.paper.result import CycleResult
from engine.run.paper.room import CALENDAR, JOURNAL, LOCK, Room
from engine.run.paper.state import State

LEASE = timedelta(minutes=10)  # a look that another host began and did not end blocks this long


def run_cycle(room: Room) -> CycleResult:
    """Look at the account once and do what is due; call it again at any time, it does nothing twice."""
    try:
        with held(room.folder / LOCK), Journal(room.folder / JOURNAL) as journal:
            return _look(room, journal)
    except (VenueUnavailable, UsageError) as error:
        return CycleResult("retry", None, str(error))
    except TradingError as error:  # the journal itself could not be read or written
        room.seen = None
        return CycleResult("halted", None, str(error))


def load(room: Room, journal: Journal) -> State:
    """Return the state that the journal's entries add up to; the chain is proven on the way.

    Raises: DataError when the chain breaks.
    """
    proof, state = room.seen or (None, State())
    room.seen = None
    proof = journal.verify(proof) if proof else journal.verify()
    for entry in journal.entries(after=state.number):
        state.take(entry)
    room.seen = proof, state
    return state


def _look(room: Room, journal: Journal) -> CycleResult:
    state = load(room, journal)
    proof = room.seen
    room.seen = None  # what this look adds is only true once it has ended well
    if state.halted is not None:
        room.seen = proof
        return CycleResult(
            "halted", state.decided, f"{state.halted}; go on with `barwise paper resume`"
        )
    notes = Notes(journal, room.clock, state.take)
    _require_lease(state, room.clock.now())
    try:
        result = _work(room, notes, state)
    except TradingHalted as error:
        return _halt(notes, state, error)
    except VenueUnavailable:
        raise
    except TradingError as error:
        return _halt(notes, state, error)
    notes.note("ended", None, {})
    notes.commit()
    room.seen = (journal.verify(proof[0]) if proof else journal.verify()), state
    return result


def _halt(notes: Notes, state: State, error: TradingError) -> CycleResult:
    # Nothing half-noted may follow: entries that were not committed are dropped first.
    notes.journal.forget()
    if state.opened is not None:
        notes.note("halted", state.decided, {"reason": str(error)})
        notes.commit()
    return CycleResult("halted", state.decided, str(error))


def _work(room: Room, notes: Notes, state: State) -> CycleResult:
    account, skew = preflight(room, state)
    notes.note("begun", None, _runner() | {"skew": skew, "equity": account.equity})
    notes.commit()
    if state.opened is None:
        open_account(room, notes, account)
    desk = _desk(room, notes, state)
    desk.send()
    desk.poll()
    _close(room, notes, state, desk)
    reconcile(room, state, room.gateway.account() if state.lines else account)
    return _due(room, notes, state, desk)


def _desk(room: Room, notes: Notes, state: State) -> Desk:
    def may_send(intent: Intent) -> str | None:
        require_no_kill(room)
        opens, shuts = window(room, intent.session)
        if opens <= room.clock.now() < shuts:
            return None
        return f"its window from {opens} to {shuts} is not open at {room.clock.now()}"

    return Desk(room.gateway, notes, room.clock, state.lines, may_send, CALENDAR)


def window(room: Room, session: date) -> tuple[datetime, datetime]:
    """Return from when to when the orders of a session's decision may be sent."""
    following = time.next_session(session, CALENDAR)
    shuts = time.opening(following, CALENDAR) - room.minutes("submit_until_open")
    return time.closing(session, CALENDAR), shuts


def _close(room: Room, notes: Notes, state: State, desk: Desk) -> None:
    # A session is done with when its orders are over, or when their time is up.
    if state.decided is None or state.closed == state.decided or not state.sent:
        return
    target = time.next_session(state.decided, CALENDAR)
    deadline = time.opening(target, CALENDAR) + room.minutes("book_after_open")
    live = [line for line in state.lines.values() if line.live]
    if live and room.clock.now() < deadline:
        return
    stuck = desk.cancel(line for line in live if line.intent.day)
    body = {"stuck": [line.cid for line in stuck]}
    notes.note("closed", state.decided, body)
    notes.commit()


def _due(room: Room, notes: Notes, state: State, desk: Desk) -> CycleResult:
    now = room.clock.now()
    session = day(time.last_closed(now, CALENDAR))
    shuts = window(room, session)[1]
    if state.decided is not None and state.decided >= session:
        return _finish(room, notes, state, desk)
    if not state.sent:
        _finish(room, notes, state, desk)
    if now < time.closing(session, CALENDAR) + room.minutes("decide_after_close"):
        return CycleResult("waiting", session, f"{session} has closed; its bars are not due yet")
    if now >= shuts:
        if state.decided is not None and state.skipped != session:
            why = f"nobody looked between its close and {shuts}"
            notes.note("skipped", session, {"why": why})
            notes.commit()
        return CycleResult("waiting", session, f"{session} was missed; memory catches up next time")
    require_calendar(room, session)
    fetch_bars(room, notes, state, session)
    kept = bars_from(notes.journal.entries("bars"))
    assert kept is not None
    assert state.opened is not None
    decided = decide(room, state, desk, kept, label_of(room, state.opened["account"]))
    for on, body in decided.entries:
        notes.note("decision", on, body)
    notes.commit()
    return _finish(room, notes, state, desk)


def _finish(room: Room, notes: Notes, state: State, desk: Desk) -> CycleResult:
    # From a stored decision to accepted orders; the policy is not asked again.
    session = state.decided
    assert session is not None
    assert state.opened is not None
    if not state.sent:
        opens, shuts = window(room, session)
        if not opens <= room.clock.now() < shuts:
            notes.note("skipped", session, {"why": f"decided, but not sent before {shuts}"})
            notes.commit()
            return CycleResult("waiting", session, f"the orders of {session} were not sent in time")
        label = label_of(room, state.opened["account"])
        desk.intend(intents_of(orders_from(state.decision), room.symbols, session, label))
        desk.send()
    live = sum(line.live for line in state.lines.values())
    if live:
        return CycleResult("waiting", session, f"{live} orders of {session} are at the venue")
    _close(room, notes, state, desk)
    return CycleResult("closed", session, f"{session} is decided and nothing is left to do")


def _require_lease(state: State, now: datetime) -> None:
    runner = state.runner
    if runner is None or runner["host"] == socket.gethostname():
        return
    until = datetime.fromisoformat(runner["at"]) + LEASE
    if now < until:
        raise VenueUnavailable(
            f"expected to be the only runner, found {runner['host']} at work since {runner['at']}; "
            f"nothing is done before {until}: stop one of the two"
        )


def _runner() -> dict[str, object]:
    return {"host": socket.gethostname(), "pid": os.getpid()}
