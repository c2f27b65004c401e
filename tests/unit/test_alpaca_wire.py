"""Numbers and bodies on the wire: exact text, on the venue's steps, never a zero quantity."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.alpaca.records import Intent
from brokers.alpaca.wire import order_body, plain, price, shares
from engine.errors import TradingHalted

INTENT = Intent("barwise-abc123-20260311-AAPL-o-1", date(2026, 3, 11), "AAPL", 10.0)


@pytest.mark.parametrize(
    ("qty", "text"),
    [
        (10.0, "10"),
        (100.0, "100"),
        (-3.0, "-3"),
        (0.1 + 0.2, "0.3"),  # 0.30000000000000004
        (0.123456789, "0.123456789"),
        (0.1234567899, "0.123456789"),  # toward zero
        (-0.1234567899, "-0.123456789"),
        (1e-9, "0.000000001"),
        (123456.123456789, "123456.123456789"),
        (1234567.123456789, "1234567.12345678"),  # 15 digits in all
        (1e15, "1000000000000000"),
    ],
)
def test_shares_keep_nine_decimals_and_lose_the_rest_toward_zero(qty: float, text: str) -> None:
    assert plain(shares(qty)) == text


@pytest.mark.parametrize(("qty", "text"), [(9.999, "9"), (-9.999, "-9"), (0.5, "0"), (2.0, "2")])
def test_whole_shares_are_cut_toward_zero(qty: float, text: str) -> None:
    assert plain(shares(qty, whole=True)) == text.replace("-0", "0")


@pytest.mark.parametrize(
    ("value", "buy", "text"),
    [
        (290.123, True, "290.12"),
        (290.123, False, "290.13"),
        (10.1, False, "10.1"),
        (10.100000000000001, False, "10.1"),  # noise is no reason to go a cent up
        (10.099999999999999, True, "10.1"),
        (1.0, True, "1"),
        (1.005, True, "1"),
        (0.98765, True, "0.9876"),
        (0.98765, False, "0.9877"),
        (0.99999, False, "1"),
    ],
)
def test_a_price_is_rounded_against_us_never_past_the_limit(
    value: float, buy: bool, text: str
) -> None:
    assert plain(price(value, buy)) == text


@given(st.floats(-1e9, 1e9))
def test_rounded_shares_survive_the_way_through_a_float(qty: float) -> None:
    once = shares(qty)
    assert shares(float(once)) == once
    assert abs(once) <= abs(Decimal(repr(qty)))
    assert once.as_tuple().exponent >= -9


@given(st.floats(0.0001, 1e6), st.booleans())
def test_a_rounded_price_survives_a_second_rounding(value: float, buy: bool) -> None:
    once = price(value, buy)
    assert price(float(once), buy) == once


@pytest.mark.parametrize("value", [0.0, -1.0, 0.00004, float("nan"), float("inf")])
def test_a_price_that_is_none_halts(value: float) -> None:
    with pytest.raises(TradingHalted, match="price"):
        price(value, buy=True)


def test_a_market_order_carries_only_what_it_needs_as_text() -> None:
    assert order_body(INTENT) == {
        "symbol": "AAPL",
        "qty": "10",
        "side": "buy",
        "type": "market",
        "time_in_force": "day",
        "client_order_id": "barwise-abc123-20260311-AAPL-o-1",
    }


def test_a_sale_sends_a_positive_quantity_and_prices_rounded_up() -> None:
    order = replace(INTENT, qty=-2.5, kind="stop_limit", limit=99.991, stop=100.001)
    body = order_body(order)
    assert (body["side"], body["qty"]) == ("sell", "2.5")
    assert (body["limit_price"], body["stop_price"]) == ("100", "100.01")


def test_an_order_that_is_good_till_canceled_says_so() -> None:
    order = replace(INTENT, kind="stop", stop=90.0, day=False)
    assert order_body(order)["time_in_force"] == "gtc"


@pytest.mark.parametrize(
    "changes",
    [
        {"qty": 0.0},
        {"qty": 1e-12},  # nothing is left of it
        {"qty": float("nan")},
        {"qty": 0.5, "kind": "stop", "stop": 9.0, "day": False},  # a fraction good till canceled
        {"limit": 9.0},  # a market order with a limit
        {"kind": "limit"},  # a limit order without
        {"kind": "stop", "limit": 9.0},
        {"kind": "trailing_stop", "stop": 9.0},
        {"client_order_id": ""},
        {"client_order_id": "x" * 129},
        {"symbol": ""},
    ],
)
def test_an_order_that_cannot_be_expressed_halts_before_anything_is_sent(changes: dict) -> None:
    with pytest.raises(TradingHalted):
        order_body(replace(INTENT, **changes))
