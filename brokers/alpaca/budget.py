"""How many requests may go out: our own limit first, and what the venue says about its own.

A token bucket: a fifth of a minute's requests may go at once, the rest comes back evenly, so no
sixty seconds ever hold more than the limit. Waiting is done on the clock that is handed in.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

from engine.clock import Clock

LONGEST_WAIT_S = 65.0  # the venue counts by the minute: whoever names more has another clock
_RESERVE = 5  # requests left at the venue below which we wait for its next minute


class Budget:
    """Grants requests, one at a time."""

    def __init__(self, per_minute: int, clock: Clock) -> None:
        self._burst = max(per_minute // 5, 1)
        self._per_second = (per_minute - self._burst) / 60
        self._clock = clock
        self._tokens = float(self._burst)
        self._counted_at = clock.now()
        self._closed_until = clock.now()
        self.said: dict[str, str] = {}  # the venue's own words about its limit

    def spend(self) -> None:
        """Wait until one more request may go out, and count it."""
        self._clock.sleep(self._seconds_closed())
        self._refill()
        if self._tokens < 1:
            self._clock.sleep((1 - self._tokens) / self._per_second)
            self._refill()
        self._tokens -= 1

    def learn(self, status: int, headers: Mapping[str, str]) -> None:
        """Take in what one answer says about the venue's own limit."""
        self.said = {name: text for name, text in headers.items() if "ratelimit" in name.lower()}
        wait = asked_wait(headers, self._clock.now())
        left = _number(headers.get("X-RateLimit-Remaining"))
        if wait is not None and (status == 429 or (left is not None and left < _RESERVE)):
            seconds = min(max(wait, 0.0), LONGEST_WAIT_S)
            until = self._clock.now() + timedelta(seconds=seconds)
            self._closed_until = max(self._closed_until, until)

    def _seconds_closed(self) -> float:
        left = (self._closed_until - self._clock.now()).total_seconds()
        return min(max(left, 0.0), LONGEST_WAIT_S)  # the clock may have stepped back

    def _refill(self) -> None:
        now = self._clock.now()
        passed = max((now - self._counted_at).total_seconds(), 0.0)
        self._tokens = min(self._tokens + passed * self._per_second, self._burst)
        self._counted_at = now


def asked_wait(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how many seconds an answer asks us to wait; None where it does not say.

    `Retry-After` is seconds or a date, `X-RateLimit-Reset` seconds since 1970.
    """
    after, reset = headers.get("Retry-After"), _number(headers.get("X-RateLimit-Reset"))
    seconds = _number(after)
    if seconds is not None:
        return seconds
    if after is not None:
        try:
            return (parsedate_to_datetime(after) - now).total_seconds()
        except (ValueError, TypeError):  # no date, or one without a zone
            pass
    return None if reset is None else reset - now.timestamp()


def _number(text: str | None) -> float | None:
    # digits only: a negative, infinite or odd number says nothing
    plain = text is not None and text.strip().isascii() and text.strip().isdigit()
    return float(text) if plain and text is not None and len(text) < 16 else None
