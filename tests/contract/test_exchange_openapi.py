"""Every answer of the loopback exchange has the shape that Alpaca's OpenAPI files describe.

That shows that the exchange obeys the files, not that the files match the venue.
"""

import json
import re

import pytest
from starlette.routing import Route

from brokers.exchange.app import app
from brokers.exchange.faults import Faults
from tests.openapi import OpenApi
from tests.small_exchange import Client, served, small_exchange

STEPS = {"next": "close", "minutes": 20}


class Judged(Client):
    """A client that has every answer judged, and remembers which operations were answered how."""

    def __init__(self, server, files):
        super().__init__(server)
        self.files = files
        self.seen = set()

    def ask(self, method, path, **more):
        answer = super().ask(method, path, **more)
        plain = path.partition("?")[0]
        if not plain.startswith("/exchange/"):
            found = self.files.problems(method, plain, answer.status_code, answer.content)
            assert not found, "\n".join(found)
            self.seen.add((method, self.files.template(method, plain), answer.status_code))
        return answer

    def order(self, symbol="AAA", **more):
        body = {"symbol": symbol, "side": "buy", "type": "market", "time_in_force": "day", **more}
        return self.ask("POST", "/v2/orders", json=body)

    def evening(self):
        assert self.control("POST", "clock", **STEPS).ok

    def look(self):
        """Read everything there is to read; return the ids of the orders."""
        for path in (
            "/v2/account", "/v2/account/configurations", "/v2/clock", "/v2/positions",
            "/v2/account/activities", "/v2/account/activities/FILL",
            "/v2/account/portfolio/history", "/v2/assets", "/v2/assets/AAA",
            "/v2/calendar?start=2024-11-20&end=2024-12-31",
            "/v2/stocks/bars?symbols=AAA,BBB,CCC&timeframe=1Day&start=2024-01-01",
            "/v2/stocks/AAA/bars?timeframe=1Day&start=2024-01-01&limit=1",
            "/v2/stocks/bars/latest?symbols=AAA,BBB", "/v2/stocks/snapshots?symbols=AAA,CCC",
            "/v1/corporate-actions?start=2024-01-01",
        ):  # fmt: skip
            self.get(path)
        for position in self.get("/v2/positions"):
            self.get(f"/v2/positions/{position['symbol']}")
        ids = [order["id"] for order in self.get("/v2/orders", status="all")]
        for name in ids:
            order = self.get(f"/v2/orders/{name}")
            cid = order["client_order_id"]
            assert self.get("/v2/orders:by_client_order_id", client_order_id=cid)["id"] == name
        return ids


@pytest.fixture(scope="module")
def files(shared_specs):
    return OpenApi(shared_specs)


@pytest.fixture
def judged(files):
    with served(exchange=small_exchange(partial_fills=0.5, spread_bps=2.0)) as client:
        yield Judged(client.server, files)


def templates_of_the_exchange(files):
    """Every operation that the exchange serves, under the path that the files give it."""
    found = set()
    for route in app(small_exchange(), Faults(), "token").routes:
        if isinstance(route, Route) and not route.path.startswith("/exchange/"):
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            found |= {(verb, files.template(verb, path)) for verb in route.methods - {"HEAD"}}
    return found


def test_every_operation_answers_in_the_shape_of_the_files(judged, files):
    told = []
    judged.server.exchange.listeners.append(lambda e: told.append(json.dumps(e["data"]["order"])))
    judged.look()
    assert judged.order(qty="10").ok
    assert judged.order(qty="1.5", symbol="BBB").ok
    assert judged.order(notional="250.50", symbol="CCC").ok
    assert judged.order(qty=3, type="limit", limit_price="60", symbol="CCC", time_in_force="gtc").ok
    resting = judged.order(qty="2", type="limit", limit_price="10", time_in_force="gtc").json()
    judged.order(qty="2", type="stop", stop_price="500", time_in_force="gtc")
    judged.order(qty="2", type="stop_limit", stop_price="500", limit_price="501")
    judged.look()
    judged.evening()
    judged.look()
    changed = {"qty": "3", "limit_price": "11"}
    assert judged.ask("PATCH", f"/v2/orders/{resting['id']}", json=changed).ok
    assert judged.ask("PATCH", "/v2/account/configurations", json={"no_shorting": True}).ok
    live = judged.get("/v2/orders", status="open")
    assert judged.ask("DELETE", f"/v2/orders/{live[0]['id']}").status_code == 204
    assert judged.ask("DELETE", "/v2/orders").status_code == 207
    assert judged.ask("DELETE", "/v2/positions/AAA", params={"qty": "2"}).ok
    judged.evening()
    judged.look()
    assert (
        judged.ask("DELETE", "/v2/positions", params={"cancel_orders": "True"}).status_code == 207
    )
    for _ in range(4):
        judged.evening()
        judged.look()
    assert len(told) > 20
    for order in told:  # of the stream: the same object as over HTTP
        assert files.problems("GET", "/v2/orders/x", 200, order.encode()) == []
    good = {(verb, path) for verb, path, status in judged.seen if status < 300}
    assert good == templates_of_the_exchange(files)


@pytest.mark.parametrize(
    ("status", "method", "path", "body"),
    [
        (404, "GET", "/v2/orders/00000000-0000-0000-0000-000000000000", None),
        (404, "DELETE", "/v2/orders/00000000-0000-0000-0000-000000000000", None),
        (404, "GET", "/v2/orders:by_client_order_id?client_order_id=none", None),
        (404, "GET", "/v2/positions/AAA", None),
        (404, "DELETE", "/v2/positions/AAA", None),
        (404, "GET", "/v2/assets/NOPE", None),
        (422, "POST", "/v2/orders", {"qty": "0"}),
        (422, "POST", "/v2/orders", {"qty": "1", "symbol": "NOPE"}),
        (422, "POST", "/v2/orders", {"qty": "1", "type": "limit", "limit_price": "10.001"}),
        (403, "POST", "/v2/orders", {"qty": "100000"}),
        (403, "POST", "/v2/orders", {"qty": "5", "side": "sell"}),
        (400, "GET", "/v2/stocks/bars?symbols=AAA&timeframe=1Min", None),
        (400, "GET", "/v1/corporate-actions?types=party", None),
    ],
)
def test_refusals_have_a_shape_a_client_can_read(judged, status, method, path, body):
    order = {"symbol": "AAA", "side": "buy", "type": "market", "time_in_force": "day"}
    sent = None if body is None else {**order, **body}
    answer = judged.ask(method, path, json=sent)
    assert answer.status_code == status, answer.text


def test_wrong_keys_are_refused_in_a_shape_a_client_can_read(judged):
    for secret in ("wrong", None):
        headers = {"APCA-API-SECRET-KEY": secret, "APCA-API-KEY-ID": secret}
        for path in ("/v2/account", "/v2/stocks/snapshots", "/v1/corporate-actions"):
            assert judged.ask("GET", path, headers=headers).status_code == 401


@pytest.mark.parametrize(
    "damage",
    [
        lambda order: order.pop("time_in_force"),
        lambda order: order.update(status="half_done"),
        lambda order: order.update(created_at=7),
        lambda order: order.update(filled_qty=7.5),
        lambda order: order.update(side=None),
    ],
)
def test_judge_sees_a_damaged_order(judged, files, damage):
    order = judged.order(qty="1").json()
    damage(order)
    assert files.problems("POST", "/v2/orders", 200, json.dumps(order).encode())


def test_judge_knows_only_operations_of_the_files(files):
    with pytest.raises(AssertionError, match="is not in the OpenAPI files"):
        files.template("GET", "/v2/nothing")
    assert files.problems("DELETE", "/v2/orders/x", 204, b"{}")
    assert files.problems("POST", "/v2/orders", 403, b'{"message": 3}')
