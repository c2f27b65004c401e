"""Limits: what is left of a wish, by hand; and that no result ever breaks a limit."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.limits import Limits, check_orders, constrain
from engine.reasons import Reason

FREE = {"max_exposure": 9.0, "max_gross": 9.0, "max_net": 9.0, "drift": 0.0}


def bound(wanted, held=None, keep=None, **limits):
    wanted = np.array([wanted], dtype=float)
    held = np.zeros_like(wanted) if held is None else np.array([held], dtype=float)
    keep = np.zeros(wanted.shape, bool) if keep is None else np.array([keep], dtype=bool)
    return constrain(wanted, keep, held, Limits(**limits))


def test_wish_within_all_limits_passes_untouched():
    result = bound([0.3, 0.2], [0.1, 0.2])
    assert result.target[0].tolist() == [0.3, 0.2]
    assert result.trade[0].tolist() == [True, False]  # 0.2 is held already
    assert not result.reasons.any()


def test_short_wish_becomes_flat_when_shorts_are_off():
    result = bound([-0.5, 0.5])
    assert result.target[0].tolist() == [0.0, 0.5]
    assert result.reasons[0].tolist() == [Reason.SHORT_OFF, 0]


def test_short_wish_passes_when_shorts_are_allowed():
    assert bound([-0.5], allow_short=True).target[0].tolist() == [-0.5]


def test_exposure_of_one_symbol_is_cut_to_its_limit():
    result = bound([0.5, -0.7], max_exposure=0.4, allow_short=True)
    assert result.target[0].tolist() == [0.4, -0.4]
    assert (result.reasons == Reason.MAX_EXPOSURE).all()


def test_gross_limit_scales_the_wishes():
    result = bound([0.9, 0.6])
    assert result.target[0] == pytest.approx([0.6, 0.4])  # 1.5 scaled to 1.0
    assert (result.reasons == Reason.MAX_GROSS).all()


def test_drift_is_no_allowance_for_wishes():
    assert bound([0.6, 0.41], drift=0.02).target[0].sum() == pytest.approx(1.0)


def test_kept_positions_stay_and_wishes_share_what_is_left():
    result = bound([0.0, 0.3, 0.1], [0.8, 0.0, 0.0], [True, False, False])
    assert result.target[0] == pytest.approx([0.8, 0.15, 0.05])  # 0.2 left for a wish of 0.4
    assert result.trade[0].tolist() == [False, True, True]


def test_net_limit_cuts_the_heavier_side_only():
    result = bound([0.8, 0.4, -0.4], max_net=0.5, max_gross=2.0, allow_short=True)
    # net 0.8 is 0.3 too much: the longs give 1.2 -> 0.9, that is a factor of 0.75
    assert result.target[0] == pytest.approx([0.6, 0.3, -0.4])
    assert result.reasons[0].tolist() == [Reason.MAX_NET, Reason.MAX_NET, 0]


def test_holdings_come_before_larger_new_wishes_when_positions_are_counted():
    result = bound([0.1, 0.5, 0.3], [0.1, 0.0, 0.0], max_positions=2)
    assert result.target[0].tolist() == [0.1, 0.5, 0.0]
    assert result.reasons[0].tolist() == [0, 0, Reason.MAX_POSITIONS]


def test_too_many_holdings_lose_the_smallest():
    result = bound([0, 0, 0], [0.1, 0.5, 0.3], [True, True, True], max_positions=2)
    assert result.target[0].tolist() == [0.0, 0.5, 0.3]
    assert result.trade[0].tolist() == [True, False, False]


def test_a_sale_frees_the_place_of_its_position():
    result = bound([0.0, 0.4], [0.4, 0.0], max_positions=1)
    assert result.target[0].tolist() == [0.0, 0.4]


def test_turnover_scales_every_change_alike():
    result = bound([0.6, 0.0], [0.0, 0.2], max_turnover=0.4)
    assert result.target[0] == pytest.approx([0.3, 0.1])  # a change of 0.8 halved
    assert (result.reasons == Reason.MAX_TURNOVER).all()


def test_forced_reduction_outranks_turnover():
    result = bound([0.0], [1.5], [True], max_turnover=0.1)
    assert result.target[0].tolist() == [1.0]
    assert result.reasons[0] & Reason.MAX_EXPOSURE


def test_forced_reduction_leaves_no_turnover_for_new_positions():
    result = bound([0.0, 0.5], [1.5, 0.0], [True, False], max_turnover=0.5, max_gross=2, max_net=2)
    assert result.target[0] == pytest.approx([1.0, 0.0])


def test_turnover_limit_does_not_hold_more_positions_than_allowed():
    result = bound([0.0, 1.0], [1.0, 0.0], max_positions=1, max_turnover=0.5)
    assert result.target[0] == pytest.approx([0.75, 0.0])  # the second must wait for the place


def test_kept_position_that_prices_carried_past_a_limit_is_left_alone_within_the_drift():
    result = bound([0.0, 0.0], [0.52, 0.495], [True, True], max_exposure=0.5, drift=0.02)
    assert not result.trade.any()  # 0.52 and a gross of 1.015 are inside 0.5 + 0.02 and 1 + 0.02
    assert not result.reasons.any()


def test_kept_position_beyond_the_drift_goes_back_to_the_limit_and_no_further():
    result = bound([0.0], [0.53], [True], max_exposure=0.5, drift=0.02)
    assert result.target[0].tolist() == [0.5]
    assert result.trade[0].tolist() == [True]


def test_kept_book_beyond_gross_and_drift_is_scaled_back_to_the_limit():
    result = bound([0.0, 0.0], [0.66, 0.44], [True, True])
    assert result.target[0] == pytest.approx([0.6, 0.4])


def test_wish_to_grow_is_not_turned_into_a_sale_by_the_drift_of_others():
    result = bound([0.0, 0.4], [0.76, 0.25], [True, False])
    assert result.target[0].tolist() == [0.76, 0.25]  # nothing to add, nothing to sell
    assert result.reasons[0].tolist() == [0, Reason.MAX_GROSS]


def test_wishes_shrink_before_kept_positions_when_the_book_is_too_large():
    result = bound([0.0, 0.6], [0.6, 0.5], [True, False])
    assert result.target[0] == pytest.approx([0.6, 0.4])


def test_kept_short_is_closed_when_shorts_are_off():
    result = bound([0.0], [-0.2], [True])
    assert result.target[0].tolist() == [0.0]
    assert result.reasons[0] == Reason.SHORT_OFF


def test_float_dust_is_never_a_reason_to_trade():
    assert not bound([0.1 + 0.2], [0.3]).trade.any()
    assert not bound([1.0 / 3.0] * 3).reasons.any()  # adds up to 1 within rounding


def test_fully_invested_book_left_alone_never_trades_while_prices_move():
    rng = np.random.default_rng(1)
    value, everything = np.array([[600.0, 400.0]]), np.ones((1, 2), bool)
    for _ in range(500):  # no cash: the exposures always add up to 1
        value = value * np.exp(0.05 * rng.standard_normal((1, 2)))
        held = value / value.sum()
        assert not constrain(np.zeros((1, 2)), everything, held, Limits()).trade.any()


exposures = st.floats(-2.0, 2.0, allow_nan=False)


@st.composite
def questions(draw):
    n = draw(st.integers(1, 5))
    rows = st.lists(exposures, min_size=n, max_size=n)
    keep = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    limits = Limits(
        max_exposure=draw(st.sampled_from([0.25, 0.5, 1.0])),
        max_gross=draw(st.sampled_from([0.5, 1.0, 1.5])),
        max_net=draw(st.sampled_from([0.3, 1.0])),
        max_positions=draw(st.sampled_from([None, 1, 2, 3])),
        max_turnover=draw(st.sampled_from([None, 0.1, 0.7])),
        allow_short=draw(st.booleans()),
        drift=draw(st.sampled_from([0.0, 0.02])),
    )
    return np.array([draw(rows)]), np.array([keep]), np.array([draw(rows)]), limits


@settings(max_examples=300, deadline=None)
@given(questions())
def test_no_target_breaks_a_limit(question):
    wanted, keep, held, limits = question
    target = constrain(wanted, keep, held, limits).target[0]
    slack = limits.drift + 1e-8
    assert np.abs(target).max() <= limits.max_exposure + slack
    assert np.abs(target).sum() <= limits.max_gross + slack
    assert abs(target.sum()) <= limits.max_net + slack
    assert limits.allow_short or target.min() >= -1e-8
    if limits.max_positions is not None:
        assert (np.abs(target) > 1e-8).sum() <= limits.max_positions


@settings(max_examples=300, deadline=None)
@given(questions())
def test_wishes_that_end_where_they_were_need_no_trade_and_every_cut_has_a_reason(question):
    wanted, keep, held, limits = question
    result = constrain(wanted, keep, held, limits)
    asked = np.where(keep, held, wanted)
    assert (np.abs(result.target - held)[~result.trade] <= 1e-9).all()
    assert (result.reasons[np.abs(result.target - asked) > 1e-8] != 0).all()


# Here growth that is cut leaves the net out of balance.
UNBALANCED = (
    np.array([[-1.0, 1.0]]),
    np.array([[False, False]]),
    np.array([[-1.25, 0.0]]),
    Limits(max_net=0.3, max_gross=1.5, max_turnover=0.7, allow_short=True, drift=0.0),
)


@settings(max_examples=200, deadline=None)
@given(questions())
@example(UNBALANCED)
def test_turnover_beyond_its_limit_is_only_ever_reduction(question):
    wanted, keep, held, limits = question
    target = constrain(wanted, keep, held, limits).target
    if limits.max_turnover is None or np.abs(target - held).sum() <= limits.max_turnover + 1e-8:
        return
    assert (np.abs(target) <= np.abs(held) + 1e-8).all()


@settings(max_examples=200, deadline=None)
@given(questions(), questions())
def test_each_book_is_judged_as_if_it_were_alone(first, second):
    (w1, k1, h1, limits), (w2, k2, h2, _) = first, second
    n = min(w1.shape[1], w2.shape[1])
    wanted, keep, held = (
        np.concatenate([a[:, :n], b[:, :n]]) for a, b in ((w1, w2), (k1, k2), (h1, h2))
    )
    together = constrain(wanted, keep, held, limits)
    for b in range(2):
        alone = constrain(wanted[b : b + 1], keep[b : b + 1], held[b : b + 1], limits)
        assert (together.target[b] == alone.target[0]).all()
        assert (together.reasons[b] == alone.reasons[0]).all()


def checked(qty, held=0.0, waiting=0.0, **limits):
    n = len(qty)
    row = lambda x: np.broadcast_to(np.array([x], float), (1, n)).copy()  # noqa: E731
    price, equity = np.full((1, n), 10.0), np.array([1000.0])
    return check_orders(row(qty), row(held), row(waiting), price, equity, Limits(**limits))


def test_order_above_its_largest_value_is_cut():
    qty, reasons = checked([60.0, -20.0], held=[0.0, 30.0], max_order_value=300.0)
    assert qty[0].tolist() == [30.0, -20.0]  # 300 dollars at 10
    assert reasons[0].tolist() == [Reason.MAX_ORDER_VALUE, 0]


def test_open_orders_count_as_filled():
    qty, reasons = checked([50.0, 0.0], waiting=[0.0, 70.0])
    assert qty[0] == pytest.approx([30.0, 0.0])  # 1000 dollars less 700 waiting, at 10
    assert reasons[0].tolist() == [Reason.MAX_GROSS, 0]


def test_reducing_order_passes_while_others_wait():
    qty, reasons = checked([-50.0, 0.0], held=[90.0, 0.0], waiting=[0.0, 70.0])
    assert qty[0].tolist() == [-50.0, 0.0]
    assert not reasons.any()


def test_open_order_of_one_book_changes_nothing_in_another():
    # Book 1 sells 66 of its first symbol to pay for 14 of its second; book 0 has an open order.
    held = np.array([[100.0, 100.0], [500.0, 500.0]])
    qty = np.array([[0.0, 10.0], [-66.0, 14.0]])
    price, equity = np.full((2, 2), 10.0), np.array([10_000.0, 10_000.0])
    still = np.array([[5.0, 0.0], [0.0, 0.0]])
    alone, _ = check_orders(qty, held, np.zeros((2, 2)), price, equity, Limits())
    beside, _ = check_orders(qty, held, still, price, equity, Limits())
    assert alone[1].tolist() == [-66.0, 14.0]
    assert beside[1].tolist() == [-66.0, 14.0]
