"""Bugs of the protocol on purpose: each is planted into the real code of a runner, to be caught.

M1 to M14 without M12, which belongs to the schedule. A bug gets `patch`, which sets an attribute (the
trial's process dies soon; a test hands in its own monkeypatch), and the trial's folder.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import requests
from sqlalchemy import event

from brokers.alpaca import answers, gateway, venue
from brokers.alpaca.desk import Desk
from brokers.alpaca.lines import Line, intent_body
from brokers.alpaca.records import Accepted, Answer, Intent, Refused
from brokers.alpaca.transport import NoReply, Reply, Transport
from brokers.alpaca.venue import AlpacaVenue
from engine import journal
from engine.book import Orders
from engine.errors import VenueUnavailable
from engine.run.paper import cycle, decide, look
from engine.run.paper.state import State

Patch = Callable[[Any, str, Any], object]


def plant(name: str, folder: Path, patch: Patch = setattr) -> None:
    """Plant one bug into this process."""
    BUGS[name](patch, folder)


def post_before_commit(patch: Patch, folder: Path) -> None:
    """M1: intents are only noted; they become durable with the answer."""

    def intend(self: Desk, intents: list[Intent]) -> None:
        for intent in intents:
            self.notes.note("intent", intent.session, intent_body(intent))
            self._fresh.add(intent.client_order_id)

    patch(Desk, "intend", intend)


def random_id(patch: Patch, folder: Path) -> None:
    """M2: a client id that the next host or restart would not arrive at."""
    patch(venue, "client_order_id", lambda label, *_: f"{label}-{secrets.token_hex(8)}")


def size_in_id(patch: Patch, folder: Path) -> None:
    """M3: the number of shares is part of the client id."""
    real = look.intents_of

    def intents(*args: Any) -> list[Intent]:
        return [
            replace(x, client_order_id=f"{x.client_order_id}-{abs(x.qty):g}") for x in real(*args)
        ]

    patch(look, "intents_of", intents)


def duplicate_is_refusal(patch: Patch, folder: Path) -> None:
    """M4: "the id was used before" is taken for a refusal."""
    _judge(patch, lambda seen: seen.status == 422)
    _believe_refusals(patch)


def server_error_is_refusal(patch: Patch, folder: Path) -> None:
    """M5: a gateway's time-out is taken for a refusal."""
    _judge(patch, lambda seen: seen.status >= 500)


def increments(patch: Patch, folder: Path) -> None:
    """M6: what the venue says is filled in all is added to what was filled before."""
    real = Desk._follow

    def follow(self: Desk, line: Line, order: Any) -> None:
        if order.filled_qty > line.filled:
            line.filled = 0.0
        real(self, line, order)

    patch(Desk, "_follow", follow)


def next_attempt(patch: Patch, folder: Path) -> None:
    """M7: an order in doubt is sent again as another attempt."""
    real = Desk._settle

    def settle(self: Desk, line: Line) -> None:
        answer = self.gateway.post(line.intent)
        if isinstance(answer, Accepted):
            return self._adopt(line, answer.order)
        other = replace(line.intent, client_order_id=f"{line.cid[:-1]}2")
        self.notes.note("missed", line.intent.session, {"cid": line.cid, "why": "no answer"})
        self.intend([other])
        return real(self, self.lines[other.client_order_id])

    patch(Desk, "_settle", settle)


def empty_is_flat(patch: Patch, folder: Path) -> None:
    """M8: an empty list of positions means that nothing is held."""
    real = look.reconcile

    def reconcile(room: Any, state: State, account: Any) -> None:
        try:
            real(room, state, account)
        except VenueUnavailable:
            assert state.book is not None
            state.book.qty[:], state.book.basis[:] = 0.0, 0.0
            state.book.cash[:] = account.equity

    patch(look, "reconcile", reconcile)


def early_memory(patch: Patch, folder: Path) -> None:
    """M9: the memory is kept in a file of its own, before the decision is durable."""
    kept, trader_of, decided_of = folder / "memory", decide._trader, look.decide

    def with_memory(*args: Any) -> Any:
        trader, unseen = trader_of(*args)
        if kept.exists():
            memory = decide.unpack(json.loads(kept.read_text()))
            trader.restore(trader.snapshot() | {"memory": memory})
        return trader, unseen

    def promote(*args: Any) -> Any:
        decided = decided_of(*args)
        kept.write_text(json.dumps(decided.entries[-1][1]["memory"]))
        return decided

    patch(decide, "_trader", with_memory)
    patch(look, "decide", promote)


def decide_again(patch: Patch, folder: Path) -> None:
    """M10: a decision whose orders are not intended yet is made anew on a restart."""
    real = cycle.load

    def load(room: Any, file: journal.Journal) -> State:
        state = real(room, file)
        if state.sent:
            return state
        entries = list(file.entries())
        last = max(entry.number for entry in entries if entry.kind == "decision")
        again = State()
        for entry in entries:
            if entry.number != last:
                again.take(entry)
        return again

    patch(cycle, "load", load)


def open_orders_forgotten(patch: Patch, folder: Path) -> None:
    """M11: orders that still rest at the venue do not count."""
    patch(AlpacaVenue, "pending", property(lambda self: Orders.none(1, len(self.symbols))))


def unsynced(patch: Patch, folder: Path) -> None:
    """M13: a commit does not wait for the disk."""
    real = journal._connect

    def connect(*args: Any) -> Any:
        engine = real(*args)
        event.listen(
            engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL")
        )
        engine.dispose()
        return engine

    patch(journal, "_connect", connect)


def redirect_followed(patch: Patch, folder: Path) -> None:
    """M14: an order goes wherever an answer points."""
    real = Transport.send

    def send(self: Transport, request: requests.PreparedRequest, *args: Any, **more: Any) -> Any:
        response = real(self, request, *args, **more)
        if response.is_redirect:
            where = response.headers["location"]
            requests.request(str(request.method), where, data=request.body, timeout=1.0)
        return response

    patch(Transport, "send", send)


def _judge(patch: Patch, refused: Callable[[Reply], bool]) -> None:
    def judge(seen: Reply | NoReply, intent: Intent) -> Answer:
        if isinstance(seen, Reply) and refused(seen):
            return Refused(seen.status, None, "taken for a refusal")
        return answers.judge_order(seen, intent)

    patch(gateway, "judge_order", judge)


def _believe_refusals(patch: Patch) -> None:
    def rejected(self: Desk, line: Line, answer: Refused) -> None:
        self.notes.note("refused", line.intent.session, {"cid": line.cid, "why": answer.message})
        self.notes.commit()

    patch(Desk, "_rejected", rejected)


BUGS: dict[str, Callable[[Patch, Path], None]] = {
    "M1": post_before_commit,
    "M2": random_id,
    "M3": size_in_id,
    "M4": duplicate_is_refusal,
    "M5": server_error_is_refusal,
    "M6": increments,
    "M7": next_attempt,
    "M8": empty_is_flat,
    "M9": early_memory,
    "M10": decide_again,
    "M11": open_orders_forgotten,
    "M13": unsynced,
    "M14": redirect_followed,
}
