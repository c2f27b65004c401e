"""Questions to the venue: repeated within limits, on the clock handed in, and never guessed."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from brokers.alpaca.gateway import Gateway
from brokers.alpaca.sdk import TRIES
from engine.clock import FakeClock
from engine.errors import TradingHalted, VenueUnavailable
from tests.alpaca_bodies import ACCOUNT, ASSET, CALENDAR, CLOCK, ORDER, POSITION, spoiled
from tests.wire_server import Say, Seen, WireServer, wire_server

START = datetime(2026, 3, 11, 21, 0, tzinfo=UTC)  # the clock of the fixtures
DAY = date(2026, 3, 10)
RETRY = {"Retry-After": "20"}
MISSING = Say(404, {"code": 40410000, "message": "order not found for x"})
Question = Callable[[Gateway], Any]
QUESTIONS: dict[str, tuple[Question, Any]] = {
    "/v2/account": (lambda g: g.account(), ACCOUNT),
    "/v2/positions": (lambda g: g.positions(), [POSITION]),
    "/v2/orders": (lambda g: g.open_orders(), [ORDER]),
    "/v2/orders:by_client_order_id": (lambda g: g.order_by_client_id("barwise-1"), ORDER),
    "/v2/clock": (lambda g: g.market_clock(), CLOCK),
    "/v2/calendar": (lambda g: g.calendar(DAY, DAY), CALENDAR),
    "/v2/assets/AAPL": (lambda g: g.asset("AAPL"), ASSET),
    "/v2/stocks/bars": (lambda g: g.bars(["AAPL"], DAY, DAY, "iex"), {"bars": {}}),
    "/v1/corporate-actions": (
        lambda g: g.corporate_actions(["AAPL"], DAY, DAY),
        {"corporate_actions": {}, "next_page_token": None},
    ),
}
every_question = pytest.mark.parametrize("path", QUESTIONS)
one_of_each_host = pytest.mark.parametrize("path", ["/v2/positions", "/v2/stocks/bars"])


def asked(seen: Seen) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(urlsplit(seen.path).query).items()}


@every_question
def test_each_question_goes_to_its_own_path_and_is_answered(
    gateway: Gateway, wire: WireServer, clock: FakeClock, path: str
) -> None:
    ask, body = QUESTIONS[path]
    wire.say(Say(200, body))
    assert ask(gateway) is not None
    assert [urlsplit(x.path).path for x in wire.seen] == [path]
    assert clock.now() == START


@one_of_each_host
@pytest.mark.parametrize("fault", ["reset", "hang"])
def test_f13_f15_f16_a_question_survives_a_few_faults(
    hurried: Gateway, wire: WireServer, clock: FakeClock, path: str, fault: str
) -> None:
    ask, body = QUESTIONS[path]
    wire.say(Say(503), Say(act=getattr(wire, fault)), Say(200, raw=b"<html>"), Say(200, body))
    assert ask(hurried) is not None
    assert len(wire.seen) == 4
    # waits of 0.5, 1 and 2 seconds, each between half and one and a half of that
    assert 1.75 <= (clock.now() - START).total_seconds() <= 5.25


@every_question
@pytest.mark.parametrize(
    "say",
    [Say(500), Say(502, raw=b"<html>"), Say(504), Say(429), Say(408), Say(200), Say(200, raw=b"{")],
)
def test_f15_a_question_without_an_answer_ends_in_unavailable(
    gateway: Gateway, wire: WireServer, path: str, say: Say
) -> None:
    wire.say(say)
    with pytest.raises(VenueUnavailable, match=r"nothing was done, try again later$"):
        QUESTIONS[path][0](gateway)
    assert len(wire.seen) == TRIES


@one_of_each_host
def test_f42_silence_is_unavailable_never_nothing(
    hurried: Gateway, wire: WireServer, path: str
) -> None:
    wire.say(Say(act=wire.hang))
    with pytest.raises(VenueUnavailable, match="ReadTimeout"):
        QUESTIONS[path][0](hurried)


@every_question
@pytest.mark.parametrize("body", [[1], {"x": 1}, "text", 7, [[]], [None], {"bars": [], "a": 1}])
def test_f17_an_answer_of_another_shape_is_unavailable(
    gateway: Gateway, wire: WireServer, path: str, body: Any
) -> None:
    wire.say(Say(200, body))
    with pytest.raises(VenueUnavailable, match="expected"):
        QUESTIONS[path][0](gateway)
    assert len(wire.seen) == 1


@every_question
@pytest.mark.parametrize("status", [401, 403])
def test_f44_a_wrong_key_halts_after_one_request_and_shows_nothing(
    gateway: Gateway, wire: WireServer, path: str, status: int
) -> None:
    wire.say(Say(status, {"message": "unauthorized. canary PKCANARY00"}))
    with pytest.raises(TradingHalted, match="barwise doctor") as caught:
        QUESTIONS[path][0](gateway)
    assert len(wire.seen) == 1
    assert "canary" not in str(caught.value).lower()


@every_question
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_f43_a_redirected_question_is_followed_nowhere(
    gateway: Gateway, wire: WireServer, path: str, status: int
) -> None:
    with wire_server() as other:
        wire.say(Say(status, QUESTIONS[path][1], headers={"Location": other.url}))
        with pytest.raises(VenueUnavailable, match=str(status)):
            QUESTIONS[path][0](gateway)
        assert (len(wire.seen), other.seen) == (1, [])


def test_f13_the_venues_own_wait_is_kept(
    gateway: Gateway, wire: WireServer, clock: FakeClock
) -> None:
    reset = str(int(START.timestamp()) + 30)
    wire.say(Say(429, headers={"X-RateLimit-Reset": reset}), Say(200, ACCOUNT))
    gateway.account()
    assert (clock.now() - START).total_seconds() == 30.0


@pytest.mark.parametrize(("headers", "least", "most"), [({}, 0.25, 0.75), (RETRY, 20.0, 20.0)])
def test_a_failing_venue_is_asked_again_soon_unless_it_names_a_time(
    gateway: Gateway,
    wire: WireServer,
    clock: FakeClock,
    headers: dict[str, str],
    least: float,
    most: float,
) -> None:
    # Every answer says when the minute's limit starts anew; that is no reason to wait for it.
    usual = {"X-RateLimit-Remaining": "190", "X-RateLimit-Reset": str(int(START.timestamp()) + 50)}
    wire.say(Say(503, headers=usual | headers), Say(200, ACCOUNT, headers=usual))
    gateway.account()
    assert least <= (clock.now() - START).total_seconds() <= most


def test_f13_a_wait_of_an_hour_is_not_waited_for(
    gateway: Gateway, wire: WireServer, clock: FakeClock
) -> None:
    wire.say(Say(429, headers={"Retry-After": "3600"}))
    with pytest.raises(VenueUnavailable, match="429"):
        gateway.account()
    assert (len(wire.seen), clock.now()) == (1, START)


def test_the_venues_words_about_its_limit_are_kept(gateway: Gateway, wire: WireServer) -> None:
    wire.say(Say(200, ACCOUNT, headers={"X-RateLimit-Limit": "200", "X-Request-ID": "r"}))
    gateway.account()
    assert gateway.rates == {"X-RateLimit-Limit": "200"}


def test_only_a_proven_404_means_that_an_order_does_not_exist(
    gateway: Gateway, wire: WireServer
) -> None:
    wire.say(MISSING)
    assert gateway.order_by_client_id("barwise-1") is None
    for say in (Say(404, raw=b"<html>"), Say(404), Say(404, {"message": "not found"})):
        wire.say(say)
        with pytest.raises(VenueUnavailable, match="404"):
            gateway.order_by_client_id("barwise-1")


def test_a_client_order_id_reaches_the_venue_unharmed(gateway: Gateway, wire: WireServer) -> None:
    odd = "barwise-a/b:c d&e=f?g+h%2F"
    wire.say(Say(200, ORDER | {"client_order_id": odd}))
    assert gateway.order_by_client_id(odd) is not None
    assert asked(wire.seen[0]) == {"client_order_id": odd}


def test_an_answer_about_another_order_is_no_answer(gateway: Gateway, wire: WireServer) -> None:
    wire.say(Say(200, ORDER))
    with pytest.raises(VenueUnavailable, match="barwise-9"):
        gateway.order_by_client_id("barwise-9")


def test_orders_are_paged_by_time_without_loss_where_times_are_equal(
    gateway: Gateway, wire: WireServer
) -> None:
    # 1,203 orders, three to each instant; the venue's `after` is exclusive.
    def order(n: int) -> dict[str, Any]:
        at = START + timedelta(seconds=n // 3)
        return ORDER | {"id": f"id-{n}", "submitted_at": at.isoformat()}

    book = [order(n) for n in range(1_203)]

    def page(seen: Seen) -> Say:
        after = datetime.fromisoformat(asked(seen)["after"])
        new = [x for x in book if datetime.fromisoformat(x["submitted_at"]) > after]
        return Say(200, new[: int(asked(seen)["limit"])])

    wire.say(page)
    found = gateway.orders_since(START)
    assert [x.id for x in found] == [f"id-{n}" for n in range(1_203)]
    assert len(wire.seen) == 3
    assert {asked(x)["status"] for x in wire.seen} == {"all"}


def test_a_page_that_leads_nowhere_is_refused_not_repeated_for_ever(
    gateway: Gateway, wire: WireServer
) -> None:
    same = [ORDER | {"id": f"id-{n}"} for n in range(500)]
    wire.say(Say(200, same))
    with pytest.raises(VenueUnavailable, match="lead to the next page"):
        gateway.open_orders()
    assert len(wire.seen) == 2


def bar(day: str) -> dict[str, Any]:
    return {"t": f"{day}T04:00:00Z", "o": 1.0, "h": 1.0, "l": 1.0, "c": 1.0, "v": 1}


def test_bars_are_joined_over_pages_and_asked_for_raw_from_a_named_feed(
    gateway: Gateway, wire: WireServer
) -> None:
    wire.say(
        Say(200, {"bars": {"AAPL": [bar("2026-03-09")]}, "next_page_token": "p2"}),
        Say(200, {"bars": None, "next_page_token": "p3"}),
        Say(200, {"bars": {"AAPL": [bar("2026-03-10")], "MSFT": None}, "next_page_token": None}),
    )
    found = gateway.bars(["AAPL", "MSFT"], date(2026, 3, 9), DAY, "iex")
    assert found == {"AAPL": [bar("2026-03-09"), bar("2026-03-10")]}
    first = asked(wire.seen[0])
    assert (first["adjustment"], first["feed"], first["timeframe"]) == ("raw", "iex", "1Day")
    assert (first["start"], first["end"]) == ("2026-03-09T00:00:00Z", "2026-03-10T23:59:59Z")
    assert [asked(x).get("page_token") for x in wire.seen] == [None, "p2", "p3"]


def test_f17_spoiled_pages_raise_nothing_but_our_own_error(
    gateway: Gateway, wire: WireServer
) -> None:
    rng = np.random.default_rng(17)
    bars = {"bars": {"AAPL": [bar("2026-03-09"), bar("2026-03-10")]}, "next_page_token": None}
    split = {"symbol": "AAPL", "new_rate": 4, "old_rate": 1, "ex_date": "2026-03-10"}
    actions = {"corporate_actions": {"forward_splits": [split]}, "next_page_token": None}
    whole = 0
    for n in range(200):
        path, body = [("/v2/stocks/bars", bars), ("/v1/corporate-actions", actions)][n % 2]
        wire.say(Say(200, raw=spoiled(body, rng).encode("utf-8", "replace")))
        try:
            found = QUESTIONS[path][0](gateway)
        except VenueUnavailable:
            continue
        whole += 1
        assert all(isinstance(row, dict) for rows in found.values() for row in rows)
    assert whole > 40


def test_a_token_that_comes_again_ends_the_paging(gateway: Gateway, wire: WireServer) -> None:
    wire.say(Say(200, {"bars": {}, "next_page_token": "same"}))
    with pytest.raises(VenueUnavailable, match="new token"):
        gateway.bars(["AAPL"], DAY, DAY, "iex")
    assert len(wire.seen) == 2


def test_the_whole_tape_is_asked_for_up_to_where_a_free_plan_may_look(
    gateway: Gateway, wire: WireServer
) -> None:
    wire.say(Say(200, {"bars": {}}))
    gateway.bars(["AAPL"], DAY, date(2026, 3, 11), "sip")
    assert asked(wire.seen[0])["end"] == "2026-03-11T20:44:00Z"
    gateway.bars(["AAPL"], DAY, DAY, "sip")
    assert asked(wire.seen[1])["end"] == "2026-03-10T23:59:59Z"


def test_corporate_actions_are_joined_by_type(gateway: Gateway, wire: WireServer) -> None:
    wire.say(
        Say(200, {"corporate_actions": {"forward_splits": [{"id": "a"}]}, "next_page_token": "x"}),
        Say(200, {"corporate_actions": {"forward_splits": [{"id": "b"}], "cash_dividends": []}}),
    )
    found = gateway.corporate_actions(["AAPL"], DAY, DAY)
    assert found == {"forward_splits": [{"id": "a"}, {"id": "b"}]}


def test_f37_an_unknown_asset_may_not_be_traded(gateway: Gateway, wire: WireServer) -> None:
    wire.say(Say(404, {"code": 40410000, "message": "asset not found for GONE"}))
    found = gateway.asset("GONE")
    assert (found.symbol, found.active, found.tradable) == ("GONE", False, False)


@pytest.mark.parametrize(
    "say", [Say(204), Say(422, {"code": 42210000, "message": "already filled"}), MISSING, Say(404)]
)
def test_a_cancel_that_was_answered_is_over(gateway: Gateway, wire: WireServer, say: Say) -> None:
    wire.say(say)
    gateway.cancel("a/b")
    assert [(x.method, x.path) for x in wire.seen] == [("DELETE", "/v2/orders/a%2Fb")]


def test_a_cancel_that_was_not_answered_is_asked_again_and_then_unavailable(
    gateway: Gateway, wire: WireServer
) -> None:
    wire.say(Say(504), Say(204))
    gateway.cancel("a1")
    wire.say(Say(504))
    with pytest.raises(VenueUnavailable, match="DELETE /orders/a1"):
        gateway.cancel("a1")
