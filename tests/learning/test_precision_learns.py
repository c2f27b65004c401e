"""Learning in bfloat16 finds what learning in float32 finds, where the optimum is known.

Recall-20 pays 1 to who remembers a cue over 20 bars and 0.5 to anybody else, exactly; Echo(2) has its
optimum and its gate in `tests.learning.echo`. Found: float32 and bfloat16 alike, every seed: see RESULTS.md.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import battery
from tests.benchmarks.plan import Plan
from tests.benchmarks.plans import PLANS
from tests.learning.echo_table import GATES
from tests.learning.learn_echo import RECIPES, share_of_optimum

PRECISIONS = ("float32", "bfloat16")
SEEDS = (0, 1, 2)
RECALLED = 0.95  # the gate of Recall-20
RECALL = next(plan for plan in PLANS if plan.name == "Recall-20")


@pytest.mark.very_slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("rule", ["PPO", "A2C"])
@pytest.mark.parametrize("seed", SEEDS)
def test_recall_20_is_learned_in_either_precision(rule: str, precision: str, seed: int) -> None:
    score, _ = battery.ours(learned_in(RECALL, rule, precision), rule, seed)
    assert score >= RECALLED


@pytest.mark.very_slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("rule", ["ppo", "a2c", "ddpg"])
@pytest.mark.parametrize("seed", SEEDS)
def test_echo_2_is_learned_to_its_gate_in_either_precision(
    rule: str, precision: str, seed: int, tmp_path: Path
) -> None:
    recipe = RECIPES[rule, 2]
    own = {**recipe.own, "precision": precision, "seed": seed}
    assert share_of_optimum(rule, 2, "carry", recipe.updates, tmp_path, **own) >= GATES[2]


def learned_in(plan: Plan, rule: str, precision: str) -> Plan:
    """Return a task's plan with one of its learners in a precision."""
    return replace(plan, ours={rule: {**plan.ours[rule], "precision": precision}})
