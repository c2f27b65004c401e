"""Ask a real paper account what no document says; the answers are settings of the exchange.

Everything but `orders` looks only, and the order it places buys one share for a dollar, which no
market sells at, and is canceled. With `orders` a few more such orders are placed.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from brokers.alpaca import parse
from brokers.alpaca.answers import describe
from brokers.alpaca.budget import Budget
from brokers.alpaca.keys import Keys
from brokers.alpaca.overhear import Frame, overhear
from brokers.alpaca.records import TERMINAL
from brokers.alpaca.sdk import STOCKS, TRADING, Client
from brokers.alpaca.transport import NoReply, Reply
from engine.clock import Clock
from engine.errors import UsageError, VenueUnavailable
from engine.settings_paper import PaperSettings

LIMIT = "1"  # dollars
FAR = 5.0  # a share dearer than this is not sold for LIMIT
LEFT = "doctor-overnight"
NOT_ASKED = (
    "wash-trade rule: status and words (asking needs a share at risk)",
    "429: body and headers (asking means flooding the venue)",
    "splits, borrow fees, margin interest and intraday margin on paper (compare over weeks)",
)
_LOOKS, _BETWEEN_S = 20, 0.25


@dataclass(frozen=True, slots=True)
class Finding:
    """One question and what was seen; `settings` are those of the exchange that it decides."""

    question: str
    found: str
    settings: Mapping[str, object] = field(default_factory=dict)


class Probe:
    """The questions, for one account and one symbol."""

    def __init__(self, paper: PaperSettings, keys: Keys, clock: Clock, symbol: str) -> None:
        self._paper, self._clock, self._symbol = paper, clock, symbol
        self._keys = keys
        self._trading = self._client(TRADING, paper.trading_url, keys)
        self._stocks = self._client(STOCKS, paper.data_url, keys)
        self._run = f"doctor-{clock.now():%Y%m%d%H%M%S}"
        self._sent: list[str] = []  # client order ids, for cancelling

    @contextmanager
    def placing(self) -> Iterator[None]:
        """Cancel whatever the block sent and did not mean to leave."""
        try:
            yield
        finally:
            for client_order_id in self._sent:
                order = self._find(client_order_id)
                if order and order.get("status") not in TERMINAL:
                    self._trading.send("DELETE", f"/orders/{order.get('id')}", {})

    def close(self) -> None:
        """Close every connection."""
        for client in (self._trading, self._stocks):
            client.close()

    def look(self) -> Iterator[Finding]:
        """Ask what can be seen without an order."""
        yield from self._account()
        yield from self._asset()
        yield from self._rates()
        wrong = self._client(TRADING, self._paper.trading_url, Keys("PKWRONGWRONGWRONG", "wrong"))
        yield Finding("answer to a wrong key", _said(wrong.send("GET", "/account", {})))
        wrong.close()
        for minutes in (0, 20):
            when = f"{minutes} minutes old" if minutes else "recent"
            yield Finding(f"sip bars, {when}", _said(self._bars(minutes, "sip"), body=False))

    def order(self) -> Iterator[Finding]:
        """Place one order, see when it shows and what the stream says of it, cancel it.

        Raises: UsageError where the symbol is too cheap for the order to be harmless.
        """
        self._require_dear()
        heard: Callable[[], list[Frame]] = list
        with ExitStack() as stack:
            try:
                heard = stack.enter_context(overhear(self._paper.trading_url, self._keys))
            except VenueUnavailable as error:
                yield Finding("stream of order updates", str(error))
            yield from self._order()
            frames = heard()
        kinds = sorted({"binary" if frame.binary else "text" for frame in frames})
        yield Finding("frames of the stream", " and ".join(kinds) or "none came")
        told = ", ".join(f"{frame.event} ({frame.status})" for frame in frames)
        yield Finding("events of that order", told or "none")

    def orders(self) -> Iterator[Finding]:
        """Ask the questions that need further orders; leaves one until the next close."""
        yield Finding("same client order id after a cancel", _verdict(self._place("a")))
        for kind in ("opg", "cls", "ioc", "fok"):
            yield Finding(f"order {kind}", _verdict(self._place(kind, time_in_force=kind)))
        seen = self._place("fraction", qty="1.5")
        kinds = "all" if _id(seen) else "market"
        known = isinstance(seen, Reply) and (seen.ok or seen.status in (403, 422))
        settings = {"fractional_types": kinds} if known else {}
        yield Finding("fractional limit order", _verdict(seen), settings)
        yield from self._overnight()

    def _order(self) -> Iterator[Finding]:
        began = self._clock.now()
        seen = self._place("a")
        yield Finding("status after POST", _status(seen))
        looks = self._look_until(lambda order: bool(order))
        passed = (self._clock.now() - began).total_seconds()
        found = f"at look {looks[0]}, {passed:.2f} s after the POST began" if looks[1] else "never"
        yield Finding("order found by its client order id", found)
        answer = self._trading.send("DELETE", f"/orders/{looks[1].get('id', _id(seen))}", {})
        yield Finding("answer to a cancel", _said(answer))
        _, after = self._look_until(lambda order: order.get("status") in TERMINAL)
        yield Finding("status after a cancel", str(after.get("status", "unknown")))

    def _account(self) -> Iterator[Finding]:
        body = _dict(self._trading.ask("GET", "/account", {}))
        prefix = str(body.get("account_number"))[:2]
        yield Finding("account number begins with", prefix)
        yield Finding("key begins with", self._keys.key_id[:2])
        multiplier = str(body.get("multiplier"))
        settings = {"multiplier": int(multiplier)} if multiplier in ("1", "2", "4") else {}
        yield Finding("multiplier", multiplier, settings)
        may = body.get("shorting_enabled")
        found = {"shorting": may} if isinstance(may, bool) else {}
        yield Finding("shorting enabled", str(may), found)
        yield Finding("day-trade fields left", _names(body, "day_trad", "daytrad"))

    def _asset(self) -> Iterator[Finding]:
        body = _dict(self._trading.ask("GET", f"/assets/{self._symbol}", {}))
        there = "easy_to_borrow" in body
        yield Finding("easy_to_borrow is sent", str(there), {"easy_to_borrow": there})
        yield Finding("margin fields of an asset", _names(body, "margin"))

    def _rates(self) -> Iterator[Finding]:
        for name, client, path in (
            ("trading", self._trading, "/clock"),
            ("data", self._stocks, f"/stocks/{self._symbol}/bars/latest"),
        ):
            seen = client.send("GET", path, {} if name == "trading" else {"feed": self._paper.feed})
            headers = seen.headers if isinstance(seen, Reply) else {}
            told = {key: text for key, text in headers.items() if "ratelimit" in key.lower()}
            yield Finding(f"rate headers, {name}", str(told or "none"))

    def _overnight(self) -> Iterator[Finding]:
        week = (self._venue_time() - timedelta(days=7)).isoformat()
        asked = {"status": "all", "limit": "500", "after": week}
        found = self._trading.ask("GET", "/orders", asked).body
        question = "day order that was left until the close"
        for row in found if isinstance(found, list) else []:
            if isinstance(row, dict) and str(row.get("client_order_id")).startswith(LEFT):
                status = str(row.get("status"))
                ends = status in ("expired", "canceled")
                yield Finding(question, status, {"day_end": status} if ends else {})
                return
        seen = self._place("left", client_order_id=f"{LEFT}-{self._run[7:]}")
        self._sent.pop()  # it stays
        yield Finding(question, f"one left, {_status(seen)}: ask again after the next close")

    def _place(self, name: str, **changes: str) -> Reply | NoReply:
        body = {
            "symbol": self._symbol, "qty": "1", "side": "buy", "type": "limit",
            "limit_price": LIMIT, "time_in_force": "day",
            "client_order_id": f"{self._run}-{name}",
        }  # fmt: skip
        body |= changes
        self._sent.append(body["client_order_id"])  # before: an answer may be lost
        return self._trading.send("POST", "/orders", body)

    def _find(self, client_order_id: str) -> dict[str, Any]:
        asked = {"client_order_id": client_order_id}
        seen = self._trading.send("GET", "/orders:by_client_order_id", asked)
        return _dict(seen) if isinstance(seen, Reply) and seen.ok else {}

    def _look_until(self, done: Callable[[dict[str, Any]], bool]) -> tuple[int, dict[str, Any]]:
        order: dict[str, Any] = {}
        for n in range(1, _LOOKS + 1):
            order = self._find(self._sent[0])
            if done(order):
                return n, order
            self._clock.sleep(_BETWEEN_S)
        return _LOOKS, order

    def _bars(self, minutes_ago: int, feed: str) -> Reply | NoReply:
        end = self._venue_time() - timedelta(minutes=minutes_ago)
        asked = {
            "symbols": self._symbol, "timeframe": "1Day", "feed": feed,
            "start": (end - timedelta(days=14)).isoformat(), "end": end.isoformat(),
        }  # fmt: skip
        return self._stocks.send("GET", "/stocks/bars", asked)

    def _venue_time(self) -> datetime:
        return parse.market_clock(self._trading.ask("GET", "/clock", {}).body).at

    def _require_dear(self) -> None:
        seen = self._bars(20, self._paper.feed)
        bars = _dict(seen).get("bars") if isinstance(seen, Reply) else None
        rows = bars.get(self._symbol) if isinstance(bars, dict) else None
        last = rows[-1] if isinstance(rows, list) and rows else None
        close = last.get("c") if isinstance(last, dict) else None
        if not isinstance(close, int | float) or close < FAR:
            raise UsageError(
                f"{self._symbol}: expected a close of at least {FAR:g} dollars, so that nobody "
                f"sells it for {LIMIT}, found {close}; name another symbol first in data.symbols"
            )

    def _client(self, kind: Any, base: str, keys: Keys) -> Client:
        budget = Budget(self._paper.requests_per_minute, self._clock)
        return Client(kind, base, keys, self._clock, budget, self._paper.trust_env)


def _dict(seen: Reply) -> dict[str, Any]:
    return seen.body if isinstance(seen.body, dict) else {}


def _id(seen: Reply | NoReply) -> str:
    return str(_dict(seen).get("id", "")) if isinstance(seen, Reply) and seen.ok else ""


def _status(seen: Reply | NoReply) -> str:
    return str(_dict(seen).get("status")) if isinstance(seen, Reply) and seen.ok else _said(seen)


def _verdict(seen: Reply | NoReply) -> str:
    return f"accepted, {_status(seen)}" if _id(seen) else f"refused, {_said(seen)}"


def _said(seen: Reply | NoReply, body: bool = True) -> str:
    if isinstance(seen, NoReply):
        return seen.why
    return describe(seen) if body or not seen.ok else str(seen.status)


def _names(body: dict[str, Any], *parts: str) -> str:
    found = [name for name in sorted(body) if any(part in name for part in parts)]
    return ", ".join(found) or "none"
