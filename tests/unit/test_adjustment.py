"""Events from adjusted closes and back: by hand, on real series, and for any market."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data import adjustment
from engine.errors import DataError


def derived(close, adjusted, basis="raw"):
    where = [f"row {i}" for i in range(len(close))]
    return adjustment.derive(np.array(close), np.array(adjusted), basis, where)


def test_a_doubling_of_the_ratio_is_a_two_for_one_split():
    # 100 becomes 50 overnight; in shares of today the old close was 50.
    events = derived([100.0, 50.0, 51.0], [50.0, 50.0, 51.0])
    assert events.split.tolist() == [1.0, 2.0, 1.0]
    assert events.dividend.tolist() == [0.0, 0.0, 0.0]


def test_a_reverse_split_is_a_split_below_one():
    events = derived([1.0, 20.0, 20.0], [20.0, 20.0, 20.0])
    assert events.split.tolist() == pytest.approx([1.0, 0.05, 1.0])


def test_a_small_step_is_a_dividend_in_cash():
    # 1.00 paid on a close of 99: the step is (99 + 1) / 99.
    events = derived([100.0, 99.0, 99.0], [99.0, 99.0, 99.0])
    assert events.dividend.tolist() == pytest.approx([0.0, 1.0, 0.0])
    assert events.split.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("basis", ["raw", "split"])
def test_a_large_step_that_no_split_makes_is_a_distribution(basis):
    # A spin-off: 60 a share on a close of 100 is a step of 1.6 + 0.0001.
    events = derived([160.0, 100.0], [99.99, 100.0], basis=basis)
    assert events.split.tolist() == [1.0, 1.0]
    assert events.dividend.tolist() == pytest.approx([0.0, 60.016], abs=1e-3)
    assert "distribution of 60.0160 a share" in events.notes[0]


def test_a_split_in_prices_declared_split_adjusted_is_refused():
    with pytest.raises(DataError, match=r'row 1: .* a split that is not .* price_basis = "raw"'):
        derived([100.0, 50.0], [50.0, 50.0], basis="split")


def test_rounded_adjusted_closes_invent_no_dividend():
    rng = np.random.default_rng(1)
    close = np.round(40 + np.cumsum(rng.normal(0, 0.3, 500)), 2)
    for decimals in (2, 4, 6):
        events = derived(close, np.round(close * 0.37, decimals))
        assert not events.dividend.any()
        assert (events.split == 1).all()


def test_an_adjusted_close_too_coarse_for_dividends_says_so():
    # Cents on a price of 2.00: half a cent on each side of a step is half a percent.
    events = derived([2.0, 2.01, 2.02], [2.0, 2.01, 2.02])
    assert "dividends below 0.50% of the price do not show" in events.notes[0]


def test_a_step_down_that_is_no_split_is_refused_with_its_row():
    with pytest.raises(DataError, match=r"row 1: .* falls by the factor 0\.9000"):
        derived([100.0, 100.0], [100.0, 90.0])


YIELDS = st.floats(0.002, 0.2)  # of the close


@given(
    st.lists(st.floats(-0.08, 0.08), min_size=2, max_size=40),
    st.dictionaries(
        st.integers(1, 39), st.sampled_from([2.0, 3.0, 1.5, 7.0, 0.1, 0.05]), max_size=3
    ),
    st.dictionaries(st.integers(1, 39), YIELDS, max_size=5),
    st.floats(0.01, 10.0),
)
@settings(max_examples=200, deadline=None)
def test_events_come_back_from_the_adjusted_close_they_made(returns, splits, dividends, factor):
    n = len(returns)
    split, paid = np.ones(n), np.zeros(n)
    for t, ratio in splits.items():
        if t < n:
            split[t] = ratio
    for t, share in dividends.items():
        if t < n and split[t] == 1.0:  # both on one day cannot be told apart from the step alone
            paid[t] = share
    close = 100.0 * np.exp(np.cumsum(returns)) / np.cumprod(split)
    dividend = paid * close
    adjusted = adjustment.adjusted_close(close, split, dividend) * factor
    step = adjustment.implied(close, split, dividend)
    events = derived(close, adjusted)
    cash_looks_like_split = [
        dividend[t] > 0 and adjustment.simple_ratio(step[t], adjustment.EXACT) for t in range(n)
    ]
    if not any(cash_looks_like_split) and not any("rounded" in note for note in events.notes):
        assert events.split == pytest.approx(split)
        assert events.dividend == pytest.approx(dividend, rel=1e-6, abs=1e-9)
    rebuilt = adjustment.adjusted_close(close, events.split, events.dividend)
    ratio = rebuilt / adjusted
    assert ratio == pytest.approx(np.full(n, ratio[-1]), rel=1e-9)


def test_adjusted_close_is_the_total_return_of_the_holder():
    # One share at 10; 2:1 split, then 0.50 a share reinvested at a close of 5: 2 x 1.1 shares of 6.
    close = np.array([10.0, 5.0, 5.0, 6.0])
    split = np.array([1.0, 2.0, 1.0, 1.0])
    dividend = np.array([0.0, 0.0, 0.5, 0.0])
    adjusted = adjustment.adjusted_close(close, split, dividend)
    assert adjusted[-1] == 6.0
    assert adjusted[-1] / adjusted[0] == pytest.approx(2 * 1.1 * 6.0 / 10.0)


def test_listed_events_that_do_not_explain_the_adjusted_close_are_found():
    close = np.array([100.0, 99.0, 99.0, 98.0])
    adjusted = adjustment.adjusted_close(close, np.ones(4), np.array([0.0, 1.0, 0.0, 0.5]))
    complete = adjustment.Events(np.ones(4), np.array([0.0, 1.0, 0.0, 0.5]))
    forgot = adjustment.Events(np.ones(4), np.array([0.0, 1.0, 0.0, 0.0]))
    assert adjustment.mismatches(complete, close, adjusted).tolist() == []
    assert adjustment.mismatches(forgot, close, adjusted).tolist() == [3]


@pytest.mark.parametrize("ratio", [2.0, 1.5, 1.25, 7.0, 20.0, 0.05, 0.125, 4 / 3])
def test_ratios_that_splits_have_are_simple(ratio):
    assert adjustment.simple_ratio(ratio * (1 + 1e-6), 1e-4) == ratio


@pytest.mark.parametrize("ratio", [1.0, 1.1124498, 1.0053, 0.98, 2.39, 37.3])
def test_other_ratios_are_not(ratio):
    assert adjustment.simple_ratio(ratio, 1e-4) is None
