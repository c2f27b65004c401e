"""Echo(k): the real environment pays what only memory can know, and every rule finds it.

Several seeds of all of it: ECHO.md, made by `tests.learning.echo_table`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.evaluate import play, step_returns
from engine.policy import BUY, HOLD, SELL, ActionSpace, Wish, decode
from tests.learning.echo import OPTIMUM, echo_bars, echo_env, echo_spec
from tests.learning.echo_table import GATES, TWIN, Job, main, report
from tests.learning.learn_echo import FRESH_SEED, RECIPES, share_of_optimum

RULES = ("ppo", "a2c", "ddpg")


class Rule:
    """A policy written by hand: act on the coin `lag` days back, kept in the memory."""

    memory_width = 3

    def __init__(self, lag: int) -> None:
        self.lag = lag

    def act(self, obs: object, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        coin = obs.market[..., :1]  # type: ignore[attr-defined]
        after = np.concatenate([coin, memory[..., :-1]], axis=-1)
        known = after[..., self.lag]
        action = np.where(known > 0, BUY, np.where(known < 0, SELL, HOLD))
        return decode(action, ActionSpace(), allow_short=True), after


@pytest.mark.parametrize("k", [1, 2])
def test_environment_pays_the_known_optimum_to_who_knows(k: int) -> None:
    env = echo_env(
        echo_bars(k, FRESH_SEED), echo_spec(), 64, 900, np.random.default_rng(0), Rule(k - 1)
    )
    daily = step_returns(play(env))
    # 57,600 days at 1 % noise: standard error 0.00004
    assert daily.mean() == pytest.approx(OPTIMUM, abs=0.0002)


def test_environment_pays_nothing_to_who_acts_a_day_late() -> None:
    env = echo_env(
        echo_bars(2, FRESH_SEED), echo_spec(), 64, 900, np.random.default_rng(0), Rule(2)
    )
    assert step_returns(play(env)).mean() < 0.0


def by_recipe(rule: str, k: int, memory: str, folder: Path) -> float:
    recipe = RECIPES[rule, k]
    return share_of_optimum(rule, k, memory, recipe.updates, folder, **recipe.own)


@pytest.mark.parametrize("rule", RULES)
def test_echo_2_is_learned_to_its_gate(tmp_path: Path, rule: str) -> None:
    assert by_recipe(rule, 2, "carry", tmp_path) >= GATES[2]


@pytest.mark.very_slow
@pytest.mark.parametrize(
    "rule",
    ["ppo", "a2c", "ddpg"],
)
def test_echo_5_is_learned_to_its_gate(tmp_path: Path, rule: str) -> None:
    assert by_recipe(rule, 5, "carry", tmp_path) >= GATES[5]


@pytest.mark.parametrize(
    "rule",
    ["ppo", *(pytest.param(rule, marks=pytest.mark.very_slow) for rule in ("a2c", "ddpg"))],
)
def test_without_memory_echo_2_earns_nothing(tmp_path: Path, rule: str) -> None:
    # Greedy: a memoryless agent that draws its actions can use "hold" as a memory of its own and
    # does learn to (0.002 a day while training); one that always does the likeliest thing cannot.
    assert by_recipe(rule, 2, "window(1)", tmp_path) < TWIN


@pytest.mark.parametrize(
    ("rule", "k", "memory", "updates", "own"),
    [
        pytest.param(*("ppo", 1, "carry", 30, RECIPES["ppo", 2].own), marks=pytest.mark.very_slow),
        pytest.param(
            *("ppo", 2, "window(4)", 50, RECIPES["ppo", 2].own), marks=pytest.mark.very_slow
        ),
        pytest.param(*("a2c", 1, "carry", 40, RECIPES["a2c", 2].own), marks=pytest.mark.very_slow),
        pytest.param(*("ddpg", 1, "carry", 6, {}), marks=pytest.mark.very_slow),
        (
            *("ddpg", 2, "carry", 12),
            {"ddpg": {"memory_start": "stored", "burn_in_steps": 4, "noise": "ou"}},
        ),
        pytest.param(*("ddpg", 2, "window(4)", 16, {}), marks=pytest.mark.very_slow),
    ],
    ids=["ppo-1", "ppo-2-window", "a2c-1", "ddpg-1", "ddpg-2-stored-ou", "ddpg-2-window"],
)
def test_echo_is_learned_in_every_way_there_is(
    tmp_path: Path, rule: str, k: int, memory: str, updates: int, own: dict[str, Any]
) -> None:
    assert share_of_optimum(rule, k, memory, updates, tmp_path, **own) >= 0.95


def test_the_table_has_a_line_for_every_rule_and_twin_and_leaves_out_what_was_not_run() -> None:
    found = {Job("ppo", 2, "carry", seed): share for seed, share in ((0, 0.96), (2, 0.98))}
    found |= {Job("ddpg", 5, "window(1)", 1): -0.01}
    lines = [line for line in report(found, 3).splitlines() if line.startswith("| Echo")]
    # 50 updates of 64 books x 128 bars; 30 of 64 x 32
    assert lines == [
        "| Echo(2), PPO, memory | 96.0% | | 98.0% | 97.0% | >= 95% | 409,600 |",
        "| Echo(5), DDPG, twin without | | -1.0% | | -1.0% | < 3% | 61,440 |",
    ]


def test_an_unknown_line_of_the_table_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sac-2"])
    assert "choose from ppo-2, a2c-2" in capsys.readouterr().err
