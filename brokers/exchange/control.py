"""The control paths, /exchange/...: move the clock, inject faults, look inside. Token required.

They are no part of Alpaca's API: no key opens them, and no web page may call them.
"""

import hmac
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

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
        """Move the clock {"to": time}, by {"seconds": n}, to a session's {"close": date}, or to the
        {"next": "close"}; the same with "open". The last two take "minutes" to go beyond.

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

    def inject(self, body: Wire) -> list[Wire]:
        """Add a fault rule, or several as {"rules": [...]}."""
        rows = body.get("rules", [body])
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
            switches.account_flags.update(_object(body, "account"))
        elif "asset" in body:
            switches.asset_flags.setdefault(str(body["asset"]), {}).update(_object(body, "flags"))
        elif "set" in body:
            self._set(_object(body, "set"))
        else:
            return {"done": self._call(str(body.get("call")), dict(_object(body, "with")))}
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
        edge = body.get("next") or ("open" if "open" in body else "close")
        if edge not in ("open", "close") or not {"next", edge} & body.keys():
            raise UsageError('expected one of "to", "seconds", "open", "close", "next"')
        beyond = timedelta(minutes=float(body.get("minutes", 0)))
        return self._edge(edge, None if "next" in body else body[edge]) + beyond

    def _edge(self, edge: str, session: str | None) -> datetime:
        # When a session opens or closes; without one, the first time that is still to come.
        calendar, now = self._exchange.bars.calendar, self._exchange.clock.now()
        first = date.fromisoformat(session) if session else now.date()
        last = first if session else first + timedelta(days=14)
        days = clock.sessions(calendar, first, last)
        hours = (
            clock.opens_at(days, calendar) if edge == "open" else clock.closes_at(days, calendar)
        )
        times: list[datetime] = [at.replace(tzinfo=UTC) for at in hours.tolist()]
        if session and not times:
            raise UsageError(f"{session} is not a session of {calendar}")
        return times[0] if session else next(at for at in times if at > now)


def _endpoint(exchange: Exchange, token: str, call: Callable[[Any], Any]) -> Callable[..., Any]:
    async def serve(request: Request) -> Response:
        given = request.headers.get(TOKEN, "")
        if request.headers.get("origin") or not hmac.compare_digest(given.encode(), token.encode()):
            return JSONResponse({"message": f"expected the token in the header {TOKEN}"}, 403)
        raw = await request.body()
        try:
            body = json.loads(raw or b"{}")
            if not isinstance(body, dict):
                raise UsageError(f"expected a JSON object, found {body!r}")
            with exchange.lock:
                return JSONResponse(call(body))
        except json.JSONDecodeError as error:
            return JSONResponse({"message": f"expected JSON, found {raw[:40]!r}: {error}"}, 422)
        except (TradingError, ValueError, TypeError, AttributeError) as error:
            return JSONResponse({"message": f"{error}"}, 422)

    return serve


def _object(body: Wire, key: str) -> Wire:
    found = body.get(key, {})
    if not isinstance(found, dict):
        raise UsageError(f"{key}: expected a JSON object, found {found!r}")
    return found
