"""Reads an order request: which fields, which combinations; nothing about the account.

Refusals are those of facts on quantity, price, type and time in force, in the venue's words.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from brokers.exchange.orders import KINDS
from brokers.exchange.refusals import parameter, unprocessable
from brokers.exchange.wire import read_decimal, read_flag

TIMES_IN_FORCE = ("day", "gtc", "opg", "cls", "ioc", "fok")
INTENTS = ("buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close")
LONGEST_ID = 128
LEAST_NOTIONAL = Decimal(1)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What somebody asks for. Units: `qty` shares, never negative; `sign` +1 buys, -1 sells."""

    symbol: str
    sign: int
    qty: float | None
    notional: float | None
    type: str
    limit: float | None
    stop: float | None
    tif: str
    extended: bool
    client_order_id: str | None
    intent: str | None
    order_class: str

    @property
    def fractional(self) -> bool:
        """Tell whether it is for less than whole shares."""
        return self.qty is None or self.qty != int(self.qty)


def read_ticket(request: dict[str, Any], fractional_types: str = "all") -> Ticket:
    """Read one order request. Raises: Refusal where it makes no sense."""
    symbol, side = str(request.get("symbol") or ""), request.get("side")
    if not symbol:
        raise parameter("symbol is required")
    if side not in ("buy", "sell"):
        raise parameter("side must be buy or sell")
    kind, tif = _kind(request), _time_in_force(request)
    qty, notional = _size(request)
    limit, stop = _price(request, "limit_price"), _price(request, "stop_price")
    _check_prices(kind, limit, stop)
    ticket = Ticket(
        symbol=symbol,
        sign=1 if side == "buy" else -1,
        qty=None if qty is None else float(qty),
        notional=None if notional is None else float(notional),
        type=kind,
        limit=None if limit is None else float(limit),
        stop=None if stop is None else float(stop),
        tif=tif,
        extended=read_flag(request.get("extended_hours")),
        client_order_id=_client_order_id(request),
        intent=_intent(request),
        order_class=_order_class(request),
    )
    _check_combinations(ticket, fractional_types)
    return ticket


def _kind(request: dict[str, Any]) -> str:
    kind = str(request.get("type") or request.get("order_type") or "")
    if kind == "trailing_stop":
        raise unprocessable("trailing_stop orders are not supported by this exchange")
    if kind not in KINDS:
        raise parameter(f"type must be one of {', '.join(KINDS)}")
    return kind


def _time_in_force(request: dict[str, Any]) -> str:
    tif = str(request.get("time_in_force") or "")
    if tif not in TIMES_IN_FORCE:
        raise parameter(f"time_in_force must be one of {', '.join(TIMES_IN_FORCE)}")
    return tif


def _order_class(request: dict[str, Any]) -> str:
    order_class = str(request.get("order_class") or "")
    if order_class not in ("", "simple"):
        raise unprocessable(f"{order_class} orders are not supported by this exchange")
    if any(request.get(leg) for leg in ("take_profit", "stop_loss", "legs")):
        raise unprocessable("orders with legs are not supported by this exchange")
    return ""


def _intent(request: dict[str, Any]) -> str | None:
    intent = request.get("position_intent")
    if intent and intent not in INTENTS:
        raise parameter(f"position_intent must be one of {', '.join(INTENTS)}")
    return intent or None


def _client_order_id(request: dict[str, Any]) -> str | None:
    found = request.get("client_order_id")
    if found is not None and len(str(found)) > LONGEST_ID:
        raise parameter(f"client_order_id must be no more than {LONGEST_ID} characters")
    return str(found) if found else None


def _size(request: dict[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    qty, notional = (read_decimal(name, request.get(name)) for name in ("qty", "notional"))
    if qty is None and notional is None:
        raise parameter("qty or notional is required")
    if qty is not None and notional is not None:
        raise unprocessable("only one of qty or notional is accepted")
    if qty is not None:
        check_qty(qty)
    if notional is not None and notional < LEAST_NOTIONAL:
        raise unprocessable("notional amount must be >= 1.00")
    return qty, notional


def check_qty(qty: Decimal) -> None:
    """Refuse a quantity that is not above zero or has more than nine decimals."""
    if qty <= 0:
        raise parameter("qty must be > 0")
    if _decimals(qty) > 9:
        raise parameter("qty must have no more than 9 decimal places")


def _price(request: dict[str, Any], name: str) -> Decimal | None:
    price = read_decimal(name, request.get(name))
    if price is not None:
        check_price(name, price)
    return price


def check_price(name: str, price: Decimal) -> None:
    """Refuse a price that is not above zero or finer than the smallest step allows."""
    if price <= 0:
        raise parameter(f"{name} must be > 0")
    if _decimals(price) > (2 if price >= 1 else 4):
        raise unprocessable(
            f"invalid {name} {price}. sub-penny increment does not fulfill minimum pricing criteria"
        )


def _check_prices(kind: str, limit: Decimal | None, stop: Decimal | None) -> None:
    if kind == "market" and (limit is not None or stop is not None):
        raise parameter("market orders require no stop or limit price")
    if "limit" in kind and limit is None:
        raise parameter(f"{kind.replace('_', ' ')} orders require a limit price")
    if "stop" in kind and stop is None:
        raise parameter(f"{kind.replace('_', ' ')} orders require a stop price")
    if kind == "limit" and stop is not None:
        raise parameter("limit orders require no stop price")
    if kind == "stop" and limit is not None:
        raise parameter("stop orders require no limit price")


def _check_combinations(ticket: Ticket, fractional_types: str) -> None:
    if ticket.extended and (ticket.type != "limit" or ticket.tif not in ("day", "gtc")):
        raise unprocessable("extended hours order must be DAY or GTC limit orders")
    if ticket.tif not in ("day", "gtc") and "stop" in ticket.type:
        raise unprocessable(f"{ticket.tif} orders must be market or limit orders")
    if ticket.notional is not None and ticket.type != "market":
        raise unprocessable("notional orders must be market orders")
    if ticket.fractional and ticket.tif != "day":
        raise unprocessable("fractional orders must be DAY orders")
    if ticket.fractional and fractional_types == "market" and ticket.type != "market":
        raise unprocessable("fractional orders must be market orders")


def _decimals(value: Decimal) -> int:
    return max(-int(value.normalize().as_tuple().exponent), 0)
