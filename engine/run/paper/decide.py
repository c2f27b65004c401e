"""One decision of a paper account: the backtest's own strategy over the bars it has not seen.

Orders are only collected while Cerebro runs. Afterwards one transaction keeps what was decided and
the memory before and after it, so that no restart ever decides a session twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from brokers.alpaca.desk import Desk
from brokers.alpaca.lines import booked
from brokers.alpaca.venue import AlpacaVenue
from engine.bars import Bars
from engine.book import Orders
from engine.checkpoint import CheckpointInfo
from engine.errors import CheckpointError, TradingHalted
from engine.reasons import Reason, explain
from engine.run.backtest import run_cerebro
from engine.run.paper.arrays import pack, unpack
from engine.run.paper.bars_kept import day
from engine.run.paper.drift import watch
from engine.run.paper.rebuild import parts, require_proven
from engine.run.paper.room import Room
from engine.run.paper.state import State, book_body
from engine.run.record import Recorder
from engine.trader import Trader

SEEN = ("market", "book")
KEPT = ("exposure", "keep", "target", "reasons", "filled", "price", "fee", "unfilled")


@dataclass(frozen=True)
class Decided:
    """The entries of one decision, oldest session first; the last one is the decision itself."""

    entries: list[tuple[date, dict[str, Any]]]

    @property
    def equity(self) -> float:
        """Equity at the close that was decided on, by our own books."""
        return float(self.entries[-1][1]["equity"])

    @property
    def warnings(self) -> list[str]:
        """What a person should know of it; nothing is stopped by them."""
        return [f"drift: {text}" for text in self.entries[-1][1]["drift"]["warnings"]]


def decide(room: Room, state: State, desk: Desk, kept: Bars, label: str) -> Decided:
    """Run the strategy over the accepted bars after the last decision; nothing is written or sent.

    Raises: CheckpointError for another policy than the journal's, or one that returns no number;
    TradingHalted where a guard of the account says no.
    """
    trader, trained, unseen = _trader(room, state, kept)
    before = trader.memory.copy()
    assert state.book is not None
    spec = trader.spec
    venue = AlpacaVenue(
        desk, room.symbols, state.book.copy(), spec.costs, spec.venue, label, sends=False
    )
    recorder = Recorder()
    broker = run_cerebro(unseen, trader, recorder.watch(trader, venue), send_last=False)
    trader.observer = None
    sizes = {order.data._name: float(order.size) for order in broker.queued}
    wanted = np.array([[sizes.get(symbol, 0.0) for symbol in room.symbols]])
    last = recorder.rows[-1]
    _require_adopted_ready(room, state, last["reasons"])
    qty, why = _allowed(room, wanted)
    _require_guards(room, state, day(unseen.sessions[-1]), float(last["equity"]), qty)
    entries = []
    for at, row in enumerate(recorder.rows):
        body = _body(row) | {"caught_up": at + 1 < len(recorder.rows)}
        entries.append((day(recorder.sessions[at]), body | {"orders": [], "booked": {}}))
    first, final = entries[0][1], entries[-1][1]
    first["memory_before"] = pack(before)
    final |= {
        "orders": qty[0].tolist(),
        "refused": {room.symbols[n]: explain(int(why[0, n])) for n in np.flatnonzero(why[0])},
        "booked": booked(desk.lines),
        "book": book_body(venue.book),
        "memory": pack(trader.memory),
        "warm": trader.warm.tolist(),
        "checkpoint": state.checkpoint,
        "bars": unseen.digest(),
        "drift": watch(desk.notes.journal, entries, trained, kept, spec.costs, room.settings.drift),
    }
    return Decided(entries)


def orders_from(decision: Mapping[str, Any]) -> Orders:
    """Return the orders that a stored decision came to."""
    return Orders.market(np.array([decision["orders"]], dtype=np.float64))


def _trader(room: Room, state: State, kept: Bars) -> tuple[Trader, CheckpointInfo, Bars]:
    # The windows come from the journal's bars; the memory from the last decision, or from a burn-in.
    policy = room.policy()
    found = policy.info.digest
    if found != state.checkpoint:
        raise CheckpointError(
            f"{room.checkpoint}: expected the agent {str(state.checkpoint)[:12]} that this account "
            f"runs with, found {found[:12]}; put it back, or resume with --new-checkpoint to start "
            "this one from a burn-in"
        )
    trader = Trader(room.spec(policy.info), policy, len(room.symbols))
    history, unseen = parts(state, kept)
    if state.fresh_memory:
        trader.prime(history)
        require_proven(state, trader, history)
        return trader, policy.info, unseen
    trader.stream.prime(history)
    own = {
        "memory": unpack(state.decision["memory"]),
        "warm": np.array(state.decision["warm"], dtype=np.int64),
    }
    trader.restore(trader.snapshot() | own)
    return trader, policy.info, unseen


def _require_adopted_ready(room: Room, state: State, reasons: np.ndarray) -> None:
    # An agent that is short of history is flat: it would sell what it was given to look after.
    assert state.book is not None
    if state.decided is not None:
        return
    lacking = (state.book.qty[0] != 0) & ((reasons & int(Reason.NOT_READY)) != 0)
    if lacking.any():
        names = ", ".join(room.symbols[n] for n in np.flatnonzero(lacking))
        raise TradingHalted(
            f"{names}: expected enough bars for the agent to judge the adopted position, found too "
            "few; wait until the feed has more, or close it and start in a new paper.state_dir"
        )


def _allowed(room: Room, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # What the venue, or the white list, does not let us trade is left out; nothing is rescaled.
    why = np.zeros(wanted.shape, dtype=np.int32)
    for n in np.flatnonzero(wanted[0]):
        symbol, qty = room.symbols[n], float(wanted[0, n])
        listed = not room.guards.symbols or symbol in room.guards.symbols
        asset = room.gateway.asset(symbol)
        whole = qty.is_integer() or asset.fractionable
        if not (listed and asset.active and asset.tradable and whole):
            why[0, n] = Reason.UNTRADABLE
    return np.where(why == 0, wanted, 0.0), why


def _require_guards(
    room: Room, state: State, session: date, equity: float, qty: np.ndarray
) -> None:
    guards, count = room.guards, int((qty != 0).sum())
    if guards.max_orders is not None and count > guards.max_orders:
        raise TradingHalted(
            f"guards.max_orders: expected at most {guards.max_orders} orders in one session, found "
            f"{count}; look at the decision, then resume or raise the limit"
        )
    if state.forgiven == session:
        return
    before = float(state.decision.get("equity", state.peak))
    for name, limit, base in (
        ("max_daily_loss", guards.max_daily_loss, before),
        ("max_drawdown", guards.max_drawdown, state.peak),
    ):
        if limit is not None and equity < base * (1.0 - limit):
            raise TradingHalted(
                f"guards.{name}: expected equity above {base * (1.0 - limit):,.2f} at the close of "
                f"{session}, found {equity:,.2f}; resume to go on in spite of it for this session"
                f"{', with --rebase to measure from here on' if name == 'max_drawdown' else ''}"
            )


def _body(row: Mapping[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {name: _plain(row[name]) for name in KEPT}
    body["equity"] = float(row["equity"])
    return body | {f"seen_{name}": pack(row[name]) for name in SEEN}


def _plain(array: np.ndarray) -> list[Any]:
    return [None if x != x else x for x in array.tolist()]
