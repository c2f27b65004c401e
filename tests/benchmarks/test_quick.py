"""Every benchmark runs, at sizes whose numbers mean nothing, and answers with finite numbers."""

import json
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

from agents.gym_env import MarketVectorEnv
from agents.panel import Panel
from tests.benchmarks.__main__ import BENCHMARKS
from tests.benchmarks.agent import books, sample, spec_for
from tests.benchmarks.harness import Row, as_json, interleave, short, table

pytestmark = pytest.mark.bench
needs_peer = pytest.mark.skipif(
    find_spec("sb3_contrib") is None, reason="sb3-contrib is not installed (extra `bench`)"
)


@cache
def measured(name: str) -> tuple[list[Row], list[str]]:
    """Run one benchmark, once."""
    found: tuple[list[Row], list[str]] = import_module(f"tests.benchmarks.{name}").measure(True)
    return found


LONG = ("training", "startup")  # as long together as all the others
SMOKE = [
    pytest.param(name, marks=[pytest.mark.very_slow] if name in LONG else []) for name in BENCHMARKS
]


@pytest.mark.parametrize("name", SMOKE)
def test_benchmark_answers_with_finite_numbers_above_zero(name):
    rows, _ = measured(name)
    assert any(row.unit in ("x", "%") for row in rows) or find_spec("sb3_contrib") is None
    for row in rows:
        assert np.isfinite(row.values).all(), row.what
        assert (row.values > 0).all() or row.unit == "imports", row.what
    assert len({row.what for row in rows}) == len(rows)


def test_start_up_says_what_each_command_imports_and_counts_torch():
    rows, notes = measured("startup")
    assert "--help: imports nothing heavy" in notes
    assert any(note.startswith("paper once, decides: imports onnxruntime") for note in notes)
    (torch,) = [row for row in rows if row.unit == "imports"]
    assert torch.verdict == "pass"


@needs_peer
def test_training_is_compared_with_recurrent_ppo():
    rows, notes = measured("training")
    assert not notes
    # The default, the like-for-like; the best setting against its best and as it comes.
    assert sum("/ RecurrentPPO" in row.what for row in rows) == 4


@needs_peer
def test_peer_sees_market_and_book_of_our_environment_and_its_cut_episodes():
    from tests.benchmarks.peer import FlatVecEnv

    spec = spec_for(sample())
    panel = Panel.of(sample(), spec.features, spec.scaler)
    ours = MarketVectorEnv(books(spec, panel, 3, episode_steps=2))
    theirs = FlatVecEnv(MarketVectorEnv(books(spec, panel, 3, episode_steps=2)))
    parts, _ = ours.reset()
    buy = np.full(3, 2)
    assert (theirs.reset() == _end_to_end(parts)).all()
    for cut in (False, True):
        parts, reward, _, truncated, infos = ours.step(buy)
        obs, paid, done, told = theirs.step(buy)
        assert (obs == _end_to_end(parts)).all()
        assert (paid == reward.astype(np.float32)).all()
        assert done.tolist() == truncated.tolist() == [cut] * 3
    final = _end_to_end(infos["final_obs"])
    assert all((told[at]["terminal_observation"] == final[at]).all() for at in range(3))
    assert all(told[at]["TimeLimit.truncated"] for at in range(3))


def test_systems_take_turns_and_the_warm_round_is_not_counted():
    heard: list[str] = []

    def system(name: str) -> Callable[[], float]:
        return lambda: heard.append(name) or float(len(heard))  # type: ignore[func-returns-value]

    found = interleave({"a": system("a"), "b": system("b")}, rounds=2)
    assert heard == ["a", "b"] * 3
    assert found["a"].tolist() == [3.0, 5.0]
    assert found["b"].tolist() == [4.0, 6.0]


def test_table_and_json_show_median_target_and_spread():
    row = Row("this / that", np.array([2.0, 8.0, 3.0]), "x", "4 x")
    assert row.cells() == ("this / that", "3.00 x", "4 x", "2.00-8.00", "short")
    last = table([row]).splitlines()[2]
    assert last == "| this / that | 3.00 x   | 4 x    | 2.00-8.00 | short   |"
    found = json.loads(as_json([row], ["a note"]))
    assert found["notes"] == ["a note"]
    assert found["rows"][0]["measured"] == 3.0
    assert (found["rows"][0]["min"], found["rows"][0]["max"]) == (2.0, 8.0)


@pytest.mark.parametrize(
    ("target", "verdict"),
    [
        ("3 x", "pass"),
        ("3.1 x", "short"),
        ("at most 3 x", "pass"),
        ("at most 2.9 x", "short"),
        ("none", "-"),
    ],
)
def test_floor_is_met_from_above_and_a_ceiling_from_below(target, verdict):
    assert Row("this / that", np.array([2.0, 8.0, 3.0]), "x", target).verdict == verdict


def test_numbers_are_short():
    given = (12_345.6, 123.4, 12.34, 1.234, 0.1234, 0.001234, 0.0)
    assert [short(x) for x in given] == ["12,346", "123", "12.3", "1.23", "0.123", "0.00123", "0"]


def _end_to_end(parts: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([parts["market"][:, 0], parts["book"][:, 0]], axis=1)
