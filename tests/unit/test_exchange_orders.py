"""The life of an order at the loopback exchange: when it fills, waits, ends, and what is told."""

from datetime import date

import pytest

from tests.exchanges import MOVING, Floor, bars_of, level


def test_an_order_of_the_evening_is_accepted_then_new_then_filled():
    here = Floor(bars_of(AAPL=MOVING))
    order = here.send("AAPL", 10)
    assert order["status"] == "accepted"
    assert order["expires_at"] == "2024-03-05T21:00:00.000000Z"
    here.open(1)
    filled = here.exchange.order(order["id"])
    assert (filled["status"], filled["filled_avg_price"]) == ("filled", "102")
    assert filled["filled_at"].startswith("2024-03-05T14:30:00.0000")
    assert here.events() == ["accepted", "new", "fill"]
    fill = here.seen[-1]
    assert (fill["price"], fill["qty"], fill["position_qty"]) == ("102", "10", "10")
    assert fill["order"] == filled


def test_an_order_of_the_day_is_pending_then_new_and_fills_at_the_close():
    here = Floor(bars_of(AAPL=MOVING))
    here.open(1)
    order = here.send("AAPL", 10)
    assert order["status"] == "pending_new"
    assert here.status(order) == "new"
    here.close(1)
    assert here.exchange.order(order["id"])["filled_avg_price"] == "104"
    assert here.events() == ["pending_new", "new", "fill"]


def test_an_order_of_the_day_never_fills_at_a_price_from_before_it():
    here = Floor(bars_of(AAPL=MOVING))
    here.open(1)
    # The low of 98 may have been before the order came; the close is 104.
    low = here.send("AAPL", 1, type="limit", limit_price=99, time_in_force="gtc")
    high = here.send("AAPL", 1, type="limit", limit_price=105)
    here.close(1)
    assert here.exchange.order(high["id"])["filled_avg_price"] == "104"
    assert here.status(low) == "new"


@pytest.mark.parametrize(
    ("qty", "terms", "price", "when"),
    [
        (1, {"type": "limit", "limit_price": 103}, "102", "open"),
        (1, {"type": "limit", "limit_price": 99}, "99", "close"),
        (1, {"type": "limit", "limit_price": 97}, None, None),
        (1, {"type": "stop", "stop_price": 101}, "102", "open"),
        (1, {"type": "stop", "stop_price": 105}, "105", "close"),
        (1, {"type": "stop", "stop_price": 107}, None, None),
        (1, {"type": "stop_limit", "stop_price": 105, "limit_price": 105.5}, "105", "close"),
        (1, {"type": "stop_limit", "stop_price": 101, "limit_price": 99}, "99", "close"),
    ],
)
def test_limits_and_stops_fill_at_the_open_or_inside_the_bar(qty, terms, price, when):
    here = Floor(bars_of(AAPL=MOVING))
    order = here.send("AAPL", qty, **terms)
    here.open(1)
    assert (here.status(order) == "filled") is (when == "open")
    here.close(1)
    assert here.exchange.order(order["id"])["filled_avg_price"] == price
    assert here.status(order) == ("filled" if price else "expired")


@pytest.mark.parametrize("day_end", ["expired", "canceled"])
def test_a_day_order_ends_at_the_close_and_gtc_stays(day_end):
    here = Floor(bars_of(AAPL=MOVING), day_end=day_end)
    day = here.send("AAPL", 1, type="limit", limit_price=90)
    stays = here.send("AAPL", 1, type="limit", limit_price=90, time_in_force="gtc")
    here.close(1)
    ended = here.exchange.order(day["id"])
    assert (ended["status"], ended["filled_at"]) == (day_end, None)
    assert ended[f"{day_end}_at"].startswith("2024-03-05T21:00:00")
    assert here.status(stays) == "new"
    assert here.events()[-1] == day_end


def test_an_order_good_till_canceled_ends_after_ninety_days():
    here = Floor(bars_of(AAPL=level(*[100.0] * 66)))
    order = here.send("AAPL", 1, type="limit", limit_price=90, time_in_force="gtc")
    # 90 days after the evening of 4 March, at 16:15 in New York, which is 20:15 UTC by then.
    assert order["expires_at"] == "2024-06-02T20:15:00.000000Z"
    last = here.bars.sessions.tolist().index(date(2024, 5, 31))
    here.close(last)
    assert here.status(order) == "new"
    here.close(last + 1)
    assert here.status(order) == "canceled"


def test_a_symbol_without_a_bar_keeps_its_day_orders_until_it_trades():
    here = Floor(bars_of(AAPL=MOVING, GAP=[*level(10.0), None, None, *level(12.0)]))
    order = here.send("GAP", 1)
    here.close(2)
    assert here.status(order) == "new"
    here.close(3)
    assert here.exchange.order(order["id"])["filled_avg_price"] == "12"


@pytest.mark.parametrize(
    ("tif", "terms", "status", "price"),
    [
        ("opg", {}, "filled", "102"),
        ("opg", {"type": "limit", "limit_price": 100}, "expired", None),
        ("cls", {}, "filled", "104"),
        ("cls", {"type": "limit", "limit_price": 103}, "expired", None),
        ("ioc", {"type": "limit", "limit_price": 100}, "canceled", None),
        ("fok", {"type": "limit", "limit_price": 102}, "filled", "102"),
    ],
)
def test_auctions_and_immediate_orders_meet_one_price(tif, terms, status, price):
    here = Floor(bars_of(AAPL=MOVING))
    here.clock.set(here.clock.now().replace(hour=5, day=5))  # after midnight in New York
    order = here.send("AAPL", 1, time_in_force=tif, **terms)
    here.close(1)
    found = here.exchange.order(order["id"])
    assert (found["status"], found["filled_avg_price"]) == (status, price)


def test_sales_fill_before_buys_whatever_came_first():
    here = Floor(bars_of(AAPL=MOVING, XYZ=level(*[10.0] * 4)))
    here.send("AAPL", 10)
    here.close(1)
    here.send("XYZ", 1)
    here.send("AAPL", -10)
    here.close(2)
    sides = [update["order"]["side"] for update in here.seen if update["event"] == "fill"]
    assert sides == ["buy", "sell", "buy"]


def test_positions_are_worth_the_open_while_the_market_is_open():
    here = Floor(bars_of(AAPL=MOVING))
    here.send("AAPL", 10)
    here.close(1)
    assert here.exchange.position("AAPL")["current_price"] == "104"
    here.open(2)
    assert here.exchange.position("AAPL")["current_price"] == "110"
    assert here.exchange.account()["equity"] == "100080"


def test_an_order_of_the_day_meets_the_whole_of_the_next_session():
    here = Floor(bars_of(AAPL=[*level(100.0, 100.0), (102, 106, 98, 104)]))
    here.open(1)
    order = here.send("AAPL", 1, type="limit", limit_price=99, time_in_force="gtc")
    here.close(2)
    assert here.exchange.order(order["id"])["filled_avg_price"] == "99"
