"""Splits, dividends and delistings: shares and cash before and after, by hand."""

import numpy as np
import pytest

from engine.reasons import Reason
from engine.venue import LIMIT
from tests.sessions import held, market, session, special, venue


def test_split_changes_shares_prices_and_waiting_orders():
    sim = held(100, 40.0)
    sim.submit(special(LIMIT, -50, limit=60.0))
    sim.advance(session(20.0, split=2.0))
    assert sim.book.qty[0, 0] == 200
    assert sim.book.basis[0, 0] == 20.0
    assert sim.pending.qty[0, 0] == -100
    assert sim.pending.limit[0, 0] == 30.0
    assert sim.book.equity()[0] == 100_000.0


def test_split_takes_place_before_the_open_of_its_session():
    sim = held(100, 40.0)
    sim.submit(market(-100))  # all of it, sent before the split
    outcome = sim.advance(session(open=21.0, close=21.0, split=2.0))
    assert outcome.filled[0, 0] == -200
    assert sim.book.cash[0] == 96_000 + 200 * 21


def test_fraction_left_by_a_split_is_paid_in_cash_at_the_last_close_in_new_shares():
    sim = held(101, 30.0)
    outcome = sim.advance(session(20.0, split=1.5))  # 151.5 shares at 20
    assert sim.book.qty[0, 0] == 151
    assert outcome.split_cash[0] == 10.0
    assert sim.book.equity()[0] == 100_000.0


def test_ratio_that_floats_cannot_hold_loses_no_share():
    sim = held(100, 23.0)
    assert sim.advance(session(20.0, split=1.15)).split_cash[0] == 0  # 100 * 1.15 is 114.99999...
    assert sim.book.qty[0, 0] == 115


def test_position_too_small_for_a_reverse_split_is_paid_out():
    sim = held(5, 2.0)
    assert sim.advance(session(20.0, split=0.1)).split_cash[0] == 10.0  # half a share at 20
    assert sim.book.qty[0, 0] == 0
    assert sim.book.basis[0, 0] == 0


def test_reverse_split_of_a_round_number_leaves_no_fraction():
    sim = held(30, 1.0)
    outcome = sim.advance(session(10.0, split=0.1))
    assert sim.book.qty[0, 0] == 3
    assert outcome.split_cash[0] == 0


def test_position_with_a_fraction_keeps_fractions_through_a_split():
    sim = held(1.3, 30.0)
    outcome = sim.advance(session(20.0, split=1.5))
    assert sim.book.qty[0, 0] == pytest.approx(1.95)
    assert outcome.split_cash[0] == 0


def test_short_position_pays_for_the_fraction_a_split_leaves():
    sim = held(-101, 30.0)
    outcome = sim.advance(session(20.0, split=1.5))
    assert sim.book.qty[0, 0] == -151
    assert outcome.split_cash[0] == -10.0


def test_split_on_a_session_without_a_bar_still_happens():
    sim = held(100, 40.0)
    sim.advance(session(np.nan, split=2.0))
    assert sim.book.qty[0, 0] == 200
    assert sim.book.equity()[0] == 100_000.0


def test_dividends_are_off_by_default_and_paid_per_share_when_on():
    assert held(100, 40.0).advance(session(39.0, dividend=1.0)).dividends[0] == 0
    sim = held(100, 40.0, pay_dividends=True)
    outcome = sim.advance(session(39.0, dividend=1.0))
    assert outcome.dividends[0] == 100.0
    assert sim.book.equity()[0] == 100_000.0


def test_short_position_pays_the_dividend():
    sim = held(-100, 40.0, pay_dividends=True)
    assert sim.advance(session(39.0, dividend=1.0)).dividends[0] == -100.0


def test_shares_bought_at_the_open_of_the_ex_date_get_no_dividend():
    sim = venue(pay_dividends=True)
    sim.advance(session(10.0))
    sim.submit(market(100))
    assert sim.advance(session(10.0, dividend=1.0)).dividends[0] == 0


def test_delisted_position_is_settled_at_its_last_close_and_orders_are_refused():
    sim = held(100, 40.0)
    sim.submit(market(-50))
    outcome = sim.advance(session(np.nan, ended=True))
    assert outcome.settled[0, 0] == 100
    assert sim.book.basis[0, 0] == 0
    assert outcome.refused[0, 0] == Reason.DELISTED
    assert outcome.unfilled[0, 0] == -50
    assert sim.book.qty[0, 0] == 0
    assert sim.book.cash[0] == 100_000.0
    assert sim.submit(market(10))[0, 0] == Reason.DELISTED
    assert sim.advance(session(np.nan, ended=True)).settled[0, 0] == 0
