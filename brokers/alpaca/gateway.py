"""What may be asked of Alpaca: one method per question, records as answers.

How a request travels is in `sdk`, what an answer means in `answers`. An order is sent exactly once
per call. One gateway serves one thread.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Self, TypeVar
from urllib.parse import quote

from brokers.alpaca import parse
from brokers.alpaca.answers import is_missing, judge_order
from brokers.alpaca.budget import Budget
from brokers.alpaca.keys import Keys
from brokers.alpaca.records import (
    Account,
    Answer,
    Asset,
    CalendarDay,
    Intent,
    MarketClock,
    OrderState,
    Position,
)
from brokers.alpaca.sdk import ACTIONS, STOCKS, TRADING, Client
from brokers.alpaca.transport import Timeouts
from brokers.alpaca.wire import order_body
from engine.clock import Clock
from engine.errors import VenueUnavailable
from engine.hosts import require_data, require_paper
from engine.settings_paper import Feed, PaperSettings

T = TypeVar("T")
_ORDERS_PAGE = 500
_BARS_PAGE = 10_000
_ACTIONS_PAGE = 1_000
_DELAY_OF_SIP = timedelta(minutes=16)  # without a subscription the newest 15 minutes are refused
_INSTANT = timedelta(microseconds=1)


class Gateway:
    """One account at Alpaca's paper host, or at an exchange on this machine."""

    def __init__(
        self, paper: PaperSettings, keys: Keys, clock: Clock, timeouts: Timeouts | None = None
    ) -> None:
        self._clock = clock
        self._budget = Budget(paper.requests_per_minute, clock)
        trading, data = require_paper(paper.trading_url), require_data(paper.data_url)
        shared = (keys, clock, self._budget, paper.trust_env, timeouts)
        self._trading = Client(TRADING, trading, *shared)
        self._stocks = Client(STOCKS, data, *shared)
        self._actions = Client(ACTIONS, data, *shared)

    def __repr__(self) -> str:
        return f"Gateway({self._trading.base})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        for client in (self._trading, self._stocks, self._actions):
            client.close()

    @property
    def rates(self) -> dict[str, str]:
        """Return what the last answer said about the venue's own limit."""
        return dict(self._budget.said)

    def account(self) -> Account:
        """Return the account as it stands."""
        return self._read("/account", parse.account)

    def positions(self) -> dict[str, Position]:
        """Return what is held, by symbol."""
        return self._read("/positions", parse.positions)

    def open_orders(self) -> list[OrderState]:
        """Return every order that is not over, oldest first."""
        return self._orders("open", None)

    def orders_since(self, at: datetime) -> list[OrderState]:
        """Return every order submitted at or after a time, whatever its status, oldest first."""
        return self._orders("all", at.astimezone(UTC) - _INSTANT)

    def order_by_client_id(self, client_order_id: str) -> OrderState | None:
        """Return an order by our own id; None only where the venue says there is none.

        Raises: VenueUnavailable where that remains unknown.
        """
        path, wanted = "/orders:by_client_order_id", {"client_order_id": client_order_id}
        seen = self._trading.ask("GET", path, wanted, settled=is_missing)
        if is_missing(seen):
            return None
        found = parse.order(seen.body)
        if found.client_order_id != client_order_id:
            raise VenueUnavailable(
                f"asked for order {client_order_id}, the venue answered with "
                f"{found.client_order_id}; whether ours exists is unknown, try again later"
            )
        return found

    def post(self, intent: Intent) -> Answer:
        """Send an order once, and say what the answer means.

        Raises: TradingHalted for an intent that no order can express; nothing was sent.
        """
        return judge_order(self._trading.send("POST", "/orders", order_body(intent)), intent)

    def cancel(self, order_id: str) -> None:
        """Ask for an order to be canceled. The answer proves nothing: read the order."""
        path = f"/orders/{quote(order_id, safe='')}"
        self._trading.ask("DELETE", path, {}, settled=lambda seen: seen.status in (404, 422))

    def market_clock(self) -> MarketClock:
        """Return what the venue thinks the time is."""
        return self._read("/clock", parse.market_clock)

    def calendar(self, first: date, last: date) -> list[CalendarDay]:
        """Return the venue's sessions from `first` to `last`, both inclusive."""
        return self._read(
            "/calendar", parse.calendar, {"start": first.isoformat(), "end": last.isoformat()}
        )

    def asset(self, symbol: str) -> Asset:
        """Return what may be done with a symbol: nothing where the venue does not know it."""
        path = f"/assets/{quote(symbol, safe='')}"
        seen = self._trading.ask("GET", path, {}, settled=is_missing)
        if is_missing(seen):
            return Asset(symbol, False, False, False, False)
        return parse.asset(seen.body)

    def bars(
        self, symbols: list[str], first: date, last: date, feed: Feed
    ) -> dict[str, list[dict[str, Any]]]:
        """Return raw daily bars by symbol, as they came; a symbol without bars is absent.

        A daily bar is stamped at midnight in New York, so whole UTC days hold exactly theirs.
        """
        end = f"{last.isoformat()}T23:59:59Z"
        if feed == "sip":
            end = min(end, _text(self._clock.now() - _DELAY_OF_SIP))
        asked = {
            "symbols": ",".join(symbols), "timeframe": "1Day", "adjustment": "raw", "feed": feed,
            "start": f"{first.isoformat()}T00:00:00Z", "end": end, "sort": "asc",
            "limit": str(_BARS_PAGE),
        }  # fmt: skip
        return self._paged(self._stocks, "/stocks/bars", "bars", asked)

    def corporate_actions(
        self, symbols: list[str], first: date, last: date
    ) -> dict[str, list[dict[str, Any]]]:
        """Return corporate actions by type, as they came."""
        asked = {
            "symbols": ",".join(symbols), "start": first.isoformat(), "end": last.isoformat(),
            "limit": str(_ACTIONS_PAGE),
        }  # fmt: skip
        return self._paged(self._actions, "/corporate-actions", "corporate_actions", asked)

    def _orders(self, status: str, after: datetime | None) -> list[OrderState]:
        # The venue pages by time only, so each page begins where the last one ended, inclusive.
        found: dict[str, OrderState] = {}
        while True:
            asked = {"status": status, "limit": str(_ORDERS_PAGE), "direction": "asc"}
            if after is not None:
                asked["after"] = _text(after)
            page = self._read("/orders", _order_list, asked)
            new = {each.id: each for each in page if each.id not in found}
            found |= new
            if len(page) < _ORDERS_PAGE:
                return list(found.values())
            times = [each.submitted_at for each in page if each.submitted_at is not None]
            if not new or not times:
                raise VenueUnavailable(
                    f"expected the {len(page)} orders of a page to lead to the next page, found "
                    f"none newer than {after}; the orders cannot be told apart by time"
                )
            after = max(times) - _INSTANT

    def _paged(
        self, client: Client, path: str, key: str, asked: dict[str, str]
    ) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for page in self._pages(client, path, asked):
            groups = {} if page.get(key, key) is None else page.get(key)  # null: none on this page
            for name, items in parse.mapping(groups, key).items():
                found.setdefault(name, []).extend(
                    parse.mapping(item, key) for item in parse.rows(items or [], key)
                )
        return {name: items for name, items in found.items() if items}

    def _pages(self, client: Client, path: str, asked: dict[str, str]) -> Iterator[dict[str, Any]]:
        tokens: set[str] = set()
        token: object = None
        while True:
            extra = {"page_token": str(token)} if token else {}
            page = parse.mapping(client.ask("GET", path, asked | extra).body, path)
            yield page
            token = page.get("next_page_token")
            if not token:
                return
            if not isinstance(token, str) or token in tokens:
                raise VenueUnavailable(
                    f"{path}: expected a new token for the next page, found {token!r:.80}; "
                    "nothing was kept, try again later"
                )
            tokens.add(token)

    def _read(
        self, path: str, read: Callable[[object], T], asked: Mapping[str, str] | None = None
    ) -> T:
        return read(self._trading.ask("GET", path, dict(asked or {})).body)


def _order_list(raw: object) -> list[OrderState]:
    return [parse.order(each) for each in parse.rows(raw, "orders")]


def _text(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
