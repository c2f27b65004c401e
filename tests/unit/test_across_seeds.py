"""The interquartile mean and its interval, against published vectors and its own coverage."""

import numpy as np
import pytest

from engine.across_seeds import bootstrap_interval, interquartile_mean
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
