"""The exchange as a server on this machine: a thread of its own, loopback only."""

import asyncio
import ipaddress
import secrets
import socket
import threading
from types import TracebackType
from typing import Any, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from brokers.exchange.app import app
from brokers.exchange.exchange import Exchange
from brokers.exchange.faults import Faults
from engine.errors import UsageError, VenueUnavailable

START_TIMEOUT_S = 10.0


class Server:
    """A running exchange. `url` and `ws_url` go to a client, `token` opens the control paths."""

    def __init__(self, exchange: Exchange, faults: Faults, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{port}"
        self.ws_url = f"ws://{name}:{port}/stream"
        self.token = secrets.token_urlsafe(24)
        self.exchange, self.faults = exchange, faults
        self._running = _Uvicorn(_config(app(exchange, faults, self.token)))
        self._thread = threading.Thread(
            target=self._running.run, args=([listener],), name="exchange", daemon=True
        )

    def start(self) -> Self:
        """Start serving. Raises: VenueUnavailable where the thread does not come up."""
        self._thread.start()
        if not self._running.up.wait(START_TIMEOUT_S):
            raise VenueUnavailable(f"the exchange did not start within {START_TIMEOUT_S:.0f} s")
        return self

    def stop(self) -> None:
        """Stop serving; requests that still hang are cut off. Safe to call twice."""
        self._running.stop()
        self._thread.join(START_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def serve(
    exchange: Exchange, faults: Faults | None = None, port: int = 0, host: str = "127.0.0.1"
) -> Server:
    """Serve an exchange until `stop()`; use it as a context manager. Port 0 = any free one.

    Raises: UsageError where the host is not this machine's loopback or the port is taken.
    """
    return Server(exchange, faults or Faults(), _listen(host, port)).start()


def _listen(host: str, port: int) -> socket.socket:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise UsageError(
            f"expected a loopback address such as 127.0.0.1, found {host!r}; the exchange is "
            "served to this machine only"
        )
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    # Named protocol: without it asyncio leaves Nagle's algorithm on, 45 ms a request.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(
            f"port {port} of {host} cannot be used: {error}; choose another"
        ) from error
    return listener


def _config(application: Any) -> uvicorn.Config:
    # Below warning, uvicorn's log would hold frames of the stream, and so the secret.
    return uvicorn.Config(
        application,
        http=_Connection,
        ws="websockets-sansio",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=3600,
        timeout_graceful_shutdown=2,
    )


class _Connection(H11Protocol):
    """A connection that the layers above can hang up: its transport is in the request's state."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.app_state = {**self.app_state, "transport": transport}


class _Uvicorn(uvicorn.Server):
    """Says when it is up, and can be stopped from another thread while requests hang."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked_to_stop = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        # In place of a look ten times a second; what else it would do, nothing here needs.
        await self._asked_to_stop.wait()

    def stop(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cut_off)

    def _cut_off(self) -> None:
        self.should_exit = True
        self._asked_to_stop.set()
        for connection in list(self.server_state.connections):
            if isinstance(connection, H11Protocol):
                connection.transport.abort()
