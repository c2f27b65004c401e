"""What the loopback exchange lists and says about time, and how positions are closed."""

import numpy as np

from tests.exchanges import MOVING, Floor, bars_of, level, request


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


def test_numbers_may_come_as_strings_and_go_out_normalised():
    here = Floor(bars_of(AAPL=MOVING))
    for qty in (10, 10.0, "10", "10.0", "1e1"):
        assert here.exchange.submit({**request("AAPL", 1), "qty": qty})["qty"] == "10"
    tiny = here.exchange.submit({**request("AAPL", 1), "qty": "0.000000001"})
    assert tiny["qty"] == "0.000000001"
