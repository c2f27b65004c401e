"""Two series over the same bars: their difference, and the interval over blocks of bars."""

from math import sqrt

import numpy as np
import pytest

from engine.measures import NotComputable
from engine.paired import BETTER, EQUAL, WORSE, apart, in_words


def noise(bars: int, seed: int) -> np.ndarray:
    return 0.01 * np.random.default_rng(seed).standard_normal(bars)


def test_difference_is_that_of_the_two_sharpe_ratios_and_means() -> None:
    ours = np.tile([0.02, 0.00], 20)  # mean 0.01, squared deviations 40 x 0.01^2
    theirs = np.tile([0.01, -0.01], 20)  # mean 0
    found = apart(ours, theirs, 252)
    deviation = sqrt(40 * 0.01**2 / 39)
    assert found.sharpe == pytest.approx(0.01 / deviation * sqrt(252))
    assert found.mean == pytest.approx(2.52)
    assert (found.bars, found.block) == (40, 3)  # 40 ^ (1/3) = 3.42


def test_series_that_lie_apart_by_a_constant_have_a_mean_without_doubt() -> None:
    theirs = noise(500, 1)
    found = apart(theirs + 0.001, theirs, 252)
    assert found.mean_interval == pytest.approx((0.252, 0.252))
    assert found.interval[0] > 0
    assert found.verdict == BETTER
    assert apart(theirs, theirs + 0.001, 252).verdict == WORSE


def test_series_against_itself_is_not_apart() -> None:
    found = apart(noise(300, 2), noise(300, 2), 252)
    assert (found.sharpe, found.interval) == (0.0, (0.0, 0.0))
    assert found.verdict == EQUAL


def test_interval_of_independent_series_is_as_wide_as_theory_says() -> None:
    # The error of a Sharpe ratio per bar is about 1 / sqrt(T); of a difference of two, sqrt(2 / T).
    found = apart(noise(1000, 3), noise(1000, 4), 252)
    width = 2 * 1.96 * sqrt(2 * 252 / 1000)
    assert found.interval[1] - found.interval[0] == pytest.approx(width, rel=0.12)


def test_shared_days_are_paired_and_make_the_interval_narrow() -> None:
    market = noise(1000, 5)
    close = apart(market + 0.1 * noise(1000, 6), market, 252)
    far = apart(noise(1000, 6), market, 252)
    assert np.diff(close.interval) < 0.2 * np.diff(far.interval)


def test_returns_that_follow_one_another_widen_the_interval() -> None:
    steady = np.repeat(noise(100, 7), 10)  # ten equal days in a row: a tenth of the evidence
    other = np.repeat(noise(100, 8), 10)
    plain = apart(noise(1000, 7), noise(1000, 8), 252)
    assert np.diff(apart(steady, other, 252).interval) > 1.8 * np.diff(plain.interval)


def test_same_series_give_the_same_interval() -> None:
    assert apart(noise(100, 1), noise(100, 2), 252) == apart(noise(100, 1), noise(100, 2), 252)


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        (noise(30, 1), noise(31, 1), "do not pair: 30 bars against 31"),
        (noise(19, 1), noise(19, 2), "at least 20 bars in common, found 19"),
        (noise(30, 1), np.zeros(30), "do not vary"),
    ],
)
def test_what_cannot_be_compared_says_why(ours: np.ndarray, theirs: np.ndarray, told: str) -> None:
    with pytest.raises(NotComputable, match=told):
        apart(ours, theirs, 252)


def test_words_come_from_the_interval_alone() -> None:
    assert [in_words(0.1, 1), in_words(-1, -0.1), in_words(-1, 1)] == [BETTER, WORSE, EQUAL]
