"""The stream of order updates: handshake, frames, and the faults of the script."""

import json
from contextlib import contextmanager

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import connect

from brokers.exchange.faults import Rule
from tests.small_exchange import served

WAIT_S = 5.0


def rule(action, path, **more):
    return Rule(action=action, method="STREAM", path=path, **more)


def say(ws, action, **data):
    ws.send(json.dumps({"action": action, "data": data}))


def hear(ws):
    frame = ws.recv(timeout=WAIT_S)
    assert isinstance(frame, bytes)  # paper sends binary frames
    return json.loads(frame)


@contextmanager
def listening(client):
    exchange = client.server.exchange
    with connect(client.server.ws_url, proxy=None) as ws:
        say(ws, "authenticate", key_id=exchange.key_id, secret_key=exchange.secret)
        assert hear(ws)["data"]["status"] == "authorized"
        say(ws, "listen", streams=["trade_updates"])
        assert hear(ws) == {"stream": "listening", "data": {"streams": ["trade_updates"]}}
        yield ws


def fill_one(client):
    """Buy one share and let it fill at the next open: new, then fill."""
    client.buy("a", qty=1)
    client.control("POST", "clock", next="open")


def events(ws, count):
    return [hear(ws)["data"]["event"] for _ in range(count)]


def expected(client):
    """The events of fill_one as the exchange itself tells them."""
    told = []
    client.server.exchange.listeners.append(lambda envelope: told.append(envelope["data"]["event"]))
    return told


def test_updates_arrive_in_order_and_equal_what_the_exchange_tells():
    with served() as client:
        told = []
        client.server.exchange.listeners.append(lambda e: told.append(json.loads(json.dumps(e))))
        with listening(client) as ws:
            fill_one(client)
            heard = [hear(ws) for _ in told]
    assert heard == told
    assert [e["data"]["event"] for e in heard][-1] == "fill"
    assert heard[-1]["data"]["order"]["filled_qty"] == "1"


def test_wrong_keys_and_listening_too_early_are_unauthorized():
    with served() as client, connect(client.server.ws_url, proxy=None) as ws:
        say(ws, "listen", streams=["trade_updates"])
        assert hear(ws)["data"] == {"status": "unauthorized", "action": "listen"}
        say(ws, "authenticate", key_id="PK", secret_key="no")
        assert hear(ws)["data"] == {"status": "unauthorized", "action": "authenticate"}
        ws.send("no json")
        say(ws, "listen", streams=["trade_updates"])
        assert hear(ws)["data"]["action"] == "listen"


def test_new_list_of_streams_replaces_the_old_one():
    with served() as client, listening(client) as ws:
        say(ws, "listen", streams=[])
        assert hear(ws)["data"] == {"streams": []}
        fill_one(client)
        say(ws, "listen", streams=["other", "trade_updates"])
        assert hear(ws)["data"] == {"streams": ["trade_updates"]}  # and nothing before it


def test_every_listener_hears_every_update():
    with served() as client, listening(client) as one, listening(client) as two:
        told = expected(client)
        fill_one(client)
        assert events(one, len(told)) == events(two, len(told)) == told


def test_what_happens_while_nobody_listens_is_lost():
    with served() as client:
        with listening(client):
            pass
        fill_one(client)
        with listening(client) as ws:
            client.buy("b", qty=1)
            assert hear(ws)["data"]["order"]["client_order_id"] == "b"


def test_omitted_update_never_comes():
    with served(rule("omit", "fill")) as client, listening(client) as ws:
        told = expected(client)
        fill_one(client)
        client.buy("b", qty=1)
        heard = events(ws, len(told) - 1)
    assert "fill" in told
    assert "fill" not in heard


def test_duplicated_update_comes_twice_with_one_execution_id():
    with served(rule("duplicate", "fill")) as client, listening(client) as ws:
        told = expected(client)
        fill_one(client)
        heard = [hear(ws) for _ in range(len(told) + 1)]
    assert heard[-1] == heard[-2]
    assert heard[-1]["data"]["event"] == "fill"


def test_reordered_update_comes_after_the_next_one():
    with served(rule("reorder", "new")) as client, listening(client) as ws:
        told = expected(client)
        fill_one(client)
        heard = events(ws, len(told))
    assert sorted(heard) == sorted(told)
    assert heard.index("new") == told.index("new") + 1


def test_edited_update_has_a_status_nobody_knows():
    odd = rule("edit", "fill", add={"order.status": "half_done", "event": "odd"})
    with served(odd) as client, listening(client) as ws:
        told = expected(client)
        fill_one(client)
        last = [hear(ws) for _ in told][-1]["data"]
    assert (last["event"], last["order"]["status"]) == ("odd", "half_done")


@pytest.mark.parametrize("action", ["close", "reset"])
def test_stream_ends_before_the_update_and_the_next_connection_hears_again(action):
    with served(rule(action, "fill")) as client:
        with listening(client) as ws:
            told = expected(client)
            fill_one(client)
            with pytest.raises(ConnectionClosed):
                events(ws, len(told))
        with listening(client) as ws:
            client.buy("b", qty=1)
            assert hear(ws)["data"]["order"]["client_order_id"] == "b"


def test_mute_stream_stays_open_and_says_nothing_more():
    with served(rule("mute", "fill")) as client, listening(client) as ws:
        told = expected(client)
        fill_one(client)
        assert events(ws, len(told) - 1) == told[:-1]
        client.buy("b", qty=1)
        ws.ping().wait(WAIT_S)
        with pytest.raises(TimeoutError):
            ws.recv(timeout=0.05)


def test_handshake_can_be_refused_with_a_status():
    with served(rule("status", "connect", status=406)) as client:
        with pytest.raises(InvalidStatus) as caught, connect(client.server.ws_url, proxy=None):
            pass
        assert caught.value.response.status_code == 406
        with listening(client):
            pass


@pytest.mark.parametrize("action", ["drop", "reset"])
def test_handshake_can_be_cut_off(action):
    with served(rule(action, "connect")) as client:
        with pytest.raises((OSError, InvalidMessage)), connect(client.server.ws_url, proxy=None):
            pass
        with listening(client):
            pass


def test_authentication_can_stay_without_an_answer():
    with served(rule("hang", "authenticate")) as client:
        exchange = client.server.exchange
        with connect(client.server.ws_url, proxy=None) as ws:
            say(ws, "authenticate", key_id=exchange.key_id, secret_key=exchange.secret)
            with pytest.raises(TimeoutError):
                ws.recv(timeout=0.05)


def test_stopping_server_closes_open_streams():
    with served() as client:
        with listening(client) as ws:
            client.server.stop()
            with pytest.raises(ConnectionClosed):
                ws.recv(timeout=WAIT_S)
        assert not client.server._thread.is_alive()
