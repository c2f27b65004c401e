"""The gateway against the loopback exchange: the same questions, a venue that keeps its books."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime

import pytest

from brokers.alpaca.gateway import Gateway
from brokers.alpaca.keys import Keys
from brokers.alpaca.records import Accepted, Denied, InDoubt, Intent, Refused
from brokers.alpaca.transport import Timeouts
from brokers.exchange.exchange import Exchange
from brokers.exchange.faults import Faults, Rule
from brokers.exchange.server import Server, serve
from engine.errors import TradingHalted
from engine.settings_paper import PaperSettings
from tests.small_exchange import EVENING, FIRST, SESSIONS, small_exchange

INTENT = Intent("barwise-1", date(2024, 11, 26), "AAA", 10.0)
ORDERS = "/v2/orders"
PATIENT = Timeouts(connect_s=10.0, read_s=20.0, total_s=30.0)
HURRIED = Timeouts(connect_s=1.0, read_s=0.3, total_s=0.6)


@contextmanager
def connected(
    *rules: Rule, exchange: Exchange | None = None, timeouts: Timeouts = PATIENT
) -> Iterator[tuple[Gateway, Server]]:
    with serve(exchange or small_exchange(), Faults(rules)) as server:
        paper = PaperSettings(trading_url=server.url, data_url=server.url)
        keys = Keys(server.exchange.key_id, server.exchange.secret)
        with Gateway(paper, keys, server.exchange.clock, timeouts) as gateway:
            yield gateway, server


def posts(server: Server) -> int:
    return server.faults.counts[f"POST {ORDERS}"]


def test_every_question_is_answered_by_the_exchange() -> None:
    with connected() as (gateway, server):
        account = gateway.account()
        assert (account.cash, account.status, account.blocked) == (100_000.0, "ACTIVE", False)
        assert account.number.startswith("PA")
        assert gateway.positions() == {}
        assert gateway.open_orders() == []
        clock = gateway.market_clock()
        assert (clock.at, clock.is_open) == (EVENING, False)
        assert clock.next_open == datetime(2024, 11, 27, 14, 30, tzinfo=UTC)
        days = gateway.calendar(date(2024, 11, 25), date(2024, 11, 30))
        assert [str(x.session) for x in days] == list(SESSIONS[:4])  # the 28th is a holiday
        assert days[3].closes_at == datetime(2024, 11, 29, 18, 0, tzinfo=UTC)
        assert gateway.asset("AAA").tradable
        assert not gateway.asset("NONE").tradable
        bars = gateway.bars(["AAA", "BBB"], date(2024, 11, 25), date(2024, 11, 26), "iex")
        assert [bar["o"] for bar in bars["AAA"]] == [100.0, 101.0]
        actions = gateway.corporate_actions(["AAA"], date(2024, 11, 1), date(2024, 12, 31))
        assert actions == {}  # the split is not known before it happens
        assert set(server.faults.counts.values()) <= {1, 2}


def test_an_order_lives_from_acceptance_to_fill() -> None:
    with connected() as (gateway, server):
        assert gateway.order_by_client_id("barwise-1") is None
        answer = gateway.post(INTENT)
        assert isinstance(answer, Accepted)
        assert [x.client_order_id for x in gateway.open_orders()] == ["barwise-1"]
        assert gateway.orders_since(EVENING) == gateway.open_orders()
        server.exchange.clock.set(datetime(2024, 11, 27, 15, 0, tzinfo=UTC))
        found = gateway.order_by_client_id("barwise-1")
        assert found is not None
        # the open of 2024-11-27, two sessions after the 100 of the first
        assert (found.status, found.filled_qty, found.filled_price) == ("filled", 10.0, 102.0)
        assert gateway.open_orders() == []
        assert gateway.positions()["AAA"].qty == 10.0
        assert gateway.account().cash == 100_000.0 - 1_020.0


def test_a_limit_order_rests_and_is_canceled() -> None:
    rest = Intent("barwise-2", date(2024, 11, 26), "AAA", 10.0, "limit", limit=1.001)
    with connected() as (gateway, _):
        answer = gateway.post(rest)
        assert isinstance(answer, Accepted)
        assert answer.order.limit == 1.0  # rounded down
        gateway.cancel(answer.order.id)
        gateway.cancel(answer.order.id)
        gateway.cancel("00000000-0000-4000-8000-000000000000")
        assert gateway.open_orders() == []


@pytest.mark.parametrize(
    ("intent", "status"),
    [
        (Intent("barwise-3", FIRST, "AAA", 1e6), 403),  # buying power
        (Intent("barwise-4", FIRST, "AAA", -5.0), 403),  # may not short
        (Intent("barwise-5", FIRST, "NONE", 5.0), 422),
    ],
)
def test_f39_a_refusal_is_definite_and_leaves_no_order(intent: Intent, status: int) -> None:
    with connected() as (gateway, server):
        answer = gateway.post(intent)
        assert isinstance(answer, Refused)
        assert answer.status == status
        assert gateway.order_by_client_id(intent.client_order_id) is None
        assert posts(server) == 1


@pytest.mark.parametrize(
    ("action", "exists"),
    [
        ("accept_then_hang", True),
        ("accept_then_504", True),
        ("accept_then_reset", True),
        ("slow", True),
        ("cut", True),
        ("truncate", True),
        ("empty200", True),
        ("html200", True),
        ("hang", False),
        ("drop", False),
        ("reset", False),
    ],
)
def test_f10_f11_f16_f18_a_lost_answer_is_settled_by_a_look_up(action: str, exists: bool) -> None:
    rule = Rule(action=action, method="POST", path=ORDERS)
    with connected(rule, timeouts=HURRIED) as (gateway, server):
        assert isinstance(gateway.post(INTENT), InDoubt)
        assert posts(server) == 1
        found = gateway.order_by_client_id("barwise-1")
        assert (found is not None) is exists
        assert len(server.exchange.dump()["orders"]) == int(exists)


def test_f14_a_429_places_no_order_and_one_id_serves_both_attempts() -> None:
    rule = Rule(action="status", status=429, method="POST", path=ORDERS)
    with connected(rule) as (gateway, server):
        assert isinstance(gateway.post(INTENT), InDoubt)
        assert gateway.order_by_client_id("barwise-1") is None
        assert isinstance(gateway.post(INTENT), Accepted)
        assert {x.cid for x in server.faults.log if x.method == "POST"} == {"barwise-1"}


def test_f12_f19_an_id_the_venue_knows_is_in_doubt_not_refused() -> None:
    with connected() as (gateway, server):
        assert isinstance(gateway.post(INTENT), Accepted)
        again = gateway.post(INTENT)
        assert isinstance(again, InDoubt)
        assert "client order id" in again.why
        assert len(server.exchange.dump()["orders"]) == 1


@pytest.mark.parametrize("seed", range(20))
def test_f17_a_spoiled_acknowledgement_never_hides_an_order(seed: int) -> None:
    rule = Rule(action="mutate", method="POST", path=ORDERS, seed=seed)
    with connected(rule) as (gateway, server):
        answer = gateway.post(INTENT)
        assert isinstance(answer, Accepted | InDoubt)
        if isinstance(answer, Accepted):
            assert answer.order.client_order_id == "barwise-1"
        assert gateway.order_by_client_id("barwise-1") is not None
        assert posts(server) == 1


def test_f44_swapped_keys_are_denied_once_and_not_shown() -> None:
    exchange = small_exchange()
    with serve(exchange) as server:
        paper = PaperSettings(trading_url=server.url, data_url=server.url)
        with Gateway(paper, Keys(exchange.secret, exchange.key_id), exchange.clock) as gateway:
            assert isinstance(gateway.post(INTENT), Denied)
            with pytest.raises(TradingHalted) as caught:
                gateway.account()
        assert exchange.secret not in str(caught.value)
        assert len(server.faults.log) == 2


@pytest.mark.parametrize("flag", ["trading_blocked", "account_blocked", "trade_suspended_by_user"])
def test_f38_a_blocked_account_says_so(flag: str) -> None:
    exchange = small_exchange()
    exchange.switches.account_flags[flag] = True
    with connected(exchange=exchange) as (gateway, _):
        assert gateway.account().blocked


def test_f45_a_reset_account_is_another_account() -> None:
    with connected() as (gateway, server):
        before = gateway.account().id
        server.exchange.reset()
        assert gateway.account().id != before
