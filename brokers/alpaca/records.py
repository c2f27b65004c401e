"""What Alpaca says, as plain records: what our code needs and nothing else.

Quantities are signed shares, money is dollars, times are aware and in UTC.
"""

from dataclasses import dataclass
from datetime import date, datetime

TERMINAL = frozenset({"filled", "canceled", "expired", "replaced", "rejected"})
LIVE = frozenset(
    {
        "new", "partially_filled", "done_for_day", "pending_cancel", "pending_replace", "accepted",
        "pending_new", "accepted_for_bidding", "stopped", "suspended", "calculated", "held",
        "pending_review",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Account:
    """The account as it stands. `blocked` joins every flag that forbids trading."""

    id: str
    number: str
    status: str
    cash: float
    equity: float
    buying_power: float
    multiplier: float
    blocked: bool
    shorting_enabled: bool


@dataclass(frozen=True, slots=True)
class Position:
    """What is held of one symbol; `available` is what no open order has taken."""

    symbol: str
    qty: float
    available: float
    entry_price: float
    price: float


@dataclass(frozen=True, slots=True)
class OrderState:
    """One order at one moment; `filled_qty` is cumulative and never negative.

    `known` is False where the status is not one of the documented ones: such an order is live.
    """

    id: str
    client_order_id: str
    symbol: str
    qty: float
    filled_qty: float
    filled_price: float
    status: str
    kind: str
    limit: float | None
    stop: float | None
    time_in_force: str
    submitted_at: datetime | None
    filled_at: datetime | None

    @property
    def known(self) -> bool:
        """Tell whether the status is one of the documented ones."""
        return self.status in TERMINAL or self.status in LIVE

    @property
    def over(self) -> bool:
        """Tell whether nothing more can happen to it."""
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True)
class MarketClock:
    """What the venue thinks the time is."""

    at: datetime
    is_open: bool
    next_open: datetime
    next_close: datetime


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """One session of the venue's calendar."""

    session: date
    opens_at: datetime
    closes_at: datetime


@dataclass(frozen=True, slots=True)
class Asset:
    """What may be done with one symbol."""

    symbol: str
    active: bool
    tradable: bool
    fractionable: bool
    shortable: bool


@dataclass(frozen=True, slots=True)
class Intent:
    """An order we mean to send: durable in the journal before it goes out, never recomputed.

    `kind` is one of market, limit, stop, stop_limit; `day` else good till canceled. `session` is
    the session the decision was made on.
    """

    client_order_id: str
    session: date
    symbol: str
    qty: float
    kind: str = "market"
    limit: float | None = None
    stop: float | None = None
    day: bool = True


@dataclass(frozen=True, slots=True)
class Accepted:
    """The venue has the order."""

    order: OrderState


@dataclass(frozen=True, slots=True)
class Refused:
    """The venue says no, with a code; definite once a look-up by client id finds nothing."""

    status: int
    code: int | None
    message: str


@dataclass(frozen=True, slots=True)
class InDoubt:
    """The order may or may not exist; `why` says what was seen instead of an answer."""

    why: str


@dataclass(frozen=True, slots=True)
class Denied:
    """Credentials or entitlement: a person has to look."""

    status: int
    why: str


Answer = Accepted | Refused | InDoubt | Denied
