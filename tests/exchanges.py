"""A loopback exchange for tests: a few hand-made sessions, and a clock to walk through them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from brokers.exchange.exchange import Exchange, Refusal
from engine import clock
from engine.bars import Bars
from engine.clock import FakeClock
from engine.settings_paper import ExchangeSettings

FIRST = "2024-03-04"  # a Monday; the clocks change on the Sunday after


def bars_of(**prices: list[tuple[float, float, float, float] | None]) -> Bars:
    """Return bars from (open, high, low, close) for each session from FIRST on; None = no bar."""
    count = len(next(iter(prices.values())))
    days = clock.sessions("XNYS", np.datetime64(FIRST), np.datetime64(FIRST) + 2 * count + 10)[
        :count
    ]
    ohlcv = np.full((count, len(prices), 5), np.nan)
    for n, rows in enumerate(prices.values()):
        for t, row in enumerate(rows):
            if row is not None:
                ohlcv[t, n] = (*row, 1_000.0)
    shape = (count, len(prices))
    return Bars(
        sessions=days,
        symbols=tuple(prices),
        ohlcv=ohlcv,
        traded=~np.isnan(ohlcv[:, :, 0]),
        split=np.ones(shape),
        dividend=np.zeros(shape),
        ended=np.full(len(prices), np.datetime64("NaT", "D")),
    )


def level(*closes: float) -> list[tuple[float, float, float, float] | None]:
    """Return bars that stand at one price each."""
    return [(price, price, price, price) for price in closes]


def after_close(bars: Bars, t: int) -> datetime:
    """Return a moment 20 minutes after the close of session `t`."""
    return bars.closed_at()[t].item().replace(tzinfo=UTC) + timedelta(minutes=20)


def during(bars: Bars, t: int) -> datetime:
    """Return a moment in the middle of session `t`."""
    opens = clock.opens_at(bars.sessions[t : t + 1], bars.calendar)[0]
    return opens.item().replace(tzinfo=UTC) + timedelta(hours=1)


class Floor:
    """An exchange and its clock. It starts 20 minutes after the close of session 0."""

    def __init__(self, bars: Bars, **settings: Any) -> None:
        self.bars = bars
        self.clock = FakeClock(after_close(bars, 0))
        wanted = ExchangeSettings(**{"partial_fills": 0.0, **settings})
        self.exchange = Exchange(bars, self.clock, wanted, start=bars.sessions[1].item())
        self.seen: list[dict[str, Any]] = []
        self.exchange.listeners.append(lambda update: self.seen.append(update["data"]))

    def close(self, t: int) -> None:
        """Move to 20 minutes after the close of session `t`."""
        self.clock.set(after_close(self.bars, t))
        self.exchange.catch_up()

    def open(self, t: int) -> None:
        """Move to the middle of session `t`."""
        self.clock.set(during(self.bars, t))
        self.exchange.catch_up()

    def send(self, symbol: str, qty: float, **more: Any) -> dict[str, Any]:
        """Send an order for signed shares, a market day order unless told otherwise."""
        return self.exchange.submit(request(symbol, qty, **more))

    def refused(self, symbol: str, qty: float, **more: Any) -> tuple[int, Any]:
        """Send an order that is refused; return the status and the body."""
        return refusal_of(self.exchange.submit, request(symbol, qty, **more))

    def status(self, order: dict[str, Any]) -> str:
        """Return the status of an order now."""
        return str(self.exchange.order(order["id"])["status"])

    def events(self) -> list[str]:
        """Return the names of the trade updates seen so far."""
        return [update["event"] for update in self.seen]


def request(symbol: str, qty: float, **more: Any) -> dict[str, Any]:
    """Return the body of an order request for signed shares."""
    side = "buy" if qty > 0 else "sell"
    base = {"symbol": symbol, "side": side, "type": "market", "time_in_force": "day"}
    return {**base, "qty": abs(qty), **more}


def standing(**settings: Any) -> Floor:
    """Return an exchange on two symbols that stand at 100 and 10."""
    return Floor(bars_of(AAPL=level(*[100.0] * 12), XYZ=level(*[10.0] * 12)), **settings)


def refusal_of(call: Callable[..., Any], *args: Any) -> tuple[int, Any]:
    """Return the status and the body of the refusal that a call must end in."""
    with pytest.raises(Refusal) as caught:
        call(*args)
    return caught.value.status, caught.value.body


# Session 1 opens at 102 and ranges from 98 to 106; sessions 2 and 3 stand at 110.
MOVING = [(100, 101, 99, 100), (102, 106, 98, 104), *level(110.0, 110.0)]
