"""One order, one POST, one judged answer: over a real socket, whatever the server does."""

import json
import logging
import shutil
import socket
import ssl
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from requests.exceptions import InvalidSchema, InvalidURL

from brokers.alpaca.budget import Budget
from brokers.alpaca.gateway import Gateway
from brokers.alpaca.keys import Keys
from brokers.alpaca.records import Accepted, Denied, InDoubt, Intent, Refused
from brokers.alpaca.sdk import ACTIONS, STOCKS, TRADING, Client
from brokers.alpaca.transport import NoReply
from engine.clock import FakeClock
from engine.errors import TradingHalted, VenueError
from engine.hosts import PAPER_TRADING
from engine.settings_paper import PaperSettings
from tests.alpaca_bodies import ORDER
from tests.wire_server import Say, WireServer, wire_server

INTENT = Intent("barwise-1", date(2026, 3, 11), "AAPL", 10.0)
START = datetime(2026, 3, 11, 21, 0, tzinfo=UTC)  # the clock of the fixtures


def test_an_order_goes_out_once_with_its_client_order_id_and_exact_numbers(
    gateway: Gateway, wire: WireServer
) -> None:
    wire.say(Say(200, ORDER))
    answer = gateway.post(INTENT)
    assert isinstance(answer, Accepted)
    assert answer.order.filled_qty == 4.0
    assert [(x.method, x.path) for x in wire.seen] == [("POST", "/v2/orders")]
    assert json.loads(wire.seen[0].body)["client_order_id"] == "barwise-1"
    assert json.loads(wire.seen[0].body)["qty"] == "10"  # a text: no float in between


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (422, {"code": 40010001, "message": "client_order_id must be unique"}, InDoubt),
        (403, {"code": 40310000, "message": "insufficient buying power"}, Refused),
        (400, {"code": 40010000, "message": "no"}, Refused),
        (422, {"code": 42210000, "message": "no"}, Refused),
        (401, {"message": "unauthorized."}, Denied),
        (403, {"message": "forbidden."}, Denied),
        (408, None, InDoubt),
        (429, {"code": 42910000, "message": "rate limit exceeded"}, InDoubt),
        (500, {"code": 50010000, "message": "internal"}, InDoubt),
        (502, None, InDoubt),
        (503, None, InDoubt),
        (504, None, InDoubt),
        (301, ORDER, InDoubt),
        (200, None, InDoubt),
        (204, None, InDoubt),
        (200, [], InDoubt),
        (200, {"code": 40310000}, InDoubt),
        (200, ORDER | {"client_order_id": "barwise-2"}, InDoubt),
    ],
)
def test_m5_each_status_means_what_the_table_says_after_exactly_one_post(
    gateway: Gateway, wire: WireServer, clock: FakeClock, status: int, body: object, kind: type
) -> None:
    wire.say(Say(status, body))
    assert isinstance(gateway.post(INTENT), kind)
    assert len(wire.seen) == 1
    assert clock.now() == START  # nothing was waited for


@pytest.mark.parametrize("raw", [b"<html>Bad gateway</html>", b'{"id": "a1', b"\xff\xfe", b" "])
@pytest.mark.parametrize("status", [200, 500, 502])
def test_f15_f17_an_unreadable_answer_leaves_doubt_after_one_post(
    gateway: Gateway, wire: WireServer, status: int, raw: bytes
) -> None:
    wire.say(Say(status, raw=raw))
    assert isinstance(gateway.post(INTENT), InDoubt)
    assert len(wire.seen) == 1


@pytest.mark.parametrize("fault", ["hang", "reset"])
def test_f10_f11_f16_silence_and_reset_leave_doubt_after_one_post(
    hurried: Gateway, wire: WireServer, fault: str
) -> None:
    wire.say(Say(act=getattr(wire, fault)))
    answer = hurried.post(INTENT)
    assert isinstance(answer, InDoubt)
    assert {"hang": "ReadTimeout", "reset": "reset by peer"}[fault] in answer.why
    assert len(wire.seen) == 1


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",  # a cut body would look whole
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n",
        b"HTTP/1.1 200 OK\r\nX-Slow:",  # not even a head
    ],
)
def test_f18_an_answer_that_trickles_in_is_ended_at_the_total_deadline(
    hurried: Gateway, wire: WireServer, head: bytes
) -> None:
    # Each byte comes well within the read timeout, so that alone would wait for ever.
    wire.say(Say(act=lambda handler: wire.trickle(handler, 0.05, head)))
    answer = hurried.post(INTENT)
    assert answer == InDoubt("ReadTimeout: no whole answer within 0.5 s")
    assert len(wire.seen) == 1


def test_f16_a_closed_port_leaves_doubt(clock: FakeClock) -> None:
    with wire_server() as gone:
        paper = PaperSettings(trading_url=gone.url, data_url=gone.url)
    with Gateway(paper, Keys("PKCANARY00", "canary"), clock) as gateway:
        answer = gateway.post(INTENT)
    assert isinstance(answer, InDoubt)
    assert "refused" in answer.why


def stranger(base: str, clock: FakeClock) -> Client:
    return Client(TRADING, base, Keys("PKCANARY00", "canary"), clock, Budget(150, clock))


def test_f16_a_name_that_cannot_be_resolved_is_no_reply(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    seen = stranger(PAPER_TRADING, clock).send("POST", "/orders", {})
    assert isinstance(seen, NoReply)
    assert "Name or service not known" in seen.why


def test_f16_a_certificate_nobody_vouches_for_is_no_reply(clock: FakeClock, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    made = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert"), "-subj", "/CN=x"]
    made += ["-addext", "subjectAltName=IP:127.0.0.1", "-days", "2", "-nodes"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run([*command, *made], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with wire_server(context) as secure:
        base = secure.url.replace("http://", "https://")
        seen = stranger(base, clock).send("POST", "/orders", {})
        assert isinstance(seen, NoReply)
        assert "CERTIFICATE_VERIFY_FAILED" in seen.why
        assert secure.seen == []


def test_a_kept_connection_that_the_server_closed_does_not_repeat_a_post(
    gateway: Gateway, wire: WireServer
) -> None:
    wire.say(Say(200, ORDER), Say(act=wire.reset), Say(200, ORDER))
    assert isinstance(gateway.post(INTENT), Accepted)
    assert isinstance(gateway.post(INTENT), InDoubt)
    assert len(wire.seen) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["other", "own"])
def test_m14_f43_a_redirect_is_followed_nowhere(
    gateway: Gateway, wire: WireServer, status: int, place: str
) -> None:
    with wire_server() as other:
        to = (other if place == "other" else wire).url + "/v2/orders"
        wire.say(Say(status, headers={"Location": to}), Say(200, ORDER))
        assert isinstance(gateway.post(INTENT), InDoubt)
        assert len(wire.seen) == 1
        assert other.seen == []


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("place", ["other", "own"])
def test_m14_even_an_sdk_that_follows_redirects_sends_one_request_to_one_host(
    gateway: Gateway, wire: WireServer, status: int, place: str
) -> None:
    session = gateway._trading._sdk._session
    plain = session.request
    session.request = lambda *args, **options: plain(*args, **options | {"allow_redirects": True})
    with wire_server() as other:
        to = (other if place == "other" else wire).url + "/v2/orders"
        wire.say(Say(status, headers={"Location": to}), Say(200, ORDER))
        assert isinstance(gateway.post(INTENT), InDoubt)
        assert (len(wire.seen), other.seen) == (1, [])


def test_no_url_outside_its_own_host_has_a_way_out(gateway: Gateway, wire: WireServer) -> None:
    session = gateway._trading._sdk._session
    for url in (
        "https://api.alpaca.markets/v2/orders",
        "http://127.0.0.1:9/v2",
        f"{wire.url}.example.com/",
        "file:///etc/passwd",
    ):
        with pytest.raises((InvalidSchema, InvalidURL)):
            session.get(url)
    assert wire.seen == []


def test_a_proxy_of_the_environment_does_not_see_loopback(
    wire: WireServer, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with wire_server() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        paper = PaperSettings(trading_url=wire.url, data_url=wire.url, trust_env=True)
        with Gateway(paper, Keys("PKCANARY00", "canary"), clock) as gateway:
            wire.say(Say(200, ORDER))
            assert isinstance(gateway.post(INTENT), Accepted)
        assert proxy.seen == []


def test_an_order_that_cannot_be_expressed_is_never_sent(
    gateway: Gateway, wire: WireServer
) -> None:
    with pytest.raises(TradingHalted):
        gateway.post(Intent("barwise-1", date(2026, 3, 11), "AAPL", 0.0))
    assert wire.seen == []


@pytest.mark.parametrize("kind", [TRADING, STOCKS, ACTIONS])
def test_the_switches_that_turn_the_sdks_repeats_off_still_exist(kind: type) -> None:
    # Were one renamed, a submit would be up to four POSTs again.
    bare = kind(api_key="a", secret_key="b", raw_data=True, url_override="http://127.0.0.1:9")
    assert {"_session", "_retry", "_retry_codes"} <= set(vars(bare))
    assert (bare._retry, bare._retry_codes) == (3, [429, 504])


def test_both_switches_are_off_in_every_client(gateway: Gateway) -> None:
    for client in (gateway._trading, gateway._stocks, gateway._actions):
        assert (client._sdk._retry, client._sdk._retry_codes) == (0, [])


def test_an_sdk_without_those_switches_is_refused() -> None:
    from brokers.alpaca.sdk import _switch_repeats_off

    with pytest.raises(VenueError, match="_session"):
        _switch_repeats_off(object())


def test_a_429_makes_the_next_request_wait_as_long_as_the_venue_asks(
    gateway: Gateway, wire: WireServer, clock: FakeClock
) -> None:
    wire.say(Say(429, headers={"Retry-After": "9"}), Say(200, ORDER))
    assert isinstance(gateway.post(INTENT), InDoubt)
    assert gateway.order_by_client_id("barwise-1") is not None
    assert (clock.now() - START).total_seconds() == 9.0


def test_f59_no_fault_shows_a_key_in_an_answer_a_repr_or_a_log(
    hurried: Gateway, wire: WireServer, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ("PKCANARY00", "canary")
    caplog.set_level(logging.DEBUG)
    echo = {"message": "no canary here, PKCANARY00", "code": 40310000}
    shown = [repr(hurried), repr(vars(hurried)), repr(vars(hurried._trading._sdk))]
    for say in (
        Say(403, echo), Say(401, echo), Say(500, echo), Say(200, echo), Say(200, raw=b"canary"),
        Say(302, headers={"Location": "http://canary/"}), Say(act=wire.hang), Say(act=wire.reset),
    ):  # fmt: skip
        wire.say(say)
        shown.append(repr(hurried.post(INTENT)))
    shown += [caplog.text, repr(hurried._trading._way.__dict__)]
    assert wire.seen[0].headers["APCA-API-SECRET-KEY"] == "canary"  # it did go out
    for text in shown:
        assert not any(key in text for key in keys)
