"""A storm of server faults, drawn from a seed: nothing in it is known to the runner beforehand.

Each request draws from its own kind and number, so that a request more or less elsewhere changes
little. What is struck is refused, lost, late or garbled; what an answer says is never changed, for
a false answer has to halt an account, not be survived.
"""

import hashlib
from collections import Counter
from datetime import timedelta

import numpy as np

from brokers.exchange.faults import STREAM, Faults, Rule
from engine.clock import Clock

RATE = 0.08  # of all requests
OUTAGES = 0.004  # of all requests begin one
LONGEST_OUTAGE_M = 90.0
LONGEST_DELAY_S = 10.0  # of the virtual clock, before any answer
_REAL_S = 30.0  # of a hang: longer than the client of a rehearsal waits
_BUSY = {"Retry-After": "3"}

_READS = (
    Rule(action="status", status=429, headers=_BUSY),
    Rule(action="status", status=500),
    Rule(action="status", status=502, body="<html>bad gateway</html>"),
    Rule(action="status", status=503),
    Rule(action="status", status=408),
    Rule(action="hang", seconds=_REAL_S),
    Rule(action="drop"),
    Rule(action="reset"),
    Rule(action="cut"),
    Rule(action="truncate"),
    Rule(action="empty200"),
    Rule(action="html200"),
    Rule(action="delay", seconds=0.02),
    Rule(action="stale"),
    Rule(action="accept_then_504"),
    Rule(action="accept_then_reset"),
    Rule(action="accept_then_hang", seconds=_REAL_S),
)
_ORDERS = (*_READS, Rule(action="hold_until_next"))
_DOWN = (Rule(action="status", status=503), Rule(action="drop"), Rule(action="reset"))


class Chaos(Faults):
    """Faults at random, besides the rules of a script. `rate` = share of requests struck."""

    def __init__(self, seed: int, clock: Clock, rate: float = RATE) -> None:
        super().__init__()
        self._seed, self._clock, self._rate = seed, clock, rate
        self._seen: Counter[str] = Counter()
        self._down_until = clock.now()
        self.outages: list[timedelta] = []

    def decide(self, method: str, path: str) -> Rule | None:
        """Return the fault of one request, if it is struck; the clock moves by its delay."""
        scripted = super().decide(method, path)
        if scripted is not None or method == STREAM:
            return scripted
        random = self._random(f"{method} {path}")
        self._clock.sleep(float(random.uniform(0.0, LONGEST_DELAY_S)) * (random.random() < 0.1))
        if random.random() < OUTAGES:
            self._go_down(float(random.uniform(1.0, LONGEST_OUTAGE_M)))
        if self._clock.now() < self._down_until:
            return _DOWN[int(random.integers(len(_DOWN)))]
        if random.random() >= self._rate:
            return None
        known = _ORDERS if method == "POST" else _READS
        return known[int(random.integers(len(known)))]

    def _go_down(self, minutes: float) -> None:
        lasts = timedelta(minutes=minutes)
        self._down_until = max(self._down_until, self._clock.now() + lasts)
        self.outages.append(lasts)

    def _random(self, kind: str) -> np.random.Generator:
        self._seen[kind] += 1
        digest = hashlib.sha256(f"{kind} {self._seen[kind]}".encode()).digest()
        return np.random.default_rng([self._seed, int.from_bytes(digest[:8])])
