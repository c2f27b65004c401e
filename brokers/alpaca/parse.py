"""Alpaca's answers as our records: needs only what we use, ignores what it does not know.

The SDK's own models refuse an order with a status they have not heard of; ours keep it. What is
missing or impossible raises VenueUnavailable, which says what was expected and found.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from brokers.alpaca.records import Account, Asset, CalendarDay, MarketClock, OrderState, Position
from engine.errors import VenueUnavailable

_NEW_YORK = ZoneInfo("America/New_York")
_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?([eE][-+]?\d{1,3})?", re.ASCII)
_HOUR = re.compile(r"(\d\d):?(\d\d)", re.ASCII)
_SIDES = {"buy": 1, "long": 1, "sell": -1, "sell_short": -1, "short": -1}


def account(raw: object) -> Account:
    """Read an account."""
    row = _row(raw, "account")
    flags = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
    return Account(
        id=row.text("id"),
        number=row.text("account_number"),
        status=row.text("status"),
        cash=row.number("cash"),
        equity=row.number("equity"),
        buying_power=row.number("buying_power"),
        multiplier=row.number("multiplier", 1.0),
        blocked=any([row.flag(name, False) for name in flags]),
        shorting_enabled=row.flag("shorting_enabled", False),
    )


def positions(raw: object) -> dict[str, Position]:
    """Read all positions by symbol. Raises: VenueUnavailable where a symbol comes twice."""
    found = [_position(_row(each, "position")) for each in rows(raw, "positions")]
    by_symbol = {each.symbol: each for each in found}
    if len(by_symbol) != len(found):
        raise VenueUnavailable(
            f"expected each symbol once among the positions, found {[x.symbol for x in found]}"
        )
    return by_symbol


def order(raw: object) -> OrderState:
    """Read one order; `qty` is nan for an order in dollars, which we never send."""
    row = _row(raw, "order")
    side = row.side()
    filled = row.number("filled_qty", 0.0, least=0.0)
    return OrderState(
        id=row.text("id"),
        client_order_id=row.text("client_order_id"),
        symbol=row.text("symbol"),
        qty=side * row.number("qty", math.nan, least=0.0),
        filled_qty=filled,
        filled_price=row.number("filled_avg_price", None if filled else 0.0, least=0.0),
        status=row.text("status"),
        kind=row.text("type" if row.raw.get("type") else "order_type"),
        limit=row.maybe_number("limit_price"),
        stop=row.maybe_number("stop_price"),
        time_in_force=row.text("time_in_force"),
        submitted_at=row.maybe_moment("submitted_at"),
        filled_at=row.maybe_moment("filled_at"),
    )


def market_clock(raw: object) -> MarketClock:
    """Read the venue's clock."""
    row = _row(raw, "clock")
    return MarketClock(
        at=row.moment("timestamp"),
        is_open=row.flag("is_open"),
        next_open=row.moment("next_open"),
        next_close=row.moment("next_close"),
    )


def calendar(raw: object) -> list[CalendarDay]:
    """Read sessions; their hours come as New York wall time."""
    return [_day(_row(each, "calendar day")) for each in rows(raw, "calendar days")]


def asset(raw: object) -> Asset:
    """Read an asset; where `shortable` is gone, being easy to borrow says it."""
    row = _row(raw, "asset")
    easy = row.raw.get("borrow_status") == "easy_to_borrow"
    return Asset(
        symbol=row.text("symbol"),
        active=row.text("status") == "active",
        tradable=row.flag("tradable"),
        fractionable=row.flag("fractionable", False),
        shortable=row.flag("shortable", easy),
    )


def rows(raw: object, what: str) -> list[Any]:
    """Return a list as it is. Raises: VenueUnavailable for anything else."""
    if not isinstance(raw, list):
        raise _unusable(f"a list of {what}", raw)
    return raw


def mapping(raw: object, what: str) -> dict[str, Any]:
    """Return an object as it is. Raises: VenueUnavailable for anything else."""
    if not isinstance(raw, dict):
        raise _unusable(f"an object: {what}", raw)
    return raw


def code_of(body: object) -> int | None:
    """Return the number Alpaca gives a refusal; None where the body has none."""
    code = body.get("code") if isinstance(body, dict) else None
    if isinstance(code, str) and re.fullmatch(r"\d{1,12}", code, re.ASCII):
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) else None


@dataclass(frozen=True, slots=True)
class _Row:
    raw: dict[str, Any]
    what: str

    def text(self, key: str) -> str:
        found = self.raw.get(key)
        if not isinstance(found, str) or not 1 <= len(found) <= 200 or not found.isprintable():
            raise self._wrong(key, "a short text")
        return found

    def number(self, key: str, missing: float | None = None, least: float = -math.inf) -> float:
        found = self.raw.get(key)
        if found is None and missing is not None:
            return missing
        number = _number(found)
        if number is None or number < least:
            raise self._wrong(key, "a number" if least == -math.inf else "a number from 0 on")
        return number

    def maybe_number(self, key: str) -> float | None:
        return None if self.raw.get(key) is None else self.number(key, least=0.0)

    def flag(self, key: str, missing: bool | None = None) -> bool:
        found = self.raw.get(key, missing)
        if not isinstance(found, bool):
            raise self._wrong(key, "true or false")
        return found

    def side(self) -> int:
        found = self.raw.get("side")
        if not isinstance(found, str) or found not in _SIDES:
            raise self._wrong("side", f"one of {', '.join(_SIDES)}")
        return _SIDES[found]

    def moment(self, key: str) -> datetime:
        found = self.raw.get(key)
        try:
            at = datetime.fromisoformat(found) if isinstance(found, str) else None
            if at is not None and at.tzinfo is not None:
                return at.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
        raise self._wrong(key, "a time with its zone")

    def maybe_moment(self, key: str) -> datetime | None:
        return None if self.raw.get(key) is None else self.moment(key)

    def hour(self, key: str) -> time:
        found = self.raw.get(key)
        match = _HOUR.fullmatch(found) if isinstance(found, str) else None
        if match and int(match[1]) < 24 and int(match[2]) < 60:
            return time(int(match[1]), int(match[2]))
        raise self._wrong(key, "a time like 09:30")

    def day(self, key: str) -> date:
        try:
            return date.fromisoformat(self.text(key))
        except ValueError:
            raise self._wrong(key, "a date") from None

    def _wrong(self, key: str, expected: str) -> VenueUnavailable:
        return _unusable(f"{expected} as {key!r} of the {self.what}", self.raw.get(key))


def _position(row: _Row) -> Position:
    # Captures disagree on the sign of a short position's quantity; the side is reliable.
    side, qty = row.side(), abs(row.number("qty"))
    return Position(
        symbol=row.text("symbol"),
        qty=side * qty,
        available=side * abs(row.number("qty_available", qty)),
        entry_price=row.number("avg_entry_price", least=0.0),
        price=row.number("current_price", math.nan, least=0.0),
    )


def _day(row: _Row) -> CalendarDay:
    session = row.day("date")
    hours = [datetime.combine(session, row.hour(key), _NEW_YORK) for key in ("open", "close")]
    try:
        opens_at, closes_at = (each.astimezone(UTC) for each in hours)
    except OverflowError:
        raise _unusable("a session of this age", row.raw.get("date")) from None
    if opens_at >= closes_at:
        raise _unusable(f"the session of {session} to close after it opens", hours)
    return CalendarDay(session, opens_at, closes_at)


def _row(raw: object, what: str) -> _Row:
    return _Row(mapping(raw, what), what)


def _number(found: object) -> float | None:
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    if isinstance(found, str) and not _NUMBER.fullmatch(found):
        return None
    try:
        number = float(found)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _unusable(expected: str, found: object) -> VenueUnavailable:
    return VenueUnavailable(
        f"expected {expected} from the venue, found {_short(found)}; nothing was done, try later"
    )


def _short(found: object) -> str:
    try:
        text = repr(found)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a deep nest
        text = type(found).__name__
    return text if len(text) <= 80 else f"{text[:77]}..."
