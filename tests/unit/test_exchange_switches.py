"""Partial fills, and what the loopback exchange does wrong on demand."""

from brokers.exchange.exchange import Refusal
from tests.exchanges import MOVING, Floor, bars_of, level


def test_a_halted_symbol_lets_its_orders_rest():
    here = Floor(bars_of(AAPL=MOVING))
    order = here.send("AAPL", 1)
    here.exchange.switches.asset_flags["AAPL"] = {"halted": True}
    here.close(1)
    assert here.status(order) == "new"
    here.exchange.switches.asset_flags.clear()
    here.close(2)
    assert here.exchange.order(order["id"])["filled_avg_price"] == "110"


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


def test_a_stuck_cancel_outlives_the_close_where_its_order_may_still_fill():
    here = Floor(bars_of(AAPL=[*level(100.0, 100.0), (100, 101, 85, 100)]))
    here.exchange.stick_cancel("AAPL", fills=True)
    order = here.send("AAPL", 10, type="limit", limit_price=90)
    here.exchange.cancel(order["id"])
    here.close(1)
    assert here.status(order) == "pending_cancel"
    here.close(2)
    assert here.exchange.order(order["id"])["filled_avg_price"] == "90"


def test_a_fill_or_kill_order_is_never_filled_in_part():
    here = Floor(bars_of(AAPL=MOVING))
    here.exchange.partial_next("AAPL", 0.4)
    order = here.send("AAPL", 10, time_in_force="fok")
    here.open(1)
    assert here.status(order) == "filled"


def test_fractions_that_do_not_add_up_in_floats_still_fill_an_order():
    here = Floor(bars_of(AAPL=MOVING))
    order = here.exchange.state.orders[here.send("AAPL", 0.3)["id"]]
    order.take(0.1, 100.0, here.clock.now())
    order.take(0.2, 100.0, here.clock.now())  # 0.30000000000000004 in all
    assert (order.status, order.filled, order.left) == ("filled", 0.3, 0.0)
