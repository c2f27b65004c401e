"""Trainings and evaluations enter the ledger by themselves, before their result is known."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import cli
from engine.errors import SettingsError
from engine.report.cautions import cautions
from engine.report.folder import RunFolder
from engine.run.commands import run_backtest, run_train
from engine.run.counting import code_version, settings_hash
from engine.settings import Settings, build
from engine.trader import Trader
from engine.trials import Ledger, Trial

TINY = """
name = "tiny"
[split]
train = { end = 2002-12-31 }
validation = { start = 2003-01-02, end = 2003-06-30 }
test = { start = 2004-01-02, end = 2004-06-30 }
[agent]
burn_in = 8
[agent.network]
hidden_size = 8
heads = [8]
[backtest]
baselines = ["buy_and_hold"]
[train]
updates = 1
validate_every = 1
books = 4
rollout_steps = 8
episode_steps = 8
watch_training = false
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "tiny.toml"
    path.write_text(f'runs_dir = "{tmp_path / "runs"}"\n{TINY}')
    return str(path)


def trials(config: str) -> list[Trial]:
    with Ledger(Path(config).parent / "runs" / "trials.sqlite") as ledger:
        ledger.verify()
        return ledger.trials()


def train(config: str, *sets: str) -> Path:
    return Path(run_train(config, sets, True)["checkpoint"])


def backtest(config: str, checkpoint: Path | None = None) -> dict[str, Any]:
    return run_backtest(config, checkpoint, (), as_json=True)


def test_two_trainings_and_one_evaluation_make_three_trials_on_the_page(config: str) -> None:
    best = train(config)
    train(config, "train.seed=1")
    done = backtest(config, best)
    tried = done["summary"]["evidence"]["trials"]
    assert (tried["rows"], tried["counted"]) == (3, 3)
    one, two, test = trials(config)
    assert [trial.plan.purpose for trial in (one, two, test)] == ["validate", "validate", "test"]
    assert [trial.plan.seed for trial in (one, two, test)] == [0, 1, 0]
    assert one.plan.settings == two.plan.settings == test.plan.settings
    assert one.plan.data == test.plan.data
    assert one.plan.segments["train"][1] == "2002-12-31"
    assert test.plan.segments == {"test": ("2004-01-02", "2004-06-30")}
    assert one.chosen == test.plan.checkpoint
    again = backtest(config, best)["summary"]["evidence"]["trials"]
    assert (again["rows"], again["counted"]) == (4, 4)


def test_score_in_the_ledger_is_the_one_of_the_run(config: str) -> None:
    done = backtest(config)
    (trial,) = trials(config)
    (look,) = trial.looks
    assert look.score == pytest.approx(done["metrics"]["agent"]["sharpe"], rel=1e-12)
    assert look.moments is not None
    assert look.moments.bars == done["summary"]["evidence"]["bars"]
    run = RunFolder(Path(done["run"])).read()
    equity = run.equity["agent"]
    series = np.load(Path(done["run"]) / "returns.npy")
    np.testing.assert_array_equal(series, equity[1:] / equity[:-1] - 1)
    assert trial.plan.seed is None


def test_training_that_fails_is_a_row_that_says_why(config: str) -> None:
    with pytest.raises(SettingsError, match="expected one of ppo"):
        train(config, "train.algorithm=none")
    (trial,) = trials(config)
    assert (trial.status, trial.looks) == ("failed", ())
    assert trial.error.startswith("SettingsError: train.algorithm")


def test_interrupted_backtest_is_an_aborted_row(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Trader, *_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trader, "commit", stop)
    assert backtest(config)["exit_code"] == 1
    assert [trial.status for trial in trials(config)] == ["aborted"]


def test_tampered_ledger_is_told_and_its_trials_are_not_used(config: str, tmp_path: Path) -> None:
    backtest(config)
    with sqlite3.connect(tmp_path / "runs" / "trials.sqlite") as connection:
        connection.execute("delete from entries where id = 2")
    connection.close()
    done = backtest(config)
    evidence = done["summary"]["evidence"]
    assert (evidence["trials"], evidence["dsr"]) == (None, None)
    assert evidence["verdict"] == "no evidence of an edge"
    first = cautions(RunFolder(Path(done["run"])).read())[0]
    assert first.grave
    assert "The trials cannot be counted" in first.text
    assert "removed or edited" in first.text


def test_one_setting_changes_the_hash_and_seed_name_and_place_do_not() -> None:
    plain = settings_hash(Settings())
    same = ({"name": "x"}, {"runs_dir": "y"}, {"trials_path": "z"}, {"train": {"seed": 7}})
    for tree in (*same, {"train": {"workers": 3}}):
        assert settings_hash(build(tree, "")) == plain
    for tree in ({"train": {"gamma": 0.9}}, {"costs": {"rate": 0.01}}, {"agent": {"burn_in": 9}}):
        assert settings_hash(build(tree, "")) != plain


def test_ledger_may_stand_elsewhere_than_the_runs(config: str, tmp_path: Path) -> None:
    sets = (f"trials_path={tmp_path / 'own.sqlite'}",)
    run_backtest(config, None, sets, as_json=True)
    assert not (tmp_path / "runs" / "trials.sqlite").exists()
    with Ledger(tmp_path / "own.sqlite") as ledger:
        (trial,) = ledger.trials()
        assert ledger.series(trial.looks[0]) is not None


def test_code_version_names_the_commit_of_a_checkout() -> None:
    from engine import VERSION

    assert code_version().startswith(VERSION)


def test_command_lists_and_verifies(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["trials", "list", config]) == 2
    assert "no trial ledger here yet" in capsys.readouterr().err
    backtest(config)
    backtest(config)
    data = trials(config)[0].plan.data
    assert cli.run(["trials", "list", config]) == 0
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 4  # head, two rows, one count
    assert told[-1].startswith(f"data {data[:8]}: trials counted 2 (trainings and evaluations 2)")
    assert cli.run(["trials", "list", config, "--data", data[:6], "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["trials"]) == 2
    assert cli.run(["trials", "list", config, "--data", "none"]) == 1
    assert f"known: {data[:8]}" in capsys.readouterr().err
    assert cli.run(["trials", "verify", config]) == 0
    assert "6 entries, the chain holds" in capsys.readouterr().out
    with sqlite3.connect(tmp_path / "runs" / "trials.sqlite") as connection:
        connection.execute("update entries set body = replace(body, '2004', '2005') where id = 4")
    connection.close()
    assert cli.run(["trials", "verify", config]) == 1
    assert "breaks at entry 4 (opened)" in capsys.readouterr().err
