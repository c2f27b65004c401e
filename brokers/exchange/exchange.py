"""The loopback exchange: one paper account that speaks Alpaca's words, moved by a clock.

Nothing happens in the background: every public method first lets everything happen that is due by
the clock, in order. No HTTP here; the routes and the stream stand around it.
"""

import threading
from collections.abc import Callable
from datetime import date
from typing import Any

from brokers.exchange.refusals import Refusal
from brokers.exchange.switches import Switches
from engine.bars import Bars
from engine.clock import Clock
from engine.settings_paper import ExchangeSettings

__all__ = ["Exchange", "Refusal"]

Wire = dict[str, Any]


class Exchange:
    """One account on past bars. `start` is the first session that may be traded.

    `listeners` get the envelope of every trade update, inside the lock: they must neither raise nor
    wait. Raises: DataError where the bars have no calendar.
    """

    def __init__(
        self,
        bars: Bars,
        clock: Clock,
        settings: ExchangeSettings | None = None,
        start: date | None = None,
    ) -> None:
        self.bars = bars
        self.clock = clock
        self.settings = settings or ExchangeSettings()
        self.lock = threading.RLock()
        self.listeners: list[Callable[[Wire], None]] = []
        self.switches = Switches()
        self.key_id = "PKSIM"
        self.secret = "secret"

    def catch_up(self) -> None:
        """Let everything happen that is due by the clock."""
        raise NotImplementedError

    def request_headers(self) -> dict[str, str]:
        """Return the headers of the next answer: its id and, with a rate limit, what is left.

        Raises: Refusal (429) where the limit is used up.
        """
        raise NotImplementedError

    def newest(self) -> int:
        """Return the row of the newest session that has closed, -1 before the first."""
        raise NotImplementedError

    def served(self) -> Bars:
        """Return the bars as the data endpoints serve them: revised and dropped ones included."""
        raise NotImplementedError

    def submit(self, request: Wire) -> Wire:
        """Take an order request; return the order. Raises: Refusal."""
        raise NotImplementedError

    def replace(self, order_id: str, request: Wire) -> Wire:
        """Replace a live order by a new one; return the new one. Raises: Refusal."""
        raise NotImplementedError

    def cancel(self, order_id: str) -> None:
        """Take an order back. Raises: Refusal."""
        raise NotImplementedError

    def cancel_all(self) -> list[Wire]:
        """Take every live order back; return what became of each."""
        raise NotImplementedError

    def order(self, order_id: str) -> Wire:
        """Return one order. Raises: Refusal."""
        raise NotImplementedError

    def order_by_client_id(self, client_order_id: str) -> Wire:
        """Return one order by the id its sender gave it. Raises: Refusal."""
        raise NotImplementedError

    def orders(self, query: dict[str, str] | None = None) -> list[Wire]:
        """List orders by the filters of GET /v2/orders. Raises: Refusal."""
        raise NotImplementedError

    def account(self) -> Wire:
        """Return the account."""
        raise NotImplementedError

    def positions(self) -> list[Wire]:
        """Return every position."""
        raise NotImplementedError

    def dump(self) -> Wire:
        """Return the whole state, for tests and for a person."""
        raise NotImplementedError

    def reset(self) -> None:
        """Start again with a new account, as Alpaca's reset does."""
        raise NotImplementedError

    def external_fill(self, symbol: str, qty: float) -> Wire:
        """Trade by hand, at the last price; return the order. `qty` is signed."""
        raise NotImplementedError

    def hide_order(self, client_order_id: str, lookups: int = 1) -> None:
        """Answer 404 to the next look-ups of an order, which may not exist yet."""
        raise NotImplementedError

    def stick_cancel(self, symbol: str, fills: bool = False) -> None:
        """Let cancels of a symbol's orders never end; `fills` lets such orders fill all the same."""
        raise NotImplementedError

    def reject_after_accept(self, symbol: str) -> None:
        """Accept the next order of a symbol, then reject it."""
        raise NotImplementedError

    def partial_next(self, symbol: str, fraction: float) -> None:
        """Fill only this fraction of the symbol's next order at the open."""
        raise NotImplementedError

    def revise_bar(self, symbol: str, session: date, factor: float) -> None:
        """Serve one bar with its prices times `factor`; fills are not touched."""
        raise NotImplementedError

    def drop_bar(self, symbol: str, session: date) -> None:
        """Serve one session without a symbol's bar; fills are not touched."""
        raise NotImplementedError

    def serve_stale(self, sessions: int) -> None:
        """Serve bars that lack the newest so many sessions; 0 = up to date."""
        raise NotImplementedError
