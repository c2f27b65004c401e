"""Every crash and every answer of the network, in memory: does one order stay one order?

A venue that dedupes by client order id, a journal that keeps what was committed, and a desk that
dies where it is told to. The desk is the real one (`brokers.alpaca.desk`), or a protocol that is
known to be wrong. Nothing is random and nothing waits: schedules are enumerated.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

from brokers.alpaca.desk import Desk
from brokers.alpaca.lines import Line, apply
from brokers.alpaca.notes import Notes
from brokers.alpaca.records import Accepted, Answer, InDoubt, Intent, OrderState
from engine.clock import FakeClock
from engine.errors import TradingError, VenueUnavailable
from engine.journal import Entry

CRASHES = (
    "before intent is durable", "intent durable", "before look-up", "after look-up", "before POST",
    "POST arrived", "answer read", "before outcome is durable", "outcome durable", None,
)  # fmt: skip
NETWORKS = (
    "ok",
    "lost",
    "timeout",
    "late",
)  # timeout: accepted, answer lost; late: arrives after all
STARTS = 3
LAST_STARTS = 3  # undisturbed ones afterwards; the first may still find an order on its way
MONDAY = date(2010, 1, 4)
AT = datetime(2010, 1, 4, 21, 20, tzinfo=UTC)
Protocol = Callable[["World", "Life"], None]


class Crash(BaseException):
    """The process is dead; nothing of the product catches it."""


@dataclass
class World:
    """What outlives a process: committed entries, the venue's orders, orders still on their way."""

    committed: list[Entry] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)  # client order ids, in order of acceptance
    underway: list[str] = field(default_factory=list)
    serial: int = 0  # makes ids that no restart repeats
    undurable: int = 0  # orders that arrived before their intent was durable
    forgetful: bool = False  # the venue takes an id again

    def accept(self, cid: str) -> bool:
        """Take an order unless its id was used before."""
        intents = (entry for entry in self.committed if entry.kind == "intent")
        self.undurable += all(entry.body["client_order_id"] != cid for entry in intents)
        if cid in self.orders and not self.forgetful:
            return False
        self.orders.append(cid)
        return True

    def arrive(self) -> None:
        """Let everything that is under way arrive."""
        for cid in self.underway:
            self.accept(cid)
        self.underway.clear()


class Life:
    """One start: where it dies, and what the network does to its POSTs."""

    def __init__(self, crash: str | None, network: str) -> None:
        self.crash, self.network = crash, network

    def passes(self, point: str) -> None:
        """Die here where that is the plan."""
        if point == self.crash:
            raise Crash


class MemoryJournal:
    """The real journal's face: append, commit, forget; what was not committed dies with it."""

    def __init__(self, world: World, life: Life) -> None:
        self._world, self._life = world, life
        self._waiting: list[Entry] = []

    def append(self, kind: str, session: str, body: Mapping[str, Any]) -> int:
        """Add one entry; it is only noted."""
        number = len(self._world.committed) + len(self._waiting) + 1
        self._waiting.append(Entry(number, session, kind, dict(body)))
        return number

    def commit(self) -> None:
        """Make it durable, all of it."""
        intent = any(entry.kind == "intent" for entry in self._waiting)
        if not self._waiting:
            return
        self._life.passes("before intent is durable" if intent else "before outcome is durable")
        self._world.committed += self._waiting
        self._waiting = []
        self._life.passes("intent durable" if intent else "outcome durable")

    def forget(self) -> None:
        """Drop what was not committed."""
        self._waiting = []


class Wire:
    """The venue behind a network: what a desk needs of a gateway."""

    def __init__(self, world: World, life: Life) -> None:
        self._world, self._life = world, life

    def post(self, intent: Intent) -> Answer:
        """Send one order through this life's network."""
        world, cid = self._world, intent.client_order_id
        self._life.passes("before POST")
        world.arrive()  # the latest a late order can come: just before its own repetition
        if self._life.network == "late":
            world.underway.append(cid)
        new = self._life.network in ("ok", "timeout") and world.accept(cid)
        self._life.passes("POST arrived")
        if self._life.network != "ok":
            return InDoubt("no answer")
        self._life.passes("answer read")
        return Accepted(_state(intent)) if new else InDoubt("the id was used before")

    def order_by_client_id(self, cid: str) -> OrderState | None:
        """Look an order up."""
        self._life.passes("before look-up")
        found = _state(_intent(cid)) if cid in self._world.orders else None
        self._life.passes("after look-up")
        return found

    def orders_since(self, at: datetime) -> list[OrderState]:
        """List every order."""
        return [_state(_intent(cid)) for cid in self._world.orders]

    def cancel(self, order_id: str) -> None:
        """No test of this model cancels."""


def ours(world: World, life: Life, desk: type[Desk] = Desk) -> None:
    """The real desk, started as a look starts it: fold the journal, settle, intend, send."""
    lines: dict[str, Line] = {}
    for entry in world.committed:
        apply(lines, entry)
    journal = MemoryJournal(world, life)
    clock = FakeClock(AT)
    notes = Notes(journal, clock, lambda entry: apply(lines, entry))  # type: ignore[arg-type]
    started = desk(Wire(world, life), notes, clock, lines)
    started.send()
    if not lines:
        started.intend([_intent(CID)])
        started.send()


def post_then_save(world: World, life: Life) -> None:
    """Wrong: send, then write down that it was sent; the venue makes the id."""
    if any(entry.kind == "done" for entry in world.committed):
        return
    world.serial += 1
    if isinstance(Wire(world, life).post(_intent(f"{world.serial}")), Accepted):
        _done(world, life)


def random_id(world: World, life: Life) -> None:
    """Wrong: a new id each time, kept only once the answer is there; looked up while in doubt."""
    if any(entry.kind == "done" for entry in world.committed):
        return
    world.serial += 1
    wire, intent = Wire(world, life), _intent(f"{world.serial}")
    if isinstance(wire.post(intent), Accepted) or wire.order_by_client_id(intent.client_order_id):
        _done(world, life)


def done_then_post(world: World, life: Life) -> None:
    """Wrong: write down that it is done, then send."""
    if any(entry.kind == "done" for entry in world.committed):
        return
    _done(world, life)
    Wire(world, life).post(_intent(CID))


def tried(
    protocol: Protocol, networks: Sequence[str] = NETWORKS, forgetful: bool = False
) -> Counter[str]:
    """Run every schedule to its end; count those with one order, several, and none.

    A schedule is a crash and a network for each of three starts; undisturbed starts follow. Those
    that begin alike share their beginning.
    """
    found: Counter[str] = Counter()
    starts = list(product(CRASHES, networks))

    def go_on(world: World, depth: int) -> None:
        if depth == STARTS:
            for _ in range(LAST_STARTS):
                live(protocol, world, Life(None, "ok"))
                world.arrive()
            found[{0: "lost", 1: "one"}.get(len(world.orders), "duplicate")] += 1
            return
        for crash, network in starts:
            branch = replace(
                world,
                committed=[*world.committed],
                orders=[*world.orders],
                underway=[*world.underway],
            )
            live(protocol, branch, Life(crash, network))
            go_on(branch, depth + 1)

    go_on(World(forgetful=forgetful), 0)
    return found


def live(protocol: Protocol, world: World, life: Life) -> None:
    """Let one start run until it ends, gives up or dies."""
    try:
        protocol(world, life)
    except (Crash, VenueUnavailable):
        return
    except TradingError as error:
        raise AssertionError(f"the protocol halted where nothing was wrong: {error}") from error


def _done(world: World, life: Life) -> None:
    journal = MemoryJournal(world, life)
    journal.append("done", "", {})
    journal.commit()


CID = "barwise-abc123-20100104-SPY-1-1"


def _intent(cid: str) -> Intent:
    return Intent(client_order_id=cid, session=MONDAY, symbol="SPY", qty=10.0)


def _state(intent: Intent) -> OrderState:
    cid = intent.client_order_id
    return OrderState(
        id=f"id-{cid}", client_order_id=cid, symbol=intent.symbol, qty=intent.qty, filled_qty=0.0,
        filled_price=0.0, status="accepted", kind=intent.kind, limit=None, stop=None,
        time_in_force="day", submitted_at=AT, filled_at=None,
    )  # fmt: skip
