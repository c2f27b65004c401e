"""Shares found at the price of the fill: fees inside, cuts kept, and never without being asked."""

import numpy as np
import pytest
from pydantic import ValidationError

from engine.costs import Costs
from engine.limits import Limits
from engine.orders import Sizing, plan
from engine.reasons import Reason
from engine.sizes import units
from engine.venue import SimVenue, VenueSettings
from tests.sessions import session

TENTH = Costs(rate=0.001, slippage_bps=0.0)
SHORTS = Limits(allow_short=True, max_exposure=10, max_gross=10, max_net=10)


def decide(sim, target, limits=SHORTS, **sizing):
    """Send what brings every symbol of the only book to its target weight."""
    shape = sim.shape
    planned = plan(
        np.array([target]),
        np.ones(shape, dtype=bool),
        np.zeros(shape, dtype=np.int32),
        sim.book,
        sim.pending.qty,
        Sizing(**sizing),
        limits,
        sim.costs,
        sim.settings,
    )
    assert not sim.submit(planned.orders).any()
    return planned


def closes_of(*closes, cash=1_000.0, costs=TENTH, fill="next_close", **kind):
    """A venue that has seen the first close of each symbol, sized at the fill."""
    settings = VenueSettings(fill=fill, size="fill", leverage=4.0, **kind)
    sim = SimVenue(cash, (1, len(closes)), costs, settings)
    sim.advance(session(np.array(closes, dtype=float)))
    return sim


def test_all_the_cash_is_spent_at_the_close_of_the_fill_and_no_more():
    # 1,000 / (1.001 * 8) = 124.9 shares, though 10 was the price of the decision.
    sim = closes_of(10)
    decide(sim, [1.0])
    sim.advance(session(np.array([8.0])))
    assert sim.book.qty[0, 0] == 124
    assert sim.book.cash[0] == pytest.approx(1_000 - 124 * 8 * 1.001)


def test_fractions_leave_weights_exact_after_the_fees():
    sim = closes_of(10, 20, 40)
    decide(sim, [0.5, 0.3, 0.2], fractional=True)
    sim.advance(session(np.array([11.0, 19.0, 44.0])))
    equity = sim.book.equity()[0]
    # the positions are worth the equity, and a thousandth of them was paid
    assert equity == pytest.approx(1_000 / 1.001)
    assert sim.book.value()[0] / equity == pytest.approx([0.5, 0.3, 0.2], abs=1e-8)
    assert sim.book.cash[0] == pytest.approx(0, abs=1e-6)


def test_slippage_is_paid_out_of_the_target_as_well():
    sim = closes_of(10, costs=Costs(slippage_bps=100.0))
    decide(sim, [1.0], fractional=True)
    sim.advance(session(np.array([10.0])))
    assert sim.book.qty[0, 0] == pytest.approx(1_000 / 10.1)


def test_from_long_to_short_in_one_order_pays_both_fees_first():
    sim = closes_of(10)
    decide(sim, [1.0])
    sim.advance(session(np.array([10.0])))
    held, cash = sim.book.qty[0, 0], sim.book.cash[0]
    decide(sim, [-1.0], flip="one_order")
    sim.advance(session(np.array([9.0])))
    left = cash + held * 9 * 0.999
    assert sim.book.qty[0, 0] == -np.floor(left / (1.001 * 9))


def test_same_close_finds_the_size_at_the_close_of_the_decision():
    sim = closes_of(10, fill="same_close")
    decide(sim, [1.0])
    sim.advance(session(np.array([50.0])))
    assert sim.book.qty[0, 0] == 99


def test_what_a_limit_cut_stays_cut_at_the_fill():
    # 300 dollars at 10 are 30 shares of 1,000: a weight of 0.3, which at 5 is 60 shares less the fee.
    sim = closes_of(10)
    planned = decide(sim, [1.0], Limits(max_order_value=300.0))
    assert planned.reasons[0, 0] & Reason.MAX_ORDER_VALUE
    sim.advance(session(np.array([5.0])))
    assert sim.book.qty[0, 0] == 59


def test_an_order_that_shrinks_to_nothing_is_reported():
    sim = closes_of(600, cash=1_000.0)
    decide(sim, [1.0])
    outcome = sim.advance(session(np.array([1_200.0])))
    assert outcome.refused[0, 0] == Reason.TOO_SMALL
    assert outcome.unfilled[0, 0] == 1
    assert not sim.pending.qty.any()


def test_a_symbol_without_a_bar_keeps_its_order_until_it_has_one():
    sim = closes_of(10)
    decide(sim, [1.0])
    sim.advance(session(np.array([np.nan])))
    assert sim.pending.qty[0, 0] == 100
    sim.advance(session(np.array([5.0])))
    assert sim.book.qty[0, 0] == 199


def test_sizes_of_the_decision_are_left_alone_by_default():
    sim = SimVenue(1_000.0, (1, 1), TENTH, VenueSettings(fill="next_close"))
    sim.advance(session(np.array([10.0])))
    decide(sim, [0.5])
    sim.advance(session(np.array([8.0])))
    assert sim.book.qty[0, 0] == 50


def test_the_open_cannot_be_sized_at():
    with pytest.raises(ValidationError, match="nobody knows the open"):
        VenueSettings(size="fill")


def test_a_waiting_weight_survives_a_snapshot_and_old_snapshots_have_none():
    sim, twin = closes_of(10), closes_of(10)
    decide(sim, [1.0])
    state = sim.snapshot()
    twin.restore(state)
    assert twin.pending.weight.tolist() == [[1.0]]
    del state["pending.weight"], state["pending.fractional"]
    closes_of(10).restore(state)


def test_units_round_towards_zero_and_lend_no_fraction():
    shares = np.array([2.7, -2.7, 2.9999999])
    assert units(shares, fractional=False).tolist() == [2, -2, 3]
    assert units(shares, fractional=True).tolist() == [2.7, -2, 2.9999999]
