"""The loopback exchange: one paper account that speaks Alpaca's words, moved by a clock.

Nothing happens in the background: every public method first lets everything happen that is due by
the clock, in order. No HTTP here; the routes and the stream stand around it.
"""

import threading
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from brokers.exchange import account, assets, hours, listing, trading
from brokers.exchange.matching import close_session, open_session
from brokers.exchange.rate import Rate
from brokers.exchange.refusals import Refusal, order_not_found
from brokers.exchange.served import served
from brokers.exchange.state import State
from brokers.exchange.switches import Switches
from brokers.exchange.wire import moment, new_york
from engine.bars import Bars
from engine.clock import Clock
from engine.settings_paper import ExchangeSettings

__all__ = ["Exchange", "Refusal"]

Wire = dict[str, Any]
Query = dict[str, str]
_LETTERS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))


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
        first = bars.span(start, None)[0]
        self.hours = hours.Hours(bars)
        self.state = State(bars, self.hours, self.settings, first, clock.now())
        self.listeners: list[Callable[[Wire], None]] = self.state.listeners
        random = np.random.default_rng([self.settings.seed, 2])
        self.key_id = "PKSIM" + "".join(random.choice(_LETTERS, 15))
        self.secret = "".join(random.choice(_LETTERS, 40))
        self.rate = Rate(self.settings.rate_limit, self.settings.seed)

    @property
    def switches(self) -> Switches:
        """What has been turned on to make it misbehave."""
        return self.state.switches

    def catch_up(self) -> None:
        """Let everything happen that is due by the clock."""
        self._now()

    def count_request(self) -> tuple[dict[str, str], bool]:
        """Count one request; return the headers of its answer, and whether it is within the rate."""
        with self.lock:
            return self.rate.count(self.clock.now())

    def newest(self) -> int:
        """Return the row of the newest session served as closed, -1 before the first."""
        return max(self.hours.closed(self.clock.now()) - self.switches.stale, -1)

    def served(self) -> Bars:
        """Return the bars as the data endpoints serve them: revised and dropped ones included."""
        with self.lock:
            return served(self.bars, self.switches)

    def submit(self, request: Wire) -> Wire:
        """Take an order request; return the order. Raises: Refusal."""
        with self.lock:
            return trading.submit(self.state, request, self._now())

    def replace(self, order_id: str, request: Wire) -> Wire:
        """Replace a live order by a new one; return the new one. Raises: Refusal."""
        with self.lock:
            return trading.replace(self.state, order_id, request, self._now())

    def cancel(self, order_id: str) -> None:
        """Take an order back. Raises: Refusal."""
        with self.lock:
            trading.cancel(self.state, order_id, self._now())

    def cancel_all(self) -> list[Wire]:
        """Take every live order back; return what became of each."""
        with self.lock:
            return trading.cancel_all(self.state, self._now())

    def close_position(self, name: str, query: Query | None = None) -> Wire:
        """Send the order that closes a position, or `qty` or `percentage` of it. Raises: Refusal."""
        with self.lock:
            symbol = assets.find_symbol(self.state, name)
            return trading.close_position(self.state, symbol or name, query or {}, self._now())

    def close_all(self, cancel_orders: bool = False) -> list[Wire]:
        """Send the orders that close every position; return what became of each."""
        with self.lock:
            return trading.close_all(self.state, cancel_orders, self._now())

    def order(self, order_id: str) -> Wire:
        """Return one order. Raises: Refusal."""
        with self.lock:
            self._now()
            return trading.find(self.state, order_id).wire()

    def order_by_client_id(self, client_order_id: str) -> Wire:
        """Return one order by the id its sender gave it. Raises: Refusal."""
        with self.lock:
            self._now()
            found = self.state.by_client_id.get(client_order_id)
            if found is None or self._hides(client_order_id):
                raise order_not_found(client_order_id)
            return found.wire()

    def orders(self, query: Query | None = None) -> list[Wire]:
        """List orders by the filters of GET /v2/orders. Raises: Refusal."""
        with self.lock:
            self._now()
            return listing.list_orders(self.state, query or {})

    def account(self) -> Wire:
        """Return the account."""
        with self.lock:
            return account.account(self.state, self._now())

    def configuration(self) -> Wire:
        """Return the account's own settings."""
        with self.lock:
            return account.configuration(self.state)

    def configure(self, request: Wire) -> Wire:
        """Change the account's own settings; return them all. Raises: Refusal."""
        with self.lock:
            return account.configure(self.state, request)

    def positions(self) -> list[Wire]:
        """Return every position."""
        with self.lock:
            return account.positions(self.state, self._now())

    def position(self, name: str) -> Wire:
        """Return the position in a symbol or an asset id. Raises: Refusal."""
        with self.lock:
            symbol = assets.find_symbol(self.state, name)
            return account.position(self.state, symbol, self._now())

    def activities(self, query: Query | None = None, kinds: str = "") -> list[Wire]:
        """List the account's activities, all or some kinds. Raises: Refusal."""
        with self.lock:
            self._now()
            return listing.list_activities(self.state, query or {}, kinds)

    def portfolio_history(self, query: Query | None = None) -> Wire:
        """Return the account's equity at every close. Raises: Refusal."""
        with self.lock:
            return listing.portfolio_history(self.state, query or {}, self._now())

    def assets(self, query: Query | None = None) -> list[Wire]:
        """List the assets."""
        with self.lock:
            self._now()
            return assets.assets(self.state, query or {})

    def asset(self, name: str) -> Wire:
        """Return the asset of a symbol or an asset id. Raises: Refusal."""
        with self.lock:
            self._now()
            return assets.find_asset(self.state, name)

    def market_clock(self) -> Wire:
        """Return what the exchange says the time is."""
        at = self.clock.now() + timedelta(seconds=self.switches.clock_skew_s)
        return {
            "timestamp": new_york(at),
            "is_open": self.hours.is_open(at),
            "next_open": new_york(self.hours.next_open(at)),
            "next_close": new_york(self.hours.next_close(at)),
        }

    def calendar(self, first: date, last: date) -> list[Wire]:
        """List the sessions from `first` to `last`, both inclusive."""
        return list(hours.calendar_days(self.bars.calendar, first, last))

    def dump(self) -> Wire:
        """Return the whole state, for tests and for a person."""
        with self.lock:
            now, state = self._now(), self.state
            held = {symbol: state.held(n) for symbol, n in state.columns.items()}
            return {
                "now": moment(now),
                "is_open": state.is_open,
                "next_session": str(self.hours.days[state.row]) if self._more() else None,
                "account": account.account(state, now),
                "cash": float(state.book.cash[0]),
                "qty": {symbol: qty for symbol, qty in held.items() if qty},
                "positions": account.positions(state, now),
                "orders": [order.wire() for order in state.orders.values()],
                "activities": list(state.activities),
            }

    def reset(self) -> None:
        """Start again with a new account and nothing switched, as Alpaca's reset does."""
        with self.lock:
            self.state.begin(self._now())
            self.state.switches = Switches()

    def external_fill(self, symbol: str, qty: float) -> Wire:
        """Trade by hand, at the last price; return the order. `qty` is signed."""
        with self.lock:
            return trading.by_hand(self.state, symbol, qty, self._now())

    def hide_order(self, client_order_id: str, lookups: int = 1) -> None:
        """Answer 404 to the next look-ups of an order, which may not exist yet."""
        with self.lock:
            self.switches.hidden[client_order_id] = lookups

    def stick_cancel(self, symbol: str, fills: bool = False) -> None:
        """Let cancels of a symbol's orders never end; `fills` lets such orders fill all the same."""
        with self.lock:
            self.switches.stuck[symbol] = fills

    def reject_after_accept(self, symbol: str) -> None:
        """Accept the next order of a symbol, then reject it."""
        with self.lock:
            self.switches.rejected.add(symbol)

    def partial_next(self, symbol: str, fraction: float) -> None:
        """Fill only this fraction of the symbol's next order at the open."""
        with self.lock:
            self.switches.parts[symbol] = fraction

    def revise_bar(self, symbol: str, session: date, factor: float) -> None:
        """Serve one bar with its prices times `factor`; fills are not touched."""
        with self.lock:
            self.switches.revised[symbol, session] = factor

    def drop_bar(self, symbol: str, session: date) -> None:
        """Serve one session without a symbol's bar; fills are not touched."""
        with self.lock:
            self.switches.dropped.add((symbol, session))

    def serve_stale(self, sessions: int) -> None:
        """Serve bars that lack the newest so many sessions; 0 = up to date."""
        with self.lock:
            self.switches.stale = sessions

    def _now(self) -> datetime:
        # The time, once everything due by then has happened.
        with self.lock:
            now, state = self.clock.now(), self.state
            while self._more():
                row = state.row
                if not state.is_open and self.hours.opens[row] <= now:
                    open_session(state, row)
                elif state.is_open and self.hours.closes[row] <= now:
                    close_session(state, row)
                else:
                    break
            return now

    def _more(self) -> bool:
        return self.state.row < len(self.hours.days)

    def _hides(self, client_order_id: str) -> bool:
        left = self.switches.hidden.get(client_order_id, 0)
        self.switches.hidden[client_order_id] = max(left - 1, 0)
        return left > 0
