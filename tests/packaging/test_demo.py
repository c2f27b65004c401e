"""The main job, end to end: train, choose, backtest, report; the same seed gives the same run."""

import json
from pathlib import Path

import pytest

from engine.journal import Journal
from engine.report.folder import RunFolder
from tests.packaging.test_cli import barwise

SHORT = (
    "--set", "train.updates=3", "--set", "train.validate_every=1", "--set", "train.books=16",
    "--set", "split.test.start=2011-01-03",
)  # fmt: skip


def run_demo(folder: Path, *more: str) -> dict[str, object]:
    done = barwise("demo", "--json", "--set", f"runs_dir={folder}", *SHORT, *more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> dict[str, object]:
    return run_demo(tmp_path_factory.mktemp("demo"))


def test_demo_leaves_a_whole_run_folder(demo):
    run = RunFolder(Path(demo["run"])).read()
    assert run.missing == ()
    assert run.data["symbols"] == ["AAPL", "GOOG", "IBM", "MSFT"]
    assert str(run.equity["session"][0]) == "2011-01-03"
    assert {"buy_and_hold", "flat", "random"} <= set(run.equity)
    assert run.metrics["agent"]["total_return"] is not None
    with Journal(run.path / "journal.sqlite") as journal:
        assert journal.verify().count > len(run.equity["session"])
        assert sum(1 for _ in journal.entries("decision")) == len(run.equity["session"])


def test_demo_rehearses_paper_trading_and_it_agrees(demo):
    rehearsal = demo["rehearsal"]
    assert rehearsal["agrees"] is True
    assert rehearsal["decided"] == 20
    assert (Path(str(demo["run"])) / "rehearsal" / "journal.sqlite").exists()


@pytest.mark.very_slow  # a killed and resumed training is compared bit for bit elsewhere
def test_same_seed_gives_the_same_checkpoint_and_numbers(demo, tmp_path):
    again = run_demo(tmp_path)
    assert again["metrics"] == demo["metrics"]
    first, second = (Path(str(found["checkpoint"])) for found in (demo, again))
    for name in ("policy.onnx", "weights.safetensors"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


@pytest.mark.very_slow
def test_another_seed_gives_another_agent(demo, tmp_path):
    other = run_demo(tmp_path, "--set", "train.seed=1")
    weights = [Path(str(found["checkpoint"])) / "weights.safetensors" for found in (demo, other)]
    assert weights[0].read_bytes() != weights[1].read_bytes()


@pytest.mark.very_slow
def test_trained_checkpoint_passes_both_checks(demo):
    checkpoint = ("--checkpoint", str(demo["checkpoint"]), "--json")
    for check, key in (("parity", "holds"), ("lookahead", "clean")):
        done = barwise("check", check, "demo", *checkpoint, "--set", "split.test.start=2011-01-03")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[key] is True


def test_parity_prints_the_largest_difference(demo):
    sets = ("--set", "split.test.start=2012-06-01")
    done = barwise("check", "parity", "demo", "--checkpoint", str(demo["checkpoint"]), *sets)
    assert done.returncode == 0, done.stderr
    assert "environment - replay" in done.stdout
    assert "backtrader - replay" in done.stdout
    assert done.stdout.rstrip().endswith("parity holds; largest difference 0")


def test_checkpoint_for_other_inputs_is_refused_before_anything_runs(demo):
    done = barwise(
        "backtest", "demo", "--checkpoint", str(demo["checkpoint"]),
        "--set", 'observation.features=["log_return"]',
    )  # fmt: skip
    assert done.returncode == 1
    assert "observation.features" in done.stderr
    assert "train again" in done.stderr
