"""What a person does to a paper account, and what the account lives through: real HTTP, few bars."""

import json
import os
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from brokers.alpaca.keys import KEY_ID, SECRET, Keys
from engine.bars import Bars
from engine.checkpoint import RECORD
from engine.clock import SystemClock
from engine.errors import SettingsError, UsageError, VenueUnavailable
from engine.reasons import Reason
from engine.run.paper import commands
from engine.run.paper.bars_kept import bars_from
from engine.run.paper.room import furnish
from engine.run.schedule.notify import VARIABLE
from tests.fault_account import account, few_bars
from tests.paper_account import START, settings_for

SECOND = date(2010, 1, 5)


def split_bars(symbol: str, ratio: float, on: date) -> Bars:
    """The same market with one more split, its prices changed with it."""
    bars = few_bars()
    n, t = bars.symbols.index(symbol), bars.index_of(on)
    split, ohlcv = bars.split.copy(), bars.ohlcv.copy()
    split[t, n] *= ratio
    ohlcv[t:, n, :4] /= ratio
    ohlcv[t:, n, 4] *= ratio
    return replace(bars, split=split, ohlcv=ohlcv)


def looking_further_back(agent: Path, folder: Path, burn_in: int) -> Path:
    """The same agent, except that its memory takes so many bars to build."""
    shutil.copytree(agent, folder)
    tree = json.loads((folder / RECORD).read_text())
    tree["burn_in"] = burn_in
    tree.pop("digest", None)
    (folder / RECORD).write_text(json.dumps(tree))
    return folder


def test_rebase_books_what_filled_while_nobody_looked_once(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.decided()
        commands.halt(acc.settings, "a look by eye", cancel=False, as_json=True)
        assert acc.look().state == "halted"
        acc.open_plus(START, 20)  # the orders fill, and nobody has asked
        acc.resume(rebase=True)
        found = acc.look()
        assert found.state == "closed", found
        assert acc.held_by_journal() == acc.exchange.dump()["qty"]


@pytest.mark.parametrize("ratio", [2.0, 0.1])
def test_rebase_on_the_day_of_a_split_does_not_split_the_new_shares_again(tmp_path, agent, ratio):
    with account(tmp_path, agent, split_bars("IBM", ratio, SECOND)) as acc:
        acc.filled()
        acc.close_plus(START)
        acc.look()
        acc.open_plus(SECOND)
        acc.exchange.external_fill("IBM", 3)
        assert acc.look().state == "halted"
        acc.resume(rebase=True)
        found = acc.look()
        assert found.state == "closed", found
        acc.close_plus(SECOND)
        found = acc.look()
        assert found.state in ("waiting", "closed"), found
        decision = acc.entries("decision")[-1].body
        net = float(acc.exchange.account()["equity"]) - decision["book"]["fees"][0]
        assert decision["equity"] == pytest.approx(net, rel=1e-6)


def test_halt_with_cancel_switches_off_even_where_the_venue_cannot_be_asked(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.filled()
        nobody = {KEY_ID: "", SECRET: ""}
        with patch.dict(os.environ, nobody), pytest.raises(UsageError):
            commands.halt(acc.settings, "at once", cancel=True, as_json=True)
        assert acc.room.kill_file.exists()
        acc.close_plus(START)
        assert acc.look().state == "halted"


def test_halt_in_a_folder_without_an_account_says_that_no_runner_is_there(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        told = commands.halt(acc.settings, "at once", cancel=False, as_json=True)
        assert told["exit_code"] == 1
        assert "no account" in told["warning"]
        acc.room.kill_file.unlink()
        acc.decided()
        assert "warning" not in commands.halt(acc.settings, "now", cancel=False, as_json=True)


def test_resume_that_fails_leaves_the_kill_switch_on(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.filled()
        commands.halt(acc.settings, "a look by eye", cancel=False, as_json=True)
        acc.spoil("status", "/v2/positions", times=0, status=404)
        with pytest.raises(VenueUnavailable):
            acc.resume(rebase=True)
        assert acc.room.kill_file.exists()


def test_fill_between_the_look_at_orders_and_at_positions_is_no_difference(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.decided()
        acc.open_plus(START, -1)
        acc.faults.on("GET", "/v2/positions", 1, "before", lambda _: acc.open_plus(START, 1))
        found = acc.look()
        assert found.state in ("waiting", "closed"), found.message
        assert acc.held_by_journal() == acc.exchange.dump()["qty"] != {}


@pytest.mark.parametrize(("cents", "state"), [(3, "waiting"), (-3, "waiting"), (40, "halted")])
def test_cash_may_differ_by_a_cent_for_every_fill_also_once_they_are_booked(
    tmp_path, agent, cents, state
):
    with account(tmp_path, agent) as acc:
        acc.filled()
        acc.close_plus(START)
        acc.look()
        assert len(acc.entries("fill")) >= 2
        cash = float(acc.exchange.account()["cash"]) + cents / 100
        acc.spoil("edit", "/v2/account", times=0, add={"cash": f"{cash:.6f}"})
        found = acc.look()
        assert found.state == state, found.message


def test_positions_that_are_truly_gone_halt_and_rebase_goes_on(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.filled()
        for symbol, qty in acc.exchange.dump()["qty"].items():
            acc.exchange.external_fill(symbol, -qty)
        found = acc.look()
        assert found.state == "halted", found.message
        assert "the venue's 0" in found.message
        acc.resume(rebase=True)
        assert acc.look().state == "closed"


def test_symbols_in_another_order_are_refused_by_name(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.filled()
        acc.room.symbols = acc.room.symbols[::-1]
        acc.room.seen = None
        found = acc.look()
        assert found.state == "halted"
        assert (
            "data.symbols: expected those of this account, AAPL, GOOG, IBM, MSFT" in found.message
        )


def test_new_agent_that_looks_further_back_gets_its_history_and_does_not_sell_for_want_of_it(
    tmp_path, agent
):
    with account(tmp_path / "paper", agent) as acc:
        acc.filled()
        first = len(bars_from(acc.entries("bars")).sessions)
        acc.close_plus(START)
        acc.room.checkpoint = looking_further_back(agent, tmp_path / "other", 2 * first)
        acc.room._policy = None
        named = acc.settings.paper.model_copy(update={"checkpoint": str(acc.room.checkpoint)})
        acc.settings = acc.settings.model_copy(update={"paper": named})
        assert "--new-checkpoint" in acc.look().message
        acc.resume(new_checkpoint=True)
        assert acc.look().state == "waiting"
        decision = acc.entries("decision")[-1].body
        assert not any(bits & Reason.NOT_READY for bits in decision["reasons"])
        assert decision["warm"][0][0] > 2 * first
        bars = bars_from(acc.entries("bars"))
        assert len(bars.sessions) > 2 * first
        assert len(np.unique(bars.sessions)) == len(bars.sessions)


def test_another_feed_after_the_first_halts_until_a_new_agent_starts_on_it(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.filled()
        acc.close_plus(START)
        acc.room.settings = acc.room.settings.model_copy(
            update={"paper": acc.room.settings.paper.model_copy(update={"feed": "sip"})}
        )
        found = acc.look()
        assert found.state == "halted"
        assert "expected bars of alpaca:iex" in found.message


def test_market_that_no_paper_account_is_gets_refused(tmp_path, agent):
    settings = settings_for(tmp_path, agent, ("AAPL",))
    rules = settings.venue.model_copy(update={"fill": "same_close"})
    with pytest.raises(SettingsError, match=r"venue\.fill"):
        furnish(
            settings.model_copy(update={"venue": rules}), Keys("PKTEST", "secret"), SystemClock()
        )


def test_first_look_during_a_session_promises_the_next_close_and_no_missed_session(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.open_plus(START, 60)
        found = acc.look()
        assert found.state == "waiting"
        assert "the first decision comes after the next close" in found.message


def test_rebase_keeps_what_our_modelled_costs_came_to(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.filled()
        acc.close_plus(START)
        acc.look()
        before = acc.entries("decision")[-1].body
        assert before["book"]["fees"][0] > 0
        acc.resume(rebase=True)
        after = acc.entries("resumed")[-1].body
        assert after["book"]["fees"] == before["book"]["fees"]
        assert after["peak"] == pytest.approx(before["equity"], rel=1e-9)


def test_position_without_a_price_counts_at_what_was_paid(tmp_path, agent):
    # Or equity would be no number, and every guard on it off.
    with account(tmp_path, agent) as acc:
        acc.exchange.external_fill("IBM", 2)
        paid = float(acc.exchange.account()["cash"])
        room = acc.room
        room.settings = room.settings.model_copy(
            update={"paper": room.settings.paper.model_copy(update={"adopt": True})}
        )
        acc.spoil("edit", "/v2/positions", times=0, add={"current_price": None})
        assert np.isnan(room.gateway.positions()["IBM"].price)
        assert acc.look().state == "waiting"
        book = acc.entries("opened")[0].body["book"]
        assert book["mark"] == book["basis"]
        assert book["cash"] == [paid]


def test_messages_that_cannot_be_sent_are_refused_before_anything_is_done(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        keys = {KEY_ID: acc.exchange.key_id, SECRET: acc.exchange.secret}
        with patch.dict(os.environ, keys | {VARIABLE: "no-address"}), pytest.raises(UsageError):
            commands.run_once(acc.settings, None, as_json=True)
        assert acc.posts == []


def test_symbol_without_a_bar_is_told_to_a_person(tmp_path, agent):
    with account(tmp_path, agent) as acc:
        acc.filled()
        acc.exchange.drop_bar("IBM", START)
        acc.close_plus(START)
        assert f"no bar, so not decided on: IBM {START}; " in acc.look().news
