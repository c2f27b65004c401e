"""`barwise train` as an operation: several seeds at once, a process killed and resumed, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.across_seeds import interquartile_mean
from engine.checkpoint import read_weights, sha256_of
from engine.trials import Ledger
from tests.packaging.test_cli import barwise

TINY = """
runs_dir = "runs"
[split]
train = { end = 2007-12-31 }
validation = { start = 2008-01-02, end = 2008-06-30 }
test = { start = 2013-01-02 }
[observation]
features = ["log_return", "momentum(20)"]
[agent]
burn_in = 8
[agent.network]
hidden_size = 8
heads = [8]
[train]
updates = 4
books = 4
rollout_steps = 20
episode_steps = 32
validate_every = 2
[train.ppo]
minibatches = 2
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    (folder / "tiny.toml").write_text(TINY)
    return folder


@pytest.fixture(scope="module")
def seeds(place) -> dict[str, Any]:
    """Two seeds, trained side by side without interruption."""
    done = barwise("train", "tiny.toml", "--seeds", "2", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def lines(run: Path) -> list[dict[str, Any]]:
    text = (run / "training/training.jsonl").read_text()
    found = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in row.items() if k != "steps_per_s"} for row in found]


def test_every_seed_stands_beside_the_mean_and_the_interval(seeds, place):
    run = place / seeds["run"]
    assert json.loads((run / "summary.json").read_text())["seeds"] == seeds["seeds"]
    scores = [row["validation_score"] for row in seeds["seeds"]]
    assert [row["seed"] for row in seeds["seeds"]] == [0, 1]
    assert seeds["interquartile_mean"] == interquartile_mean(np.array(scores))
    assert seeds["interval"][0] <= seeds["interquartile_mean"] <= seeds["interval"][1]
    assert seeds["validation_score"] == max(scores)
    assert seeds["checkpoint"] == seeds["seeds"][int(np.argmax(scores))]["checkpoint"]
    assert "best of 2 seeds" in seeds["rule"]
    for row in seeds["seeds"]:
        assert row["updates"] == 4
        assert (place / row["run"] / "settings.json").is_file()
        best = max(lines(place / row["run"]), key=lambda line: line.get("validation_score", -9))
        assert row["validation_score"] == best["validation_score"]
        assert row["best_update"] == best["update"]


def test_every_seed_and_every_checkpoint_looked_at_is_in_the_ledger(seeds, place):
    with Ledger(place / "runs/trials.sqlite") as ledger:
        ledger.verify()
        trials = [trial for trial in ledger.trials() if seeds["run"][5:] in trial.plan.folder]
    assert sorted(trial.plan.seed for trial in trials) == [0, 1]
    assert len({trial.plan.settings for trial in trials}) == 1  # the seed is beside it
    for trial in trials:
        row = seeds["seeds"][trial.plan.seed]
        assert trial.status == "done"
        assert [look.update for look in trial.looks] == [2, 4]
        assert max(look.score for look in trial.looks) == row["validation_score"]
        assert trial.chosen == sha256_of(place / row["checkpoint"] / "policy.onnx")


def killed(place: Path) -> Path:
    """Return the run folder of a training of seed 1 that was killed after its first checkpoint."""
    code = "from engine.cli import main; main()"
    sets = ["runs_dir=killed", "train.seed=1", "train.updates=100_000"]
    asked = [word for text in sets for word in ("--set", text)]
    command = [sys.executable, "-c", code, "train", "tiny.toml", *asked]
    child = subprocess.Popen(command, cwd=place, stderr=subprocess.DEVNULL)
    with child:
        logs: list[Path] = []
        while not logs or logs[0].read_text().count("\n") < 3:
            assert child.poll() is None
            time.sleep(0.02)
            logs = list(place.glob("killed/*/training/training.jsonl"))
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
    return logs[0].parent.parent


def test_killed_and_resumed_equals_never_killed_bit_for_bit(seeds, place):
    run = killed(place)
    assert len((run / "training/training.jsonl").read_text().splitlines()) >= 3
    with Ledger(place / "killed/trials.sqlite") as ledger:
        (trial,) = ledger.trials()
    assert trial.status == "aborted"
    assert trial.looks  # it counts, and so does what it had looked at
    done = barwise("train", "--resume", str(run), "--set", "train.updates=4", "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    whole = place / seeds["seeds"][1]["run"]
    assert found["updates"] == 4
    assert found["validation_score"] == seeds["seeds"][1]["validation_score"]
    assert lines(run) == lines(whole)
    for name in ("best/weights.safetensors", "last/weights.safetensors", "last/policy.onnx"):
        assert (run / "training" / name).read_bytes() == (whole / "training" / name).read_bytes()
    # optimiser, episodes, memory, rewards and both random states
    own, other = (x / "training/last/training/state.safetensors" for x in (run, whole))
    left, right = read_weights(own), read_weights(other)
    assert left.keys() == right.keys()
    assert all(left[name].tobytes() == right[name].tobytes() for name in left)
    own, other = (path.with_name("state.json") for path in (own, other))
    assert json.loads(own.read_text()) == json.loads(other.read_text())


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "expected a settings file, or --resume RUN"),
        (["tiny.toml", "--device", "gpu"], 2, "train.device"),
        (["tiny.toml", "--seeds", "0"], 2, "seeds"),
        (["--resume", "no-such-run"], 2, "--resume no-such-run: no such folder"),
        (["--resume", "{seeds}", "--seeds", "1"], 2, "has 2 seeds already"),
        (["--resume", "{seeds}/seed-0", "--seeds", "2"], 2, "holds the training of one seed"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_words(seeds, place, arguments, code, told):
    done = barwise("train", *(word.format(seeds=seeds["run"]) for word in arguments), cwd=place)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
