"""A training as a run: its score, its words while it runs, and what it leaves for the report."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.checkpoint import read
from engine.errors import CheckpointError
from engine.run.training.folder import seed_folders, training_warnings
from engine.run.training.resuming import require_same
from engine.run.training.run import _Line, train_run
from engine.run.training.validation import score_of
from engine.settings import Settings, build

CURVE = np.array([100.0, 110.0, 99.0, 108.9])  # returns 0.1, -0.1, 0.1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("total_return", 0.089),  # 108.9 / 100 - 1
        ("sharpe", (0.1 / 3) / 0.11547005 * 252**0.5),
        ("sortino", (0.1 / 3) / (0.1 / 3**0.5) * 252**0.5),
        ("calmar", (1.089**84 - 1) / 0.1),
    ],
)
def test_score_is_the_metric_of_that_name(name: str, expected: float) -> None:
    assert score_of(CURVE, name) == pytest.approx(expected, rel=1e-6)


def test_a_flat_curve_scores_zero_whatever_the_score() -> None:
    flat = np.full(5, 100.0)
    assert [score_of(flat, name) for name in ("sharpe", "sortino", "calmar", "total_return")] == [
        0.0, 0.0, 0.0, 0.0,
    ]  # fmt: skip


def test_line_shows_what_there_is_and_keeps_the_last_validation() -> None:
    line = _Line(10)
    row: dict[str, Any] = {"update": 1, "steps_per_s": 12_345.6, "reward": 0.5}
    scores = {"validation_score": 0.25, "best_score": 0.5}
    first = line.of(row | scores | {"entropy": 1.05, "kl": 0.01, "stage": 2})
    assert first == (
        "stage 2, 12,346 steps/s, reward +0.500, entropy 1.05, KL 0.0100, "
        "validation +0.25, best +0.50"
    )
    second = line.of(row | {"update": 2, "clip_fraction": 0.25, "grad_norm": 1.5})
    assert "clipped 25%, gradient 1.50, validation +0.25, best +0.50, 0:00:00 left" in second


def test_warnings_of_a_training_reach_the_backtest_of_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps({"warnings": ["Collapse: no."]}))
    assert training_warnings(tmp_path / "best") == ["In training: Collapse: no."]
    assert training_warnings(tmp_path / "elsewhere" / "best") == []


def test_resuming_with_another_market_or_rule_is_refused_and_more_updates_are_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "settings.json").write_text(Settings().model_dump_json())
    require_same(build({"train": {"updates": 500, "patience": 3}, "name": "other"}, ""), tmp_path)
    for tree, told in (
        ({"train": {"gamma": 0.5}}, r"train\.gamma was 0\.97, found 0\.5"),
        ({"costs": {"rate": 0.01}}, r"costs\.rate was 0\.0"),
        ({"agent": {"reward": {"scale": 3}}}, r"agent\.reward was"),
    ):
        with pytest.raises(CheckpointError, match=told):
            require_same(build(tree, ""), tmp_path)
    with pytest.raises(CheckpointError, match=r"found no settings\.json"):
        require_same(Settings(), tmp_path / "nothing")


def test_a_run_of_a_version_that_knew_fewer_settings_is_resumed_with_their_defaults(
    tmp_path: Path,
) -> None:
    older = Settings().model_dump(mode="json")
    del older["train"]["executor"], older["retrain"]
    (tmp_path / "settings.json").write_text(json.dumps(older))
    require_same(Settings(), tmp_path, ("train", "retrain"))
    with pytest.raises(CheckpointError, match=r"retrain\.held_back was \d+, found 99"):
        require_same(build({"retrain": {"held_back": 99}}, ""), tmp_path, ("train", "retrain"))


@pytest.mark.parametrize(
    "fading",
    [
        {"learning_rate_schedule": "linear"},
        {"ppo": {"entropy_weight_end": 0.0}},
        {"algorithm": "a2c", "a2c": {"entropy_weight_end": 0.0}},
    ],
    ids=str,
)
def test_a_training_that_fades_over_its_updates_is_not_made_longer(
    tmp_path: Path, fading: dict[str, Any]
) -> None:
    begun = build({"train": {"updates": 40, **fading}}, "")
    (tmp_path / "settings.json").write_text(begun.model_dump_json())
    require_same(begun, tmp_path)
    require_same(build({"train": {"updates": 40, "patience": 3, **fading}}, ""), tmp_path)
    with pytest.raises(
        CheckpointError, match=r"updates was 40, found 80; the step size or entropy"
    ):
        require_same(build({"train": {"updates": 80, **fading}}, ""), tmp_path)


def test_a_schedule_of_another_rule_does_not_hold_a_training_to_its_updates() -> None:
    assert not build({"train": {"a2c": {"entropy_weight_end": 0.0}}}, "").train.fades
    assert not build({"train": {"algorithm": "ddpg"}}, "").train.fades


def test_a_training_on_random_walks_goes_on_to_real_prices(tmp_path: Path) -> None:
    stages = [{"updates": 1, "market": "gbm", "costs": 0.0, "gamma": 0.9}, {"learning_rate": 5e-4}]
    tree = {
        "runs_dir": str(tmp_path),
        "split": {
            "train": {"end": "2007-12-31"},
            "validation": {"start": "2008-01-02", "end": "2008-06-30"},
        },
        "agent": {"burn_in": 8, "network": {"hidden_size": 8, "heads": [8]}},
        "train": {"updates": 2, "books": 4, "rollout_steps": 8, "episode_steps": 8}
        | {"stages": stages, "augment": {"copies": 1}, "watch_training": False},
    }
    summary = train_run(build(tree, ""), tmp_path, show=lambda done, text: None)
    assert [(s["market"], s["first_update"], s["last_update"]) for s in summary["stages"]] == [
        ("gbm", 1, 1),
        ("real", 2, 2),
    ]
    assert [s["learning_rate"] for s in summary["stages"]] == [None, 5e-4]
    known = read(Path(summary["checkpoint"])).distribution
    assert known is not None  # of the real rows of the training dates, whatever it was trained on
    assert known.window == 63
    assert max(known.high) < 5.0 + 1e-6
    assert sum(known.counts[0]) > 4 * 1_500


def test_seed_folders_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for seed in (10, 9, 2):
        (tmp_path / f"seed-{seed}").mkdir()
    assert [path.name for path in seed_folders(tmp_path)] == ["seed-2", "seed-9", "seed-10"]
