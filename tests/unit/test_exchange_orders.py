"""The life of an order at the loopback exchange: when it fills, waits, ends, and what is told."""

from datetime import date

import numpy as np
import pytest

from brokers.exchange.exchange import Refusal
from tests.exchanges import Floor, bars_of, level, request

# Session 1 opens at 102 and ranges from 98 to 106; sessions 2 and 3 stand at 110.
MOVING = [(100, 101, 99, 100), (102, 106, 98, 104), *level(110.0, 110.0)]


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


def test_a_halted_symbol_lets_its_orders_rest():
    here = Floor(bars_of(AAPL=MOVING))
    order = here.send("AAPL", 1)
    here.exchange.switches.asset_flags["AAPL"] = {"halted": True}
    here.close(1)
    assert here.status(order) == "new"
    here.exchange.switches.asset_flags.clear()
    here.close(2)
    assert here.exchange.order(order["id"])["filled_avg_price"] == "110"


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


def test_a_partial_fill_leaves_the_rest_for_the_close():
    here = Floor(bars_of(AAPL=MOVING))
    here.exchange.partial_next("AAPL", 0.4)
    order = here.send("AAPL", 10)
    here.open(1)
    part = here.exchange.order(order["id"])
    assert (part["status"], part["filled_qty"], part["filled_avg_price"]) == (
        "partially_filled",
        "4",
        "102",
    )
    assert part["filled_at"] is None
    here.close(1)
    whole = here.exchange.order(order["id"])
    # 4 at 102 and 6 at 104
    assert (whole["filled_qty"], float(whole["filled_avg_price"])) == ("10", 103.2)
    assert [line["qty"] for line in here.exchange.activities()] == ["6", "4"]
    assert here.exchange.activities()[1]["leaves_qty"] == "6"
    assert here.events() == ["accepted", "new", "partial_fill", "fill"]
    assert [update["qty"] for update in here.seen[2:]] == ["4", "6"]


def test_a_partial_fill_may_be_canceled_and_keeps_what_it_has():
    here = Floor(bars_of(AAPL=MOVING))
    here.exchange.partial_next("AAPL", 0.4)
    order = here.send("AAPL", 10)
    here.open(1)
    here.exchange.cancel(order["id"])
    here.close(1)
    ended = here.exchange.order(order["id"])
    assert (ended["status"], ended["filled_qty"]) == ("canceled", "4")
    assert here.exchange.position("AAPL")["qty"] == "4"


def test_a_limit_filled_in_part_expires_where_the_close_lies_beyond_it():
    here = Floor(bars_of(AAPL=MOVING))
    here.exchange.partial_next("AAPL", 0.4)
    order = here.send("AAPL", 10, type="limit", limit_price=103)
    here.close(1)
    ended = here.exchange.order(order["id"])
    assert (ended["status"], ended["filled_qty"]) == ("expired", "4")


def test_partial_fills_come_as_often_as_set_and_depend_on_the_id_alone():
    def parts(names: list[str]) -> dict[str, bool]:
        here = Floor(bars_of(AAPL=MOVING), partial_fills=0.3)
        for name in names:
            here.send("AAPL", 2, client_order_id=name)
        here.open(1)
        return {
            o["client_order_id"]: o["status"] == "partially_filled"
            for o in here.exchange.orders({"status": "all", "limit": "500"})
        }

    names = [f"n{n}" for n in range(300)]
    found = parts(names)
    # 300 draws of 0.3: 90 expected, standard deviation 7.9
    assert 60 <= sum(found.values()) <= 120
    assert parts(names[::-1][:50]) == {name: found[name] for name in names[::-1][:50]}


def test_a_stuck_cancel_never_ends_and_holds_the_shares():
    here = Floor(bars_of(AAPL=MOVING))
    here.send("AAPL", 10)
    here.close(1)
    order = here.send("AAPL", -10)
    here.exchange.stick_cancel("AAPL")
    here.exchange.cancel(order["id"])
    here.close(3)
    assert here.status(order) == "pending_cancel"
    assert here.exchange.position("AAPL")["qty_available"] == "0"


def test_a_fill_may_win_the_race_against_a_cancel():
    here = Floor(bars_of(AAPL=MOVING))
    order = here.send("AAPL", 10)
    here.exchange.stick_cancel("AAPL", fills=True)
    here.exchange.cancel(order["id"])
    here.close(1)
    assert here.status(order) == "filled"
    assert here.events() == ["accepted", "pending_cancel", "fill"]


def test_an_accepted_order_may_be_rejected_afterwards():
    here = Floor(bars_of(AAPL=MOVING))
    here.exchange.reject_after_accept("AAPL")
    order = here.send("AAPL", 10)
    assert order["status"] == "accepted"
    found = here.exchange.order(order["id"])
    assert found["status"] == "rejected"
    assert found["failed_at"]
    assert here.status(here.send("AAPL", 1)) == "accepted"


def test_a_hidden_order_is_found_after_some_look_ups():
    here = Floor(bars_of(AAPL=MOVING))
    here.exchange.hide_order("mine", 2)
    here.send("AAPL", 1, client_order_id="mine")
    answers = []
    for _ in range(3):
        try:
            answers.append(here.exchange.order_by_client_id("mine")["status"])
        except Refusal as refusal:
            answers.append(refusal.status)
    assert answers == [404, 404, "accepted"]


def test_a_trade_by_hand_changes_position_and_cash():
    here = Floor(bars_of(AAPL=MOVING))
    order = here.exchange.external_fill("AAPL", 7)
    assert (order["status"], order["filled_avg_price"]) == ("filled", "100")
    assert here.exchange.position("AAPL")["qty"] == "7"
    assert here.exchange.account()["cash"] == "99300"


def test_closing_a_position_sends_a_market_order_for_all_or_a_part():
    here = Floor(bars_of(AAPL=MOVING, XYZ=level(*[10.0] * 4)))
    here.send("AAPL", 10)
    here.send("XYZ", 5)
    here.close(1)
    half = here.exchange.close_position("AAPL", {"percentage": "50"})
    assert (half["qty"], half["side"], half["type"]) == ("5", "sell", "market")
    answers = here.exchange.close_all()
    assert [(a["symbol"], a["status"]) for a in answers] == [("AAPL", 403), ("XYZ", 200)]
    assert answers[0]["body"]["held_for_orders"] == "5"
    here.exchange.cancel_all()
    answers = here.exchange.close_all(cancel_orders=True)
    assert [(a["symbol"], a["status"]) for a in answers] == [("AAPL", 200), ("XYZ", 200)]
    here.close(2)
    assert here.exchange.positions() == []


def test_orders_are_listed_by_status_time_symbol_and_side():
    here = Floor(bars_of(AAPL=MOVING, XYZ=level(*[10.0] * 4)))
    sent = [here.send(symbol, 1) for symbol in ("AAPL", "XYZ", "AAPL")]
    here.close(1)
    sent += [here.send("AAPL", -1), here.send("XYZ", 1)]

    def listed(**query: str) -> list[int]:
        ids = [order["id"] for order in sent]
        return [ids.index(order["id"]) for order in here.exchange.orders(query)]

    assert listed() == [4, 3]
    assert listed(status="all") == [4, 3, 2, 1, 0]
    assert listed(status="closed", direction="asc") == [0, 1, 2]
    assert listed(status="all", limit="2") == [4, 3]
    assert listed(status="all", symbols="XYZ,NOPE") == [4, 1]
    assert listed(status="all", side="sell") == [3]
    assert listed(status="all", until=sent[2]["submitted_at"]) == [1, 0]
    assert listed(status="all", direction="asc", after=sent[2]["submitted_at"]) == [3, 4]
    assert listed(status="all", before_order_id=sent[1]["id"]) == [0]
    assert listed(status="all", after_order_id=sent[3]["id"]) == [4]
    assert listed(status="all", after="2024-03-05") == [4, 3]


def test_no_two_orders_share_a_time_even_while_the_clock_stands_still():
    here = Floor(bars_of(AAPL=MOVING))
    times = [here.send("AAPL", 1)["submitted_at"] for _ in range(5)]
    assert sorted(set(times)) == times


def test_the_clock_knows_early_closes_and_the_change_to_summer_time():
    here = Floor(bars_of(AAPL=level(*[100.0] * 8)))
    here.open(1)
    assert here.exchange.market_clock() == {
        "timestamp": "2024-03-05T10:30:00-05:00",
        "is_open": True,
        "next_open": "2024-03-06T09:30:00-05:00",
        "next_close": "2024-03-05T16:00:00-05:00",
    }
    here.close(4)
    assert here.exchange.market_clock()["next_open"] == "2024-03-11T09:30:00-04:00"
    here.exchange.switches.clock_skew_s = 90.0
    assert here.exchange.market_clock()["timestamp"] == "2024-03-08T16:21:30-05:00"
    days = np.array(["2024-11-27", "2024-11-30"], dtype="datetime64[D]").tolist()
    assert here.exchange.calendar(*days) == [
        {
            "date": "2024-11-27",
            "open": "09:30",
            "close": "16:00",
            "session_open": "0400",
            "session_close": "2000",
            "settlement_date": "2024-11-29",
        },
        {
            "date": "2024-11-29",
            "open": "09:30",
            "close": "13:00",
            "session_open": "0400",
            "session_close": "1700",
            "settlement_date": "2024-12-02",
        },
    ]


def test_served_bars_can_be_revised_dropped_and_late_without_changing_fills():
    here = Floor(bars_of(AAPL=MOVING))
    day = here.bars.sessions[1].item()
    here.send("AAPL", 1)
    here.exchange.revise_bar("AAPL", day, 2.0)
    here.close(2)
    served = here.exchange.served()
    assert served.ohlcv[1, 0].tolist() == [204.0, 212.0, 196.0, 208.0, 1000.0]
    assert here.bars.ohlcv[1, 0, 0] == 102.0
    assert here.exchange.activities()[0]["price"] == "102"
    here.exchange.drop_bar("AAPL", day)
    assert not here.exchange.served().traded[1, 0]
    assert here.exchange.newest() == 2
    here.exchange.serve_stale(1)
    assert here.exchange.newest() == 1


def test_numbers_may_come_as_strings_and_go_out_normalised():
    here = Floor(bars_of(AAPL=MOVING))
    for qty in (10, 10.0, "10", "10.0", "1e1"):
        assert here.exchange.submit({**request("AAPL", 1), "qty": qty})["qty"] == "10"
    tiny = here.exchange.submit({**request("AAPL", 1), "qty": "0.000000001"})
    assert tiny["qty"] == "0.000000001"


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


def test_what_is_left_of_a_partial_fill_meets_the_whole_of_the_next_session():
    here = Floor(bars_of(AAPL=[*MOVING[:2], (108, 109, 102, 109)]))
    here.exchange.partial_next("AAPL", 0.5)
    order = here.send("AAPL", 10, type="limit", limit_price=103, time_in_force="gtc")
    here.close(1)  # 5 at 102; the close of 104 is beyond the limit
    assert here.status(order) == "partially_filled"
    here.close(2)
    # 5 at 102 and, inside the bar, 5 at 103
    assert here.exchange.order(order["id"])["filled_avg_price"] == "102.5"


def test_a_stop_that_was_touched_goes_on_as_a_market_order():
    here = Floor(bars_of(AAPL=[*level(100.0), (102, 106, 98, 99)]))
    here.exchange.partial_next("AAPL", 0.5)
    order = here.send("AAPL", 10, type="stop", stop_price=101)
    here.close(1)
    # 5 at the open of 102; the rest at the close of 99, below the stop
    assert here.exchange.order(order["id"])["filled_avg_price"] == "100.5"
