"""Order requests that make no sense, each with the status and the body of its refusal."""

import pytest

from tests.exchanges import refusal_of, request, standing

PARAMETER, UNPROCESSABLE, FORBIDDEN = (422, 40010001), (422, 42210000), (403, 40310000)
PENNY = "sub-penny increment does not fulfill minimum pricing criteria"


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"qty": 0}, PARAMETER, "qty must be > 0"),
        ({"qty": "-1"}, PARAMETER, "qty must be > 0"),
        ({"qty": "ten"}, PARAMETER, "qty must be a number"),
        ({"qty": True}, PARAMETER, "qty must be a number"),
        ({"qty": "NaN"}, PARAMETER, "qty must be a number"),
        ({"qty": "0.0000000001"}, PARAMETER, "qty must have no more than 9 decimal places"),
        ({"qty": None}, PARAMETER, "qty or notional is required"),
        ({"symbol": ""}, PARAMETER, "symbol is required"),
        ({"side": "hold"}, PARAMETER, "side must be buy or sell"),
        ({"type": "limit"}, PARAMETER, "limit orders require a limit price"),
        ({"type": "stop"}, PARAMETER, "stop orders require a stop price"),
        (
            {"type": "stop_limit", "limit_price": 99},
            PARAMETER,
            "stop limit orders require a stop price",
        ),
        ({"limit_price": 99}, PARAMETER, "market orders require no stop or limit price"),
        (
            {"type": "limit", "limit_price": 99, "stop_price": 98},
            PARAMETER,
            "limit orders require no stop price",
        ),
        (
            {"type": "peg"},
            PARAMETER,
            "type must be one of market, limit, stop, stop_limit",
        ),
        (
            {"time_in_force": "gtd"},
            PARAMETER,
            "time_in_force must be one of day, gtc, opg, cls, ioc, fok",
        ),
        (
            {"client_order_id": "x" * 129},
            PARAMETER,
            "client_order_id must be no more than 128 characters",
        ),
        ({"notional": 100}, UNPROCESSABLE, "only one of qty or notional is accepted"),
        (
            {"qty": None, "notional": "0.99"},
            UNPROCESSABLE,
            "notional amount must be >= 1.00",
        ),
        (
            {"qty": None, "notional": 50, "type": "limit", "limit_price": 99},
            UNPROCESSABLE,
            "notional orders must be market orders",
        ),
        (
            {"type": "trailing_stop", "trail_percent": 1},
            UNPROCESSABLE,
            "trailing_stop orders are not supported by this exchange",
        ),
        (
            {"order_class": "bracket"},
            UNPROCESSABLE,
            "bracket orders are not supported by this exchange",
        ),
        (
            {"take_profit": {"limit_price": 120}},
            UNPROCESSABLE,
            "orders with legs are not supported by this exchange",
        ),
        (
            {"type": "limit", "limit_price": "290.123"},
            UNPROCESSABLE,
            "invalid limit_price 290.123. sub-penny increment does not fulfill minimum pricing "
            "criteria",
        ),
        (
            {"type": "stop", "stop_price": "0.12345"},
            UNPROCESSABLE,
            "invalid stop_price 0.12345. sub-penny increment does not fulfill minimum pricing "
            "criteria",
        ),
        (
            {"extended_hours": True},
            UNPROCESSABLE,
            "extended hours order must be DAY or GTC limit orders",
        ),
        (
            {"qty": 0.5, "time_in_force": "gtc"},
            UNPROCESSABLE,
            "fractional orders must be DAY orders",
        ),
        ({"symbol": "NOPE"}, UNPROCESSABLE, 'asset "NOPE" not found'),
        (
            {"position_intent": "buy_to_close"},
            UNPROCESSABLE,
            "position intent mismatch, inferred: buy_to_open, specified: buy_to_close",
        ),
        (
            {"qty": 0.5, "side": "sell"},
            UNPROCESSABLE,
            "fractional orders cannot be sold short",
        ),
        ({"side": "sell"}, FORBIDDEN, "account is not allowed to short"),
    ],
)
def test_an_order_that_breaks_a_rule_is_refused_in_the_venues_words(changes, kind, message):
    body = {**request("AAPL", 1), **changes}
    status, code = kind
    assert refusal_of(standing().exchange.submit, body) == (
        status,
        {"code": code, "message": message},
    )
