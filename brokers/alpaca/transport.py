"""One request, one answer, within a deadline: what lies between the SDK's session and a socket.

The SDK hands out neither status nor headers of a success, takes a redirect for one, and sets no
timeout. This adapter keeps what came over the wire, puts the keys on at the last moment, and
ends whatever takes too long. It sends only below the URL it is mounted for, never twice.
"""

import contextlib
import json
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import ReadTimeout, RequestException
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from brokers.alpaca.keys import Keys
from engine.hosts import is_loopback


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Units: real seconds. `total_s` ends a request whose answer trickles in."""

    connect_s: float
    read_s: float
    total_s: float


FAR = Timeouts(3.05, 10.0, 20.0)
NEAR = Timeouts(1.0, 2.0, 4.0)  # loopback


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came; `body` is None where the text is no JSON."""

    status: int
    body: object
    text: str
    headers: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Tell whether the status is a success; a redirect is none."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class NoReply:
    """No answer: the request may or may not have arrived."""

    why: str


class Transport(HTTPAdapter):
    """The way to one host, for one thread."""

    def __init__(self, keys: Keys, timeouts: Timeouts) -> None:
        super().__init__(max_retries=0, pool_connections=1, pool_maxsize=1)
        self.seen: Reply | None = None
        self._keys = keys
        self._timeouts = timeouts
        self._watch = _Watch()

    def mount(self, session: requests.Session, base: str, trust_env: bool) -> None:
        """Become the only way out of a session, and only to `base`."""
        session.adapters.clear()
        session.mount(f"{base}/", self)
        session.max_redirects = 0
        session.trust_env = trust_env and not is_loopback(base)

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """Send one request; keep its answer in `seen`. Raises: RequestException."""
        self.seen = None
        sealed = request.copy()
        sealed.headers["APCA-API-KEY-ID"] = self._keys.key_id
        sealed.headers["APCA-API-SECRET-KEY"] = self._keys.secret
        options |= {"stream": True, "timeout": (self._timeouts.connect_s, self._timeouts.read_s)}
        try:
            with self._watch.until(self._timeouts.total_s):
                response = super().send(sealed, **options)
                content = response.content
        except RequestException as error:
            error.request = request  # the copy carries the keys
            raise
        response.request = request
        text = self._keys.hide(content.decode("utf-8", "replace"))
        self.seen = Reply(response.status_code, read_json(text), text, response.headers)
        return response

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> HTTPConnectionPool:
        """Return the pool of a host, its connections known to the watch."""
        pool = super().get_connection_with_tls_context(*args, **options)
        if not hasattr(pool.ConnectionCls, "watched"):
            pool.ConnectionCls = _watched(pool.ConnectionCls, self._watch)
        return pool


def read_json(text: str) -> object:
    """Return what a body says; None where it is no JSON, or holds NaN or Infinity."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


class _Watch:
    # Timeouts of a socket start anew with every byte; this one does not.
    def __init__(self) -> None:
        self.sock: socket.socket | None = None
        self._fired = False

    @contextlib.contextmanager
    def until(self, seconds: float) -> Any:
        self.sock, self._fired = None, False
        timer = threading.Timer(seconds, self._fire)
        timer.daemon = True
        timer.start()
        late = f"no whole answer within {seconds:g} s"
        try:
            yield
        except (RequestException, OSError) as error:
            if self._fired:
                raise ReadTimeout(late) from error
            raise
        finally:
            timer.cancel()
        if self._fired:  # a body without a length just looks shorter
            raise ReadTimeout(late)

    def _fire(self) -> None:
        self._fired = True
        if self.sock is not None:
            with contextlib.suppress(OSError):  # already closed
                self.sock.shutdown(socket.SHUT_RDWR)


def _watched(kind: Any, watch: _Watch) -> Any:
    class Watched(kind):  # type: ignore[misc]
        watched = True

        def getresponse(self: HTTPConnection) -> Any:
            watch.sock = self.sock
            return kind.getresponse(self)

    return Watched


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no number")
