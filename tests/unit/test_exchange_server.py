"""The loopback exchange as a server: where it listens, whom it answers, how it is controlled."""

import json
import logging
import socket
import threading
from datetime import UTC, datetime

import pytest
import requests
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from brokers.exchange.faults import Rule
from brokers.exchange.pace import PacedClock
from brokers.exchange.server import serve
from engine.clock import FakeClock, SystemClock
from engine.errors import UsageError
from tests.small_exchange import EVENING, Client, served, small_exchange


@pytest.fixture(scope="module")
def client():
    with served() as client:
        yield client


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "localhost", "", "8.8.8.8"])
def test_anything_but_a_loopback_address_is_refused(host):
    with pytest.raises(UsageError, match="expected a loopback address"):
        serve(small_exchange(), host=host)


def test_taken_port_is_refused_with_its_number(client):
    port = int(client.server.url.rsplit(":", 1)[1])
    with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 cannot be used"):
        serve(small_exchange(), port=port)


def test_stopped_server_leaves_no_thread_and_no_listener():
    server = serve(small_exchange())
    address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
    server.stop()
    server.stop()  # twice is once
    assert not server._thread.is_alive()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=1)


def test_small_answers_are_not_held_back(client):
    # Nagle's algorithm would add about 40 ms to each; asked of the socket itself, not of a watch.
    client.get("/v2/clock")
    held = client.server._running.server_state.connections
    raw = [c.transport.get_extra_info("socket") for c in held]
    assert raw
    assert all(s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for s in raw)


def test_server_restarts_on_its_port_with_the_same_exchange():
    exchange = small_exchange()
    with served(exchange=exchange) as client:
        placed = client.buy("before-1").json()
        port = int(client.server.url.rsplit(":", 1)[1])
        client.server.stop()
        with serve(exchange, port=port):
            assert client.get(f"/v2/orders/{placed['id']}")["client_order_id"] == "before-1"


@pytest.mark.parametrize(
    ("host", "status"),
    [("127.0.0.1", 200), ("localhost:80", 200), ("[::1]:9", 200), ("LOCALHOST", 200),
     ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("", 403), ("10.0.0.1", 403)],
)  # fmt: skip
def test_only_a_loopback_host_header_is_answered(client, host, status):
    assert client.ask("GET", "/v2/clock", headers={"Host": host}).status_code == status


def test_page_of_another_origin_is_refused_everywhere(client):
    origin = {"Origin": "https://evil.example"}
    token = {"X-Exchange-Token": client.server.token}
    assert client.ask("GET", "/v2/clock", headers=origin).status_code == 403
    assert client.ask("GET", "/exchange/state", headers=origin | token).status_code == 403
    local = {"Origin": client.server.url} | token
    assert client.ask("GET", "/exchange/state", headers=local).status_code == 403
    answer = client.ask("OPTIONS", "/exchange/state", headers=origin)
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["/v2/account", "/v2/stocks/bars", "/v1/corporate-actions"])
@pytest.mark.parametrize("keys", [("no", "no"), (None, None)])
def test_wrong_or_missing_keys_are_unauthorized(client, path, keys):
    headers = dict(zip(("APCA-API-KEY-ID", "APCA-API-SECRET-KEY"), keys, strict=True))
    assert client.ask("GET", path, headers=headers).status_code == 401


@pytest.mark.parametrize("name", ["state", "log", "faults"])
def test_control_without_the_token_is_forbidden(client, name):
    for token in ({}, {"X-Exchange-Token": "wrong"}, {"X-Exchange-Token": ""}):
        assert client.ask("GET", f"/exchange/{name}", headers=token).status_code == 403
    assert client.ask("POST", "/exchange/reset").status_code == 403
    assert client.ask("POST", "/exchange/clock", json={"seconds": 5}).status_code == 403
    assert client.server.exchange.clock.now() == EVENING


@pytest.mark.parametrize(
    ("body", "now"),
    [
        ({"seconds": 90}, "2024-11-26T21:21:30+00:00"),
        ({"to": "2024-11-27T12:00:00-05:00"}, "2024-11-27T17:00:00+00:00"),
        ({"close": "2024-11-29", "minutes": 20}, "2024-11-29T18:20:00+00:00"),
        ({"open": "2024-11-29", "minutes": -5}, "2024-11-29T14:25:00+00:00"),
        ({"next": "close", "minutes": 20}, "2024-11-27T21:20:00+00:00"),
        ({"next": "open"}, "2024-11-27T14:30:00+00:00"),
    ],
)
def test_clock_moves_as_told(body, now):
    with served() as client:
        assert client.control("POST", "clock", **body).json() == {"now": now}


@pytest.mark.parametrize(
    "body",
    [{}, {"seconds": -1}, {"to": "noon"}, {"close": "2024-11-28"}, {"next": "lunch"}, {"open": 3},
     {"to": "2024-01-01T00:00:00Z"}],
)  # fmt: skip
def test_clock_that_cannot_move_so_says_why(client, body):
    answer = client.control("POST", "clock", **body)
    assert answer.status_code == 422
    assert answer.json()["message"]
    assert client.server.exchange.clock.now() == EVENING


def test_clock_of_the_computer_cannot_be_moved():
    exchange = small_exchange()
    exchange.clock = SystemClock()
    with served(exchange=exchange) as client:
        assert "cannot be moved" in client.control("POST", "clock", seconds=1).json()["message"]


def test_faults_are_injected_listed_and_cleared():
    with served() as client:
        rule = {"action": "status", "path": "/v2/account", "status": 503}
        assert client.control("POST", "faults", **rule).json()[0]["status"] == 503
        assert client.ask("GET", "/v2/account").status_code == 503
        assert len(client.control("GET", "faults").json()) == 1
        assert client.control("DELETE", "faults").json() == []
        assert client.ask("GET", "/v2/account").status_code == 200
        wrong = client.control("POST", "faults", action="explode")
        assert wrong.status_code == 422
        assert "action" in wrong.json()["message"]


def test_switches_are_turned():
    with served() as client:
        assert client.control("POST", "switch", account={"trading_blocked": True}).ok
        assert client.get("/v2/account")["trading_blocked"] is True
        assert client.control("POST", "switch", asset="AAA", flags={"tradable": False}).ok
        assert client.get("/v2/assets/AAA")["tradable"] is False
        assert client.control("POST", "switch", set={"clock_skew_s": 40}).ok
        told = client.get("/v2/clock")["timestamp"]
        assert datetime.fromisoformat(told) - EVENING == datetime.resolution * 40_000_000
        call = {"call": "external_fill", "with": {"symbol": "AAA", "qty": 3}}
        assert client.control("POST", "switch", **call).ok
        assert client.get("/v2/positions/AAA")["qty"] == "3"
        assert client.control("GET", "state").json()["qty"] == {"AAA": 3.0}
        for wrong in (
            {"account": 3},
            {"asset": "AAA", "flags": []},
            {"set": {"stale": "x"}},
            {},
            {"set": {"bars": 1}},
            {"call": "__init__"},
            {"call": "hide_order", "with": {"x": 1}},
        ):
            assert client.control("POST", "switch", **wrong).status_code == 422


@pytest.mark.parametrize("body", ["[1]", "3", "x", '"to"'])
@pytest.mark.parametrize("name", ["clock", "faults", "switch"])
def test_control_expects_an_object(client, name, body):
    headers = {"X-Exchange-Token": client.server.token}
    answer = client.ask("POST", f"/exchange/{name}", headers=headers, data=body)
    assert answer.status_code == 422
    assert answer.json()["message"].startswith("expected")


def test_unknown_path_and_method_are_refused_with_a_code(client):
    assert client.ask("GET", "/v2/nothing").json()["code"] == 40410000
    assert client.ask("PUT", "/v2/orders").json()["code"] == 40510000


@pytest.mark.parametrize(
    ("where", "origin"),
    [("ws://evil.example/stream", None), ("ws://127.0.0.1/stream", "https://evil.example")],
)
def test_stream_refuses_another_host_and_another_origin(client, where, origin):
    port = int(client.server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as raw:
        with pytest.raises(InvalidStatus) as caught:
            connect(where, sock=raw, origin=origin, proxy=None)
        assert caught.value.response.status_code == 403


def test_hanging_requests_do_not_hold_up_the_stop():
    with served(Rule(action="hang", path="/v2/account")) as client:
        arrived, ended = threading.Event(), threading.Event()
        client.server.faults.on("GET", "/v2/account", 1, "before", lambda seen: arrived.set())

        def ask():
            with pytest.raises(requests.ConnectionError):
                client.ask("GET", "/v2/account", timeout=60)
            ended.set()

        threading.Thread(target=ask, daemon=True).start()
        assert arrived.wait(10)
        client.server.stop()
        assert ended.wait(10)
        assert not client.server._thread.is_alive()


def test_reset_gives_a_new_account():
    with served() as client:
        before = client.get("/v2/account")["id"]
        assert client.control("POST", "reset").ok
        assert client.get("/v2/account")["id"] != before


def test_log_shows_requests_but_no_header_and_no_body():
    with served() as client:
        client.buy("mine-1")
        shown = client.control("GET", "log")
        (row,) = shown.json()
        assert (row["method"], row["path"], row["cid"]) == ("POST", "/v2/orders", "mine-1")
        assert client.server.exchange.secret not in shown.text
        assert client.server.token not in shown.text


def test_no_secret_reaches_a_log_at_debug(caplog):
    with caplog.at_level(logging.DEBUG), served() as client:
        exchange = client.server.exchange
        keys = {"key_id": exchange.key_id, "secret_key": exchange.secret}
        client.get("/v2/account")
        client.control("GET", "state")
        client.ask("GET", "/v2/account", headers={"APCA-API-SECRET-KEY": "wrong"})
        with connect(client.server.ws_url, logger=logging.getLogger("test-client")) as ws:
            ws.send(json.dumps({"action": "authenticate", "data": keys}))
            assert b"authorized" in ws.recv(timeout=5)
        # Long frames are logged with their middle left out, so parts count too.
        whole = (exchange.secret, client.server.token)
        secrets = [part for text in whole for part in (text[:8], text[-8:])]
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith("test-client")]
    assert not [line for line in ours for secret in secrets if secret in line]


def test_two_exchanges_run_side_by_side(client):
    with served() as other:
        assert other.server.url != client.server.url
        assert other.server.token != client.server.token
        assert isinstance(other, Client)


def test_paced_clock_runs_faster_and_jumps_but_never_back():
    real = FakeClock(datetime(2026, 1, 1, tzinfo=UTC))
    paced = PacedClock(EVENING, 60.0, real)
    real.sleep(2.0)
    assert (paced.now() - EVENING).total_seconds() == 120.0
    paced.sleep(30.0)  # half a second of the computer's
    assert (real.now() - datetime(2026, 1, 1, tzinfo=UTC)).total_seconds() == 2.5
    paced.set(EVENING.replace(hour=23))
    assert paced.now() == EVENING.replace(hour=23)
    with pytest.raises(ValueError, match="expected a time after"):
        paced.set(EVENING)
    with pytest.raises(ValueError, match="speed above 0"):
        PacedClock(EVENING, 0.0)
