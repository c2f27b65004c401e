"""Where nothing can be earned no agent earns: on random walks over 20 seeds, judged on later bars.

A seed draws a market of its own and everything in the training. The agent is trained, briefly, as
`barwise train` trains; its best checkpoint then trades the test dates through the same Trader and
venue as any backtest. The judge is the project's bootstrap over runs. The same training and judge
must flag a market whose volume tells the next day's mean: otherwise they would flag nothing.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.across_seeds import bootstrap_interval
from engine.run.backtest import new_venue
from engine.run.build import bars_of, dates
from engine.run.evaluation import deployed
from engine.run.replay import replay
from engine.run.training.run import train_run
from engine.run.training.validation import score_of
from engine.settings import Settings, build
from engine.trader import Trader

RULES: dict[str, dict[str, Any]] = {
    "ppo": {"rollout_steps": 63, "updates": 10},
    "a2c": {"rollout_steps": 16, "updates": 60},
    "ddpg": {
        "rollout_steps": 16,
        "updates": 14,
        "gamma": 0.9,
        "ddpg": {
            "warmup_steps": 500,
            "batch_steps": 128,
            "sequence_steps": 8,
            "memory_start": "zero",
            "burn_in_steps": 4,
            "critic_learning_rate": 3e-3,
            "tau": 0.02,
            "noise_start": 0.5,
            "noise_steps": 5_000,
        },
    },
}
# 20 % a year. The walk has no drift; in the other market volume shows the next day's mean, +-0.6 %.
WALK = {"kind": "gbm", "mu": 0.0, "sigma": 0.0125}
PLANTED = {"kind": "echo", "k": 1, "mu": 0.006, "sigma": 0.0125}


def settings(rule: str, seed: int, market: dict[str, Any]) -> Settings:
    made = {"sessions": 1_500, "symbols": 4, "seed": seed, **market}
    own = {"algorithm": rule, "seed": seed, "books": 16, "episode_steps": 63, **RULES[rule]}
    return build(
        {
            "data": {"source": "synthetic", "synthetic": made},
            "split": {
                "train": {"end": "2002-12-31"},
                "validation": {"start": "2003-01-02", "end": "2003-12-31"},
                "test": {"start": "2004-01-02"},  # about two years
            },
            "agent": {
                "burn_in": 16,
                "action": {"kind": "continuous"},
                "network": {"hidden_size": 16, "heads": [16]},
            },
            "limits": {"allow_short": True},
            "costs": {"rate": 0.0005, "slippage_bps": 2.0},
            "train": {
                "learning_rate": 3e-3,
                "validate_every": own["updates"],
                "watch_training": False,
                **own,
            },
        },
        "no edge",
    )


def later_sharpe(rule: str, seed: int, market: dict[str, Any], folder: Path) -> tuple[float, int]:
    """Train one agent; return its Sharpe ratio on the test dates, and its fills there."""
    asked = settings(rule, seed, market).model_copy(update={"runs_dir": str(folder)})
    trained = train_run(asked, folder, show=lambda done, text: None)
    bars = bars_of(asked)
    first, last = dates(bars, asked, "test")
    spec, policy = deployed(asked, Path(trained["checkpoint"]), bars)
    trader = Trader(spec, policy, len(bars.symbols))
    rows = replay(trader, new_venue(asked, bars), bars, first, last).arrays()
    return score_of(rows["equity"], "sharpe"), int((rows["filled"] != 0).sum())


def judged(
    rule: str, seeds: int, market: dict[str, Any], folder: Path
) -> tuple[float, float, list[int]]:
    """Return the interval of the test Sharpe ratio over seeds, and each seed's fills."""
    found = [later_sharpe(rule, seed, market, folder / str(seed)) for seed in range(seeds)]
    low, high = bootstrap_interval(np.array([sharpe for sharpe, _ in found]))
    return low, high, [fills for _, fills in found]


@pytest.mark.very_slow
@pytest.mark.parametrize("rule", RULES)
def test_no_agent_wins_on_a_random_walk(tmp_path: Path, rule: str) -> None:
    low, _, fills = judged(rule, 20, WALK, tmp_path)
    assert low <= 0.0
    assert np.median(fills) > 20  # of agents that do trade


@pytest.mark.very_slow
@pytest.mark.parametrize("rule", RULES)
def test_the_same_judge_flags_a_planted_edge(tmp_path: Path, rule: str) -> None:
    low, _, fills = judged(rule, 6, PLANTED, tmp_path)
    assert low > 0.0
    assert np.median(fills) > 20
