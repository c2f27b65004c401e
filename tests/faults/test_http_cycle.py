"""Faults of the way to the venue, met by whole looks: nothing is lost, doubled or guessed."""

import socket
from datetime import timedelta

import numpy as np
import pytest

from brokers.alpaca.gateway import Gateway
from brokers.alpaca.keys import Keys
from brokers.alpaca.transport import Timeouts
from engine.run.paper.cycle import run_cycle
from tests.fault_account import READS, account, swapped
from tests.paper_account import START


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, agent):
    """What is ordered on the first evening when nothing goes wrong."""
    with account(tmp_path_factory.mktemp("undisturbed"), agent) as whole:
        whole.decided()
        assert len(whole.wanted) > 1
        return whole.wanted


def gateway_of(acc, **options):
    keys = options.pop("keys", Keys(acc.exchange.key_id, acc.exchange.secret))
    settings = acc.settings.paper.model_copy(update=options.pop("paper", {}))
    return Gateway(settings, keys, acc.clock, **options)


def test_f13_a_429_is_waited_out_as_long_as_the_venue_asks(tmp_path, agent, undisturbed):
    with account(tmp_path, agent) as acc:
        acc.spoil("status", "/v2/positions", status=429, times=2, headers={"Retry-After": "7"})
        began = acc.clock.now()
        acc.decided()
        assert acc.clock.now() - began >= timedelta(seconds=14)
        assert acc.wanted == undisturbed


def test_f13_no_minute_of_a_storm_of_429_holds_more_requests_than_the_limit(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.room.gateway = gateway_of(acc, paper={"requests_per_minute": 10})
        acc.spoil("status", ".*", status=429, nth=5, times=3)
        while acc.look().state == "retry":
            pass
        times = np.array([x.at.timestamp() for x in acc.faults.log])
        assert len(times) > 10
        assert max(((times >= at) & (times < at + 60)).sum() for at in times) <= 10
        acc.room.gateway.close()


def test_f13_a_venue_that_stays_full_is_tried_again_later_and_nothing_is_sent(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.spoil("status", "/v2/account", status=429, times=0, headers={"Retry-After": "3600"})
        assert acc.look().state == "retry"
        assert acc.faults.counts["GET /v2/account"] == 1  # an hour is not waited for
        assert acc.posts == []


@pytest.mark.parametrize("path", READS[::2])
def test_f16_connections_that_break_send_nothing_and_the_next_look_does_it_all(
    tmp_path, agent, undisturbed, path
):
    with account(tmp_path, agent) as acc:
        acc.spoil("reset", path, times=0)
        assert acc.look().state == "retry"
        assert acc.posts == []
        acc.faults.clear()
        acc.decided()
        assert acc.wanted == undisturbed
        assert sorted(acc.posts) == sorted(undisturbed)


def test_f16_a_closed_port_and_a_name_nobody_knows_are_tried_again_later(
    tmp_path, agent, monkeypatch
):
    with account(tmp_path, agent) as acc:
        hosts = {"trading_url": "https://paper-api.alpaca.markets"}

        def unknown(*_, **__):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        with monkeypatch.context() as patched:
            patched.setattr(socket, "getaddrinfo", unknown)
            acc.room.gateway = gateway_of(acc, paper=hosts)
            assert acc.look().state == "retry"
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        acc.room.gateway = gateway_of(acc, paper={"trading_url": f"http://127.0.0.1:{port}"})
        found = acc.look()
        assert found.state == "retry"
        assert "/account" in found.message
        assert acc.faults.log == []


@pytest.mark.parametrize("seed", range(len(READS) + 3))
def test_f17_a_damaged_answer_never_doubles_changes_or_invents_an_order(
    tmp_path, agent, undisturbed, seed
):
    # Bodies alone: ten thousand of them in test_alpaca_parse and test_alpaca_answers.
    with account(tmp_path, agent) as acc:
        asked = seed < len(READS)
        method, path = ("GET", READS[seed]) if asked else ("POST", "/v2/orders")
        acc.spoil("mutate", path, method, seed=seed)
        if acc.look().state == "retry":
            acc.faults.clear()
            acc.look()
        assert acc.told[-1].state in ("waiting", "halted", "retry")
        assert set(acc.wanted.items()) <= set(undisturbed.items())
        assert len(acc.posts) == len(set(acc.posts))
        if acc.told[-1].state == "waiting" and path != "/v2/assets/[A-Z]+":
            assert acc.wanted in (undisturbed, {})


def test_f17_fields_nobody_knows_change_nothing(tmp_path, agent, undisturbed):
    with account(tmp_path, agent) as acc:
        for path in READS[:4]:
            acc.spoil("edit", path, times=0, add={"brand_new": {"deep": [1]}, "fee": "0.1"})
        acc.spoil("edit", "/v2/orders", "POST", times=0, add={"brand_new": None})
        acc.decided()
        assert acc.wanted == undisturbed


def test_f18_an_answer_of_one_byte_a_second_is_ended_at_the_deadline(tmp_path, agent, undisturbed):
    with account(tmp_path, agent) as acc:
        acc.room.gateway = gateway_of(acc, timeouts=Timeouts(1.0, 1.5, 0.4))
        acc.spoil("slow", "/v2/account", bytes_per_s=1.0, times=4)
        assert acc.look().state == "retry"
        assert acc.posts == []
        acc.spoil("slow", "/v2/orders", "POST", bytes_per_s=1.0)
        acc.decided()  # the order whose answer trickled was taken: looked up, not sent again
        assert sorted(acc.posts) == sorted(undisturbed)
        assert acc.wanted == undisturbed
        acc.room.gateway.close()


@pytest.mark.parametrize("action", ["empty200", "html200", "drop"])
def test_f42_positions_that_cannot_be_read_are_unknown_and_nothing_is_sent(tmp_path, agent, action):
    with account(tmp_path, agent) as acc:
        acc.filled()
        sent = len(acc.posts)
        acc.close_plus(START)
        acc.spoil(action, "/v2/positions", times=0)
        assert acc.look().state == "retry"
        assert len(acc.posts) == sent
        acc.faults.clear()
        assert acc.look().state == "waiting"
        acc.require_sound()


def test_f42_m8_an_empty_list_while_shares_are_held_is_never_read_as_flat(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.filled()
        sent, decisions = len(acc.posts), len(acc.entries("decision"))
        acc.close_plus(START)
        acc.spoil("status", "/v2/positions", status=200, body=[], times=0)
        found = acc.look()
        assert found.state == "retry"
        assert "empty list" in found.message
        assert (len(acc.posts), len(acc.entries("decision"))) == (sent, decisions)
        acc.faults.clear()
        assert acc.look().state == "waiting"
        assert acc.entries("decision")[-1].body["filled"] != [0.0] * 4  # the shares are still ours


@pytest.mark.parametrize("nth", range(len(READS)))
def test_f44_a_denied_question_halts_after_one_attempt_and_shows_no_key(tmp_path, agent, nth):
    path, status, body = READS[nth], (401, 403)[nth % 2], (None, "<html>")[nth % 3 == 0]
    with account(tmp_path, agent) as acc:
        acc.spoil("status", path, status=status, times=0, body=body)
        found = acc.look()
        assert found.state == "halted"
        assert str(status) in found.message
        assert acc.posts == []
        asked = len(acc.faults.log)
        assert sum(x.status == status for x in acc.faults.log) == 1
        assert acc.look().state == "halted"
        assert len(acc.faults.log) == asked  # a halted account asks nothing more


@pytest.mark.parametrize("status", [401, 403])
def test_f44_a_denied_order_halts_and_no_other_is_tried(tmp_path, agent, status):
    with account(tmp_path, agent) as acc:
        acc.spoil("status", "/v2/orders", "POST", status=status, body={"message": "forbidden."})
        assert acc.look().state == "halted"
        assert len(acc.posts) == 1
        assert acc.orders == []


@pytest.mark.parametrize("wrong", ["swapped", "another"])
def test_f44_wrong_keys_are_denied_by_the_exchange_itself(tmp_path, agent, wrong):
    with account(tmp_path, agent) as acc:
        right = Keys(acc.exchange.key_id, acc.exchange.secret)
        keys = swapped(right) if wrong == "swapped" else Keys("PKWRONG0123456789", right.secret)
        acc.room.gateway = gateway_of(acc, keys=keys)
        found = run_cycle(acc.room)
        assert found.state == "halted"
        assert keys.key_id not in found.message
        assert keys.secret not in found.message
        assert len(acc.faults.log) == 1
        acc.room.gateway.close()
