"""The control paths, /exchange/...: move the clock, inject faults, look inside. Token required.

They are no part of Alpaca's API: no key opens them, and no web page may call them.
"""

import hmac
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from brokers.exchange.exchange import Exchange
from brokers.exchange.faults import Faults, parse_rules
from brokers.exchange.pace import PacedClock
from engine import clock
from engine.clock import FakeClock
from engine.errors import TradingError, UsageError

TOKEN = "X-Exchange-Token"
CALLS = (
    "external_fill", "hide_order", "stick_cancel", "reject_after_accept", "partial_next",
    "revise_bar", "drop_bar", "serve_stale",
)  # fmt: skip
Wire = dict[str, Any]


def control_routes(exchange: Exchange, faults: Faults, token: str) -> list[Route]:
    """Return the control paths of an exchange."""
    control = Control(exchange, faults)
    calls = {
        ("GET", "state"): lambda body: exchange.dump(),
        ("POST", "clock"): control.move,
        ("GET", "faults"): lambda body: control.rules(),
        ("POST", "faults"): control.inject,
        ("DELETE", "faults"): control.clear,
        ("GET", "log"): lambda body: control.log(),
        ("POST", "switch"): control.switch,
        ("POST", "reset"): control.reset,
    }
    return [
        Route(f"/exchange/{name}", _endpoint(exchange, token, call), methods=[method])
        for (method, name), call in calls.items()
    ]


class Control:
    """What each control path does; every call gets the JSON body and returns the answer."""

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self._exchange, self._faults = exchange, faults

    def move(self, body: Wire) -> Wire:
        """Move the clock {"to": time}, by {"seconds": n}, or to a session's {"close": date}.

        "open" and "close" take a session and, if given, "minutes" after it.
        Raises: UsageError where the clock cannot move, or would move back.
        """
        moved = self._exchange.clock
        if not isinstance(moved, FakeClock | PacedClock):
            raise UsageError("the clock of this exchange is the computer's; it cannot be moved")
        to = self._target(body)
        if to < moved.now():
            raise UsageError(f"expected a time after {moved.now():%Y-%m-%dT%H:%M:%SZ}, found {to}")
        moved.set(to)
        self._exchange.catch_up()
        return {"now": moved.now().isoformat()}

    def rules(self) -> list[Wire]:
        """List the fault rules in force."""
        return [rule.model_dump() for rule in self._faults.rules]

    def inject(self, body: Any) -> list[Wire]:
        """Add a fault rule, or a list of them."""
        rows = body if isinstance(body, list) else [body]
        self._faults.add(*parse_rules(rows, "POST /exchange/faults"))
        return self.rules()

    def clear(self, body: Wire) -> list[Wire]:
        """Take all fault rules away."""
        self._faults.clear()
        return self.rules()

    def log(self) -> list[Wire]:
        """List every request that came in; bodies by their hash only."""
        names = ("method", "path", "query", "status", "action", "body_hash", "cid")
        return [
            {**{name: getattr(seen, name) for name in names}, "at": seen.at.isoformat()}
            for seen in list(self._faults.log)
        ]

    def switch(self, body: Wire) -> Wire:
        """Turn switches: {"account": flags}, {"asset": symbol, "flags": flags}, {"set": values},
        or {"call": name, "with": arguments}.
        """
        switches = self._exchange.switches
        if "account" in body:
            switches.account_flags.update(body["account"])
        elif "asset" in body:
            switches.asset_flags.setdefault(body["asset"], {}).update(body.get("flags", {}))
        elif "set" in body:
            self._set(body["set"])
        else:
            return {"done": self._call(str(body.get("call")), dict(body.get("with", {})))}
        return {"done": None}

    def reset(self, body: Wire) -> Wire:
        """Start again with a new account."""
        self._exchange.reset()
        return self._exchange.dump()

    def _set(self, values: Wire) -> None:
        allowed = {"forming": bool, "clock_skew_s": float, "stale": int}
        for name, value in values.items():
            if name not in allowed:
                raise UsageError(f"switch {name}: expected one of {', '.join(allowed)}")
            setattr(self._exchange.switches, name, allowed[name](value))

    def _call(self, name: str, arguments: Wire) -> Any:
        if name not in CALLS:
            raise UsageError(f"call {name}: expected one of {', '.join(CALLS)}")
        if "session" in arguments:
            arguments["session"] = date.fromisoformat(arguments["session"])
        return getattr(self._exchange, name)(**arguments)

    def _target(self, body: Wire) -> datetime:
        if "to" in body:
            at = datetime.fromisoformat(body["to"])
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        if "seconds" in body:
            return self._exchange.clock.now() + timedelta(seconds=float(body["seconds"]))
        edge = "open" if "open" in body else "close"
        if edge not in body:
            raise UsageError('expected one of "to", "seconds", "open", "close"')
        hours = clock.opens_at if edge == "open" else clock.closes_at
        day = clock.as_day(date.fromisoformat(body[edge]))
        at = hours(day.reshape(1), self._exchange.bars.calendar)[0].item().replace(tzinfo=UTC)
        return cast(datetime, at) + timedelta(minutes=float(body.get("minutes", 0)))


def _endpoint(exchange: Exchange, token: str, call: Callable[[Any], Any]) -> Callable[..., Any]:
    async def serve(request: Request) -> Response:
        given = request.headers.get(TOKEN, "")
        if request.headers.get("origin") or not hmac.compare_digest(given.encode(), token.encode()):
            return JSONResponse({"message": f"expected the token in the header {TOKEN}"}, 403)
        raw = await request.body()
        try:
            body = json.loads(raw or b"{}")
            with exchange.lock:
                return JSONResponse(call(body))
        except (TradingError, ValueError, TypeError, KeyError, AttributeError) as error:
            return JSONResponse({"message": f"{error}"}, 422)

    return serve
