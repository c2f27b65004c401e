"""What a journal lived through: read from entries made by hand."""

import numpy as np
import pytest

from engine.book import Book
from engine.errors import UsageError
from engine.journal import Entry
from engine.run.paper.against import agents_of, counts_of, cuts_of
from engine.run.paper.bars_kept import bars_body
from engine.run.paper.lived import kept_of, lived
from engine.run.paper.reconcile import DIFFER
from engine.run.paper.state import book_body
from tests.paper_account import sample_bars

FIRST, SECOND = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def bars():
    whole = sample_bars()
    return whole.between(whole.sessions[2500], whole.sessions[2509])


def journal(*parts):
    """Return entries numbered from 1; a part is kind, session, body."""
    return [Entry(at, str(day), kind, body) for at, (kind, day, body) in enumerate(parts, 1)]


def opened(cash=1000.0, digest=FIRST):
    return "opened", "", {"book": book_body(Book.start(cash, 1, 4)), "checkpoint": digest}


def seen(bars, low, high, anew=False):
    part = bars.between(bars.sessions[low], bars.sessions[high])
    return "bars", part.sessions[-1], bars_body(part) | {"anew": anew}


def decision(day, caught_up=False, digest=None, **more):
    body = {"caught_up": caught_up, "orders": [0.0] * 4, **more}
    return "decision", day, body if digest is None else body | {"checkpoint": digest}


def order(day, cid, status, filled, order_id="x", qty=10.0):
    body = {"cid": cid, "id": order_id, "status": status, "qty": qty, "filled": filled}
    return "order", day, body | {"price": 20.0}


def intent(day, cid, symbol, qty=10.0):
    body = {"client_order_id": cid, "symbol": symbol, "qty": qty, "kind": "market"}
    return "intent", day, body | {"session": str(day), "limit": None, "stop": None, "day": True}


def test_account_that_has_not_decided_has_nothing_to_compare(bars):
    with pytest.raises(UsageError, match="has decided on a session, found none"):
        lived(journal(opened(), seen(bars, 0, 3)))


def test_life_begins_anew_where_a_person_took_the_venues_books(bars):
    day, later = bars.sessions[3], bars.sessions[5]
    rebased = "resumed", bars.sessions[4], {"book": book_body(Book.start(777.0, 1, 4))}
    life = lived(
        journal(
            opened(),
            seen(bars, 0, 3),
            decision(day, digest=FIRST),
            rebased,
            seen(bars, 4, 5),
            decision(later, digest=FIRST),
        )
    )
    assert life.book.cash.tolist() == [777.0]
    assert life.sessions.tolist() == [later.item()]
    assert len(life.bars.sessions) == 6  # windows may look back beyond it


def test_new_history_adds_what_was_not_known_and_leaves_what_was_decided_on(bars):
    revised = bars.ohlcv * 2.0
    other = bars.between(bars.sessions[0], bars.sessions[6])
    body = bars_body(other) | {"ohlcv": revised[:7].tolist(), "anew": True}
    life = lived(
        journal(
            opened(),
            seen(bars, 3, 5),
            decision(bars.sessions[5], digest=FIRST),
            ("bars", bars.sessions[6], body),
            decision(bars.sessions[6], digest=SECOND),
        )
    )
    assert len(life.bars.sessions) == 7
    assert life.bars.ohlcv[5] == pytest.approx(bars.ohlcv[5])  # decided on before
    assert life.bars.ohlcv[0] == pytest.approx(revised[0])
    assert life.bars.ohlcv[6] == pytest.approx(revised[6])


def test_session_that_was_caught_up_on_belongs_to_the_agent_that_caught_up(bars):
    days = bars.sessions[5:9]
    life = lived(
        journal(
            opened(),
            seen(bars, 0, 8),
            decision(days[0], digest=FIRST),
            ("promoted", days[1], {"checkpoint": SECOND}),
            decision(days[1], caught_up=True),
            decision(days[2], digest=SECOND),
            decision(days[3], digest=SECOND),
        )
    )
    assert life.agents == [FIRST, SECOND, SECOND, SECOND]
    assert life.missed == [days[1]]
    assert agents_of(life) == [
        {"from": str(days[0]), "id": FIRST[:12], "how": "first"},
        {"from": str(days[1]), "id": SECOND[:12], "how": "promoted"},
    ]


def test_agent_that_comes_back_is_told_by_how_it_came_each_time(bars):
    days = bars.sessions[5:8]
    life = lived(
        journal(
            opened(),
            seen(bars, 0, 7),
            decision(days[0], digest=FIRST),
            ("promoted", days[1], {"checkpoint": SECOND}),
            decision(days[1], digest=SECOND),
            ("promoted", days[2], {"checkpoint": FIRST}),
            decision(days[2], digest=FIRST),
        )
    )
    assert [agent["how"] for agent in agents_of(life)] == ["first", "promoted", "promoted"]


def test_orders_differences_and_halts_are_counted(bars):
    day, symbols = bars.sessions[5], bars.symbols
    life = lived(
        journal(
            opened(),
            seen(bars, 0, 6),
            decision(day, digest=FIRST, refused={symbols[3]: ["not tradable"]}),
            intent(day, "one", symbols[0]),
            intent(day, "two", symbols[1], -10.0),
            intent(day, "three", symbols[2]),
            order(day, "one", "filled", 10.0),
            order(day, "two", "accepted", 0.0, "y", -10.0),
            order(day, "two", "accepted", 0.0, "z", -10.0),  # the same order under another id
            order(day, "two", "canceled", 4.0, "z", -10.0),
            ("refused", day, {"cid": "three", "why": "no"}),
            ("halted", day, {"reason": f"{DIFFER}: cash"}),
            ("halted", day, {"reason": "kill switch"}),
        )
    )
    counts = counts_of(life)
    told = {name: counts[name] for name in counts if counts[name]}
    assert told == {
        "decisions made": 1,
        "orders sent": 2,
        "filled whole": 1,
        "filled in part": 1,
        "refused by the venue": 1,
        "sent twice": 1,
        "reconciliation differences": 1,
        "halts": 2,
    }
    kept = kept_of(cuts_of(life), symbols)[day]
    assert np.isnan(kept[0])  # filled whole
    assert kept[1:].tolist() == [-4.0, 0.0, 0.0]
