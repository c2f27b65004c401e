"""What the loopback exchange's account is worth: sums worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from tests.exchanges import Floor, bars_of, level, request

RISING = [(100, 101, 99, 100), (102, 105, 101, 104), (106, 108, 104, 107), (107, 109, 106, 108)]


def numbers(wire: dict, *names: str) -> list[float]:
    return [float(wire[name]) for name in names]


def test_a_market_order_of_the_evening_fills_at_the_next_open():
    here = Floor(bars_of(AAPL=RISING))
    here.send("AAPL", 10)
    here.close(1)
    account, held = here.exchange.account(), here.exchange.position("AAPL")
    # 10 at 102; worth 104 at the close.
    assert (account["cash"], account["equity"]) == ("98980", "100020")
    assert (account["long_market_value"], account["short_market_value"]) == ("1040", "0")
    assert (held["qty"], held["avg_entry_price"], held["market_value"]) == ("10", "102", "1040")
    assert (held["cost_basis"], held["unrealized_pl"]) == ("1020", "20")
    assert float(held["unrealized_plpc"]) == pytest.approx(20 / 1020)
    assert (held["lastday_price"], held["change_today"]) == ("100", "0.040000000000000036")
    # Half of 1040; 30 % of 1040; twice 100,020 less 1040.
    assert (account["initial_margin"], account["maintenance_margin"]) == ("520", "312")
    assert (account["buying_power"], account["last_equity"]) == ("199000", "100000")


def test_profit_of_the_day_counts_old_shares_from_yesterdays_close():
    here = Floor(bars_of(AAPL=RISING))
    here.send("AAPL", 10)
    here.close(1)
    here.send("AAPL", 5)
    here.close(2)
    held = here.exchange.position("AAPL")
    # 10 old shares from 104, 5 new ones at the average entry of (10 x 102 + 5 x 106) / 15.
    entry = (1020 + 530) / 15
    assert float(held["unrealized_intraday_pl"]) == pytest.approx(15 * 107 - 1040 - 5 * entry)
    assert here.exchange.account()["last_equity"] == "100020"


def test_a_half_spread_is_paid_on_both_sides():
    here = Floor(bars_of(AAPL=level(*[100.0] * 5)), spread_bps=10.0)
    here.send("AAPL", 10)
    here.close(1)
    here.send("AAPL", -10)
    here.close(2)
    # 10 x 100.1 paid, 10 x 99.9 received.
    assert float(here.exchange.account()["cash"]) == pytest.approx(100_000 - 2.0)
    assert here.exchange.positions() == []


def test_a_short_position_is_worth_less_than_nothing():
    here = Floor(bars_of(AAPL=level(100.0, 100.0, 110.0)), shorting=True)
    here.send("AAPL", -10)
    here.close(2)
    account, held = here.exchange.account(), here.exchange.position("AAPL")
    assert (held["side"], held["qty"], held["qty_available"]) == ("short", "-10", "-10")
    assert (held["market_value"], held["unrealized_pl"]) == ("-1100", "-100")
    assert (account["cash"], account["short_market_value"]) == ("101000", "-1100")
    assert (account["equity"], account["position_market_value"]) == ("99900", "1100")
    # 30 % of 1100; twice 99,900 less 1100.
    assert numbers(account, "maintenance_margin", "buying_power") == [330.0, 198_700.0]


@pytest.mark.parametrize(
    ("price", "qty", "margin"),
    [(100.0, 10, 300.0), (2.0, 10, 20.0), (4.0, -10, 40.0), (2.0, -10, 25.0), (10.0, -10, 50.0)],
)
def test_maintenance_margin_follows_price_and_side(price, qty, margin):
    here = Floor(bars_of(AAPL=level(price, price)), shorting=True)
    here.send("AAPL", qty)
    here.close(1)
    assert float(here.exchange.account()["maintenance_margin"]) == pytest.approx(margin)


def test_a_notional_order_buys_what_its_dollars_pay_for():
    here = Floor(bars_of(AAPL=level(100.0, 105.0)))
    order = here.exchange.submit({**request("AAPL", 1), "qty": None, "notional": "1000"})
    assert (order["qty"], order["notional"]) == (None, "1000")
    assert here.exchange.account()["buying_power"] == "199000"
    here.close(1)
    filled = here.exchange.order(order["id"])
    # 1000 / 105 = 9.523809523..., nine decimals towards zero
    assert (filled["filled_qty"], filled["filled_avg_price"]) == ("9.523809523", "105")
    assert here.exchange.position("AAPL")["qty"] == "9.523809523"


def with_split(ratio: float, *closes: float) -> Floor:
    bars = bars_of(AAPL=level(*closes))
    split = bars.split.copy()
    split[2] = ratio
    return Floor(replace(bars, split=split))


def test_a_split_turns_shares_prices_and_resting_orders_at_the_open():
    here = with_split(2.0, 100.0, 100.0, 50.0, 50.0)
    here.send("AAPL", 10)
    here.close(1)
    order = here.send(
        "AAPL", -4, type="stop", stop_price=90, time_in_force="gtc", client_order_id="s"
    )
    here.open(2)
    held, rests = here.exchange.position("AAPL"), here.exchange.order(order["id"])
    assert (held["qty"], held["avg_entry_price"], held["lastday_price"]) == ("20", "50", "50")
    assert (rests["qty"], rests["stop_price"], rests["status"]) == ("8", "45", "new")
    assert held["qty_available"] == "12"
    assert here.exchange.account()["equity"] == "100000"
    assert [line["qty"] for line in here.exchange.activities({}, "SPLIT")] == ["10"]


def test_a_venue_that_ignores_a_split_keeps_the_old_shares():
    here = with_split(2.0, 100.0, 100.0, 50.0, 50.0)
    here.send("AAPL", 10)
    here.close(1)
    here.exchange.switches.ignore_splits = True
    here.close(2)
    assert here.exchange.position("AAPL")["qty"] == "10"
    assert here.exchange.account()["equity"] == "99500"


def test_a_reverse_split_pays_the_fraction_in_cash():
    here = with_split(0.1, 100.0, 100.0, 1000.0)
    here.send("AAPL", 25)
    here.close(1)
    here.open(2)
    # 2.5 new shares: 2 stay, half a share at 1000 is paid.
    assert here.exchange.position("AAPL")["qty"] == "2"
    assert here.exchange.account()["cash"] == "98000"
    assert here.exchange.activities({}, "SPLIT")[0]["net_amount"] == "500"


def test_a_dividend_is_paid_only_where_the_setting_says_so():
    bars = bars_of(AAPL=level(100.0, 100.0, 100.0))
    dividend = bars.dividend.copy()
    dividend[2] = 0.5
    for pays, cash in ((False, "99000"), (True, "99005")):
        here = Floor(replace(bars, dividend=dividend), pay_dividends=pays)
        here.send("AAPL", 10)
        here.close(2)
        assert here.exchange.account()["cash"] == cash
        lines = here.exchange.activities({}, "DIV")
        assert [line["net_amount"] for line in lines] == (["5"] if pays else [])


def test_history_lists_equity_at_every_close():
    here = Floor(bars_of(AAPL=RISING))
    here.send("AAPL", 10)
    here.close(3)
    history = here.exchange.portfolio_history()
    assert history["equity"] == [100_020.0, 100_050.0, 100_060.0]
    assert history["profit_loss"] == [20.0, 50.0, 60.0]
    assert (history["base_value"], history["base_value_asof"]) == (100_000.0, "2024-03-04")
    closes = here.bars.closed_at()[1:4].astype(np.int64).tolist()
    assert history["timestamp"] == closes
    part = here.exchange.portfolio_history({"start": "2024-03-06", "end": "2024-03-06"})
    assert (part["equity"], part["base_value"]) == ([100_050.0], 100_020.0)


def test_activities_come_in_pages_and_kinds():
    here = Floor(bars_of(AAPL=RISING, XYZ=level(10.0, 10.0, 10.0, 10.0)))
    for _ in range(3):
        here.send("AAPL", 1)
        here.send("XYZ", 1)
    here.close(3)
    lines = here.exchange.activities({"direction": "asc"}, "FILL")
    assert len(lines) == 6
    times = [line["transaction_time"] for line in lines]
    assert sorted(set(times)) == times
    first = here.exchange.activities({"page_size": "4"})
    rest = here.exchange.activities({"page_size": "4", "page_token": first[-1]["id"]})
    assert [*first, *rest] == lines[::-1]
    assert here.exchange.activities({"date": "2024-03-05"}) == lines[::-1]
    assert here.exchange.activities({"after": "2024-03-06"}) == []
    assert here.exchange.activities({"activity_types": "DIV,SPLIT"}) == []


def test_a_reset_opens_another_account_with_the_starting_cash():
    here = Floor(bars_of(AAPL=RISING))
    here.send("AAPL", 10)
    here.close(1)
    before = here.exchange.account()
    here.exchange.reset()
    after = here.exchange.account()
    assert after["id"] != before["id"]
    assert after["account_number"] == "PA3SIM000002"
    assert (after["cash"], after["equity"]) == ("100000", "100000")
    assert here.exchange.positions() == []
    assert here.exchange.orders({"status": "all"}) == []


def test_the_same_seed_gives_the_same_keys_and_ids():
    one, two, other = (Floor(bars_of(AAPL=RISING), seed=seed) for seed in (7, 7, 8))
    two.exchange.listeners.clear()  # who listens changes nothing
    for here in (one, two, other):
        here.send("AAPL", 10)
        here.close(1)
    assert one.exchange.dump() == two.exchange.dump()
    assert one.exchange.dump()["orders"][0]["id"] != other.exchange.dump()["orders"][0]["id"]
    assert (one.exchange.key_id, one.exchange.secret) == (two.exchange.key_id, two.exchange.secret)
    assert one.exchange.key_id != other.exchange.key_id
    assert one.exchange.key_id.startswith("PKSIM")
