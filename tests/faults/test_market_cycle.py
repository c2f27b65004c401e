"""Faults of the market, met by whole sessions: halts, revisions, splits, symbols one may not trade."""

from dataclasses import replace
from datetime import date
from itertools import product

import numpy as np
import pytest

from brokers.exchange.faults import Rule
from engine import clock as time
from engine.reasons import Reason
from engine.run.paper.decide import _allowed
from engine.run.paper.room import CALENDAR
from tests.fault_account import EVENING, account, few_bars
from tests.paper_account import START

SECOND = time.next_session(START, CALENDAR).astype(date)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, agent):
    """The first evening when nothing goes wrong: orders, and what was decided."""
    with account(tmp_path_factory.mktemp("undisturbed"), agent) as whole:
        whole.decided()
        return whole.wanted, whole.entries("decision")[0].body


def split_bars(symbol, ratio, on):
    """The same market with one symbol split `ratio` for 1 before the open of a session."""
    bars = few_bars()
    n, row = bars.symbols.index(symbol), bars.index_of(on)
    ohlcv, split = bars.ohlcv.copy(), bars.split.copy()
    ohlcv[row:, n, :4] /= ratio
    ohlcv[row:, n, 4] *= ratio
    split[row, n] = ratio
    return replace(bars, ohlcv=ohlcv, split=split)


def test_f30_orders_of_a_halted_symbol_rest_are_not_chased_and_end_at_the_deadline(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.decided()
        sent = list(acc.posts)
        acc.exchange.switches.asset_flags = {"IBM": {"halted": True}}
        acc.open_plus(START, 5)
        found = acc.look()
        assert (found.state, found.message) == (
            "waiting",
            f"1 orders of {EVENING} are at the venue",
        )
        assert acc.posts == sent
        acc.open_plus(START)
        found = acc.look()
        assert found.state == "closed"
        assert "IBM canceled, 114 left" in found.news
        assert acc.posts == sent
        assert "IBM" not in acc.exchange.dump()["qty"]
        acc.require_sound()


def test_f30_a_suspended_symbol_is_not_ordered_and_the_others_are_as_they_were(
    tmp_path, agent, undisturbed
):
    with account(tmp_path, agent) as acc:
        acc.exchange.switches.asset_flags = {"IBM": {"status": "inactive", "tradable": False}}
        acc.decided()
        others = {cid: x for cid, x in undisturbed[0].items() if "-IBM-" not in cid}
        assert acc.wanted == others
        assert len(others) < len(undisturbed[0])


def test_f35_a_past_bar_that_the_vendor_changed_is_told_and_changes_no_decision(tmp_path, agent):
    def second_decision(folder, revised):
        with account(folder, agent) as acc:
            acc.filled()
            acc.close_plus(START)
            if revised:
                day = time.previous_session(EVENING, CALENDAR).astype(date)
                acc.exchange.revise_bar("IBM", day, 1.03)
            acc.look()
            told = acc.entries("bars")[-1].body["revisions"]
            return told, acc.entries("decision")[-1].body | {"at": None}, acc.wanted

    told, decision, orders = second_decision(tmp_path / "revised", True)
    quiet, expected, as_expected = second_decision(tmp_path / "quiet", False)
    assert quiet == []
    assert told
    assert all("IBM 2009-12-30" in text for text in told)
    assert (decision, orders) == (expected, as_expected)


@pytest.mark.parametrize("ratio", [4.0, 0.1])
@pytest.mark.parametrize("waiting", [False, True])
def test_f36_a_split_overnight_moves_shares_orders_and_prices_but_no_value(
    tmp_path, agent, ratio, waiting
):
    # With orders waiting they split before they fill; else the shares that are held do as well.
    on = START if waiting else SECOND
    with account(tmp_path / "split", agent, split_bars("IBM", ratio, on)) as acc:
        split = life(acc, on)
    with account(tmp_path / "whole", agent) as acc:
        whole = life(acc, on)
    assert split["states"] == whole["states"]
    assert set(split["states"]) <= {"waiting", "closed"}
    held, before = split["held"].pop("IBM"), whole["held"].pop("IBM")
    assert split["held"] == whole["held"]
    assert before > 50
    decided = 2 if waiting else 3  # later orders are rounded to whole new shares
    if ratio > 1:
        assert held == before * ratio
        assert split["cash"] == pytest.approx(whole["cash"], abs=1e-6)
        assert split["equity"][:decided] == pytest.approx(whole["equity"][:decided], abs=1e-6)
    else:  # less than one new share is not bought, or becomes cash
        assert abs(held - before * ratio) < 1.0
        assert split["equity"][:decided] == pytest.approx(whole["equity"][:decided], abs=20.0)


def life(acc, on):
    """Live two sessions; what was decided when, and what the venue held after an open."""
    acc.decided()
    found = {}
    for session in (START, SECOND):
        acc.open_plus(session, -30)
        acc.look()
        acc.open_plus(session)
        acc.look()
        if session == on:
            after = acc.exchange.dump()
            found |= {"held": after["qty"], "cash": after["cash"]}
        acc.close_plus(session)
        acc.look()
    equity = [x.body["equity"] for x in acc.entries("decision")]
    return found | {"equity": equity, "states": [x.state for x in acc.told]}


ASSET = ("active", "inactive")


def test_f37_truth_table_of_an_assets_flags(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        wanted = np.array([[10.0, -3.0, 2.5, -7.25]])
        for status, tradable, fractionable in product(ASSET, (True, False), (True, False)):
            flags = {"status": status, "tradable": tradable, "fractionable": fractionable}
            acc.exchange.switches.asset_flags = {symbol: flags for symbol in acc.room.symbols}
            allowed, why = _allowed(acc.room, wanted)
            may = status == "active" and tradable
            expected = np.where(may & np.array([True, True, fractionable, fractionable]), wanted, 0)
            assert allowed.tolist() == expected.tolist(), flags
            assert ((why == Reason.UNTRADABLE) == (allowed == 0)).all(), flags


@pytest.mark.parametrize(
    "flags", [{"tradable": False}, {"status": "inactive"}, {"status": "unheard of"}, {}]
)
def test_f37_a_symbol_that_may_not_be_traded_gets_no_order_a_reason_and_scales_nobody(
    tmp_path, agent, undisturbed, flags
):
    orders, decision = undisturbed
    with account(tmp_path, agent) as acc:
        acc.exchange.switches.asset_flags = {"AAPL": flags}
        if not flags:  # the venue has never heard of it
            gone = {"code": 40410000, "message": "asset not found for AAPL"}
            acc.faults.add(
                Rule(action="status", status=404, path="/v2/assets/AAPL", body=gone, times=0)
            )
        acc.decided()
        assert acc.wanted == {cid: x for cid, x in orders.items() if "-AAPL-" not in cid}
        found = acc.entries("decision")[0].body
        assert found["orders"][1:] == decision["orders"][1:]
        assert found["orders"][0] == 0.0 != decision["orders"][0]
        assert found["target"] == decision["target"]
        assert list(found["refused"]) == ["AAPL"]
        assert found["refused"]["AAPL"]
