"""Our own orders as the journal tells them: one line each, rebuilt entry by entry.

The journal is the truth; a line is what its entries add up to. Entries: `intent` (durable before
anything is sent), `order` (what the venue says of it, whenever that changes), `fill` (each further
part), `refused` and `missed` (it was never taken, and never will be).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from typing import Any

from brokers.alpaca.records import TERMINAL, Intent
from engine.journal import Entry

INTENDED, REFUSED, MISSED = "intended", "refused", "missed"
KINDS = ("intent", "order", "fill", "refused", "missed")


@dataclass(frozen=True, slots=True)
class Fill:
    """One more part of an order. Units: signed shares, dollars; `session` the day it happened."""

    session: date
    qty: float
    price: float


@dataclass(slots=True)
class Line:
    """One order of ours. `filled` is cumulative and never negative, `price` its average.

    `size` is signed: as intended, until the venue says another (a split resizes waiting orders).
    """

    intent: Intent
    size: float
    status: str = INTENDED
    order_id: str | None = None
    filled: float = 0.0
    price: float = 0.0
    fills: list[Fill] = field(default_factory=list)
    booked: int = 0  # fills that the book holds already
    why: str = ""  # of one that was refused or missed
    told: bool = False  # its end was reported to whoever keeps the book

    @property
    def cid(self) -> str:
        """The client order id."""
        return self.intent.client_order_id

    @property
    def over(self) -> bool:
        """Tell whether nothing more can happen to it."""
        return self.status in TERMINAL or self.status in (REFUSED, MISSED)

    @property
    def live(self) -> bool:
        """Tell whether the venue has it and it may still fill."""
        return self.order_id is not None and not self.over

    @property
    def left(self) -> float:
        """Signed shares that are not filled."""
        return self.size - self.filled if self.size > 0 else self.size + self.filled


def intent_body(intent: Intent) -> dict[str, Any]:
    """Return an intent as a journal entry's body."""
    return asdict(intent) | {"session": intent.session.isoformat()}


def apply(lines: dict[str, Line], entry: Entry) -> None:
    """Take one entry into the lines; entries of other kinds change nothing."""
    body = entry.body
    if entry.kind == "intent":
        named = {item.name: body[item.name] for item in fields(Intent)}
        intent = Intent(**(named | {"session": date.fromisoformat(entry.session)}))
        lines[intent.client_order_id] = Line(intent, intent.qty)
    elif entry.kind == "order":
        line = lines[body["cid"]]
        line.order_id, line.status = body["id"], body["status"]
        line.size, line.filled, line.price = body["qty"], body["filled"], body["price"]
    elif entry.kind == "fill":
        fill = Fill(date.fromisoformat(entry.session), body["qty"], body["price"])
        lines[body["cid"]].fills.append(fill)
    elif entry.kind in ("refused", "missed") and body.get("cid") in lines:
        line = lines[body["cid"]]
        line.status = REFUSED if entry.kind == "refused" else MISSED
        line.why = body["why"]


def booked(lines: Mapping[str, Line]) -> dict[str, int]:
    """Return how many fills of each line the book holds, to be kept with the book."""
    return {cid: line.booked for cid, line in lines.items() if line.booked}
