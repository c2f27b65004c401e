"""Faults of the account: flags, money, trades by hand, foreign orders, another account, a clock."""

import json

import pytest

from engine.settings_paper import ExchangeSettings
from tests.fault_account import account
from tests.paper_account import START, WHOLE, settings_for

FLAGS = ("trading_blocked", "account_blocked", "trade_suspended_by_user")
CLOSED = {"code": 40310000, "message": "insufficient buying power", "buying_power": "0"}


@pytest.fixture(scope="session")
def statuses(shared_specs):
    """Every status of an account that the venue's own file knows, but the good one."""
    tree = json.loads((shared_specs / "trading-api.json").read_text())
    found = tree["components"]["schemas"]["AccountStatus"]["enum"]
    assert "ACTIVE" in found
    return [status for status in found if status != "ACTIVE"]


@pytest.mark.parametrize(
    ("skew", "state", "warns"),
    [(1, "waiting", False), (-1, "waiting", False), (5, "waiting", True), (-29, "waiting", True),
     (31, "halted", True), (-31, "halted", True), (3600, "halted", True)],
)  # fmt: skip
def test_f24_a_clock_beside_the_venues_is_warned_of_then_halts(
    tmp_path, agent, caplog, skew, state, warns
):
    with account(tmp_path, agent) as acc:
        acc.exchange.switches.clock_skew_s = skew
        found = acc.look()
        assert found.state == state
        assert bool(acc.posts) == (state == "waiting")
        assert ("from the venue's" in caplog.text) == warns
        if state == "halted":
            assert "set this machine's clock" in found.message
            assert acc.entries("opened") == []


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("/v2/calendar", {"body": []}),
        ("/v2/calendar", {"add": {"close": "13:00"}}),
        ("/v2/calendar", {"add": {"date": "2010-01-05"}}),
        ("/v2/clock", {"add": {"is_open": True}}),
        ("/v2/clock", {"add": {"next_open": "2010-01-05T09:30:00-05:00"}}),
    ],
)
def test_f27_a_calendar_that_is_not_ours_halts_before_anything_is_decided(
    tmp_path, agent, path, change
):
    with account(tmp_path, agent) as acc:
        if "body" in change:
            acc.spoil("status", path, status=200, times=0, **change)
        else:
            acc.spoil("edit", path, times=0, **change)
        found = acc.look()
        assert found.state == "halted"
        assert "exchange-calendars" in found.message
        assert (acc.posts, acc.entries("decision")) == ([], [])


def test_f38_every_flag_and_every_status_but_active_halts_before_a_decision(
    tmp_path, agent, statuses
):
    with account(tmp_path, agent) as acc:
        cases = [{flag: True} for flag in FLAGS] + [{"status": x} for x in statuses]
        cases += [{"status": "NEVER_HEARD_OF"}, {"status": "active"}, {"status": ""}]
        for n, flags in enumerate(cases):
            acc.exchange.switches.account_flags = flags
            acc.room = acc.another(tmp_path / str(n))
            found = acc.look()
            assert found.state in ("halted", "retry"), flags
            assert found.state == "halted" or flags == {"status": ""}, flags
            assert [entry.kind for entry in acc.entries()][-2:] != ["decision", "ended"]
        assert acc.posts == []
        assert acc.faults.counts["GET /v2/calendar"] == 0


def test_f38_an_account_that_is_blocked_later_halts_with_its_orders_out(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.filled()
        sent = len(acc.posts)
        acc.exchange.switches.account_flags = {"account_blocked": True}
        acc.close_plus(START)
        assert acc.look().state == "halted"
        assert len(acc.posts) == sent
        acc.exchange.switches.account_flags = {}
        assert acc.look().state == "halted"  # until a person says so
        acc.resume()
        assert acc.look().state == "waiting"
        acc.require_sound()


def test_f39_a_refusal_for_want_of_money_is_final_for_that_order_and_not_repeated(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.spoil("status", "/v2/orders", "POST", status=403, body=CLOSED, times=0)
        found = acc.look()
        sent = list(acc.posts)
        assert len(sent) == len(set(sent)) > 1
        assert "refused" in found.news
        for _ in range(3):
            acc.look()
        assert acc.posts == sent
        assert acc.orders == []
        acc.faults.clear()
        acc.close_plus(START)
        assert acc.look().state == "waiting"  # the next session decides afresh, under other ids
        assert not set(acc.posts[len(sent) :]) & set(sent)
        acc.require_sound()


def test_f39_no_order_asks_for_more_than_the_account_can_pay(tmp_path, agent):
    # A cash account with little money: what is ordered fits, and the exchange takes all of it.
    poor = ExchangeSettings(cash=3_000.0, partial_fills=0.0, spread_bps=2.0, multiplier=1)
    with account(tmp_path, agent, exchange_settings=poor) as acc:
        acc.filled()
        acc.close_plus(START)
        acc.look()
        assert {x["status"] for x in acc.orders} <= {"filled", "accepted"}
        assert acc.entries("refused") == []
        assert acc.exchange.dump()["cash"] >= 0.0


def test_f40_a_trade_by_hand_while_we_decide_is_found_at_the_next_look(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.faults.on(
            "GET", "/v2/calendar", 1, "before", lambda _: acc.exchange.external_fill("AAPL", 5)
        )
        acc.look()
        sent = list(acc.posts)
        found = acc.look()
        assert found.state == "halted"
        assert "AAPL: ours 0 shares, the venue's 5" in found.message
        assert acc.posts == sent
        assert acc.exchange.dump()["qty"] == {"AAPL": 5.0}  # never put right by us


def test_f40_a_trade_by_hand_overnight_halts_and_only_rebase_accepts_it(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.filled()
        sent, held = list(acc.posts), acc.exchange.dump()["qty"]
        acc.exchange.external_fill("IBM", -3)
        acc.close_plus(START)
        found = acc.look()
        assert found.state == "halted"
        assert f"IBM: ours {held['IBM']:g} shares, the venue's {held['IBM'] - 3:g}" in found.message
        assert "cash: ours" in found.message
        acc.resume()
        assert acc.look().state == "halted"
        assert acc.posts == sent
        acc.resume(rebase=True)
        assert acc.look().state == "waiting"
        assert len(acc.posts) > len(sent)


@pytest.mark.parametrize("factor", [0.5, 2.0, 0.0, -1.0])
def test_f41_a_position_that_drifted_is_shown_and_halts_even_on_the_other_side(
    tmp_path, agent, factor
):
    shorts = WHOLE.model_copy(update={"shorting": True})
    with account(tmp_path, agent, exchange_settings=shorts) as acc:
        acc.filled()
        sent, held = len(acc.posts), acc.exchange.dump()["qty"]["IBM"]
        acc.exchange.external_fill("IBM", held * (factor - 1.0))
        acc.close_plus(START)
        found = acc.look()
        assert found.state == "halted"
        assert f"IBM: ours {held:g} shares, the venue's {held * factor:g}" in found.message
        assert len(acc.posts) == sent


@pytest.mark.parametrize("ours", [False, True])
def test_f41_an_open_order_that_we_did_not_send_halts(tmp_path, agent, ours):
    with account(tmp_path, agent) as acc:
        acc.decided()
        mine = acc.posts[0].rsplit("-", 3)[0]
        cid = f"{mine}-MSFT-7-1" if ours else "made-by-hand"
        order = {"symbol": "MSFT", "qty": "1", "side": "buy", "type": "limit",
                 "limit_price": "1.00", "time_in_force": "gtc", "client_order_id": cid}  # fmt: skip
        acc.exchange.submit(order)
        sent = len(acc.posts)
        found = acc.look()
        assert found.state == "halted"
        assert cid in found.message
        assert ("order of ours" in found.message) == ours
        assert len(acc.posts) == sent
        assert len(acc.exchange.orders({"status": "open"})) == sent + 1  # nor canceled by us


def test_f41_shares_of_a_symbol_that_is_not_the_agents_halt(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        symbols = acc.room.symbols[:3]
        hosts = {"trading_url": acc.server.url, "data_url": acc.server.url}
        acc.room.settings = settings_for(tmp_path, agent, symbols, **hosts)
        acc.room.symbols = symbols
        acc.exchange.external_fill("MSFT", 2)
        found = acc.look()
        assert found.state == "halted"
        assert "found MSFT" in found.message
        assert acc.posts == []


def test_f45_a_reset_account_is_another_account_and_halts(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.filled()
        before, sent = acc.exchange.account()["id"], len(acc.posts)
        acc.exchange.reset()
        acc.close_plus(START)
        found = acc.look()
        assert found.state == "halted"
        assert f"expected account {before}" in found.message
        assert "a new paper.state_dir" in found.message
        assert len(acc.posts) == sent


def test_f45_an_account_whose_number_is_not_a_paper_one_halts(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.spoil("edit", "/v2/account", times=0, add={"account_number": "123456789"})
        found = acc.look()
        assert found.state == "halted"
        assert "expected a paper account" in found.message
        assert acc.posts == []
