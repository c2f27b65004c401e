"""The training loop: repeatable, resumable, stoppable, and never without a usable checkpoint."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from agents.env import BookEnv, BookPlan
from agents.evaluate import play, step_returns
from agents.panel import Panel
from agents.ppo import PPO
from engine.checkpoint import read
from engine.errors import CheckpointError, SettingsError, TradingError
from engine.limits import Limits
from engine.observation import Scaler
from engine.step import StepPolicy
from engine.trader import TraderSpec
from tests.small_training import BARS, FEATURES, rows_of, run, same

EVERYTHING = {
    "kind": "differential_sharpe", "over_benchmark": True, "volatility_weight": 0.1,
    "drawdown_weight": 0.1, "turnover_weight": 0.1, "scaling": "running",
}  # fmt: skip
# The second stage begins after update 2, in the middle of the first one's episode.
STAGES = [
    {"updates": 2, "costs": 0.0, "learning_rate": 5e-3, "entropy_weight": 0.2, "gamma": 0.5},
    {"episode_steps": 15, "learning_rate": 2e-3},
]


def test_same_seed_gives_identical_weights_and_another_seed_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, seed=seed)
    assert same(tmp_path / "a/last", tmp_path / "b/last")
    assert not same(tmp_path / "a/last", tmp_path / "c/last")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"network": {"book_input": "lstm"}},
        {"action": "continuous"},
        {"reward": EVERYTHING},
        {"train_settings": {"stages": STAGES}},
    ],
    ids=str,
)
def test_stopped_and_resumed_equals_never_stopped(tmp_path: Path, options: dict[str, Any]) -> None:
    run(tmp_path / "whole", updates=4, **options)
    run(tmp_path / "halves", updates=2, **options)
    done = run(tmp_path / "halves", updates=4, resume=True, **options)
    assert done.updates == 4
    assert same(tmp_path / "whole/last", tmp_path / "halves/last")
    whole, halves = rows_of(tmp_path / "whole"), rows_of(tmp_path / "halves")
    for left, right in zip(whole, halves, strict=True):
        del left["steps_per_s"], right["steps_per_s"]
        assert left == right


def test_a_resume_that_loses_the_optimiser_would_be_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # planted bug P18
    run(tmp_path / "whole", updates=4)
    run(tmp_path / "halves", updates=2)
    monkeypatch.setattr(PPO, "restore", lambda self, state: None)
    run(tmp_path / "halves", updates=4, resume=True)
    assert not same(tmp_path / "whole/last", tmp_path / "halves/last")


def test_updates_after_the_last_checkpoint_are_done_again_on_resume(tmp_path: Path) -> None:
    def interrupt(row: dict[str, Any]) -> None:
        if row["update"] == 3:
            raise KeyboardInterrupt

    run(tmp_path / "whole", updates=4)
    run(tmp_path / "cut", updates=4, progress=interrupt)
    with (tmp_path / "cut/training.jsonl").open("a") as log:
        log.write('{"update": 4, "ste')  # killed in the middle of a line
    run(tmp_path / "cut", updates=4, resume=True)
    assert same(tmp_path / "whole/last", tmp_path / "cut/last")
    assert [row["update"] for row in rows_of(tmp_path / "cut")] == [1, 2, 3, 4]


def test_a_folder_that_holds_a_training_is_not_trained_into(tmp_path: Path) -> None:
    run(tmp_path, updates=2)
    with pytest.raises(CheckpointError, match="resume it, or choose another folder"):
        run(tmp_path, updates=2)


def test_a_save_killed_between_its_renames_loses_one_save_only(tmp_path: Path) -> None:
    run(tmp_path / "whole", updates=4)
    run(tmp_path / "cut", updates=2)
    for name in ("best", "last"):
        (tmp_path / "cut" / name).rename(tmp_path / "cut" / f".{name}.old")
    done = run(tmp_path / "cut", updates=4, resume=True)
    assert same(tmp_path / "whole/last", tmp_path / "cut/last")
    assert read(done.best).update == 2


def test_resuming_with_other_settings_is_refused(tmp_path: Path) -> None:
    run(tmp_path, updates=2)
    with pytest.raises(CheckpointError, match="expected a checkpoint of these settings"):
        run(tmp_path, updates=4, resume=True, network={"hidden_size": 16})


def test_best_checkpoint_is_the_one_with_the_best_validation_score(tmp_path: Path) -> None:
    scores = iter([0.1, 0.7, 0.7, 0.2])
    done = run(tmp_path, updates=8, validate=lambda policy: next(scores))
    assert done.score == 0.7
    assert read(done.best).update == 4
    assert read(done.best).validation_score == 0.7
    assert read(tmp_path / "last").update == 8
    assert not (done.best / "training").exists()


def test_validation_gets_the_policy_that_is_saved(tmp_path: Path) -> None:
    seen: list[np.ndarray] = []
    rows = [np.ones((3, n), dtype=np.float32) for n in (2, 2, 16)]

    def validate(policy: StepPolicy) -> float:
        seen.append(policy.run(*rows)[0])
        return 0.0

    done = run(tmp_path, updates=2, validate=validate)
    assert np.array_equal(StepPolicy.load(done.best).run(*rows)[0], seen[0])


def test_every_update_leaves_a_line_and_is_reported(tmp_path: Path) -> None:
    reported: list[dict[str, Any]] = []
    run(tmp_path, updates=3, progress=reported.append)
    lines = rows_of(tmp_path)
    assert lines == reported
    assert [line["update"] for line in lines] == [1, 2, 3]
    assert [line["steps"] for line in lines] == [60, 120, 180]
    assert ["validation_score" in line for line in lines] == [False, True, True]
    expected = {"reward", "entropy", "kl", "clip_fraction", "explained_variance", "grad_norm"}
    assert expected | {"steps_per_s", "sell", "hold", "buy"} <= set(lines[0])
    assert lines[0]["sell"] + lines[0]["hold"] + lines[0]["buy"] == pytest.approx(1.0)


def test_a_loss_that_is_not_finite_stops_with_the_good_checkpoints_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "good", updates=2)
    batch = PPO.batch
    calls = []

    def broken(self: PPO, rollout: Any) -> Any:
        calls.append(1)
        found, watched = batch(self, rollout)
        if len(calls) == 3:
            found.target[0, 0] = torch.nan
        return found, watched

    monkeypatch.setattr(PPO, "batch", broken)
    with pytest.raises(TradingError, match=r"the loss is nan .*expected finite numbers"):
        run(tmp_path / "broken", updates=4)
    batch_at_fault = load_file(tmp_path / "broken/faulty-batch.safetensors")
    assert batch_at_fault["reward"].shape == (10, 6)
    assert batch_at_fault["segments.0.rows"].shape[1:] == (6, 2)
    assert same(tmp_path / "good/best", tmp_path / "broken/best")
    assert same(tmp_path / "good/last", tmp_path / "broken/last")
    assert len(rows_of(tmp_path / "broken")) == 2


def test_a_score_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TradingError, match="validation score of update 2 is nan"):
        run(tmp_path, validate=lambda policy: float("nan"))


@pytest.mark.parametrize("after", [1, 3])
def test_ctrl_c_leaves_a_usable_best_checkpoint(tmp_path: Path, after: int) -> None:
    def interrupt(row: dict[str, Any]) -> None:
        if row["update"] == after:
            raise KeyboardInterrupt

    done = run(tmp_path, progress=interrupt)
    assert done.interrupted
    assert done.updates == after
    policy = StepPolicy.load(done.best)
    assert policy.info.update == min(after, 2)
    assert policy.info.validation_score == (None if after == 1 else 1.0)


def test_greedy_play_returns_raw_equity_and_moves_nothing(tmp_path: Path) -> None:
    # R19, R20: twice the same, and equity is what the venue says
    done = run(tmp_path, updates=2)
    rows, ready = FEATURES.history(BARS)
    policy = StepPolicy.load(done.best)
    spec = TraderSpec(
        FEATURES, Scaler.fit(rows, ready), policy.info.book, policy.info.action, Limits(), burn_in=4
    )
    found = []
    for _ in range(2):
        panel = Panel.of(BARS, FEATURES, spec.scaler)
        plan = BookPlan(3, "single", 50)
        env = BookEnv(panel, spec, plan, np.random.default_rng(1), policy=policy)
        found.append(play(env))
        assert np.array_equal(found[-1][-1], env.venue.book.equity())
    assert np.array_equal(found[0], found[1])
    assert (found[0][0] == 100_000.0).all()
    total = np.prod(1.0 + step_returns(found[0]), axis=0)
    assert total == pytest.approx(found[0][-1] / 100_000.0, rel=1e-12)


def test_a_resume_before_any_checkpoint_begins_at_the_beginning(tmp_path: Path) -> None:
    run(tmp_path / "whole", updates=2)
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut/training.jsonl").write_text('{"update": 1, "reward": 0.0}\n')
    run(tmp_path / "cut", updates=2, resume=True)
    assert same(tmp_path / "whole/last", tmp_path / "cut/last")
    assert [row["update"] for row in rows_of(tmp_path / "cut")] == [1, 2]


def test_training_stops_when_validation_finds_no_better_score(tmp_path: Path) -> None:
    scores = iter([0.1, 0.7, 0.6, 0.5, 0.9])
    done = run(
        tmp_path, updates=10, validate=lambda policy: next(scores), train_settings={"patience": 2}
    )
    assert done.updates == 8
    assert done.stopped == "no better validation score in 2 validations"
    assert not done.interrupted
    assert read(done.best).update == 4


def test_warnings_are_told_once_kept_in_the_result_and_told_no_more_after_a_resume(
    tmp_path: Path,
) -> None:
    seen = {"validation_score": 1.0, "validation_trades": 0.0}
    told: list[str] = []
    done = run(tmp_path, updates=6, validate=lambda policy: seen, warn=told.append)
    assert done.warnings == ("Collapse: played greedily, the agent never trades.",)
    assert told == list(done.warnings)
    assert [row["warnings"] for row in rows_of(tmp_path) if "warnings" in row] == [told]
    done = run(tmp_path, updates=8, validate=lambda policy: seen, warn=told.append, resume=True)
    assert len(done.warnings) == len(told) == 1


def test_validation_moves_no_running_number_of_the_reward(tmp_path: Path) -> None:
    # R19: the state of reward, episodes, generator and optimiser is the same before and after
    states: list[dict[str, Any]] = []
    learners: list[PPO] = []
    init = PPO.__init__

    def noted(self: PPO, *arguments: Any) -> None:
        init(self, *arguments)
        learners.append(self)

    def validate(policy: StepPolicy) -> float:
        states.append(learners[0].state()["collector"]["rewards"])
        info = policy.info
        spec = TraderSpec(FEATURES, info.frozen_scaler(), info.book, info.action, burn_in=4)
        panel = Panel.of(BARS, FEATURES, spec.scaler)
        env = BookEnv(
            panel, spec, BookPlan(2, "single", 9), np.random.default_rng(1), policy=policy
        )
        score = float(play(env)[-1].mean())
        states.append(learners[0].state()["collector"]["rewards"])
        return score

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PPO, "__init__", noted)
        run(tmp_path, updates=4, validate=validate, reward=EVERYTHING)
    before, after, later, _ = states
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert not np.array_equal(before["seen"], later["seen"])  # training does move it


def test_cuda_is_refused_in_words_where_there_is_none(tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(SettingsError, match=r"train\.device: expected a CUDA device.*--device cpu"):
        run(tmp_path, train_settings={"device": "cuda"})
    assert run(tmp_path, updates=2, train_settings={"device": "auto"}).updates == 2


@pytest.mark.parametrize("action", ["discrete", "continuous"])
def test_training_on_cuda_leaves_a_checkpoint_that_is_deployed_on_the_cpu(
    tmp_path: Path, action: str
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    done = run(tmp_path, updates=2, action=action, train_settings={"device": "cuda"})
    assert StepPolicy.load(done.best).info.update == 2
    done = run(tmp_path, updates=4, action=action, train_settings={"device": "cuda"}, resume=True)
    assert done.updates == 4
