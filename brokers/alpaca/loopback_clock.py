"""The time at an exchange on this machine, which may stand still or run a thousand times as fast.

A program that trades there lives by that clock. At Alpaca's own host the computer's clock is used,
and compared with the venue's.
"""

import time
from datetime import UTC, datetime

import requests

from brokers.alpaca.keys import Keys
from engine.errors import UsageError, VenueUnavailable
from engine.hosts import is_loopback

PAUSE_S = 0.02  # between two looks at the clock while waiting
TIMEOUT_S = (1.0, 2.0)


class LoopbackClock:
    """A Clock that asks the exchange. Raises: UsageError for a host that is not this machine."""

    def __init__(self, url: str, keys: Keys) -> None:
        if not is_loopback(url):
            raise UsageError(f"expected an exchange on this machine, found {url}")
        self._url = f"{url}/v2/clock"
        self._session = requests.Session()
        self._session.trust_env = False
        named = {"APCA-API-KEY-ID": keys.key_id, "APCA-API-SECRET-KEY": keys.secret}
        self._session.headers.update(named)

    def now(self) -> datetime:
        """Return the exchange's time. Raises: VenueUnavailable, UsageError for other keys."""
        try:
            answer = self._session.get(self._url, timeout=TIMEOUT_S, allow_redirects=False)
        except requests.RequestException as error:
            raise VenueUnavailable(
                f"{self._url}: no answer ({type(error).__name__}); start `barwise exchange`"
            ) from None
        if answer.status_code == 401:
            raise UsageError(
                f"{self._url}: the exchange does not know these keys; use those that "
                "`barwise exchange` printed"
            )
        try:
            return datetime.fromisoformat(answer.json()["timestamp"]).astimezone(UTC)
        except (ValueError, KeyError, TypeError) as error:
            raise VenueUnavailable(
                f"{self._url}: expected a clock, found {answer.text[:80]!r}"
            ) from error

    def sleep(self, seconds: float) -> None:
        """Wait until the exchange's clock has moved on so far, in real time at the most so long."""
        until, start = self.now().timestamp() + seconds, time.monotonic()
        while time.monotonic() - start < seconds and self.now().timestamp() < until:
            time.sleep(min(PAUSE_S, seconds))
