"""The rate limit and the headers that every answer carries."""

from datetime import datetime

import numpy as np


class Rate:
    """Counts requests by the minute of the exchange's clock; `limit` None counts nothing."""

    def __init__(self, limit: int | None, seed: int) -> None:
        self.limit = limit
        self._minute = -1
        self._used = 0
        self._random = np.random.default_rng([seed, 3])

    def count(self, now: datetime) -> tuple[dict[str, str], bool]:
        """Count one request; return the headers of its answer, and whether it is within the limit."""
        headers = {"X-Request-ID": self._random.bytes(16).hex()}
        if self.limit is None:
            return headers, True
        minute = int(now.timestamp()) // 60
        if minute != self._minute:
            self._minute, self._used = minute, 0
        self._used += 1
        headers["X-RateLimit-Limit"] = str(self.limit)
        headers["X-RateLimit-Remaining"] = str(max(self.limit - self._used, 0))
        headers["X-RateLimit-Reset"] = str((minute + 1) * 60)
        return headers, self._used <= self.limit
