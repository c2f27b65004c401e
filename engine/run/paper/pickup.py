"""A promotion is taken up between two sessions: before a new one is decided on, or not at all.

What an agent has decided it also finishes: the champion is asked for once, when the orders of the
last decision are over and the bars of a new session are there. The new agent takes the book as it
is and begins with a memory from bars alone. One that does not fit is declined and told; the agent
that was there goes on, and nothing halts.
"""

import re
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from brokers.alpaca.bars import source_name
from brokers.alpaca.desk import fills_of
from brokers.alpaca.notes import Notes
from engine import checkpoint
from engine.checkpoint import CheckpointInfo, require_match
from engine.errors import CheckpointError, TradingError
from engine.registry import Champion, Registry
from engine.run.paper.accept import AcceptedBars
from engine.run.paper.feeds import require_feed
from engine.run.paper.fetch import ask, keep
from engine.run.paper.rebuild import Proof, parts, prove
from engine.run.paper.room import Room
from engine.run.paper.state import State
from engine.settings import Settings
from engine.settings_paper import CHAMPION
from engine.step import StepPolicy
from engine.trader import Trader

# Whatever is wrong with a champion, its files or its numbers is no reason to stop the agent before it.
DOUBTS = (TradingError, OSError, ValueError)


def pick_up(room: Room, notes: Notes, state: State, session: date) -> str:
    """Let the registry's champion decide from `session` on, if it is another one and fits.

    Returns what a person is to be told; nothing where nothing changes. At most one change a session:
    a restart in between goes on with the agent that the journal names.
    """
    champion = None
    try:
        champion = _another(room, state)
        if champion is None or state.changed == session:
            return ""
        info, bars, proof = _prepared(room, state, champion, session)
    except DOUBTS as error:  # also a history that does not come now
        return _decline(notes, state, session, champion, str(error))
    before = str(state.checkpoint)
    notes.note("promoted", session, _body(champion, before, proof))
    keep(room, notes, session, bars, info)
    notes.commit()
    room.turn_to(state.checkpoint)
    return f"{session}: agent {champion.id} decides from here on, {before[:12]} did before"


def standing(settings: Settings, state: State) -> str | None:
    """Say what becomes of the registry's champion; None where no registry is followed."""
    if settings.paper.checkpoint != CHAMPION:
        return None
    try:
        champion = Registry(Path(settings.registry.dir)).champion()
        newer = _newer(state, champion)
    except DOUBTS as error:
        return f"not followed: {error}"
    if newer is None:
        return "none waits"
    declined = state.declined or {}
    if declined.get("event") == newer.number:
        return f"{newer.id} of {newer.at} was not taken up: {declined['why']}"
    return f"{newer.id} of {newer.at} waits for the next decision"


def _another(room: Room, state: State) -> Champion | None:
    return None if room.registry is None else _newer(state, room.registry.champion())


def _newer(state: State, champion: Champion | None) -> Champion | None:
    if champion is not None and champion.digest == state.checkpoint:
        return None
    number = champion.number if champion else 0  # gone, or never there
    if state.event and number <= state.event:
        raise CheckpointError(
            f"expected events of the registry after number {state.event}, which this account has "
            f"acted on, found {number or 'none'} as the last; an older copy of the registry stands "
            "there, or none: restore the newest one"
        )
    return champion


def _prepared(
    room: Room, state: State, champion: Champion, session: date
) -> tuple[CheckpointInfo, AcceptedBars, Proof]:
    # Everything that may fail, before anything is written.
    policy = StepPolicy.load(champion.folder)
    info = policy.info
    paper = room.settings.paper
    require_feed(info.trained_on, source_name(paper.feed), paper.allow_feed)
    _require_symbols(room, info)
    spec = room.spec(info)
    bars = ask(room, session, info)
    require_match(info, "paper", price_basis=bars.bars.price_basis)
    history, _ = parts(state, bars.bars)
    trader, proof = prove(spec, policy, history)
    _require_ready(room, state, trader)
    return info, bars, proof


def _require_symbols(room: Room, info: CheckpointInfo) -> None:
    # It knows every symbol of the account, or as few of them as the agent before it.
    known = info.trained_on.symbols
    unknown = [symbol for symbol in room.symbols if symbol not in known]
    if not unknown or checkpoint.read(room.checkpoint).trained_on.symbols == known:
        return
    raise CheckpointError(
        f"expected an agent that learned from {', '.join(room.symbols)}, found one of "
        f"{', '.join(known)}; train it on the symbols of this account"
    )


def _require_ready(room: Room, state: State, trader: Trader) -> None:
    # One that is short of history is flat: it would sell what it was given to look after.
    assert state.book is not None
    held = state.book.qty[0] != 0
    for line, _ in fills_of(state.lines.values()):
        held[room.symbols.index(line.intent.symbol)] = True
    lacking = held & (trader.warm[0] < trader.spec.burn_in)
    if lacking.any():
        names = ", ".join(room.symbols[n] for n in np.flatnonzero(lacking))
        raise CheckpointError(
            f"{names}: expected {trader.spec.burn_in} bars of burn-in behind "
            f"{trader.spec.features.lookback} of lookback before the last decision, the feed has "
            "fewer, and what is held there would be sold; wait, or promote one that needs fewer"
        )


def _decline(notes: Notes, state: State, session: date, champion: Champion | None, why: str) -> str:
    # Asked anew before every session; an answer that differs in numbers only is told once.
    about = {"id": champion.id, "event": champion.number} if champion else {"id": "", "event": None}
    told = {**about, "why": why}
    known = state.declined or {"event": None, "why": ""}
    if known["event"] == told["event"] and _plain(known["why"]) == _plain(why):
        return ""
    notes.note("declined", session, told)
    notes.commit()
    name = champion.id if champion else "a champion"
    return f"{session}: the promotion of {name} was not taken up, the agent stays: {why}"


def _plain(why: str) -> str:
    return re.sub(r"\d+", "#", why)


def _body(champion: Champion, before: str, proof: Proof) -> dict[str, Any]:
    return {
        "id": champion.id,
        "event": champion.number,
        "from": before,
        "checkpoint": champion.digest,
        "proof": proof,
    }
