"""An intent as Alpaca wants it: numbers rounded to what the venue takes, as exact text.

Rounding here is idempotent, so an intent rounded before it was written down goes out unchanged.
Rules: fractional shares have at most nine decimals and are day orders; prices have two decimals
from $1 and four below (Alpaca's documentation, Orders).
"""

import math
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from brokers.alpaca.records import Intent
from engine.errors import TradingHalted

SHARE_DECIMALS = 9
_DIGITS = 15  # a float of no more digits prints as it was written
_LONGEST_ID = 128
_PRICES = {
    "market": (False, False),
    "limit": (True, False),
    "stop": (False, True),
    "stop_limit": (True, True),
}  # whether it takes a limit, and a stop


def shares(qty: float, whole: bool = False) -> Decimal:
    """Round signed shares toward zero, to whole ones or to nine decimals at most.

    Raises: TradingHalted where the number is not finite.
    """
    exact = _decimal(qty, "qty")
    places = 0 if whole else min(SHARE_DECIMALS, max(_DIGITS - len(str(abs(int(exact)))), 0))
    return exact.quantize(Decimal(1).scaleb(-places), ROUND_DOWN)


def price(value: float, buy: bool) -> Decimal:
    """Round a limit or stop price to the venue's step: down for a buy, up for a sale.

    Raises: TradingHalted where the price is not a positive number.
    """
    exact = _decimal(value, "price").quantize(Decimal("1e-9"))  # the noise of float arithmetic
    step = Decimal("0.01") if exact >= 1 else Decimal("0.0001")
    rounded = exact.quantize(step, ROUND_FLOOR if buy else ROUND_CEILING)
    if rounded <= 0:
        raise TradingHalted(
            f"expected a price above zero on the venue's step of {step}, found {value!r}; "
            "look at the bars this order came from"
        )
    return rounded


def order_body(intent: Intent) -> dict[str, str]:
    """Return the body of the request that places an order.

    Raises: TradingHalted for an intent that no order can express; nothing may be sent for it.
    """
    _require_sound(intent)
    qty = shares(intent.qty)
    buy = qty > 0
    body = {
        "symbol": intent.symbol,
        "qty": plain(abs(qty)),
        "side": "buy" if buy else "sell",
        "type": intent.kind,
        "time_in_force": "day" if intent.day else "gtc",
        "client_order_id": intent.client_order_id,
    }
    for name, value in (("limit_price", intent.limit), ("stop_price", intent.stop)):
        if value is not None:
            body[name] = plain(price(value, buy))
    return body


def plain(number: Decimal) -> str:
    """Return a number as digits, without an exponent and without zeros at the end."""
    return format(number.normalize(), "f")


def _require_sound(intent: Intent) -> None:
    qty = shares(intent.qty)
    prices = (intent.limit is not None, intent.stop is not None)
    wrong = (
        (qty == 0, f"a quantity other than zero, found {intent.qty!r}"),
        (qty != int(qty) and not intent.day, "a day order, as fractional shares need"),
        (_PRICES.get(intent.kind) != prices, f"the prices of a {intent.kind} order"),
        (not 1 <= len(intent.client_order_id) <= _LONGEST_ID, "a client order id of 1 to 128"),
        (not intent.symbol, "a symbol"),
    )
    for is_wrong, expected in wrong:
        if is_wrong:
            raise TradingHalted(f"expected {expected} in {intent}; this order cannot be sent")


def _decimal(value: float, what: str) -> Decimal:
    if not math.isfinite(value):
        raise TradingHalted(f"expected a finite {what}, found {value!r}; this cannot be ordered")
    return Decimal(repr(float(value)))
