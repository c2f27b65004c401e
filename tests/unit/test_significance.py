"""What a Sharpe ratio proves: published vectors to 1e-6, simulation, and the known mistakes."""

from dataclasses import replace
from math import sqrt

import numpy as np
import pytest

from engine import significance as s
from engine.errors import UsageError
from engine.measures import NotComputable, autocorrelation
from engine.significance import Moments

EXACT = 1e-6
R = np.array([0.01, 0.02, -0.05, 0.02, 0.01, 0.0, 0.03, -0.02, 0.01, 0.01])
# An annual Sharpe ratio of 2.5 over 250 bars, five years, fat tails to the left.
FAT = Moments(sharpe=2.5 / sqrt(250), bars=1250, skew=-3.0, kurtosis=10.0)
VARIANCE = 0.5 / 250


def yearly(ratio: float, bars: int = 252, skew: float = 0.0, kurtosis: float = 3.0) -> Moments:
    return Moments(ratio / sqrt(252), bars, skew, kurtosis)


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        (2, 0.519755),
        (5, 1.192594),
        (10, 1.574598),
        (46, 2.244171),
        (100, 2.530603),
        (1000, 3.255122),
    ],
)
def test_best_of_trials_without_skill_is_pinned(trials, expected):
    assert s.expected_best(trials) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("trials", [10, 100, 1000])
def test_best_of_trials_without_skill_agrees_with_simulation(trials):
    drawn = np.random.default_rng(trials).standard_normal((2_000, trials)).max(axis=1)
    assert s.expected_best(trials) == pytest.approx(drawn.mean(), abs=0.05)


def test_deflated_sharpe_is_pinned():
    assert s.luck_alone(100, VARIANCE) == pytest.approx(0.113172, abs=EXACT)
    assert s.deflated_sharpe(FAT, 100, VARIANCE) == pytest.approx(0.900397, abs=EXACT)
    assert s.deflated_sharpe(FAT, 46, VARIANCE) == pytest.approx(0.950502, abs=EXACT)


def test_track_record_says_what_the_deflated_sharpe_says():
    needed = [s.track_record_needed(FAT, s.luck_alone(n, VARIANCE)) for n in (100, 46)]
    assert needed == pytest.approx([2051.271427, 1242.615510], abs=EXACT)
    assert needed[0] > FAT.bars > needed[1]


@pytest.mark.parametrize(
    ("bars", "normal", "fat"),
    [(252, 0.840624, 0.832913), (504, 0.920938, 0.914207), (756, 0.958112, 0.953026)],
)
def test_probabilistic_sharpe_is_pinned(bars, normal, fat):
    assert s.probabilistic_sharpe(yearly(1.0, bars)) == pytest.approx(normal, abs=EXACT)
    assert s.probabilistic_sharpe(yearly(1.0, bars, -1.0, 6.0)) == pytest.approx(fat, abs=EXACT)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (yearly(1.0), 684.149722),
        (yearly(1.0, skew=-1.0, kurtosis=6.0), 729.128051),
        (yearly(0.5), 2729.540573),
        (Moments.of(R), 115.300740),
    ],
)
def test_minimum_track_record_is_pinned(found, expected):
    needed = s.track_record_needed(found)
    assert needed == pytest.approx(expected, abs=EXACT)
    there = replace(found, bars=needed)
    assert s.probabilistic_sharpe(there) == pytest.approx(0.95, abs=1e-9)


def test_check_series_gives_the_pinned_values():
    assert Moments.of(R).sharpe == pytest.approx(0.17248787, abs=5e-9)
    assert s.probabilistic_sharpe(Moments.of(R)) == pytest.approx(0.67779997, abs=5e-9)


def test_known_mistakes_would_be_seen_at_this_precision():
    excess = replace(FAT, kurtosis=FAT.kurtosis - 3.0)
    assert s.deflated_sharpe(excess, 100, VARIANCE) == pytest.approx(0.901779, abs=EXACT)
    annual = replace(FAT, sharpe=2.5)
    assert s.deflated_sharpe(annual, 100, VARIANCE) == pytest.approx(1.0, abs=EXACT)
    found = Moments.of(R)
    wrong = replace(found, kurtosis=found.kurtosis - 3.0)
    assert s.probabilistic_sharpe(wrong) == pytest.approx(0.679288, abs=EXACT)


def test_one_trial_is_not_deflated_and_no_track_record_helps_a_losing_series():
    with pytest.raises(NotComputable, match="at least 2 trials"):
        s.deflated_sharpe(FAT, 1, VARIANCE)
    with pytest.raises(NotComputable, match="infinite"):
        s.track_record_needed(yearly(-0.1))
    with pytest.raises(NotComputable, match="do not vary"):
        Moments.of(np.zeros(9))


def test_probabilistic_sharpe_is_right_about_as_often_as_it_says():
    # No skill: the probability is uniform, so one series in ten stands above 0.9.
    returns = np.random.default_rng(3).standard_normal((1_000, 250))
    found = [s.probabilistic_sharpe(Moments.of(row)) for row in returns]
    assert np.mean(np.array(found) > 0.9) == pytest.approx(0.10, abs=0.03)


def test_best_of_fifty_without_skill_looks_sure_until_the_trials_are_counted():
    sets = np.random.default_rng(4).standard_normal((60, 250, 50))
    plain, deflated = [], []
    for returns in sets:
        ratios = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
        best = Moments.of(returns[:, ratios.argmax()])
        plain.append(s.probabilistic_sharpe(best) > 0.95)
        deflated.append(s.deflated_sharpe(best, 50, float(ratios.var(ddof=1))) > 0.95)
    assert np.mean(plain) > 0.85
    assert np.mean(deflated) < 0.10


# Effective trials and autocorrelation ------------------------------------------------------------


def test_effective_trials_run_from_one_to_all_of_them():
    drawn = np.random.default_rng(5).standard_normal((4_000, 8))
    assert s.effective_trials(drawn) == pytest.approx(8.0, abs=0.2)
    assert s.effective_trials(np.repeat(drawn[:, :1], 8, axis=1)) == pytest.approx(1.0)
    twice = np.hstack([drawn, drawn[:, :1]])
    assert 8.0 < s.effective_trials(twice) < 9.0
    shared = np.random.default_rng(6).standard_normal((4_000, 1))
    assert s.effective_trials(drawn + shared) == pytest.approx(0.5 + 0.5 * 8, abs=0.2)


def test_series_that_stand_still_are_one_trial():
    drawn = np.random.default_rng(5).standard_normal((500, 2))
    flat = np.zeros((500, 3))
    assert s.effective_trials(flat) == 1.0
    assert s.effective_trials(np.hstack([drawn, flat])) == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.6])
def test_autocorrelation_of_an_autoregressive_series_is_its_coefficient(rho):
    noise, series = np.random.default_rng(7).standard_normal(20_000), [0.0]
    for shock in noise:
        series.append(rho * series[-1] + shock)
    assert autocorrelation(np.array(series)) == pytest.approx(rho, abs=0.03)


# Probability of backtest overfitting -------------------------------------------------------------

BY_HAND = np.array([[0.0, 3, 4], [5, -2, 4], [3, 1, 5], [0, 1, -1]])


def test_overfitting_of_the_series_worked_by_hand_is_four_of_six():
    # Winners of the halves 12 13 14 23 24 34: C C B C A C; elsewhere they rank 3 2 1 2 1 3.
    ranks = np.concatenate(s._ranks(BY_HAND, 4, "sum"))
    assert ranks.tolist() == [3, 2, 1, 2, 1, 3]
    assert s.overfitting_probability(BY_HAND, 4, "sum") == pytest.approx(4 / 6, abs=EXACT)
    assert np.mean(ranks < 2) == pytest.approx(2 / 6)  # what leaving out the middle would give


def test_overfitting_agrees_with_a_plain_loop_over_halves():
    from itertools import combinations

    returns = np.random.default_rng(8).standard_normal((83, 7)) * 0.01  # 3 bars too many
    blocks, fails = np.split(returns[3:], 8), []
    for half in combinations(range(8), 4):
        inside = np.concatenate([blocks[b] for b in half])
        outside = np.concatenate([blocks[b] for b in range(8) if b not in half])
        ratios = [part.mean(axis=0) / part.std(axis=0, ddof=1) for part in (inside, outside)]
        rank = 1 + (ratios[1] < ratios[1][ratios[0].argmax()]).sum()
        fails.append(np.log(rank / (8 - rank)) <= 0)
    assert s.overfitting_probability(returns, 8) == pytest.approx(np.mean(fails), abs=EXACT)


def test_overfitting_on_noise_is_one_half_on_average_and_anything_for_one_set():
    sets = np.random.default_rng(9).standard_normal((150, 200, 20)) * 0.01
    found = np.array([s.overfitting_probability(returns, 10) for returns in sets])
    assert found.mean() == pytest.approx(0.5, abs=0.05)
    assert found.std() > 0.1
    assert 0.3 < (found < 0.5).mean() < 0.7  # so "below one half" says nothing


def test_one_real_edge_among_fifty_is_not_overfitting():
    returns = np.random.default_rng(10).standard_normal((1_000, 50))
    returns[:, 17] += 0.25
    assert s.overfitting_probability(returns) == 0.0


def test_trials_that_are_all_the_same_are_a_tie_and_count_as_failed():
    one = np.random.default_rng(11).standard_normal((64, 1))
    assert s.overfitting_probability(np.repeat(one, 4, axis=1), 8) == 1.0
    assert s.overfitting_probability(np.zeros((64, 3)), 8) == 1.0


def test_overfitting_needs_two_trials_bars_and_an_even_cut():
    returns = np.ones((64, 3))
    for wrong in (3, 0):
        with pytest.raises(UsageError, match="even number of blocks"):
            s.overfitting_probability(returns, wrong)
    with pytest.raises(NotComputable, match="at least 2 trials"):
        s.overfitting_probability(returns[:, :1])
    with pytest.raises(NotComputable, match="at least 32 bars for 16 blocks, found 20"):
        s.overfitting_probability(returns[:20])
