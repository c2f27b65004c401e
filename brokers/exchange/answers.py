"""Turns plain functions into HTTP endpoints: keys, rate limit, request id, errors as JSON.

Both the trading and the data endpoints go through `endpoint`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from brokers.exchange.exchange import Exchange
from brokers.exchange.refusals import Refusal, no_credentials, not_authorized, too_many_requests


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: what stood in the path, behind the question mark, and in the body."""

    path: dict[str, str]
    query: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a status of its own; `body` None sends no body."""

    status: int
    body: Any = None


def endpoint(exchange: Exchange, call: Callable[[Ask], Any]) -> Callable[[Request], Any]:
    """Return an endpoint that checks the request, calls `call`, and sends what it returns.

    What `call` returns goes out as JSON with status 200, or as an Answer says; a Refusal goes out
    with its own status and body. The exchange has caught up before the call, under its lock.
    """

    async def serve(request: Request) -> Response:
        raw = await request.body()
        with exchange.lock:
            headers, within_rate = exchange.count_request()
            try:
                check_keys(exchange, request)
                if not within_rate:
                    raise too_many_requests()
                exchange.catch_up()
                answer = call(
                    Ask(dict(request.path_params), dict(request.query_params), _read(raw))
                )
            except Refusal as refusal:
                return _refused(refusal, headers)
            return _sent(answer, headers)

    return serve


def check_keys(exchange: Exchange, request: Request) -> None:
    """Let only this account's key and secret through. Raises: Refusal."""
    key = request.headers.get("apca-api-key-id")
    secret = request.headers.get("apca-api-secret-key")
    if key is None and secret is None:
        raise no_credentials()
    if (key, secret) != (exchange.key_id, exchange.secret):
        raise not_authorized()


def _read(raw: bytes) -> dict[str, Any]:
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, {"code": 40010000, "message": "request body format is invalid"})
    return body


def _refused(refusal: Refusal, headers: dict[str, str]) -> Response:
    if isinstance(refusal.body, str):
        return Response(refusal.body, refusal.status, headers, media_type="text/html")
    return JSONResponse(refusal.body, refusal.status, headers)


def _sent(answer: Any, headers: dict[str, str]) -> Response:
    if not isinstance(answer, Answer):
        return JSONResponse(answer, headers=headers)
    if answer.body is None:
        return Response(status_code=answer.status, headers=headers)
    return JSONResponse(answer.body, answer.status, headers)
