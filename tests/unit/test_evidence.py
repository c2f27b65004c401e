"""What a result proves: trials counted from the ledger, and the gates before the word edge."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from engine.errors import DataError
from engine.evidence import Tally, against_twin, evidence_of, tally
from engine.significance import Moments, deflated_sharpe, overfitting_probability
from engine.trials import Ledger
from tests.unit.test_trials import DAYS, EQUITY, PLAN

DATA = PLAN.data
LONG = np.arange("2020-01-01", "2022-01-01", dtype="datetime64[D]")


def curve(seed, drift=0.0, bars=730):
    returns = 0.01 * (np.random.default_rng(seed).standard_normal(bars) + drift)
    return 100.0 * np.cumprod(np.concatenate([[1.0], 1.0 + returns]))


def enter(path, purpose="validate", curves=(EQUITY,), days=DAYS, **plan):
    """One trial with a look at each curve."""
    with Ledger(path) as ledger, ledger.trial(replace(PLAN, purpose=purpose, **plan)) as trial:
        for update, equity in enumerate(curves):
            series = path.parent / f"{trial.number}-{update}.npy"
            trial.look(equity, days, 0.0, series, update)


def counted(path):
    with Ledger(path) as ledger:
        return tally(ledger, DATA)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trials.sqlite"


# Counting ----------------------------------------------------------------------------------------


def test_two_trainings_and_one_evaluation_raise_the_count_by_three(path):
    enter(path, seed=0)
    enter(path, seed=1)
    enter(path, "test")
    found = counted(path)
    assert (found.rows, found.counted, found.measured) == (3, 3, 3)


def test_evaluating_the_test_segment_again_is_another_trial(path):
    for _ in range(3):
        enter(path, "test")
    assert counted(path).counted == 3


def test_ten_checkpoints_of_one_training_are_ten_looks_worth_one_trial(path):
    enter(path, curves=[EQUITY] * 10)
    found = counted(path)
    assert (found.rows, found.counted) == (1, 10)
    assert found.effective == pytest.approx(1.0)


def test_trials_that_have_nothing_in_common_count_in_full(path):
    enter(path, curves=[curve(1), curve(2)], days=LONG)
    enter(path, "test", curves=[curve(1)], days=LONG)  # another segment: not one of the group
    found = counted(path)
    assert found.counted == 3
    assert found.effective == pytest.approx(3.0, abs=0.1)
    assert found.choice.shape == (len(LONG) - 1, 2)
    assert found.span == ("2020-01-01", "2021-12-31")


def test_run_that_failed_before_any_score_counts_as_one(path):
    with Ledger(path) as ledger, pytest.raises(DataError), ledger.trial(PLAN):
        raise DataError("no bars")
    enter(path)
    assert (counted(path).counted, counted(path).measured) == (2, 1)


def test_trials_on_other_data_do_not_count(path):
    enter(path)
    enter(path, data="e" * 64)
    assert counted(path).counted == 1


def test_series_that_was_removed_leaves_its_trial_counted(path):
    enter(path, curves=[curve(1), curve(2)], days=LONG)
    (path.parent / "1-0.npy").unlink()
    found = counted(path)
    assert (found.counted, found.lost) == (2, 1)
    assert found.effective == pytest.approx(2.0)


def test_ledger_with_a_row_removed_is_not_counted(path):
    enter(path)
    with sqlite3.connect(path) as connection:
        connection.execute("delete from entries where id = 2")
    connection.close()
    with pytest.raises(DataError, match="removed or edited"):
        counted(path)


def test_run_that_chose_on_several_spans_is_judged_on_each_and_on_no_other(path):
    early, late, other = LONG[:200], LONG[200:400], LONG[400:700]
    for days, seed, count in ((early, 1, 3), (late, 10, 3), (other, 20, 5)):
        curves = [curve(seed + n, bars=len(days) - 1) for n in range(count)]
        enter(path, curves=curves, days=days, seed=seed)
    spans = [(str(days[0]), str(days[-1])) for days in (early, late)]
    with Ledger(path) as ledger:
        found = tally(ledger, DATA, spans)
        assert tally(ledger, DATA).choice.shape == (299, 5)  # without, the one with most
    assert [part.shape for part in (found.choice, *found.others)] == [(199, 3), (199, 3)]
    assert found.span == (str(early[0]), str(late[-1]))
    assert found.counted == 11  # every score counts, whatever it was chosen on
    proof = evidence_of(curve(0), found)
    each = [overfitting_probability(part) for part in (found.choice, *found.others)]
    assert proof["pbo"] == pytest.approx(sum(each) / 2)
    assert proof["trials"]["choices"] == 2


# Gates -------------------------------------------------------------------------------------------

SKILL = curve(3, drift=0.15, bars=1_000)
NOISE = np.random.default_rng(4).standard_normal((400, 10))
TRIED = Tally(
    rows=4,
    counted=30,
    effective=12.0,
    measured=30,
    variance=0.02**2,
    lost=0,
    choice=NOISE + 0.5 * (np.arange(10) == 3),
    span=("2018-01-01", "2019-12-31"),
)


def test_deflated_sharpe_uses_the_larger_number_of_trials(path):
    returns = SKILL[1:] / SKILL[:-1] - 1
    expected = deflated_sharpe(Moments.of(returns), 30, 0.02**2)
    assert evidence_of(SKILL, TRIED)["dsr"] == pytest.approx(expected, abs=1e-12)
    assert evidence_of(SKILL, replace(TRIED, effective=40.0))["dsr"] < expected


def test_word_edge_needs_every_gate():
    found = evidence_of(SKILL, TRIED, "beats its twin")
    assert [gate["passed"] for gate in found["gates"]] == [True] * 4
    assert found["verdict"] == "evidence of an edge"
    assert found["pbo"] == 0.0


@pytest.mark.parametrize(
    ("equity", "tried", "twin", "failed"),
    [
        (SKILL, TRIED, None, "Memoryless twin"),
        (SKILL, TRIED, "no evidence that memory helps", "Memoryless twin"),
        (SKILL, replace(TRIED, variance=0.09**2), "beats its twin", "Deflated Sharpe ratio"),
        (SKILL, replace(TRIED, choice=NOISE), "beats its twin", "Probability of overfitting"),
        (SKILL, replace(TRIED, choice=None), "beats its twin", "Probability of overfitting"),
    ],
)
def test_one_gate_that_is_not_passed_is_enough(equity, tried, twin, failed):
    found = evidence_of(equity, tried, twin)
    assert found["verdict"] == "no evidence of an edge"
    assert [gate["name"] for gate in found["gates"] if not gate["passed"]] == [failed]


def test_overfitting_between_a_tenth_and_a_fifth_is_weak(monkeypatch):
    monkeypatch.setattr("engine.evidence.overfitting_probability", lambda *_: 0.15)
    assert evidence_of(SKILL, TRIED, "beats its twin")["verdict"] == "weak evidence of an edge"
    assert evidence_of(SKILL, TRIED)["verdict"] == "no evidence of an edge"
    monkeypatch.setattr("engine.evidence.overfitting_probability", lambda *_: 0.21)
    assert evidence_of(SKILL, TRIED, "beats its twin")["verdict"] == "no evidence of an edge"


def test_short_record_is_told_in_whole_bars():
    found = evidence_of(EQUITY, TRIED)
    assert found["track_record"] == 116  # 115.300740, rounded up
    assert found["psr"] == pytest.approx(0.67779997, abs=5e-9)
    assert found["gates"][2] == {
        "name": "Track record",
        "passed": False,
        "text": "10 bars, 116 needed",
    }


def test_one_trial_has_a_probabilistic_and_no_deflated_sharpe_ratio():
    found = evidence_of(EQUITY, replace(TRIED, counted=1, effective=1.0, variance=None))
    assert found["dsr"] is None
    assert found["reasons"]["dsr"] == "needs at least 2 trials"
    assert found["psr"] is not None


def test_account_that_was_ruined_or_never_moved_proves_nothing_and_says_why():
    for equity, why in ((np.array([100.0, 50.0, 0.0]), "zero"), (np.full(9, 1.0), "do not vary")):
        found = evidence_of(equity, TRIED)
        assert found["sharpe"] is None
        assert why in found["reasons"]["sharpe"]
        assert found["verdict"] == "no evidence of an edge"


def test_trials_that_were_not_counted_leave_the_gates_closed():
    found = evidence_of(SKILL, None, "beats its twin")
    assert found["trials"] is None
    assert found["reasons"]["dsr"] == "the trials were not counted"
    assert found["verdict"] == "no evidence of an edge"


@pytest.mark.parametrize(
    ("interval", "told"),
    [
        ((0.01, 0.2), "beats its twin"),
        ((-0.1, 0.2), "no evidence that memory helps"),
        ((0.0, 0.2), "no evidence that memory helps"),
        ((-0.3, -0.1), "worse than its twin"),
    ],
)
def test_twin_is_judged_by_the_paired_interval_alone(interval, told):
    assert against_twin(*interval) == told
