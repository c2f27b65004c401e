"""What one look does, step by step; each step asks the state whether it is needed at all."""

from collections.abc import Iterable
from datetime import date, datetime

from brokers.alpaca.desk import Desk
from brokers.alpaca.lines import Line
from brokers.alpaca.notes import Notes
from brokers.alpaca.records import Intent
from brokers.alpaca.venue import intents_of
from engine import clock as time
from engine.run.paper.bars_kept import bars_from, day
from engine.run.paper.decide import decide, orders_from
from engine.run.paper.fetch import fetch_bars
from engine.run.paper.opening import open_account
from engine.run.paper.pickup import pick_up
from engine.run.paper.preflight import preflight, require_calendar, require_no_kill
from engine.run.paper.reconcile import label_of, reconcile
from engine.run.paper.result import CycleResult
from engine.run.paper.room import CALENDAR, Room
from engine.run.paper.state import State


class Look:
    """One look at an account whose lock is held and whose journal has been read."""

    def __init__(self, room: Room, notes: Notes, state: State) -> None:
        self.room, self.notes, self.state = room, notes, state
        self.desk = Desk(room.gateway, notes, room.clock, state.lines, self._may_send, CALENDAR)
        self.news: list[str] = []

    def work(self) -> CycleResult:
        """Do what is due. Raises: VenueUnavailable to try again; TradingError to halt."""
        require_no_kill(self.room)
        self.account = preflight(self.room, self.state)
        if self.state.opened is None:
            open_account(self.room, self.notes, self.account)
        before = self.state.number
        self.desk.send()
        self.desk.poll()
        self._close()
        if self.state.number != before:  # a fill has moved the account
            self.account = self.room.gateway.account()
        reconcile(self.room, self.state, self.account, self.desk.poll)
        return self._due()

    def _due(self) -> CycleResult:
        room, state, now = self.room, self.state, self.room.clock.now()
        session = day(time.last_closed(now, CALENDAR))
        if state.decided is not None and state.decided >= session:
            return self._finish(state.decided)
        if not state.sent:  # decided on an earlier session and never sent
            self._skip(state.decided, "its orders were not sent while they could be")
        if now < time.closing(session, CALENDAR) + room.minutes("decide_after_close"):
            return self._result("waiting", session, f"{session} has closed; its bars are not due")
        if now >= window(room, session)[1]:
            if state.decided is not None and state.skipped != session:
                self._skip(session, "nobody looked while its orders could be sent")
            return self._result("waiting", session, _out_of_window(state, session))
        self._decide(session)
        return self._finish(session)

    def _decide(self, session: date) -> None:
        require_calendar(self.room, session)
        missing = fetch_bars(self.room, self.notes, self.state, session)
        if silent := [each for each in missing if each.endswith(f" {session}")]:
            self.news.append(f"no bar, so not decided on: {', '.join(silent)}")
        self.news.append(pick_up(self.room, self.notes, self.state, session))
        kept = bars_from(self.notes.journal.entries("bars"))
        assert kept is not None
        decided = decide(self.room, self.state, self.desk, kept, self._label())
        for on, body in decided.entries:
            self.notes.note("decision", on, body | {"venue_equity": self.account.equity})
        self.notes.commit()
        caught_up = len(decided.entries) - 1
        more = f", after catching up on {caught_up} sessions" if caught_up else ""
        self.news.append(f"{session}: decided{more}; equity {decided.equity:,.2f}")
        self.news += decided.warnings

    def _finish(self, session: date) -> CycleResult:
        # From a stored decision to accepted orders; the policy is not asked again.
        state = self.state
        if not state.sent:
            if self._shut(session):
                self._skip(session, "its orders were not sent while they could be")
            else:
                orders = orders_from(state.decision)
                self.desk.intend(intents_of(orders, self.room.symbols, session, self._label()))
                self.desk.send()
                self.news.append(_sent(session, state.lines.values()))
        live = sum(line.live for line in state.lines.values())
        if live:
            return self._result("waiting", session, f"{live} orders of {session} are at the venue")
        self._close()
        return self._result("closed", session, f"{session} is decided; nothing is left to do")

    def _close(self) -> None:
        # A session is done with when its orders are over, or when their time is up.
        state = self.state
        if state.decided is None or state.closed == state.decided or not state.sent:
            return
        target = time.next_session(state.decided, CALENDAR)
        deadline = time.opening(target, CALENDAR) + self.room.minutes("book_after_open")
        live = [line for line in state.lines.values() if line.live]
        if live and self.room.clock.now() < deadline:
            return
        stuck = self.desk.cancel(line for line in live if line.intent.day)
        self.notes.note("closed", state.decided, {"stuck": [line.cid for line in stuck]})
        self.notes.commit()
        self.news += [f"{line.cid} cannot be canceled; its symbol rests" for line in stuck]
        if state.lines:
            self.news.append(_filled(state.decided, state.lines.values()))

    def _skip(self, session: date | None, why: str) -> None:
        self.notes.note("skipped", session, {"why": why})
        self.notes.commit()
        self.news.append(f"{session}: missed, {why}")

    def _result(self, name: str, session: date, message: str) -> CycleResult:
        news = "; ".join(text for text in self.news if text)
        return CycleResult(name, session, message, news)  # type: ignore[arg-type]

    def _label(self) -> str:
        assert self.state.opened is not None
        return label_of(self.room, self.state.opened["account"])

    def _may_send(self, intent: Intent) -> str | None:
        require_no_kill(self.room)
        return self._shut(intent.session)

    def _shut(self, session: date) -> str | None:
        # None while the orders of a session's decision may be sent, else why not.
        opens, shuts = window(self.room, session)
        now = self.room.clock.now()
        return None if opens <= now < shuts else f"its window is {opens} to {shuts}, now {now}"


def window(room: Room, session: date) -> tuple[datetime, datetime]:
    """Return from when to when the orders of a session's decision may be sent."""
    following = time.next_session(session, CALENDAR)
    shuts = time.opening(following, CALENDAR) - room.minutes("submit_until_open")
    return time.closing(session, CALENDAR), shuts


def _out_of_window(state: State, session: date) -> str:
    if state.decided is None:
        return f"too late for {session}; the first decision comes after the next close"
    return f"{session} was missed; memory catches up"


def _sent(session: date, lines: Iterable[Line]) -> str:
    ours = [line for line in lines if line.intent.session == session]
    refused = [f"{x.intent.symbol} {x.status}" for x in ours if x.over and not x.filled]
    told = f"{session}: {len(ours) - len(refused)} orders at the venue"
    return told + (f", not taken: {', '.join(refused)}" if refused else "")


def _filled(session: date, lines: Iterable[Line]) -> str:
    ours = [line for line in lines if line.intent.session == session]
    parts = [
        f"{'bought' if x.intent.qty > 0 else 'sold'} {x.filled:g} {x.intent.symbol} at {x.price:.2f}"
        for x in ours if x.filled
    ]  # fmt: skip
    parts += [f"{x.intent.symbol} {x.status}, {abs(x.left):g} left" for x in ours if x.left]
    return f"orders of {session}: {', '.join(parts)}" if parts else ""
