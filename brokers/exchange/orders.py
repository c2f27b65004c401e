"""One order and what it looks like on the wire.

The state machine: accepted (while closed) or pending_new, then new, partially_filled any number of
times, and one end: filled, canceled, expired, replaced or rejected. pending_cancel lies between.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from brokers.exchange.wire import moment, moment_or_none, number, number_or_none
from engine.book import LIMIT, MARKET, STOP, STOP_LIMIT
from engine.market import DUST

KINDS = {"market": MARKET, "limit": LIMIT, "stop": STOP, "stop_limit": STOP_LIMIT}
OVER = frozenset({"filled", "canceled", "expired", "replaced", "rejected"})


@dataclass(slots=True)
class Order:
    """One order. Units: `qty` and `filled` shares, never negative; `sign` +1 buys, -1 sells.

    `qty` is None while a `notional` order waits for its price. `kind` is what is left of `type`: a
    stop that was touched goes on as a market order. `late` orders came while the market was open and
    meet nothing before its close; `begun` ones have filled in part at the open of this session.
    """

    id: str
    client_order_id: str
    column: int
    symbol: str
    asset_id: str
    sign: int
    qty: float | None
    notional: float | None
    type: str
    kind: int
    limit: float | None
    stop: float | None
    tif: str
    extended: bool
    intent: str
    status: str
    submitted_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    late: bool
    order_class: str = ""
    begun: bool = False
    filled: float = 0.0
    average: float | None = None
    filled_at: datetime | None = None
    ended_at: datetime | None = None
    replaced_by: str | None = None
    replaces: str | None = None

    @property
    def side(self) -> str:
        """Say which side it is on."""
        return "buy" if self.sign > 0 else "sell"

    @property
    def over(self) -> bool:
        """Tell whether nothing more can happen to it."""
        return self.status in OVER

    @property
    def fractional(self) -> bool:
        """Tell whether it is for less than whole shares."""
        return self.qty is None or self.qty != int(self.qty)

    @property
    def left(self) -> float:
        """Return the shares still to be filled; 0 for a notional order without a price."""
        if self.qty is None:
            return 0.0
        left = self.qty - self.filled
        return left if left > DUST else 0.0

    def take(self, shares: float, price: float, at: datetime) -> None:
        """Book a fill of some shares."""
        before = self.filled
        self.filled = before + shares
        if self.average is None:
            self.average = price
        else:
            self.average = (before * self.average + shares * price) / self.filled
        self.updated_at = self.filled_at = at
        if self.left == 0.0:
            self.filled = self.filled if self.qty is None else self.qty
            self.status = "filled"
        elif self.status != "pending_cancel":
            self.status = "partially_filled"

    def end(self, status: str, at: datetime) -> None:
        """Let it end without (all of) its fill."""
        self.status = status
        self.updated_at = self.ended_at = at

    def wire(self) -> dict[str, Any]:
        """Return it as the venue sends it."""
        return {
            "id": self.id,
            "client_order_id": self.client_order_id,
            "created_at": moment(self.submitted_at),
            "updated_at": moment(self.updated_at),
            "submitted_at": moment(self.submitted_at),
            "filled_at": moment_or_none(self.filled_at if self.status == "filled" else None),
            "expired_at": self._ended("expired"),
            "expires_at": moment_or_none(self.expires_at),
            "canceled_at": self._ended("canceled"),
            "failed_at": self._ended("rejected"),
            "replaced_at": self._ended("replaced"),
            "replaced_by": self.replaced_by,
            "replaces": self.replaces,
            "asset_id": self.asset_id,
            "symbol": self.symbol,
            "asset_class": "us_equity",
            "notional": number_or_none(self.notional),
            "qty": None if self.notional is not None else number_or_none(self.qty),
            "filled_qty": number(self.filled),
            "filled_avg_price": number_or_none(self.average),
            "order_class": self.order_class,
            "order_type": self.type,
            "type": self.type,
            "side": self.side,
            "position_intent": self.intent,
            "time_in_force": self.tif,
            "limit_price": number_or_none(self.limit),
            "stop_price": number_or_none(self.stop),
            "trail_percent": None,
            "trail_price": None,
            "hwm": None,
            "ratio_qty": None,
            "legs": None,
            "status": self.status,
            "extended_hours": self.extended,
        }

    def _ended(self, status: str) -> str | None:
        return moment_or_none(self.ended_at if self.status == status else None)
