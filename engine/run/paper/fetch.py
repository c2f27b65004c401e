"""The newest bars: fetched, guarded, and kept in the journal before anybody decides on them."""

from datetime import date, timedelta

import numpy as np

from brokers.alpaca.bars import download
from brokers.alpaca.notes import Notes
from engine import checkpoint
from engine.run.paper.accept import accept
from engine.run.paper.bars_kept import bars_body, bars_from, day
from engine.run.paper.room import Room
from engine.run.paper.state import State

OVERLAP = 5  # known sessions asked for again, to see whether the vendor has changed them
SPARE = 20  # sessions more than features and burn-in need, for symbols that did not trade on some


def fetch_bars(room: Room, notes: Notes, state: State, session: date) -> None:
    """Bring the journal's bars up to `session`; what is there already is not asked for again.

    Raises: as `engine.run.paper.accept.accept` and the gateway.
    """
    if state.last_bars == session:
        return
    known = bars_from(notes.journal.entries("bars"))
    if known is None:
        first = session - timedelta(days=_days(room))
    else:
        first = day(known.sessions[-min(OVERLAP, len(known.sessions))])
    feed = room.settings.paper.feed
    found = download(room.gateway, list(room.symbols), first, session, feed, room.clock)
    accepted = accept(found, known, np.datetime64(session), room.guards.price_collar)
    said = {"revisions": list(accepted.revisions), "missing": list(accepted.missing)}
    notes.note("bars", session, bars_body(accepted.bars) | said)
    notes.commit()


def _days(room: Room) -> int:
    # Calendar days that hold the windows and the burn-in of the checkpoint, holidays included.
    info = checkpoint.read(room.checkpoint)
    sessions = max(info.lookbacks) + info.burn_in + SPARE
    return int(sessions * 1.5) + 15
