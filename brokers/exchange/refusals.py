"""What the exchange refuses, in Alpaca's words: a status and a body for each case.

A code is the HTTP status and a subcode. Callers tell cases apart by status, code and words, so
none of the texts may change.
"""

from typing import Any

UNPROCESSABLE = 42210000
FORBIDDEN = 40310000
NOT_FOUND = 40410000
PARAMETER = 40010001


class Refusal(Exception):
    """A request that is answered with an error: `status` and `body` are what goes on the wire."""

    def __init__(self, status: int, body: dict[str, Any] | str) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


def parameter(message: str) -> Refusal:
    """Refuse a request whose parameters make no sense."""
    return Refusal(422, {"code": PARAMETER, "message": message})


def unprocessable(message: str, **more: str) -> Refusal:
    """Refuse an order that the rules do not allow."""
    return Refusal(422, {"code": UNPROCESSABLE, "message": message, **more})


def forbidden(message: str, **more: str) -> Refusal:
    """Refuse an order that the account may not send."""
    return Refusal(403, {"code": FORBIDDEN, "message": message, **more})


def not_found(message: str) -> Refusal:
    """Answer that there is no such thing."""
    return Refusal(404, {"code": NOT_FOUND, "message": message})


def order_not_found(name: str) -> Refusal:
    """Answer that there is no such order; `name` is its id or client order id."""
    return not_found(f"order not found for {name}")


def no_position() -> Refusal:
    """Answer that nothing is held."""
    return not_found("position does not exist")


def not_authorized() -> Refusal:
    """Answer a wrong key or secret."""
    return Refusal(401, {"code": 40110000, "message": "request is not authorized"})


def no_credentials() -> Refusal:
    """Answer a request without any key: the proxy in front of the venue does, in HTML."""
    title = "401 Authorization Required"
    page = (
        f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n</body>\n</html>"
    )
    return Refusal(401, page)


def too_many_requests() -> Refusal:
    """Answer a request over the rate limit."""
    return Refusal(429, {"code": 42910000, "message": "rate limit exceeded"})
