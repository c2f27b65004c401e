"""Listen to the venue's stream of order updates for a moment: to learn how it speaks, no more.

Trading does not depend on it: what was sent while nobody listened is lost, so REST is the truth.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from websockets.exceptions import WebSocketException

from brokers.alpaca.keys import Keys
from engine.errors import VenueUnavailable
from engine.hosts import is_loopback, require_paper

STREAM = "trade_updates"
_OPEN_S = 5.0
_QUIET_S = 2.0  # no update for so long: there are no more
_NEAR_QUIET_S = 0.3  # loopback
# The library logs frames at DEBUG, and the first frame holds the keys.
_SILENT = logging.Logger("silent", logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: binary or text, and the event and order status in it, if it is an update."""

    binary: bool
    event: str
    status: str


@contextmanager
def overhear(base: str, keys: Keys) -> Iterator[Callable[[], list[Frame]]]:
    """Listen as long as the block runs; the function it gets returns the updates so far.

    Raises: VenueUnavailable where the stream cannot be opened.
    """
    from websockets.sync.client import connect

    url = "ws" + require_paper(base).removeprefix("http") + "/stream"
    quiet_s = _NEAR_QUIET_S if is_loopback(base) else _QUIET_S
    said = {"key_id": keys.key_id, "secret_key": keys.secret}
    try:
        with connect(url, proxy=None, open_timeout=_OPEN_S, logger=_SILENT) as stream:
            stream.send(json.dumps({"action": "authenticate", "data": said}))
            stream.recv(_OPEN_S)
            stream.send(json.dumps({"action": "listen", "data": {"streams": [STREAM]}}))
            stream.recv(_OPEN_S)
            yield lambda: list(_updates(stream.recv, quiet_s))
    except (OSError, WebSocketException) as error:  # a timeout is an OSError
        why = keys.hide(f"{type(error).__name__}: {error}")
        raise VenueUnavailable(f"{url}: the stream could not be heard, {why}") from None


def _updates(receive: Callable[[float], str | bytes], quiet_s: float) -> Iterator[Frame]:
    while True:
        try:
            raw = receive(quiet_s)
        except (TimeoutError, WebSocketException):  # quiet, or hung up
            return
        try:
            data = json.loads(raw)["data"]
            yield Frame(isinstance(raw, bytes), str(data["event"]), str(data["order"]["status"]))
        except (ValueError, KeyError, TypeError):  # some other message
            continue
