"""Our books against the venue's: shares, cash and orders must be explained before anything is sent.

A failed read is unknown, never flat; a difference is shown and stops everything, never mended.
"""

from collections.abc import Callable
from datetime import timedelta

import numpy as np

from brokers.alpaca.actions import events_of
from brokers.alpaca.bars import EARLY, LATE
from brokers.alpaca.desk import fills_of
from brokers.alpaca.records import Account, Position
from engine import clock as time
from engine.book import Book, Orders
from engine.errors import TradingHalted, VenueUnavailable
from engine.events import apply_split
from engine.run.paper.bars_kept import day
from engine.run.paper.room import CALENDAR, Room
from engine.run.paper.state import State

SHARES, CENTS = 1e-6, 0.01
DIFFER = "our books and the venue's differ"
AGAIN_S = (2.0, 5.0)  # waits before a difference is believed: a position may follow its fill late


def label_of(room: Room, account_id: str) -> str:
    """Return how every client order id of this account begins."""
    plain = "".join(x for x in account_id.lower() if x.isalnum())
    return f"{room.settings.paper.strategy}-{plain[:6]}"


def expected_book(room: Room, state: State, through: np.datetime64) -> Book:
    """Return what the venue should hold: the book after the last decision, and what came since.

    Splits of the sessions up to `through` are in it.
    """
    assert state.book is not None
    book = state.book.copy()
    split = splits_since_decision(room, state, through)
    if (split != 1.0).any():
        apply_split(book, Orders.none(1, len(room.symbols)), split)
    for line, fill in fills_of(state.lines.values()):
        book.qty[0, room.symbols.index(line.intent.symbol)] += fill.qty
        book.cash[0] -= fill.qty * fill.price
    return book


def reconcile(room: Room, state: State, account: Account, follow: Callable[[], None]) -> None:
    """Compare shares, cash and orders with the venue; `follow` asks for new fills of our orders.

    Raises: TradingHalted with every difference; VenueUnavailable where the answer cannot be true.
    """
    _require_own_orders(room, state)
    found = differences(room, state, account)
    for wait in AGAIN_S:  # a fill between two of our questions is no difference
        if not found:
            return
        room.clock.sleep(wait)
        follow()
        found = differences(room, state, room.gateway.account())
    if not found:
        return
    raise TradingHalted(
        f"{DIFFER}: " + "; ".join(found) + "; find out who traded, what was booked, or whether a "
        "symbol was delisted, merged or renamed, then resume, with --rebase to go on from what the "
        "venue holds"
    )


def require_ours(room: Room, positions: dict[str, Position]) -> None:
    """Refuse an account that holds what this agent does not trade. Raises: TradingHalted."""
    others = sorted(set(positions) - set(room.symbols))
    if others:
        raise TradingHalted(
            f"expected positions in {', '.join(room.symbols)} only, found {', '.join(others)}; use "
            "an account of its own for the agent, or close them"
        )


def differences(room: Room, state: State, account: Account) -> list[str]:
    """Say how the venue's shares and cash differ from ours; nothing where they agree.

    A split may be booked overnight or at the open: either is no difference.
    Raises: as `reconcile`.
    """
    opened, positions = time.last_opened(room.clock.now(), CALENDAR), room.gateway.positions()
    found = _compare(room, state, opened, positions, account)
    if found:
        overnight = time.next_session(opened, CALENDAR)
        found = _compare(room, state, overnight, positions, account) and found
    return found


def _compare(
    room: Room,
    state: State,
    through: np.datetime64,
    positions: dict[str, Position],
    account: Account,
) -> list[str]:
    expected = expected_book(room, state, through)
    invested = abs(account.equity - account.cash) > CENTS
    if expected.qty.any() and not positions and invested:
        raise VenueUnavailable(
            "expected positions, as the account's equity is not its cash alone, the venue answered "
            "with an empty list; it is unknown what is held and nothing is sent until they agree: "
            "look at the venue's dashboard if this goes on"
        )
    require_ours(room, positions)
    found = []
    for n, symbol in enumerate(room.symbols):
        ours = float(expected.qty[0, n])
        theirs = positions[symbol].qty if symbol in positions else 0.0
        if abs(ours - theirs) > SHARES:
            found.append(f"{symbol}: ours {ours:g} shares, the venue's {theirs:g}")
    cash = float(expected.cash[0] + expected.fees[0])  # modelled costs are booked with us alone
    if abs(cash - account.cash) > CENTS * (1 + state.fills) + 1e-9 * abs(cash):
        found.append(
            f"cash: ours {cash:,.2f} before modelled costs, the venue's {account.cash:,.2f}"
        )
    return found


def _require_own_orders(room: Room, state: State) -> None:
    # Orders of ours that the journal does not know mean an old journal or a second runner.
    assert state.opened is not None
    if state.decided is not None:
        since = time.closing(state.decided, CALENDAR)
        if state.rebased is not None:  # a person has looked at those before it
            since = max(since, state.rebased)
        recent = room.gateway.orders_since(since)
        mine = label_of(room, state.opened["account"])
        unknown = [
            x for x in recent
            if x.client_order_id.startswith(f"{mine}-") and x.client_order_id not in state.lines
        ]  # fmt: skip
        if unknown:
            raise TradingHalted(
                f"{unknown[0].client_order_id}: the venue has this order of ours, the journal does "
                "not; the journal is older than the account, or another runner trades it: restore "
                "the newest journal, or resume with --rebase"
            )
    foreign = [x for x in room.gateway.open_orders() if x.client_order_id not in state.lines]
    if foreign:
        order = foreign[0]
        raise TradingHalted(
            f"{order.symbol}: an open order of {order.qty:g} shares ({order.client_order_id}) is not "
            "ours; cancel it, then resume"
        )


def splits_since_decision(room: Room, state: State, through: np.datetime64) -> np.ndarray:
    """Return new shares for old of the sessions after the last decision, up to `through`.

    Shapes: (1, N). Their bars may not be known yet.
    """
    split = np.ones((1, len(room.symbols)))
    if state.decided is None or through <= np.datetime64(state.decided):
        return split
    symbols, first = list(room.symbols), np.datetime64(state.decided) + 1
    start, end = state.decided + timedelta(days=1), day(through)
    actions = room.gateway.corporate_actions(symbols, start - EARLY, end + LATE)
    for n, symbol in enumerate(symbols):
        for event in events_of(actions, symbol, first, through)[0]:
            split[0, n] *= event.split
    return split
