"""The newest bars: fetched, guarded, and kept in the journal before anybody decides on them."""

import logging
from datetime import date, timedelta

import numpy as np

from brokers.alpaca.bars import download, source_name
from brokers.alpaca.notes import Notes
from engine import checkpoint
from engine.bars import Bars
from engine.checkpoint import CheckpointInfo
from engine.features import FeatureSet
from engine.run.paper.accept import AcceptedBars, accept, bad_bars_halt
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

    An agent that begins gets all its history anew: it may look further back than the one before it,
    or have learned from another feed.
    Raises: as `engine.run.paper.accept.accept` and the gateway.
    """
    if state.last_bars == session:
        return ()
    known = bars_from(notes.journal.entries("bars")) if state.last_bars else None
    info = None if known else checkpoint.read(room.checkpoint)
    accepted = ask(room, session, info, known)
    keep(room, notes, session, accepted, info)
    notes.commit()
    return accepted.missing


def ask(
    room: Room, session: date, info: CheckpointInfo | None, known: Bars | None = None
) -> AcceptedBars:
    """Return the vendor's bars after the `known` ones; without any, all that an agent begins with.

    Raises: as `fetch_bars`.
    """
    if known is None:
        assert info is not None
        first = session - timedelta(days=_days(info))
    else:
        first = day(known.sessions[-min(OVERLAP, len(known.sessions))])
    feed, zero_volume = room.settings.paper.feed, room.settings.data.zero_volume
    symbols = list(room.symbols)
    with bad_bars_halt():
        found = download(room.gateway, symbols, first, session, feed, room.clock, zero_volume)
    return accept(found, known, np.datetime64(session), room.guards.price_collar)


def keep(
    room: Room, notes: Notes, session: date, accepted: AcceptedBars, info: CheckpointInfo | None
) -> None:
    """Note accepted bars; those that an agent, `info`, begins with take the place of all before."""
    said = {"revisions": list(accepted.revisions), "missing": list(accepted.missing)}
    if info is not None:
        said["feeds"] = _compared(room, info, accepted.bars)
    for kind, lines in said.items():
        for line in lines:
            words = f"no bar of {line}" if kind == "missing" else line
            _log.warning("bars of %s: %s", session, words)
    anew = {"anew": info is not None}
    notes.note("bars", session, bars_body(accepted.bars) | said | anew)


def _compared(room: Room, info: CheckpointInfo, traded: Bars) -> list[str]:
    # An agent that trades on another feed than it learned from, by leave of the settings.
    paper = room.settings.paper
    if require_feed(info.trained_on, source_name(paper.feed), paper.allow_feed):
        return []
    return apart(info.trained_on, FeatureSet(info.features), room.settings.data, traded)


def _days(info: CheckpointInfo) -> int:
    # Calendar days that hold the windows and the burn-in of an agent, holidays included.
    sessions = max(info.lookbacks) + info.burn_in + SPARE
    return int(sessions * 1.5) + 15
