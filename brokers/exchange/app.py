"""The whole exchange as one web application: trading, data, stream, control.

From the outside in: requests for a host that is not this machine are refused, then faults are
carried out, then the routes answer. No page of another origin is ever let in: there is no CORS.
"""

import ipaddress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from brokers.exchange.control import control_routes
from brokers.exchange.corporate_actions import corporate_action_routes
from brokers.exchange.exchange import Exchange
from brokers.exchange.fault_layer import FaultLayer
from brokers.exchange.faults import Faults
from brokers.exchange.market_data import data_routes
from brokers.exchange.routes import trading_routes
from brokers.exchange.stream import Stream


def app(exchange: Exchange, faults: Faults, token: str) -> Starlette:
    """Return the application; `token` opens the control paths."""
    return Starlette(
        routes=[
            *trading_routes(exchange),
            *data_routes(exchange),
            *corporate_action_routes(exchange),
            *control_routes(exchange, faults, token),
            Stream(exchange, faults).route(),
        ],
        middleware=[
            Middleware(LoopbackOnly),
            Middleware(FaultLayer, faults=faults, clock=exchange.clock),
        ],
        exception_handlers={HTTPException: _no_endpoint},
    )


async def _no_endpoint(request: Request, error: Exception) -> Response:
    # A path or a method that does not exist, in the words of the API.
    status = error.status_code if isinstance(error, HTTPException) else 500
    code, words = (
        status * 100_000 + 10_000,
        "endpoint not found" if status == 404 else "not allowed",
    )
    return JSONResponse(
        {"code": code, "message": f"{words}: {request.method} {request.url.path}"}, status
    )


class LoopbackOnly:
    """Refuses a request that was meant for another host: a web page whose name points here."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through what names this machine."""
        headers = {key: value.decode("latin-1") for key, value in scope.get("headers", ())}
        if _is_here(headers.get(b"host", "")) and _from_here(headers.get(b"origin")):
            return await self._app(scope, receive, send)
        refused = JSONResponse({"message": "this exchange answers this machine only"}, 403)
        return await refused(scope, receive, send)


def _from_here(origin: str | None) -> bool:
    # Programs send no origin; a page served from this machine does.
    return origin is None or _is_here(origin.partition("://")[2])


def _is_here(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
