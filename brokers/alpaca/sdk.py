"""The only module that imports alpaca-py: one client, one way out, one request at a time.

The SDK repeats a POST, knows no timeout, and takes a redirect for success. Here its repeats are
off, its objects hold no key, and what came over the wire counts, not what the SDK makes of it.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from typing import Any, Literal

import numpy as np
from alpaca.common.exceptions import APIError
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.trading.client import TradingClient
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from brokers.alpaca.answers import may_repeat, unanswered
from brokers.alpaca.budget import LONGEST_WAIT_S, Budget, asked_wait
from brokers.alpaca.keys import Keys
from brokers.alpaca.transport import FAR, NEAR, NoReply, Reply, Timeouts, Transport
from engine.clock import Clock
from engine.errors import VenueError
from engine.hosts import is_loopback

Verb = Literal["GET", "POST", "DELETE"]
TRADING = partial(TradingClient, paper=True)
STOCKS = StockHistoricalDataClient
ACTIONS = CorporateActionsClient
TRIES = 4
_BACKOFF_S = 0.5
_SWITCHES = ("_session", "_retry", "_retry_codes")


class Client:
    """One SDK client whose only way out leads to one host."""

    def __init__(
        self,
        kind: Callable[..., Any],
        base: str,
        keys: Keys,
        clock: Clock,
        budget: Budget,
        trust_env: bool = False,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.base = base
        self._keys = keys
        self._clock = clock
        self._budget = budget
        self._jitter = np.random.default_rng(0)
        # The SDK's objects keep what they are given for all to see; the transport adds the keys.
        self._sdk = kind(api_key="sealed", secret_key="sealed", raw_data=True, url_override=base)
        _switch_repeats_off(self._sdk)
        self._way = Transport(keys, timeouts or (NEAR if is_loopback(base) else FAR))
        self._way.mount(self._sdk._session, base, trust_env)

    def send(self, verb: Verb, path: str, fields: dict[str, str]) -> Reply | NoReply:
        """Send one request, never repeated, and return what came back."""
        self._budget.spend()
        self._way.seen = None
        why = "no answer"
        try:
            getattr(self._sdk, verb.lower())(path, fields or None)
        except (APIError, RequestException, HTTPError, HTTPException, OSError) as error:
            why = f"{type(error).__name__}: {self._keys.hide(str(error))[:300]}"
        except (ValueError, RecursionError) as error:  # a body the SDK cannot read
            why = f"{type(error).__name__} in the answer"
        seen = self._way.seen
        if seen is None:
            return NoReply(why)
        self._budget.learn(seen.status, seen.headers)
        return seen

    def ask(
        self,
        verb: Verb,
        path: str,
        fields: dict[str, str],
        settled: Callable[[Reply], bool] = lambda _: False,
    ) -> Reply:
        """Return a success, or an answer that settles the question; asks again within limits.

        Raises: TradingHalted for a key that may not, VenueUnavailable for anything else.
        """
        waited = 0.0
        for attempt in range(TRIES):
            seen = self.send(verb, path, fields)
            if isinstance(seen, Reply) and (settled(seen) or _is_answer(seen, verb)):
                return seen
            pause = self._pause(seen, attempt)
            waited += pause
            if not may_repeat(seen) or attempt == TRIES - 1 or waited > LONGEST_WAIT_S:
                break
            self._clock.sleep(pause)
        raise unanswered(seen, f"{verb} {path}")

    def close(self) -> None:
        """Close the connection."""
        with suppress(OSError):
            self._sdk._session.close()

    def _pause(self, seen: Reply | NoReply, attempt: int) -> float:
        wait = None
        if isinstance(seen, Reply) and (seen.status == 429 or "Retry-After" in seen.headers):
            wait = asked_wait(seen.headers, self._clock.now())
        backoff = _BACKOFF_S * 2.0**attempt * float(self._jitter.uniform(0.5, 1.5))
        return max(wait or 0.0, backoff)


def _switch_repeats_off(client: Any) -> None:
    # alpaca-py has no argument for it: 0 and [] are ignored by its constructor.
    for name in _SWITCHES:
        if not hasattr(client, name):
            raise VenueError(
                f"expected alpaca-py's client to have {name}, needed to switch its repeats off, "
                "found none; install the version named in constraints.txt"
            )
    client._retry = 0
    client._retry_codes = []


def _is_answer(seen: Reply, verb: Verb) -> bool:
    return seen.ok and (verb == "DELETE" or seen.body is not None)
