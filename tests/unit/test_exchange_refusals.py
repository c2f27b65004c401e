"""Every refusal of the loopback exchange by its status and body."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.exchanges import Floor, bars_of, level, refusal_of, request, standing

PARAMETER, UNPROCESSABLE, FORBIDDEN = (422, 40010001), (422, 42210000), (403, 40310000)


def test_more_than_buying_power_is_refused_with_both_numbers():
    # 2 x 100,000; market buys reserve 4 % above the last price: 2000 x 104 = 208,000.
    assert standing().refused("AAPL", 2_000) == (
        403,
        {
            "code": 40310000,
            "message": "insufficient buying power",
            "buying_power": "200000",
            "cost_basis": "208000",
        },
    )


def test_a_waiting_buy_leaves_less_buying_power():
    here = standing()
    here.send("AAPL", 1_000)  # reserves 104,000
    assert here.refused("XYZ", 10_000)[1]["buying_power"] == "96000"
    here.send("XYZ", 9_000)  # 93,600


def test_more_than_available_is_refused_with_what_orders_hold():
    here = standing()
    here.send("AAPL", 10)
    here.close(1)
    here.send("AAPL", -6)
    assert here.refused("AAPL", -5) == (
        403,
        {
            "code": 40310000,
            "message": "insufficient qty available for order (requested: 5, available: 4)",
            "available": "4",
            "existing_qty": "10",
            "held_for_orders": "6",
            "symbol": "AAPL",
        },
    )


def test_one_order_may_not_turn_a_short_position_into_a_long_one():
    here = standing(shorting=True)
    here.send("AAPL", -10)
    here.close(1)
    status, body = here.refused("AAPL", 11)
    assert (status, body["available"], body["existing_qty"]) == (403, "10", "10")


@pytest.mark.parametrize("status", [403, 422])
def test_an_order_against_an_open_market_order_is_a_wash_trade(status):
    here = standing(wash_trade_status=status)
    here.send("AAPL", 10)
    here.close(1)
    first = here.send("AAPL", -5)
    assert here.refused("AAPL", 1) == (
        status,
        {
            "code": 40310000,
            "message": "potential wash trade detected. use complex orders",
            "existing_order_id": first["id"],
            "reject_reason": "opposite side market/stop order exists",
        },
    )


def test_limits_that_could_meet_are_a_wash_trade_and_others_are_not():
    here = standing()
    here.send("AAPL", 10)
    here.close(1)
    here.send("AAPL", -5, type="limit", limit_price=110)
    here.send("AAPL", 1, type="limit", limit_price="109.99")
    status, body = here.refused("AAPL", 1, type="limit", limit_price=110)
    assert (status, body["buy_limit_price"], body["sell_limit_price"]) == (403, "110", "110")
    assert here.refused("AAPL", 1)[1]["reject_reason"] == "opposite side limit order exists"


def test_a_stop_on_the_wrong_side_is_refused_with_the_market_price():
    here = standing()
    here.send("AAPL", 10)
    here.close(1)
    assert here.refused("AAPL", -1, type="stop", stop_price="101.5") == (
        422,
        {
            "code": 42210000,
            "message": "stop price must be less than current price",
            "market_price": "100",
            "stop_price": "101.5",
        },
    )
    wrong = here.refused("AAPL", 1, type="stop", stop_price=99)[1]["message"]
    assert wrong == "stop price must be greater than current price"


def test_a_client_order_id_is_taken_for_ever():
    here = standing()
    first = here.send("AAPL", 1, client_order_id="mine")
    here.exchange.cancel(first["id"])
    expected = (422, {"code": 40010001, "message": "client_order_id must be unique"})
    assert here.refused("AAPL", 1, client_order_id="mine") == expected
    assert here.refused("XYZ", 5_000_000, client_order_id="mine") == expected


@pytest.mark.parametrize(
    ("flag", "value", "kind", "message"),
    [
        ("tradable", False, UNPROCESSABLE, 'asset "AAPL" is not tradable'),
        ("status", "inactive", UNPROCESSABLE, 'asset "AAPL" is not tradable'),
        ("fractionable", False, FORBIDDEN, 'asset "AAPL" is not fractionable'),
    ],
)
def test_an_asset_that_is_switched_off_is_refused(flag, value, kind, message):
    here = standing()
    here.exchange.switches.asset_flags["AAPL"] = {flag: value}
    assert here.refused("AAPL", 0.5) == (kind[0], {"code": kind[1], "message": message})
    assert here.exchange.asset("AAPL")[flag] == value


def test_an_asset_that_cannot_be_borrowed_is_not_sold_short():
    here = standing(shorting=True)
    here.exchange.switches.asset_flags["AAPL"] = {"shortable": False}
    expected = {"code": 42210000, "message": 'asset "AAPL" cannot be sold short'}
    assert here.refused("AAPL", -1) == (422, expected)


def test_a_small_account_has_no_margin_and_sells_nothing_short():
    here = standing(cash=1_999.0, shorting=True)
    assert here.refused("AAPL", -1)[1]["message"] == "account is not allowed to short"
    account = here.exchange.account()
    assert (account["multiplier"], account["buying_power"]) == ("1", "1999")
    assert account["shorting_enabled"] is False


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"account_blocked": True}, "account is blocked"),
        ({"trading_blocked": True}, "account is not allowed to trade"),
        ({"status": "INACTIVE"}, "account is not allowed to trade"),
        ({"trade_suspended_by_user": True}, "new orders are rejected by user request"),
    ],
)
def test_a_blocked_account_sends_nothing_and_says_why(flags, message):
    here = standing()
    here.exchange.switches.account_flags.update(flags)
    assert here.refused("AAPL", 1) == (403, {"code": 40310000, "message": message})
    assert flags.items() <= here.exchange.account().items()


def test_the_accounts_own_settings_forbid_what_they_say():
    here = standing(shorting=True)
    here.exchange.configure({"no_shorting": True, "fractional_trading": False})
    assert here.refused("AAPL", -1)[1]["message"] == "account is not allowed to short"
    assert "fractional" in here.refused("AAPL", 0.5)[1]["message"]
    here.exchange.configure({"max_margin_multiplier": "1"})
    assert here.exchange.account()["buying_power"] == "100000"
    here.exchange.configure({"suspend_trade": True})
    assert here.refused("AAPL", 1)[0] == 403
    status, body = refusal_of(here.exchange.configure, {"leverage": "9"})
    assert (status, body["code"]) == (422, 40010001)


def test_fractions_of_limit_orders_may_be_forbidden_by_setting():
    order = {"type": "limit", "limit_price": 90}
    standing().send("AAPL", 0.5, **order)
    refused = standing(fractional_types="market").refused("AAPL", 0.5, **order)
    expected = {"code": 42210000, "message": "fractional orders must be market orders"}
    assert refused == (422, expected)


def at(here: Floor, text: str) -> Floor:
    here.clock.set(datetime.fromisoformat(text).astimezone(UTC))
    return here


OPG = "opg orders must be submitted after 7:00pm and before 9:28am"


@pytest.mark.parametrize(
    ("when", "tif", "message"),
    [
        ("2024-03-05T09:27:59-05:00", "opg", ""),
        ("2024-03-05T09:28:00-05:00", "opg", OPG),
        ("2024-03-05T18:59:59-05:00", "opg", OPG),
        ("2024-03-05T19:00:00-05:00", "opg", ""),
        ("2024-03-11T09:27:59-04:00", "opg", ""),
        ("2024-03-11T09:28:00-04:00", "opg", OPG),
        ("2024-03-05T15:49:59-05:00", "cls", ""),
        (
            "2024-03-05T15:50:00-05:00",
            "cls",
            "cls orders must be submitted after 7:00pm and before 3:50pm",
        ),
        ("2024-03-05T19:00:00-05:00", "cls", ""),
        ("2024-03-09T16:00:00-05:00", "cls", ""),
    ],
)
def test_opening_and_closing_orders_have_their_hours(when, tif, message):
    here = at(standing(), when)
    body = {**request("AAPL", 1), "time_in_force": tif}
    if not message:
        here.exchange.submit(body)
        return
    assert refusal_of(here.exchange.submit, body) == (403, {"code": 40310000, "message": message})


def test_orders_and_positions_that_do_not_exist_are_not_found():
    exchange = standing().exchange
    for call, name in ((exchange.order, "7"), (exchange.cancel, "7")):
        expected = {"code": 40410000, "message": "order not found for 7"}
        assert refusal_of(call, name) == (404, expected)
    assert refusal_of(exchange.order_by_client_id, "a/b c")[1]["message"].endswith("a/b c")
    nothing = (404, {"code": 40410000, "message": "position does not exist"})
    assert refusal_of(exchange.position, "AAPL") == nothing
    assert refusal_of(exchange.close_position, "AAPL") == nothing
    assert refusal_of(exchange.position, "NOPE") == nothing
    assert refusal_of(exchange.asset, "NOPE")[0] == 404


def test_what_is_over_cannot_be_canceled_but_canceling_twice_is_fine():
    here = standing()
    first, second = here.send("AAPL", 1), here.send("XYZ", 1)
    here.exchange.cancel(second["id"])
    here.exchange.cancel(second["id"])
    here.close(1)
    expected = {"code": 42210000, "message": 'order is already in "filled" state'}
    assert refusal_of(here.exchange.cancel, first["id"]) == (422, expected)


def test_only_open_orders_can_be_replaced():
    here = standing()
    order = here.send("AAPL", 1, type="limit", limit_price=90, time_in_force="gtc")
    closed = (422, {"code": 42210000, "message": "unable to replace order, order is not open"})
    assert refusal_of(here.exchange.replace, order["id"], {"qty": 2}) == closed
    here.close(1)
    new = here.exchange.replace(order["id"], {"qty": "2", "limit_price": "91.5"})
    assert (new["qty"], new["limit_price"], new["replaces"]) == ("2", "91.5", order["id"])
    old = here.exchange.order(order["id"])
    assert (old["status"], old["replaced_by"]) == ("replaced", new["id"])
    assert refusal_of(here.exchange.replace, order["id"], {"qty": 3}) == closed


def test_a_delisted_symbol_is_not_tradable():
    bars = bars_of(AAPL=level(*[100.0] * 6), XYZ=[*level(10.0, 10.0), None, None, None, None])
    ended = bars.ended.copy()
    ended[1] = bars.sessions[1]
    here = Floor(replace(bars, ended=ended))
    here.send("XYZ", 5)
    here.close(3)
    assert here.exchange.asset("XYZ")["status"] == "inactive"
    assert here.refused("XYZ", 1)[1]["message"] == 'asset "XYZ" is not tradable'
    assert here.exchange.positions() == []
