"""One look at a paper account. Starting, going on and recovering are this one function.

The journal says what has been done and the clock says what is due; nothing else decides. Order of a
look: lock, read the journal, preflight, settle what is in doubt, follow orders, close the session,
reconcile, and, when a session has closed and its window is open, accept bars, decide, commit, send.
"""

import os
import socket
from datetime import datetime, timedelta

from brokers.alpaca.notes import Notes
from engine.errors import TradingError, UsageError, VenueUnavailable
from engine.journal import Journal
from engine.run.paper.lock import held
from engine.run.paper.look import Look
from engine.run.paper.result import CycleResult
from engine.run.paper.room import JOURNAL, LOCK, Room
from engine.run.paper.state import State

LEASE = timedelta(minutes=10)  # a look that another host began and did not end blocks this long


def run_cycle(room: Room) -> CycleResult:
    """Look at the account once and do what is due; call it at any time, it does nothing twice."""
    try:
        with held(room.folder / LOCK), Journal(room.folder / JOURNAL, room.durable) as journal:
            return _look(room, journal)
    except (VenueUnavailable, UsageError) as error:
        return CycleResult("retry", None, str(error))
    except TradingError as error:  # the journal itself could not be read or written
        return CycleResult("halted", None, str(error))


def load(room: Room, journal: Journal) -> State:
    """Return the state that the journal's entries add up to; the chain is proven on the way.

    A process that has read the journal before goes on from there. Raises: DataError when the chain
    breaks.
    """
    proof, state = room.seen or (None, State())
    room.seen = None  # true again only once the look has ended well
    if proof is None:
        journal.verify()
    else:
        journal.verify(proof)
    for entry in journal.entries(after=state.number):
        state.take(entry)
    room.turn_to(state.checkpoint)
    return state


def _look(room: Room, journal: Journal) -> CycleResult:
    state = load(room, journal)
    if state.halted is not None:
        message = f'{state.halted}; go on with `barwise paper resume CONFIG --reason "..."`'
        return CycleResult("halted", state.decided, message)
    _require_lease(state, room.clock.now())
    notes = Notes(journal, room.clock, state.take)
    notes.note("begun", None, {"host": socket.gethostname(), "pid": os.getpid()})
    notes.commit()
    try:
        result = Look(room, notes, state).work()
    except VenueUnavailable:
        raise
    except TradingError as error:
        return _halt(notes, state, error)
    notes.note("ended", None, {})
    notes.commit()
    room.seen = journal.proof, state
    return result


def _halt(notes: Notes, state: State, error: TradingError) -> CycleResult:
    # Nothing half-noted may follow: entries that were not committed are dropped first.
    notes.journal.forget()
    notes.note("halted", state.decided, {"reason": str(error)})
    notes.note("ended", None, {})
    notes.commit()
    return CycleResult("halted", state.decided, str(error))


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
