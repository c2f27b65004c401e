"""The trading endpoints under /v2: each one method of the exchange."""

from starlette.routing import Route

from brokers.exchange.exchange import Exchange


def trading_routes(exchange: Exchange) -> list[Route]:
    """Return the routes of the trading API."""
    raise NotImplementedError
