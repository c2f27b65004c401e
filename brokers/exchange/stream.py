"""The stream of order updates, /stream: binary frames that hold JSON, as paper sends them.

Updates arrive from whatever thread moved the exchange and leave in the server's own. What was sent
while nobody listened is lost, as it is at the venue.
"""

import asyncio
import copy
import json
from contextlib import suppress
from typing import Any

from starlette.responses import Response
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from brokers.exchange.exchange import Exchange
from brokers.exchange.fault_layer import close
from brokers.exchange.faults import STREAM, Faults, Rule
from brokers.exchange.spoil import edit

UPDATES = "trade_updates"
RESTARTING = 1012
Wire = dict[str, Any]


class Stream:
    """Every open connection, and what the fault script does to their updates.

    The script sees the events "connect" and "authenticate" and the name of each update.
    """

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self._exchange, self._faults = exchange, faults
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: list[_Connection] = []
        self._late: list[bytes] = []
        exchange.listeners.append(self.publish)

    def route(self) -> WebSocketRoute:
        """Return the route of the stream."""
        return WebSocketRoute("/stream", self.serve)

    def publish(self, envelope: Wire) -> None:
        """Hand an update over to the server's thread; neither waits nor raises."""
        rule = self._faults.decide(STREAM, envelope["data"]["event"])
        frames = self._frames(envelope, rule)
        closing = rule.action if rule and rule.action in ("close", "reset", "mute") else None
        if self._loop is not None:
            with suppress(RuntimeError):  # the server has stopped
                self._loop.call_soon_threadsafe(self._send, frames, closing)

    async def serve(self, socket: WebSocket) -> None:
        """Serve one connection from handshake to farewell."""
        self._loop = asyncio.get_running_loop()
        rule = self._faults.decide(STREAM, "connect")
        if rule and rule.action == "status":
            return await socket.send_denial_response(Response(status_code=rule.status))
        if rule and rule.action in ("drop", "reset"):
            return close(socket.scope["state"]["transport"], rule.action == "reset")
        await socket.accept()
        connection = _Connection(socket, self._exchange, self._faults)
        self._open.append(connection)
        try:
            await connection.run()
        finally:
            self._open.remove(connection)

    def _frames(self, envelope: Wire, rule: Rule | None) -> list[bytes]:
        # What goes out now; an update put off goes out right after the next one.
        action = rule.action if rule else None
        if rule and action == "edit":
            envelope = {**envelope, "data": edit(copy.deepcopy(envelope["data"]), rule)}
        frame = json.dumps(envelope).encode()
        if action == "reorder":
            self._late.append(frame)
            return []
        if action in ("omit", "close", "reset", "mute"):
            return []
        late, self._late = self._late, []
        return [frame, frame, *late] if action == "duplicate" else [frame, *late]

    def _send(self, frames: list[bytes], closing: str | None) -> None:
        for connection in self._open:
            connection.send(frames, closing)


class _Connection:
    """One client: who it is, what it listens to, and the frames that wait to go out."""

    def __init__(self, socket: WebSocket, exchange: Exchange, faults: Faults) -> None:
        self._socket, self._exchange, self._faults = socket, exchange, faults
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._authorized = self._listening = self._mute = False

    def send(self, frames: list[bytes], closing: str | None) -> None:
        """Queue updates, if the client listens; then close, reset or fall silent as told."""
        if self._listening and not self._mute:
            for frame in frames:
                self._queue.put_nowait(frame)
        if closing == "mute":
            self._mute = True
        elif closing == "close":
            self._queue.put_nowait(None)
        elif closing == "reset":
            close(self._socket.scope["state"]["transport"], reset=True)

    async def run(self) -> None:
        """Read and write until one side ends."""
        tasks = {asyncio.create_task(self._read()), asyncio.create_task(self._write())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        while (frame := await self._queue.get()) is not None:
            await self._socket.send_bytes(frame)
        await self._socket.close(RESTARTING)

    async def _read(self) -> None:
        try:
            while True:
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                self._answer(_parsed(message.get("text") or message.get("bytes") or b""))
        except WebSocketDisconnect:
            return

    def _answer(self, message: Wire) -> None:
        action, data = message.get("action"), message.get("data")
        data = data if isinstance(data, dict) else {}
        if action == "authenticate":
            self._authenticate(data)
        elif action == "listen" and not self._authorized:
            self._say("authorization", {"status": "unauthorized", "action": "listen"})
        elif action == "listen":
            asked = data.get("streams") or []
            heard = [name for name in asked if name == UPDATES]
            self._listening = bool(heard)
            self._say("listening", {"streams": heard})

    def _authenticate(self, data: Wire) -> None:
        rule = self._faults.decide(STREAM, "authenticate")
        if rule and rule.action in ("hang", "mute", "omit"):
            return
        given = (data.get("key_id"), data.get("secret_key"))
        self._authorized = given == (self._exchange.key_id, self._exchange.secret)
        status = "authorized" if self._authorized else "unauthorized"
        self._say("authorization", {"status": status, "action": "authenticate"})

    def _say(self, stream: str, data: Wire) -> None:
        if not self._mute:
            self._queue.put_nowait(json.dumps({"stream": stream, "data": data}).encode())


def _parsed(text: str | bytes) -> Wire:
    try:
        message = json.loads(text)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}
