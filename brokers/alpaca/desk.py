"""The order desk: how an order reaches the venue exactly once, whatever dies on the way.

An intent is durable before anything is sent, its client id is a pure function of the decision, and
an answer that is not one is settled by looking the order up, never by sending blindly. Starting
again after a crash is the same code: a line that was intended is looked up first.
"""

from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Protocol

from brokers.alpaca.lines import INTENDED, Fill, Line, intent_body
from brokers.alpaca.notes import Notes
from brokers.alpaca.records import Accepted, Answer, Denied, Intent, OrderState, Refused
from engine import clock as time
from engine.clock import Clock
from engine.errors import TradingHalted, VenueUnavailable

LOOKUPS = (0.5, 1.0, 2.0, 3.0, 3.5)  # waits between look-ups of an order in doubt: 10 s in all
SENDS = 2  # how often one order may be sent while its fate is unknown
CANCEL_WAITS = (0.5, 1.0, 2.0)
DUST = 1e-9


class OrderGateway(Protocol):
    """What the desk needs of a gateway: `brokers.alpaca.gateway.Gateway`."""

    def post(self, intent: Intent) -> Answer:
        """Send one order, once."""
        ...

    def order_by_client_id(self, cid: str) -> OrderState | None:
        """Return the order, or None where the venue proves that it has none."""
        ...

    def orders_since(self, at: datetime) -> list[OrderState]:
        """Return every order sent after `at`, in any state."""
        ...

    def cancel(self, order_id: str) -> None:
        """Ask for an order to be canceled."""
        ...


class Desk:
    """Intends, sends, follows and cancels the orders of one account.

    `may_send` is asked before every single order: None, or why that order must not go out now.
    It may raise TradingHalted. `lines` holds the orders still of interest, by client id; it grows by
    what is noted (`brokers.alpaca.lines.apply`), never by hand.
    """

    def __init__(
        self,
        gateway: OrderGateway,
        notes: Notes,
        clock: Clock,
        lines: dict[str, Line],
        may_send: Callable[[Intent], str | None] = lambda intent: None,
        calendar: str = "XNYS",
    ) -> None:
        self.gateway, self.notes, self.clock = gateway, notes, clock
        self.lines, self.may_send, self.calendar = lines, may_send, calendar
        self._fresh: set[str] = set()  # intended by this very run and never sent

    def intend(self, intents: Iterable[Intent]) -> None:
        """Make orders durable, all of them in one transaction, before any is sent."""
        for intent in intents:
            self.notes.note("intent", intent.session, intent_body(intent))
            self._fresh.add(intent.client_order_id)
        self.notes.commit()

    def send(self) -> None:
        """Bring every intended order to an end: accepted, refused or missed; in their order.

        Raises: VenueUnavailable where the fate of one is still unknown; TradingHalted.
        """
        for line in [line for line in self.lines.values() if line.status == INTENDED]:
            self._settle(line)

    def poll(self) -> None:
        """Ask the venue what became of the live orders, and write down what changed."""
        live = [line for line in self.lines.values() if line.live]
        if not live:
            return
        since = time.closing(min(line.intent.session for line in live), self.calendar)
        found = {order.client_order_id: order for order in self.gateway.orders_since(since)}
        for line in live:
            order = found.get(line.cid) or self.gateway.order_by_client_id(line.cid)
            if order is None:
                raise VenueUnavailable(
                    f"{line.cid}: expected the order that the venue accepted as {line.order_id}, "
                    "found none; its state is unknown: it is asked for again at the next look"
                )
            self._follow(line, order)
        self.notes.commit()

    def write_off(self) -> list[str]:
        """Let go of live orders whose answers cannot be reconciled with what we know; say which.

        For a person who goes on from what the venue holds. Nothing is sent.
        """
        gone = []
        for line in [line for line in self.lines.values() if line.live]:
            order = self.gateway.order_by_client_id(line.cid)
            if order is None or not _possible(line, order):
                body = {
                    "cid": line.cid,
                    "why": "written off: the venue tells of it no longer, or otherwise",
                }
                self.notes.note("missed", line.intent.session, body)
                gone.append(line.cid)
        self.notes.commit()
        return gone

    def cancel(self, lines: Iterable[Line]) -> list[Line]:
        """Ask for orders to be canceled and wait a little; return those that are still live."""
        left = [line for line in lines if line.live]
        for line in left:
            self.gateway.cancel(str(line.order_id))
        for wait in CANCEL_WAITS:
            if not left:
                break
            self.poll()
            left = [line for line in left if line.live]
            if left:
                self.clock.sleep(wait)
        return left

    def _settle(self, line: Line) -> None:
        # A line that an earlier run left behind may be at the venue: look before sending.
        sends = 0
        doubted = line.cid not in self._fresh
        while True:
            if doubted:
                order = self._look_up(line.cid, patient=sends > 0)
                if order is not None:
                    return self._adopt(line, order)
            if sends == SENDS:
                raise VenueUnavailable(
                    f"{line.cid}: sent {SENDS} times without an answer, and the venue shows no such "
                    "order; its fate is unknown: it is looked up again at the next look"
                )
            why = self.may_send(line.intent)
            if why is not None:
                self.notes.note("missed", line.intent.session, {"cid": line.cid, "why": why})
                return self.notes.commit()
            self._fresh.discard(line.cid)
            answer = self.gateway.post(line.intent)
            sends += 1
            if isinstance(answer, Accepted):
                return self._adopt(line, answer.order)
            if isinstance(answer, Refused | Denied):
                return self._rejected(line, answer)
            doubted = True

    def _rejected(self, line: Line, answer: Refused | Denied) -> None:
        # Only the look-up makes a refusal definite.
        order = self._look_up(line.cid, patient=False)
        if order is not None:
            return self._adopt(line, order)
        if isinstance(answer, Denied):
            raise TradingHalted(
                f"{line.cid}: the venue answered {answer.status}: {answer.why}; check the keys and "
                "what the account may do, then resume"
            )
        body = {"cid": line.cid, "symbol": line.intent.symbol, "qty": line.intent.qty}
        why = {"status": answer.status, "code": answer.code, "why": answer.message}
        self.notes.note("refused", line.intent.session, body | why)
        return self.notes.commit()

    def _look_up(self, cid: str, patient: bool) -> OrderState | None:
        # An order may be visible only some seconds after it was accepted.
        for wait in LOOKUPS if patient else ():
            order = self.gateway.order_by_client_id(cid)
            if order is not None:
                return order
            self.clock.sleep(wait)
        return self.gateway.order_by_client_id(cid)

    def _adopt(self, line: Line, order: OrderState) -> None:
        intent = line.intent
        expected = (intent.symbol, intent.qty, intent.kind)
        found = (order.symbol, order.qty, order.kind)
        if expected != found:
            raise TradingHalted(
                f"{line.cid}: expected an order {expected}, found {found} under the same client id; "
                "somebody else uses it: find out who trades this account, then resume"
            )
        self._follow(line, order)
        self.notes.commit()

    def _follow(self, line: Line, order: OrderState) -> None:
        # Everything comes from cumulative numbers, so doubled or late news changes nothing.
        self._require_possible(line, order)
        more = order.filled_qty - line.filled
        if more > DUST:
            whole = order.filled_qty * order.filled_price
            price = order.filled_price if not line.filled else _part(line, whole, more)
            qty = more if line.intent.qty > 0 else -more
            body = {"cid": line.cid, "symbol": line.intent.symbol, "qty": qty, "price": price}
            self.notes.note("fill", self._day_of(order), body)
        news = (order.id, order.status, order.qty, order.filled_qty, order.filled_price)
        if news != (line.order_id, line.status, line.size, line.filled, line.price):
            body = dict(zip(("id", "status", "qty", "filled", "price"), news, strict=True))
            self.notes.note("order", line.intent.session, {"cid": line.cid} | body)

    def _require_possible(self, line: Line, order: OrderState) -> None:
        if not _possible(line, order):
            raise TradingHalted(
                f"{line.cid}: expected between {line.filled:g} and {abs(order.qty):g} shares filled, "
                f"found {order.filled_qty:g}; the venue's answer cannot be: compare its order page "
                "with `barwise paper status`, then resume with --rebase"
            )

    def _day_of(self, order: OrderState) -> date:
        at = order.filled_at if order.over and order.filled_at else self.clock.now()
        opened = time.last_opened(min(at, self.clock.now()), self.calendar)
        return date.fromisoformat(str(opened))


def fills_of(lines: Iterable[Line]) -> list[tuple[Line, Fill]]:
    """Return the fills that no book holds yet, in the order in which they came."""
    return [(line, fill) for line in lines for fill in line.fills[line.booked :]]


def _possible(line: Line, order: OrderState) -> bool:
    return line.filled - DUST <= order.filled_qty <= abs(order.qty) + DUST


def _part(line: Line, whole: float, more: float) -> float:
    return (whole - line.filled * line.price) / more
