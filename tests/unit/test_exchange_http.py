"""The trading endpoints over HTTP: what only raw requests show."""

import pytest

from tests.small_exchange import served, small_exchange


@pytest.fixture(scope="module")
def client():
    with served() as client:
        yield client


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"x"', b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(client, body):
    answer = client.ask("POST", "/v2/orders", data=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 40010000)


def test_every_answer_has_an_id_of_its_own(client):
    answers = [client.ask("GET", f"/v2/{name}") for name in ("clock", "orders/1", "account")]
    assert [answer.status_code for answer in answers] == [200, 404, 200]
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == 3


def test_a_request_without_keys_meets_the_proxy_in_html(client):
    none = {"APCA-API-KEY-ID": None, "APCA-API-SECRET-KEY": None}
    answer = client.ask("GET", "/v2/account", headers=none)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")
    wrong = client.ask("GET", "/v2/account", headers={"APCA-API-KEY-ID": "PKWRONG"})
    assert wrong.json() == {"code": 40110000, "message": "request is not authorized"}


def test_a_rate_limit_counts_by_the_minute_of_the_exchanges_clock():
    with served(exchange=small_exchange(rate_limit=3)) as client:
        answers = [client.ask("GET", "/v2/clock") for _ in range(4)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429]
        assert answers[3].json() == {"code": 42910000, "message": "rate limit exceeded"}
        assert [a.headers["X-RateLimit-Remaining"] for a in answers] == ["2", "1", "0", "0"]
        now = client.server.exchange.clock.now().timestamp()
        assert 0 < int(answers[3].headers["X-RateLimit-Reset"]) - now <= 60
        client.control("POST", "clock", seconds=60)
        assert client.ask("GET", "/v2/clock").status_code == 200


def test_client_ids_with_odd_characters_are_found(client):
    client.buy("a/b: c+d?e&f%")
    query = {"client_order_id": "a/b: c+d?e&f%"}
    found = client.get("/v2/orders:by_client_order_id", **query)
    assert found["client_order_id"] == "a/b: c+d?e&f%"


@pytest.mark.parametrize(
    "query",
    ["status=maybe", "limit=0", "limit=501", "limit=x", "after=noon", "direction=up"],
)
def test_lists_with_wrong_filters_are_refused(client, query):
    assert client.ask("GET", f"/v2/orders?{query}").status_code == 422


@pytest.mark.parametrize(
    "query",
    ["timeframe=2D", "period=5Y", "start=2024-01-01&end=2024-02-01&period=1M", "start=x"],
)
def test_history_with_wrong_filters_is_refused(client, query):
    answer = client.ask("GET", f"/v2/account/portfolio/history?{query}")
    assert answer.status_code == 422
