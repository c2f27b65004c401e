"""The layer of the server that carries faults out: between the socket and the exchange.

It reads the whole request, writes it down, asks the script, and delivers the answer as told.
Control paths (/exchange/...) are left alone.
"""

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brokers.exchange.faults import UNPROCESSED, Faults, Phase, Rule, Seen
from brokers.exchange.spoil import Reply, made, spoil
from engine.clock import Clock

CONTROL = "/exchange/"
NO_BODY = frozenset({204, 304})


class Line:
    """One request and the connection it came on."""

    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        self._app, self._scope, self._receive, self._send = app, scope, receive, send
        self.transport: asyncio.Transport = scope["state"]["transport"]
        self.body = b""

    async def read(self) -> None:
        """Read the request's body to its end."""
        more = True
        while more:
            message = await self._receive()
            self.body += message.get("body", b"")
            more = message.get("more_body", False)

    async def process(self) -> Reply:
        """Let the exchange carry the request out."""
        parts: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": self.body, "more_body": False}

        async def keep(message: Message) -> None:
            parts.append(message)

        await self._app(self._scope, receive, keep)
        headers = tuple((k, v) for k, v in parts[0]["headers"] if k != b"content-length")
        return Reply(parts[0]["status"], b"".join(p.get("body", b"") for p in parts[1:]), headers)

    async def answer(self, reply: Reply) -> None:
        """Send an answer whole."""
        await self._begin(reply)
        await self._send({"type": "http.response.body", "body": reply.body})

    async def answer_and_close(self, reply: Reply) -> None:
        """Send an answer that says nothing of closing, and close in the same packet."""
        if hasattr(socket, "TCP_CORK"):  # elsewhere the client may be quicker than the close
            raw = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        await self.answer(reply)
        close(self.transport, reset=False)

    async def answer_slowly(self, reply: Reply, bytes_per_s: float) -> None:
        """Send an answer byte by byte, until it is out or the client leaves."""
        await self._begin(reply)
        for i in range(len(reply.body)):
            await self._send(_part(reply.body[i : i + 1]))
            if await self.gone(1.0 / bytes_per_s):
                return
        await self._send({"type": "http.response.body", "body": b""})

    async def answer_half(self, reply: Reply) -> None:
        """Promise an answer, send half of it and hang up."""
        await self._begin(reply)
        await self._send(_part(reply.body[: len(reply.body) // 2]))
        await self.hang_up()

    async def hang_up(self, reset: bool = False) -> None:
        """Close the connection without a word, with a reset if so told."""
        close(self.transport, reset)
        await self._receive()  # returns once the connection is gone

    async def gone(self, seconds: float) -> bool:
        """Wait until the client leaves, or for so long; tell whether it left."""
        try:
            await asyncio.wait_for(self._receive(), seconds)
        except TimeoutError:
            return False
        return True

    async def _begin(self, reply: Reply) -> None:
        length = () if reply.status in NO_BODY else ((b"content-length", b"%d" % len(reply.body)),)
        start = {"type": "http.response.start", "status": reply.status}
        await self._send({**start, "headers": [*reply.headers, *length]})


@dataclass
class _Held:
    line: Line
    seen: Seen
    done: asyncio.Event = field(default_factory=asyncio.Event)
    reply: Reply | None = None


class FaultLayer:
    """ASGI middleware; `faults` says what happens to which request."""

    def __init__(self, app: ASGIApp, faults: Faults, clock: Clock) -> None:
        self._app, self._faults, self._clock = app, faults, clock
        self._held: dict[str, list[_Held]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            return await self._app(scope, receive, send)
        line = Line(self._app, scope, receive, send)
        await line.read()
        method, path, query = scope["method"], scope["path"], scope["query_string"].decode()
        cid = _client_order_id(method, line.body, query)
        seen = self._faults.note(method, path, query, line.body, cid, self._clock)
        rule = self._faults.decide(method, path)
        seen.action = rule.action if rule else None
        failed = self._run_hooks("before", seen)
        if failed is None and rule and rule.action in UNPROCESSED:
            return await self._instead(rule, line, seen)
        reply = failed or await self._process(line, seen)
        seen.status = reply.status
        await self._deliver(rule, line, reply)

    async def _process(self, line: Line, seen: Seen) -> Reply:
        reply = await line.process()
        if seen.method == "GET" and seen.cid:
            for held in self._held.pop(seen.cid, []):
                held.reply = await held.line.process()
                held.seen.status = held.reply.status
                held.done.set()
        return self._run_hooks("after", seen) or reply

    def _run_hooks(self, phase: Phase, seen: Seen) -> Reply | None:
        # The answer where a hook raised: the test that set it finds the error in `faults.errors`.
        try:
            self._faults.run_hooks(phase, seen)
        except Exception as error:
            return Reply(500, json.dumps({"message": f"a hook failed: {error!r}"}).encode())
        return None

    async def _instead(self, rule: Rule, line: Line, seen: Seen) -> None:
        # What happens to a request that the exchange does not see, or not yet.
        if rule.action == "hold_until_next":
            return await self._hold(line, seen)
        if rule.action in ("drop", "reset"):
            return await line.hang_up(reset=rule.action == "reset")
        if rule.action == "hang":
            if not await line.gone(rule.seconds):
                await line.hang_up()
            return None
        reply = made(rule)
        seen.status = reply.status
        return await line.answer(reply)

    async def _deliver(self, rule: Rule | None, line: Line, reply: Reply) -> None:
        # What happens to the answer of a request that was carried out.
        action = rule.action if rule else None
        if rule is None:
            return await line.answer(reply)
        if action in ("accept_then_status", "accept_then_504"):
            return await line.answer(made(rule))
        if action == "accept_then_reset":
            return await line.hang_up(reset=True)
        if action in ("delay", "accept_then_hang") and await line.gone(rule.seconds):
            return None
        if action == "accept_then_hang":
            return await line.hang_up()
        if action == "slow":
            return await line.answer_slowly(reply, rule.bytes_per_s)
        if action == "cut":
            return await line.answer_half(reply)
        if action == "stale":
            return await line.answer_and_close(reply)
        return await line.answer(spoil(reply, rule, len(self._faults.log)))

    async def _hold(self, line: Line, seen: Seen) -> None:
        # Carried out right after the next look-up of the same client id, whoever still waits.
        held = _Held(line, seen)
        self._held.setdefault(seen.cid or "", []).append(held)
        released = asyncio.create_task(held.done.wait())
        left = asyncio.create_task(line.gone(3600.0))
        await asyncio.wait({released, left}, return_when=asyncio.FIRST_COMPLETED)
        for task in (released, left):
            task.cancel()
        if held.reply is not None:
            await line.answer(held.reply)


def close(transport: asyncio.Transport, reset: bool) -> None:
    """Close a connection; with a reset, whatever was not sent yet is thrown away."""
    if not reset:
        return transport.close()
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return transport.abort()


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _client_order_id(method: str, body: bytes, query: str) -> str | None:
    if method == "GET":
        return parse_qs(query).get("client_order_id", [None])[0]
    try:
        tree: Any = json.loads(body) if body else None
    except ValueError:
        return None
    found = tree.get("client_order_id") if isinstance(tree, dict) else None
    return found if isinstance(found, str) else None
