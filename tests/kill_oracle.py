"""What must hold after any trial, read from the exchange's books, the requests and the journal.

Nothing here asks the code under test what is right: client ids, windows and sums are made anew.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from brokers.alpaca.records import TERMINAL
from engine.errors import DataError
from engine.journal import Journal
from engine.run.paper.state import State
from tests.kill_runner import digest
from tests.kill_trials import Trial
from tests.looks import exchange_hours

SHUTS = timedelta(minutes=5)  # before the open nothing is sent any more


def violations(trial: Trial, undisturbed: Trial | None = None) -> list[str]:
    """Name every invariant that does not hold; `undisturbed` is the same scenario without deaths."""
    found = [
        *_one_order(trial),
        *_fills_agree(trial),
        *(f"I3: {sent.cid}: {sent.excess}" for sent in trial.sent if sent.excess),
        *(f"I4: {x.cid} was sent before it was durable" for x in trial.sent if not x.durable),
        *(f"I5: a connection to {x['to']}" for x in trial.strangers),
        *_windows(trial),
        *_memories(trial, undisturbed),
        *_agents(trial),
        *_changes(trial, undisturbed),
        *_secrets(trial),
        *_safe_end(trial, undisturbed),
        *_replay(trial),
    ]
    return found


def _one_order(trial: Trial) -> Iterable[str]:
    label = f"barwise-{trial.account_id.replace('-', '')[:6]}"
    decided = {on.replace("-", "") for on, _ in trial.rows("decision")}
    allowed = {f"{label}-{on}-{x}-1-1" for on in decided for x in trial.scenario.bars.symbols}
    legs: Counter[tuple[str, str]] = Counter()
    for order in trial.books["orders"]:
        cid = order["client_order_id"]
        if cid not in allowed:
            yield f"I1: {cid} is not what account, session and symbol make"
        legs[order["symbol"], _session_of(order)] += 1
    for (symbol, on), count in legs.items():
        if count > 1:
            yield f"I1: {count} orders in {symbol} for {on}"


def _session_of(order: dict[str, Any]) -> str:
    # The session an order was sent after, by its time alone: the last one that had closed.
    at = datetime.fromisoformat(order["submitted_at"].replace("Z", "+00:00"))
    hours = exchange_hours("2009-01-01", "2012-12-31")
    return str(max(session for session, _, closes in hours if closes <= at))


def _fills_agree(trial: Trial) -> Iterable[str]:
    ours: dict[str, float] = defaultdict(float)
    paid: dict[str, float] = defaultdict(float)
    held: dict[str, float] = defaultdict(float)
    for _, body in trial.rows("fill"):
        ours[body["cid"]] += body["qty"]
        paid[body["cid"]] += body["qty"] * body["price"]
        held[body["symbol"]] += body["qty"]
    for order in trial.books["orders"]:
        cid, sign = order["client_order_id"], 1 if order["side"] == "buy" else -1
        theirs = sign * float(order["filled_qty"])
        value = theirs * float(order["filled_avg_price"] or 0.0)
        if abs(ours.pop(cid, 0.0) - theirs) > 1e-6 or abs(paid.get(cid, 0.0) - value) > 0.01:
            yield f"I2: {cid}: the journal's fills are not the venue's {theirs:g} shares"
    for cid in ours:
        yield f"I2: {cid}: fills of an order that the venue does not have"
    for symbol in held.keys() | trial.books["qty"].keys():
        theirs = trial.books["qty"].get(symbol, 0.0)
        if abs(held[symbol] - theirs) > 1e-6:
            yield f"I2: {symbol}: the journal's fills come to {held[symbol]:g}, held {theirs:g}"
    cash = trial.scenario.exchange.cash - sum(paid.values())
    if abs(cash - trial.books["cash"]) > 0.01:
        yield f"I2: cash: {cash:.2f} by the journal's fills, {trial.books['cash']:.2f} at the venue"


def _windows(trial: Trial) -> Iterable[str]:
    hours = exchange_hours("2009-01-01", "2012-12-31")
    days = [session for session, _, _ in hours]
    for sent in trial.sent:
        found = [part for part in sent.cid.split("-") if len(part) == 8 and part.isdigit()]
        session = date.fromisoformat(found[0]) if found else None
        if session not in days:
            yield f"I6: {sent.cid} names no session"
            continue
        at = days.index(session)
        if not hours[at][2] <= sent.at < hours[at + 1][1] - SHUTS:
            yield f"I6: {sent.cid} was sent at {sent.at}"


def _memories(trial: Trial, undisturbed: Trial | None) -> Iterable[str]:
    decisions = trial.rows("decision")
    sessions = [on for on, _ in decisions]
    if len(set(sessions)) < len(sessions):
        yield f"I7: decided twice: {sessions}"
    for said in trial.asked:
        if said["decided"] >= said["session"] and said["decided"] != "None":
            yield f"I7: the policy was asked about {said['session']} after its decision was durable"
    last, before, changes = None, "", [on for on, _ in trial.rows("promoted")]
    for on, body in decisions:
        found, anew = body.get("memory_before"), any(before < change <= on for change in changes)
        if None not in (last, found) and (found == last) is anew:
            yield f"I7: memory before {on} is not its agent's own of the decision before, or anew"
        last, before = body.get("memory", last), on
    if undisturbed is None:
        return
    expected = undisturbed.rows("decision")
    for (on, body), (session, other) in zip(decisions, expected, strict=False):
        if on != session or _plain(body) != _plain(other):
            names = [key for key in other if body.get(key) != other[key] and key != "at"]
            yield f"I7: {on} was decided otherwise than undisturbed: {', '.join(names)}"
    if len(decisions) != len(expected):
        yield f"I7: {len(decisions)} decisions, {len(expected)} undisturbed"


def _agents(trial: Trial) -> Iterable[str]:
    # An agent changes between two sessions: after every order of the last decision is over, and
    # before the next session is decided on. Each decision is made, and named, by the one before it.
    agent, decided, about, waiting = "", "", set(), ""
    with Journal(trial.journal) as journal:
        entries = list(journal.entries())
    for entry in entries:
        body = entry.body
        if entry.kind == "intent":
            about.add(body["client_order_id"])
        elif (entry.kind == "order" and body["status"] in TERMINAL) or entry.kind in (
            "refused",
            "missed",
        ):
            about.discard(body["cid"])
        elif entry.kind == "opened":
            agent = body["checkpoint"]
        elif entry.kind == "promoted":
            if about or not entry.session > decided or waiting == entry.session:
                yield f"I7: the agent changed in the middle of {entry.session}: {sorted(about)}"
            agent, waiting = body["checkpoint"], entry.session
        elif entry.kind == "decision":
            decided = entry.session
            if body.get("checkpoint", agent) != agent:
                yield f"I7: {entry.session} was decided by {body['checkpoint'][:12]}, not {agent[:12]}"


def _changes(trial: Trial, undisturbed: Trial | None) -> Iterable[str]:
    if undisturbed is None:
        return
    changes, others = (
        [(on, _plain(body)) for on, body in x.rows("promoted")] for x in (trial, undisturbed)
    )
    if changes != others:
        yield f"I7: agents changed otherwise than undisturbed: {changes}, not {others}"


def _plain(body: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != "at"}


def _secrets(trial: Trial) -> Iterable[str]:
    for path in sorted(trial.folder.rglob("*")):
        if path.is_file() and trial.secret.encode() in path.read_bytes():
            yield f"I8: the secret is in {path.name}"


def _safe_end(trial: Trial, undisturbed: Trial | None) -> Iterable[str]:
    last, expected = trial.ends[-1], undisturbed.results[-1]["state"] if undisturbed else "closed"
    if last.signal or last.code:
        yield f"I9: the last life ended with signal {last.signal}, code {last.code}: {trial.output}"
    results = trial.results or [{"state": "nothing", "message": ""}]
    state, said = results[-1]["state"], results[-1]["message"]
    if state != expected:
        yield f"I9: expected it to end {expected}, found {state}: {said}"


def _replay(trial: Trial) -> Iterable[str]:
    try:
        with Journal(trial.journal) as journal:
            journal.verify()
            state = State()
            for entry in journal.entries():
                state.take(entry)
    except (DataError, KeyError) as error:
        yield f"I10: the journal cannot be replayed: {error!r}"
        return
    folds = [result["fold"] for result in trial.results if result["fold"]]
    if folds and trial.results[-1]["fold"] and folds[-1] != digest(state):
        yield "I10: replaying the journal gives another state than the runner ended with"
