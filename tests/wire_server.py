"""A tiny real HTTP server for tests: answers are scripted, every request is kept."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: str


@dataclass(frozen=True)
class Say:
    """One scripted answer; `raw` replaces the body, `act` replaces everything."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    act: "Callable[[BaseHTTPRequestHandler], None] | None" = None


class WireServer:
    """Answers in the order of its script; the last answer repeats."""

    def __init__(self, url: str = "") -> None:
        self.script: list[Say | Callable[[Seen], Say]] = [Say(404)]
        self.seen: list[Seen] = []
        self.released = threading.Event()  # lets hanging answers go
        self.url = url

    def fresh(self) -> None:
        """Forget the script and the requests, and let what hangs go."""
        self.released.set()
        self.__init__(self.url)  # type: ignore[misc]

    def say(self, *answers: Say | Callable[[Seen], Say]) -> None:
        """Set the script."""
        self.script = list(answers)

    def hang(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer nothing until the server stops."""
        released = self.released
        released.wait(30)
        handler.close_connection = True

    def reset(self, handler: BaseHTTPRequestHandler) -> None:
        """Cut the connection hard."""
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        handler.connection.close()
        handler.close_connection = True

    def trickle(self, handler: BaseHTTPRequestHandler, every_s: float, head: bytes) -> None:
        """Send a head at once, then one byte at a time."""
        released = self.released
        with suppress(OSError):
            handler.wfile.write(head)
            while not released.wait(every_s):
                handler.wfile.write(b" ")
        handler.close_connection = True

    def next(self, seen: Seen) -> Say:
        """Return the answer to a request."""
        self.seen.append(seen)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return step(seen) if callable(step) else step


@contextmanager
def wire_server(tls: ssl.SSLContext | None = None) -> Iterator[WireServer]:
    """Run a server on loopback for the length of a test, over TLS where a context is given."""
    wire = WireServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length).decode()
            say = wire.next(Seen(self.command, self.path, dict(self.headers), body))
            if say.act is not None:
                return say.act(self)
            content = b"" if say.body is None else json.dumps(say.body).encode()
            content = content if say.raw is None else say.raw
            self.send_response(say.status)
            for name, text in ({"Content-Length": str(len(content))} | say.headers).items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(content)
            return None

        do_GET = do_POST = do_DELETE = do_PATCH = answer

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # a client that went away is part of the tests

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    wire.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        wire.released.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
