"""The newest bars: fetched, guarded, and kept in the journal before anybody decides on them."""

import logging
from datetime import date, timedelta

import numpy as np

from brokers.alpaca.bars import download, source_name
from brokers.alpaca.notes import Notes
from engine import checkpoint
from engine.bars import Bars
from engine.features import FeatureSet
from engine.run.paper.accept import accept, bad_bars_halt
from engine.run.paper.bars_kept import bars_body, bars_from, day
from engine.run.paper.feeds import apart, require_feed
from engine.run.paper.room import Room
from engine.run.paper.state import State

OVERLAP = 5  # known sessions asked for again, to see whether the vendor has changed them
_log = logging.getLogger("barwise.paper")
SPARE = 20  # sessions more than features and burn-in need, for symbols that did not trade on some


def fetch_bars(room: Room, notes: Notes, state: State, session: date) -> tuple[str, ...]:
    """Bring the journal's bars up to `session`; return the bars that are missing among the new ones.

    What is there already is not asked for again.

    A memory that starts from a burn-in gets all its history anew: another agent may look further
    back, or learned from another feed.
    Raises: as `engine.run.paper.accept.accept` and the gateway.
    """
    if state.last_bars == session:
        return ()
    known = None if state.fresh_memory else bars_from(notes.journal.entries("bars"))
    if known is None:
        first = session - timedelta(days=_days(room))
    else:
        first = day(known.sessions[-min(OVERLAP, len(known.sessions))])
    feed, zero_volume = room.settings.paper.feed, room.settings.data.zero_volume
    symbols = list(room.symbols)
    with bad_bars_halt():
        found = download(room.gateway, symbols, first, session, feed, room.clock, zero_volume)
    accepted = accept(found, known, np.datetime64(session), room.guards.price_collar)
    said = {"revisions": list(accepted.revisions), "missing": list(accepted.missing)}
    if known is None:
        said["feeds"] = _compared(room, accepted.bars)
    for line in (line for lines in said.values() for line in lines):
        _log.warning("bars of %s: %s", session, line)
    notes.note("bars", session, bars_body(accepted.bars) | said | {"anew": known is None})
    notes.commit()
    return accepted.missing


def _compared(room: Room, traded: Bars) -> list[str]:
    # An agent that trades on another feed than it learned from, by leave of the settings.
    info = checkpoint.read(room.checkpoint)
    paper = room.settings.paper
    if require_feed(info.trained_on, source_name(paper.feed), paper.allow_feed):
        return []
    return apart(info.trained_on, FeatureSet(info.features), room.settings.data, traded)


def _days(room: Room) -> int:
    # Calendar days that hold the windows and the burn-in of the checkpoint, holidays included.
    info = checkpoint.read(room.checkpoint)
    sessions = max(info.lookbacks) + info.burn_in + SPARE
    return int(sessions * 1.5) + 15
