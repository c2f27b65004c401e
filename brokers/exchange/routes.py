"""The trading endpoints under /v2: each one method of the exchange."""

from collections.abc import Callable
from datetime import date
from typing import Any

from starlette.routing import Route

from brokers.exchange.answers import Answer, Ask, endpoint
from brokers.exchange.exchange import Exchange
from brokers.exchange.refusals import parameter
from brokers.exchange.wire import read_date, read_flag

Call = Callable[[Ask], Any]


def trading_routes(exchange: Exchange) -> list[Route]:
    """Return the routes of the trading API."""
    calls = (
        *_account(exchange),
        *_market(exchange),
        *_orders(exchange),
        *_positions(exchange),
    )
    return [Route(path, endpoint(exchange, call), methods=[verb]) for verb, path, call in calls]


def _account(exchange: Exchange) -> list[tuple[str, str, Call]]:
    return [
        ("GET", "/v2/account", lambda ask: exchange.account()),
        ("GET", "/v2/account/configurations", lambda ask: exchange.configuration()),
        ("PATCH", "/v2/account/configurations", lambda ask: exchange.configure(ask.body)),
        ("GET", "/v2/account/activities", lambda ask: exchange.activities(ask.query)),
        (
            "GET",
            "/v2/account/activities/{kind}",
            lambda ask: exchange.activities(ask.query, ask.path["kind"]),
        ),
        (
            "GET",
            "/v2/account/portfolio/history",
            lambda ask: exchange.portfolio_history(ask.query),
        ),
    ]


def _market(exchange: Exchange) -> list[tuple[str, str, Call]]:
    def calendar(ask: Ask) -> Any:
        first = read_date("start", ask.query.get("start") or "1990-01-01")
        last = read_date("end", ask.query.get("end") or str(date.max))
        return exchange.calendar(first, last)

    return [
        ("GET", "/v2/clock", lambda ask: exchange.market_clock()),
        ("GET", "/v2/calendar", calendar),
        ("GET", "/v2/assets", lambda ask: exchange.assets(ask.query)),
        ("GET", "/v2/assets/{name:path}", lambda ask: exchange.asset(ask.path["name"])),
    ]


def _orders(exchange: Exchange) -> list[tuple[str, str, Call]]:
    def by_client_id(ask: Ask) -> Any:
        if not ask.query.get("client_order_id"):
            raise parameter("client_order_id is required")
        return exchange.order_by_client_id(ask.query["client_order_id"])

    def cancel(ask: Ask) -> Answer:
        exchange.cancel(ask.path["order_id"])
        return Answer(204)

    def replace(ask: Ask) -> Any:
        return exchange.replace(ask.path["order_id"], ask.body)

    return [
        ("POST", "/v2/orders", lambda ask: exchange.submit(ask.body)),
        ("GET", "/v2/orders", lambda ask: exchange.orders(ask.query)),
        ("DELETE", "/v2/orders", lambda ask: Answer(207, exchange.cancel_all())),
        ("GET", "/v2/orders:by_client_order_id", by_client_id),
        ("GET", "/v2/orders/{order_id}", lambda ask: exchange.order(ask.path["order_id"])),
        ("PATCH", "/v2/orders/{order_id}", replace),
        ("DELETE", "/v2/orders/{order_id}", cancel),
    ]


def _positions(exchange: Exchange) -> list[tuple[str, str, Call]]:
    def close_all(ask: Ask) -> Answer:
        return Answer(207, exchange.close_all(read_flag(ask.query.get("cancel_orders"))))

    def close(ask: Ask) -> Any:
        return exchange.close_position(ask.path["name"], ask.query)

    return [
        ("GET", "/v2/positions", lambda ask: exchange.positions()),
        ("DELETE", "/v2/positions", close_all),
        ("GET", "/v2/positions/{name:path}", lambda ask: exchange.position(ask.path["name"])),
        ("DELETE", "/v2/positions/{name:path}", close),
    ]
