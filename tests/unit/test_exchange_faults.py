"""The fault script of the loopback exchange, as a plain HTTP client meets it."""

import json
import re

import pytest
import requests

from brokers.exchange.faults import Faults, Rule, load_rules
from brokers.exchange.spoil import mutate
from engine.errors import UsageError
from tests.small_exchange import Client, served

ACCOUNT = "/v2/account"
ORDERS = "/v2/orders"
LOST = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)


def statuses(client: Client, path: str, count: int) -> list[int]:
    return [client.ask("GET", path).status_code for _ in range(count)]


def orders(client: Client) -> list[str]:
    """Client ids of the orders that the exchange has, asked of itself and not over the wire."""
    return [order["client_order_id"] for order in client.server.exchange.orders({"status": "all"})]


# What the script strikes.


def test_rule_strikes_the_nth_match_and_as_many_in_a_row_as_told():
    rule = Rule(action="status", path=ACCOUNT, nth=2, times=3, status=503)
    with served(rule) as client:
        assert statuses(client, ACCOUNT, 6) == [200, 503, 503, 503, 200, 200]


def test_rule_without_end_strikes_for_ever():
    with served(Rule(action="status", path=ACCOUNT, nth=3, times=0, status=500)) as client:
        assert statuses(client, ACCOUNT, 5) == [200, 200, 500, 500, 500]


def test_rule_counts_only_its_own_method_and_whole_path():
    rules = (
        Rule(action="status", method="POST", path=ORDERS, status=502),
        Rule(action="status", method="GET", path="/v2/positions", status=503),
    )
    with served(*rules) as client:
        assert client.ask("GET", ORDERS).status_code == 200
        assert client.ask("GET", "/v2/positions/AAA").status_code == 404
        assert client.buy("a").status_code == 502
        assert client.ask("GET", "/v2/positions").status_code == 503


def test_first_rule_that_strikes_wins_and_the_others_count_on():
    rules = (
        Rule(action="status", path=ACCOUNT, status=500),
        Rule(action="status", path=ACCOUNT, status=502, nth=2),
    )
    with served(*rules) as client:
        assert statuses(client, ACCOUNT, 3) == [500, 502, 200]


def test_rules_of_http_never_count_events_of_the_stream():
    faults = Faults([Rule(action="status"), Rule(action="omit", method="STREAM", path="fill")])
    assert faults.decide("STREAM", "new") is None
    assert faults.decide("STREAM", "fill").action == "omit"
    assert faults.decide("GET", "fill").action == "status"


def test_same_script_gives_the_same_answers_twice():
    rule = Rule(action="mutate", path=ACCOUNT, times=0, seed=7)
    seen = []
    for _ in range(2):
        with served(rule) as client:
            seen.append([client.ask("GET", ACCOUNT).text for _ in range(5)])
    assert seen[0] == seen[1]


# Requests that the exchange never sees.


@pytest.mark.parametrize("action", ["status", "redirect", "drop", "reset"])
def test_unprocessed_order_does_not_exist(action):
    with served(Rule(action=action, method="POST", to="http://127.0.0.1:9/")) as client:
        try:
            assert client.buy("lost-1").status_code in (504, 301)
        except LOST:
            assert action in ("drop", "reset")
        assert orders(client) == []
        assert client.buy("lost-1").status_code == 200  # the connection works on


def test_hanging_order_is_given_up_by_the_client_and_does_not_exist():
    with served(Rule(action="hang", method="POST")) as client:
        with pytest.raises(requests.exceptions.ReadTimeout):
            client.buy("lost-1", timeout=0.1)
        assert orders(client) == []


def test_status_carries_body_and_headers():
    rule = Rule(action="status", status=429, headers={"Retry-After": "7"}, times=2)
    with served(rule, Rule(action="status", status=502, nth=3)) as client:
        answer = client.ask("GET", ACCOUNT)
        assert answer.headers["Retry-After"] == "7"
        assert answer.json() == {"code": 42910000, "message": "rate limit exceeded"}
        client.ask("GET", ACCOUNT)
        page = client.ask("GET", ACCOUNT)
        assert page.headers["Content-Type"] == "text/html"
        assert page.text.startswith("<html>")


def test_redirect_names_another_host():
    with served(Rule(action="redirect", to="https://elsewhere.example/x")) as client:
        answer = client.ask("GET", ACCOUNT)
        assert (answer.status_code, answer.text) == (301, "")
        assert answer.headers["Location"] == "https://elsewhere.example/x"


def test_held_order_is_carried_out_right_after_the_next_look_up():
    with served(Rule(action="hold_until_next", method="POST")) as client:
        with pytest.raises(requests.exceptions.ReadTimeout):
            client.buy("late-1", timeout=0.1)
        look_up = "/v2/orders:by_client_order_id?client_order_id="
        assert client.ask("GET", look_up + "other").status_code == 404
        assert orders(client) == []
        assert client.ask("GET", look_up + "late-1").status_code == 404
        assert orders(client) == ["late-1"]
        again = client.buy("late-1")
        assert (again.status_code, again.json()["code"]) == (422, 40010001)


# Requests that are carried out, with an answer that is lost or spoilt.


@pytest.mark.parametrize(
    ("action", "status"),
    [("accept_then_status", 503), ("accept_then_504", 504), ("accept_then_reset", None),
     ("cut", None), ("accept_then_hang", None)],
)  # fmt: skip
def test_accepted_order_exists_though_its_answer_is_lost(action, status):
    with served(Rule(action=action, method="POST", status=503, seconds=0.05)) as client:
        try:
            assert client.buy("kept-1").status_code == status
        except LOST:
            assert status is None
        assert orders(client) == ["kept-1"]
        assert client.buy("kept-1").status_code == 422


def test_patient_client_gets_a_late_answer_and_a_hasty_one_none():
    late = Rule(action="delay", method="POST", seconds=0.05)
    with served(late, Rule(action="delay", method="POST", nth=2, seconds=60)) as client:
        assert client.buy("a").status_code == 200
        with pytest.raises(requests.exceptions.ReadTimeout):
            client.buy("b", timeout=0.3)
        assert orders(client) == ["b", "a"]


def test_slow_answer_comes_byte_by_byte():
    fast = Rule(action="slow", path="/v2/clock", bytes_per_s=5000)
    slow = Rule(action="slow", path="/v2/clock", bytes_per_s=0.1, nth=2)
    with served(fast, slow) as client:
        assert client.get("/v2/clock")["is_open"] is False
        with pytest.raises(requests.ConnectionError, match="Read timed out"):
            client.ask("GET", "/v2/clock", timeout=0.5)


@pytest.mark.parametrize(
    ("action", "status", "text"),
    [("empty200", 200, r""), ("html200", 200, r"<html>.*"), ("truncate", 200, r"\{[^}]*")],
)
def test_spoilt_answer_is_no_json(action, status, text):
    with served(Rule(action=action, method="POST")) as client:
        answer = client.buy("kept-1")
        assert answer.status_code == status
        assert re.fullmatch(text, answer.text)
        with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
            answer.json()
        assert orders(client) == ["kept-1"]


def test_edit_removes_and_adds_fields_in_objects_and_lists():
    rules = (
        Rule(action="edit", path=ACCOUNT, remove=("cash",), add={"status": "ODD", "a.b": 1}),
        Rule(action="edit", path=ORDERS, method="GET", add={"status": "half_done"}),
    )
    with served(*rules) as client:
        account = client.get(ACCOUNT)
        assert "cash" not in account
        assert (account["status"], account["a"]) == ("ODD", {"b": 1})
        client.buy("a")
        client.buy("b")
        assert [o["status"] for o in client.get(ORDERS)] == ["half_done"] * 2


def test_stale_connection_answers_and_is_closed_behind_the_clients_back():
    with served(Rule(action="stale", path=ACCOUNT)) as client:
        answer = client.ask("GET", ACCOUNT)
        assert answer.status_code == 200
        assert "close" not in answer.headers.get("Connection", "")
        assert client.ask("GET", ACCOUNT).status_code == 200


def test_mutations_differ_by_seed_and_most_are_still_json():
    body = json.dumps({"id": "x", "qty": "10", "legs": [{"a": 1.5}], "none": None}).encode()
    found = [mutate(body, seed) for seed in range(300)]
    assert found == [mutate(body, seed) for seed in range(300)]
    assert len(set(found)) > 60

    def parses(text: bytes) -> bool:
        try:
            json.loads(text)
        except ValueError:
            return False
        return True

    assert 200 < sum(map(parses, found)) < 300
    assert mutate(b"", 3) == b""
    assert isinstance(mutate(b"<html>", 3), bytes)


# The log and the hooks.


def test_log_holds_every_request_with_its_client_id_and_status():
    with served(Rule(action="drop", method="POST")) as client:
        with pytest.raises(LOST):
            client.buy("mine-1")
        client.buy("mine-1")
        client.ask("GET", "/v2/orders:by_client_order_id?client_order_id=mine-1")
        log = client.server.faults.log
        assert [(s.method, s.cid, s.status, s.action) for s in log] == [
            ("POST", "mine-1", None, "drop"),
            ("POST", "mine-1", 200, None),
            ("GET", "mine-1", 200, None),
        ]
        assert log[0].body_hash == log[1].body_hash != log[2].body_hash
        assert client.server.faults.counts["POST /v2/orders"] == 2
        assert client.server.exchange.secret not in repr(log)


def test_log_keeps_the_newest_requests_only(monkeypatch):
    monkeypatch.setattr("brokers.exchange.faults.KEPT", 20)
    with served() as client:
        for i in range(21):
            client.ask("GET", f"/v2/nothing/{i}")
        kept = [seen.path for seen in client.server.faults.log]
    assert kept == [f"/v2/nothing/{i}" for i in range(2, 21)]


def test_hooks_run_before_and_after_the_exchange_has_acted():
    with served() as client:
        faults, seen = client.server.faults, []
        for phase in ("before", "after"):
            faults.on(
                "POST", ORDERS, 2, phase, lambda s, p=phase: seen.append((p, s.cid, orders(client)))
            )
        client.buy("a")
        assert seen == []
        client.buy("b")
        client.buy("c")
        assert seen == [("before", "b", ["a"]), ("after", "b", ["b", "a"])]


def test_hook_that_raises_is_kept_and_answered_with_500():
    with served() as client:
        client.server.faults.on("GET", ACCOUNT, 1, "after", lambda seen: 1 / 0)
        assert client.ask("GET", ACCOUNT).status_code == 500
        assert isinstance(client.server.faults.errors[0], ZeroDivisionError)
        assert client.ask("GET", ACCOUNT).status_code == 200


def test_control_paths_are_neither_struck_nor_logged():
    with served(Rule(action="status", times=0)) as client:
        assert client.control("GET", "state").status_code == 200
        assert client.server.faults.log == []


# Scripts from files.


def test_script_is_read_from_toml(tmp_path):
    file = tmp_path / "faults.toml"
    file.write_text(
        '[[rule]]\naction = "status"\nmethod = "POST"\npath = "/v2/orders"\nnth = 2\n'
        'status = 503\n[[rule]]\naction = "omit"\nmethod = "STREAM"\npath = "fill"\n'
    )
    first, second = load_rules(file)
    assert (first.nth, first.status, second.method) == (2, 503, "STREAM")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('[[rule]]\naction = "explode"\n', r"rule 1: action"),
        ('[[rule]]\naction = "drop"\n[[rule]]\naction = "drop"\nnth = 0\n', r"rule 2: nth"),
        ('[[rule]]\naction = "drop"\npaht = "/"\n', r"rule 1: paht"),
        ('[[rule]]\naction = "drop"\npath = "("\n', r"rule 1: path: .*not a regular expression"),
        ('[[rule]]\naction = "omit"\n', r"rule 1: action omit: of the stream only"),
        ('[[rule]]\naction = "cut"\nmethod = "STREAM"\n', r"rule 1: action cut: not possible"),
        ('[rules]\naction = "cut"\n', r"expected \[\[rule\]\] tables only"),
        ("rule = 3\n", r"expected \[\[rule\]\] tables only"),
        ("[[rule\n", r"cannot be read as TOML"),
    ],
)
def test_wrong_script_is_refused_by_file_rule_and_key(tmp_path, text, word):
    file = tmp_path / "faults.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=word) as caught:
        load_rules(file)
    assert str(file) in str(caught.value)
