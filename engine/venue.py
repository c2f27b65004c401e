"""A venue takes orders and says what became of them; SimVenue is the simulated market.

SimVenue steps many books at once: one order slot for each book and symbol. The rules themselves
are the functions of `engine.market`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from engine.bars import MarketRow
from engine.book import LIMIT, MARKET, NONE, STOP, STOP_LIMIT, Book, Orders, Outcome, arrays
from engine.costs import CostRules, Costs
from engine.errors import VenueError
from engine.events import apply_split, pay_dividend, restate, settle_ended
from engine.market import (
    VenueSettings,
    affordable,
    apply_fills,
    buying_power,
    fill_price,
    granted,
    needed,
    opening,
    short_fraction,
    unusable,
)
from engine.masks import finite, some
from engine.reasons import Reason, mark
from engine.sizes import at_fill

__all__ = [
    "LIMIT",
    "MARKET",
    "NONE",
    "STOP",
    "STOP_LIMIT",
    "Book",
    "Orders",
    "Outcome",
    "SimVenue",
    "Venue",
    "VenueSettings",
    "buying_power",
    "needed",
    "opening",
]


class Venue(Protocol):
    """Where orders go. Shapes: orders and refusals (B, N)."""

    @property
    def book(self) -> Book:
        """What the account holds now."""
        ...

    @property
    def pending(self) -> Orders:
        """Orders that were accepted and wait."""
        ...

    def submit(self, orders: Orders) -> np.ndarray:
        """Hand in one batch; return Reason bits for every order refused at once, 0 = accepted."""
        ...

    def advance(self, row: MarketRow) -> Outcome:
        """Let one session happen; return what it did."""
        ...

    def cancel(self, where: np.ndarray) -> None:
        """Take back waiting orders; `where` (B, N)."""
        ...


class SimVenue:
    """The simulated market for B books of N symbols.

    One session: splits and dividends, then fills (sales before buys, buys in symbol order), then
    marks at the close, expiry, and settlement of delisted symbols. An order sent after the close
    of t fills in the session after it; a symbol without a bar leaves its order waiting, day
    orders too. A book whose equity is zero or less is ruined: every order it sends is refused
    until it is reset or prices bring it back; nothing is closed by force.
    """

    def __init__(
        self,
        cash: float | np.ndarray,
        shape: tuple[int, int],
        costs: CostRules | None = None,
        settings: VenueSettings | None = None,
    ) -> None:
        self.costs = costs or Costs()
        self.settings = settings or VenueSettings()
        self.shape = shape
        self.book = Book.start(cash, *shape)
        self.pending = Orders.none(*shape)
        self._ended = np.zeros(shape, dtype=bool)
        self._priced = np.zeros(shape, dtype=bool)  # traded in the last session
        self._session = np.full(shape[0], np.datetime64("NaT", "D"))
        self._refresh()

    def submit(self, orders: Orders) -> np.ndarray:
        """Accept or refuse one batch; return Reason bits (B, N), 0 where accepted or no order.

        Sales are checked before buys, then in symbol order; a refused order leaves its buying
        power to the next. A cash account is not checked here but at the fill.
        """
        if orders.qty.shape != self.shape:
            raise VenueError(
                f"orders of shape {self.shape} (books, symbols) expected, found {orders.qty.shape}"
            )
        refused = np.zeros(self.shape, dtype=np.int32)
        sent = orders.qty != 0.0
        if not some(sent):
            return refused
        self._check_orders(orders, sent, refused)
        if some(refused):
            orders = replace(orders, qty=np.where(refused == 0, orders.qty, 0.0))
        self._check_money(orders, orders.qty != 0.0, refused)
        if self._waiting or some(refused):
            self._accept(orders, sent & (refused == 0))
        else:
            self.pending = orders.copy()
            self._clear(~sent)
        return refused

    def advance(self, row: MarketRow) -> Outcome:
        """Let one session happen to every book; return what it did.

        Shapes: `row` (B, N), or (1, N) for every book alike.
        """
        outcome = Outcome.nothing(row.session, *self.shape)
        if self._waiting and self.settings.fill == "same_close":
            self._fill_at_mark(outcome)
        if some(row.split != 1.0):
            outcome.split_cash = apply_split(self.book, self.pending, row.split)
            restate(outcome, row.split)  # nothing has filled yet, but at the close just seen
        if self.settings.pay_dividends and some(row.dividend):
            outcome.dividends = pay_dividend(self.book, row.dividend)
        self.book.since += self.book.since >= 0
        if self._waiting and self.settings.fill != "same_close":
            self._fill(row, outcome)
        np.copyto(self.book.mark, row.close, where=row.traded)
        if not self._plain:
            self._expire(row, outcome)
        if some(row.ended):
            self._end(row.ended, outcome)
        self._priced = row.traded
        self._session = row.session
        return outcome

    def cancel(self, where: np.ndarray) -> None:
        """Take back waiting orders; `where` (B, N)."""
        self._clear(where)

    def reset(self, where: np.ndarray, cash: float | np.ndarray) -> None:
        """Start some books anew with `cash`; `where` (B,)."""
        self.book.restart(where, cash)
        self._ended = self._ended & ~where[:, None]
        self._priced = np.broadcast_to(self._priced, self.shape) & ~where[:, None]
        self._clear(np.broadcast_to(where[:, None], self.shape))

    def begin(self, where: np.ndarray, row: MarketRow) -> None:
        """Show reset books the bar they start on: marks and nothing else; `where` (B,), row (B, N)."""
        seen = where[:, None] & row.traded
        np.copyto(self.book.mark, row.close, where=seen)
        self._priced = np.where(where[:, None], row.traded, self._priced)
        self._session = np.where(where, row.session, self._session)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return all state as named arrays, enough to go on bit for bit."""
        own = {"ended": self._ended, "priced": self._priced, "session": self._session}
        state = {**own, **arrays("book", self.book), **arrays("pending", self.pending)}
        return {name: array.copy() for name, array in state.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a snapshot. Raises: VenueError when it is of another shape."""
        if state["book.qty"].shape != self.shape:
            raise VenueError(
                f"snapshot of shape {self.shape} (books, symbols) expected, found "
                f"{state['book.qty'].shape}; it belongs to another account or symbol list"
            )
        for prefix, record in (("book", self.book), ("pending", self.pending)):
            for name in arrays(prefix, record).keys() & state.keys():  # weights came later
                setattr(record, name.partition(".")[2], state[name].copy())
        self._ended, self._priced = state["ended"].copy(), state["priced"].copy()
        self._session = state["session"].copy()
        self._refresh()

    def _check_orders(self, orders: Orders, sent: np.ndarray, refused: np.ndarray) -> None:
        if self._waiting:
            mark(refused, sent & (self.pending.qty != 0), Reason.ORDER_OPEN)
        if some(self._ended):
            mark(refused, sent & self._ended, Reason.DELISTED)
        bad = sent & (orders.kind == NONE)
        if some(orders.kind > MARKET) or not finite(orders.qty) or some(bad):
            mark(refused, sent & unusable(orders), Reason.BAD_ORDER)
        if self.settings.fill == "same_close":  # which knows no path for limits and stops
            mark(refused, sent & (orders.kind > MARKET), Reason.BAD_ORDER)
        if some(orders.qty != np.rint(orders.qty)):
            mark(refused, sent & short_fraction(orders, self.book), Reason.SHORT_FRACTION)

    def _check_money(self, orders: Orders, accepted: np.ndarray, refused: np.ndarray) -> None:
        book = self.book.still()
        ruined = book.equity() <= 0.0
        if some(ruined):
            mark(refused, accepted & ruined[:, None], Reason.RUINED)
            accepted = accepted & ~ruined[:, None]
        if self.settings.account == "cash":
            return
        waiting = self.pending if self._waiting else None
        free = buying_power(book, waiting, self.settings)
        ask = needed(orders, book, self.settings)
        if some((ask * accepted).sum(axis=-1) > free):
            mark(refused, accepted & ~granted(orders.qty, ask, free), Reason.BUYING_POWER)

    def _accept(self, orders: Orders, taken: np.ndarray) -> None:
        for name in orders.__dataclass_fields__:
            new, old = getattr(orders, name), getattr(self.pending, name)
            setattr(self.pending, name, np.where(taken, new, old))
        self._refresh()

    def _fill(self, row: MarketRow, outcome: Outcome) -> None:
        pending = self.pending
        market = row.close if self.settings.fill == "next_close" else row.open
        if self.settings.size == "fill":
            price = np.where(row.traded, market, self.book.mark)
            self._size(price, row.traded, row.session, outcome)
        if self._plain:
            price = self.costs.slipped(market, pending.qty)
        else:
            price = fill_price(pending, row, market, self.costs)
        ready = (pending.qty != 0.0) & row.traded
        if not self._plain:
            ready &= ~np.isnan(price)
        self._execute(ready, price, row.session, outcome)

    def _fill_at_mark(self, outcome: Outcome) -> None:
        # "same_close": the close just observed, reported with the session after it.
        if self.settings.size == "fill":
            self._size(self.book.mark, self._priced, self._session, outcome)
        price = self.costs.slipped(self.book.mark, self.pending.qty)
        ready = (self.pending.kind == MARKET) & self._priced
        self._execute(ready, price, self._session, outcome)

    def _size(
        self, price: np.ndarray, ready: np.ndarray, session: np.ndarray, outcome: Outcome
    ) -> None:
        sized = at_fill(self.pending, self.book, price, self.costs, session)
        nothing = ready & (self.pending.qty != 0) & (sized == 0)
        mark(outcome.refused, nothing, Reason.TOO_SMALL)
        outcome.unfilled = np.where(nothing, self.pending.qty, outcome.unfilled)
        self.pending.qty = np.where(ready, sized, self.pending.qty)
        self._clear(nothing)

    def _execute(
        self, ready: np.ndarray, price: np.ndarray, session: np.ndarray, outcome: Outcome
    ) -> None:
        if not some(ready):
            return
        qty = np.where(ready, self.pending.qty, 0.0)
        fee = self.costs.fee(qty, price, session[:, None])
        done = ready
        if self.settings.account == "cash":
            done = ready & affordable(self.book.cash, qty, price, fee)
            short = ready & ~done
            mark(outcome.refused, short, Reason.CASH_SHORT)
            outcome.unfilled = np.where(short, qty, 0.0)
            qty, fee = np.where(done, qty, 0.0), np.where(done, fee, 0.0)
        apply_fills(self.book, qty, price, fee)
        outcome.filled, outcome.fee = qty, fee
        outcome.price = np.where(done, price, np.nan)
        self._clear(ready)

    def _expire(self, row: MarketRow, outcome: Outcome) -> None:
        late = (self.pending.qty != 0) & self.pending.day & row.traded
        mark(outcome.refused, late, Reason.EXPIRED)
        outcome.unfilled = np.where(late, self.pending.qty, outcome.unfilled)
        self._clear(late)

    def _end(self, ended: np.ndarray, outcome: Outcome) -> None:
        outcome.settled = settle_ended(self.book, ended)
        self._ended = self._ended | ended
        left = ended & (self.pending.qty != 0)
        mark(outcome.refused, left, Reason.DELISTED)
        outcome.unfilled = np.where(left, self.pending.qty, outcome.unfilled)
        self._clear(left)

    def _clear(self, where: np.ndarray) -> None:
        self.pending.qty = np.where(where, 0.0, self.pending.qty)
        self.pending.kind = np.where(where, np.int8(NONE), self.pending.kind)
        self._refresh()

    def _refresh(self) -> None:
        # What the short paths ask before they skip work: anything waiting, and only market orders?
        self._waiting = some(self.pending.qty)
        self._plain = not self._waiting or not some(self.pending.kind > MARKET)
