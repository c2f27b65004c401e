"""The ensemble trades what validation chose, window after window, and its tables say so."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.checkpoint import read
from engine.observation import Observation
from engine.run.backtest import new_venue
from engine.run.relay import relay
from engine.run.training.executor import Inline
from engine.run.walkforward.plan import AGENT
from engine.run.walkforward.run import walk_forward
from engine.run.walkforward.stitch import turns_of
from engine.settings import build
from engine.trials import Ledger
from tests.benchmarks.committee import Committee
from tests.benchmarks.icaif import COMMITTEE, ENSEMBLE, as_markdown, chosen, ensemble, main, walk_of
from tests.policies import Constant

TREE: dict[str, Any] = {
    "data": {"symbols": ["AAPL", "IBM"], "end": "2002-12-31"},
    "walkforward": {
        "train_sessions": 400,
        "validation_sessions": 60,
        "test_sessions": 30,
        "end": "2002-03-13",
        "seeds": 1,
        "twin": False,
        "cost_bps": [0, 10],
    },
    "observation": {"features": ["log_return", "realised_vol(20)"]},
    "agent": {
        "burn_in": 8,
        "network": {"hidden_size": 8, "heads": [8]},
        "action": {"kind": "continuous", "band": 0.0, "volatility": 0.02},
    },
    "backtest": {"baselines": ["buy_and_hold"]},
    "costs": {"rate": 0.001},
}
TRAIN = {"updates": 2, "books": 4, "rollout_steps": 20, "episode_steps": 32, "validate_every": 2}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Walk-forwards of two learning rules over two windows."""
    folder = tmp_path_factory.mktemp("runs")
    for rule in ("ppo", "a2c"):
        train = TRAIN | {"algorithm": rule, "watch_training": False}
        walk_forward(
            build(TREE | {"train": train, "runs_dir": str(folder)}, ""), folder / rule, Inline()
        )
    return [folder / "ppo", folder / "a2c"]


def test_the_best_validation_score_is_chosen_and_the_first_of_equals():
    assert chosen({"ppo": 0.1, "a2c": 0.3, "ddpg": -1.0}) == "a2c"
    assert chosen({"ppo": 0.0, "a2c": 0.0}) == "ppo"


@pytest.mark.very_slow
def test_an_ensemble_of_one_rule_is_its_walk_forward(runs: list[Path]):
    walk = walk_of(runs[0])
    settings = walk.settings_of(AGENT, 0)
    one = ensemble({"ppo": walk}, 0, settings).arrays()["equity"]
    alone = relay(settings, walk.bars, turns_of(walk, AGENT, 0), new_venue(settings, walk.bars))
    assert np.array_equal(one, alone.arrays()["equity"])


@pytest.mark.very_slow
def test_tables_name_what_was_chosen_and_the_mixes_are_trials_too(runs: list[Path], tmp_path: Path):
    with Ledger(runs[0].parent / "trials.sqlite") as ledger:
        before = len(list(ledger.trials()))
    shown = main([*map(str, runs), "--out", str(tmp_path)])
    with Ledger(runs[0].parent / "trials.sqlite") as ledger:
        assert len(list(ledger.trials())) == len(rows(tmp_path / "trials.csv")) == before + 2
    walks = {run.name: walk_of(run) for run in runs}
    for row, window in zip(rows(tmp_path / "windows.csv"), walks["ppo"].windows, strict=True):
        found = {
            rule: read(walk.part(window, AGENT, 0).checkpoint).validation_score
            for rule, walk in walks.items()
        }
        assert {rule: pytest.approx(float(row[rule])) for rule in walks} == found
        assert found[row["chosen"]] == max(found.values())
    assert [row["account"] for row in rows(tmp_path / "seeds.csv")] == [
        "ppo",
        "a2c",
        ENSEMBLE,
        COMMITTEE,
    ]
    assert len(rows(tmp_path / "costs.csv")) == 4 * 2
    own = {row["kind"]: row for row in rows(runs[1] / "seeds.csv")}["agent"]
    assert float(rows(tmp_path / "seeds.csv")[1]["sharpe"]) == pytest.approx(float(own["sharpe"]))
    assert [line.split(" | ")[0] for line in shown.splitlines()[2:]] == [
        "| ppo",
        "| a2c",
        "| ensemble",
        "| committee",
    ]


def test_the_table_shows_every_seed_and_the_interquartile_mean():
    base = {
        "total_return": 0.1,
        "cagr": 0.02,
        "volatility": 0.1,
        "max_drawdown": -0.2,
        "turnover": 1.5,
    }
    made = [{"account": "ppo", "sharpe": x, **base} for x in (0.0, 0.5, 0.6, 0.7, 9.0)]
    line = as_markdown(made).splitlines()[-1]
    assert "0.00, 0.50, 0.60, 0.70, 9.00 | 0.600 |" in line
    assert line.endswith("10.0 % | 2.0 % | 10.0 % | -20.0 % | 1.50 |")


def test_a_committee_wants_the_mean_and_keeps_every_memory_apart():
    one, two = Constant(0.2), Constant(0.6)
    committee = Committee((one, two))
    fresh, market = np.ones((1, 3), bool), np.zeros((1, 3, 1), np.float32)
    obs = Observation(market, market[..., :0], fresh)
    wish, memory = committee.act(obs, np.array([[[0.0, 5.0]] * 3], np.float32))
    assert wish.exposure == pytest.approx(np.full((1, 3), 0.4))
    assert not wish.keep.any()
    assert memory[0, 0].tolist() == [1.0, 6.0]  # each counts its own bars


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
