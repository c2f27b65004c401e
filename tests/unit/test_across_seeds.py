"""The interquartile mean and its interval, against published vectors and its own coverage."""

import numpy as np
import pytest

from engine.across_seeds import bootstrap_interval, compare, interquartile_mean
from engine.measures import NotComputable


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], 4.5),  # 2 dropped at each end
        ([0, 1, 2, 100], 1.5),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9, 1000], 5.5),
        ([1, 2, 3, 4, 5], 3.0),
        ([7], 7.0),
    ],
)
def test_interquartile_mean_drops_a_quarter_at_each_end(values, expected):
    assert interquartile_mean(np.array(values)) == expected


def test_interval_is_fixed_and_blind_to_the_order_of_seeds():
    values = np.array([0.3, -0.1, 0.9, 0.4, 0.2])
    found = bootstrap_interval(values)
    assert found == bootstrap_interval(values[::-1])
    assert found[0] < interquartile_mean(values) < found[1]


def test_interval_of_equal_runs_is_a_point():
    assert bootstrap_interval(np.full(5, 0.25)) == (0.25, 0.25)


def test_runs_are_drawn_again_within_their_task():
    # each task is constant: whatever is drawn, half of the pool is 0 and half is 10
    values = np.array([[0.0, 10.0]] * 4)
    assert bootstrap_interval(values) == (5.0, 5.0)


def test_interval_of_ten_runs_covers_the_truth_nine_times_in_ten():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.standard_normal(10), draws=1_000)
        hits += low <= 0.0 <= high
    assert hits / 300 >= 0.90


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [1.0, np.inf]])
def test_a_missing_run_is_an_error(values):
    with pytest.raises(NotComputable, match="missing"):
        interquartile_mean(np.array(values))
    with pytest.raises(NotComputable):
        bootstrap_interval(np.array(values))


def test_one_run_has_no_interval():
    with pytest.raises(NotComputable, match="at least 2 runs"):
        bootstrap_interval(np.array([1.0]))


# Two configurations ------------------------------------------------------------------------------


def test_comparison_pairs_by_seed_and_window():
    # Windows lie far apart and seeds too; ours is better by 1 in every pair, which only pairs show.
    theirs = np.add.outer(np.array([0.0, 50.0, 90.0]), np.array([0.0, 1_000.0]))
    found = compare(theirs + 1.0, theirs)
    assert found.difference == pytest.approx(1.0)
    assert found.interval == pytest.approx((1.0, 1.0))
    # Of the 9 pairs of a window ours wins the 3 of one seed and the 3 against a lower one.
    assert found.improvement == pytest.approx(6 / 9)


def test_improvement_is_one_half_against_itself_and_one_or_zero_when_apart():
    runs = np.array([0.1, 0.4, -0.2, 0.4])
    assert compare(runs, runs).improvement == 0.5
    assert compare(runs + 9, runs).improvement_interval == (1.0, 1.0)
    assert compare(runs - 9, runs).improvement == 0.0


def test_comparison_is_fixed_and_blind_to_the_order_of_seeds():
    rng = np.random.default_rng(1)
    ours, theirs = rng.standard_normal((2, 6, 3))
    mixed = rng.permutation(6)
    found = compare(ours, theirs)
    assert found == compare(ours[mixed], theirs[mixed])
    low, high = found.improvement_interval
    assert low < found.improvement < high


def test_comparison_of_equal_agents_reaches_zero_in_nine_of_ten_cases():
    rng = np.random.default_rng(2)
    found = [compare(*rng.standard_normal((2, 10)), draws=500).interval for _ in range(200)]
    assert np.mean([low <= 0.0 <= high for low, high in found]) >= 0.88


def test_comparison_refuses_what_does_not_pair():
    with pytest.raises(NotComputable, match="do not pair"):
        compare(np.zeros(3), np.zeros(4))
    with pytest.raises(NotComputable, match="missing"):
        compare(np.zeros(3), np.array([0.0, np.nan, 1.0]))
