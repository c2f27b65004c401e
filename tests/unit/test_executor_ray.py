"""Trainings on Ray leave the files that local ones leave; what a task counted is taken in."""

import gc
import json
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.monitor import METRICS
from engine.errors import UsageError
from engine.run.training import executor_ray
from engine.run.training.executor import Inline, Job, chosen, outcome
from engine.run.training.executor_ray import PART, SHARED, Ray
from engine.run.training.folder import TRAINING
from engine.run.walkforward.run import walk_forward
from engine.settings import Settings, build
from engine.trials import Ledger
from tests.unit.test_trials import PLAN, fill
from tests.unit.test_walkforward import TREE, files


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the ledger of runs in a folder of the test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ray_here() -> Iterator[None]:
    """Skip without Ray; what its client leaves open is collected here."""
    pytest.importorskip("ray", reason="needs the extra `ray`")
    yield
    gc.collect()


SPLIT = {
    "train": {"end": "2001-12-31"},
    "validation": {"start": "2002-01-02", "end": "2002-12-31"},
}


def made(**train: Any) -> Settings:
    return build(TREE | {"train": TREE["train"] | train}, "")


def job(folder: Path, split: dict[str, Any]) -> Job:
    return Job(
        build(
            TREE | {"split": split, "train": TREE["train"] | {"updates": 60, "validate_every": 20}},
            "",
        ),
        folder,
    )


def rows(folder: Path) -> list[tuple[Any, ...]]:
    with Ledger(folder / "trials.sqlite") as ledger:
        ledger.verify()
        return sorted(
            (
                trial.plan.purpose,
                tuple(sorted(trial.plan.segments.items())),
                trial.plan.settings,
                trial.plan.folder,
                trial.status,
                tuple((look.update, look.score, look.series, look.sha256) for look in trial.looks),
            )
            for trial in ledger.trials()
        )


def test_trials_of_a_task_are_taken_in_and_its_series_found(tmp_path: Path) -> None:
    fill(tmp_path / "a" / "trials.sqlite")
    with Ledger(tmp_path / "all.sqlite") as ledger:
        with ledger.trial(PLAN):
            pass
        ledger.take_in(tmp_path / "a" / "trials.sqlite")
        ledger.verify()
        first, second, third = ledger.trials()
        assert first.plan == PLAN
        assert second.plan == replace(PLAN, folder="a/run-1")
        assert [look.series for look in second.looks] == ["a/run-1/0.npy", "a/run-1/1.npy"]
        assert ledger.series(second.looks[0]) is not None
        assert (second.status, second.chosen) == ("done", "c" * 64)
        assert third.plan.purpose == "test"


def test_task_that_does_not_see_the_folder_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a file system that all nodes share"):
        executor_ray._train_there({}, str(tmp_path / "run"), "word", False, str(tmp_path))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(executor_ray, "import_module", none)
    with pytest.raises(UsageError, match="pip install 'barwise"):
        Ray().run([Job(made(), tmp_path / "run")], lambda: None)
    assert isinstance(chosen(made(executor="ray", ray_address="auto").train, Inline()), Ray)
    assert isinstance(chosen(made().train, Inline()), Inline)


class Rude:
    """Stands in for Ray: takes SIGTERM for itself, and is told it while it shuts down."""

    def init(self, **_: Any) -> None:
        signal.signal(signal.SIGTERM, lambda *_: pytest.fail("SIGTERM was left to Ray"))

    def shutdown(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_cluster_that_does_not_answer_is_said_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    monkeypatch.setattr(executor_ray, "import_module", lambda name: Rude())
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: refused
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(UsageError, match=r"train\.ray_address = .*expected a Ray cluster that"):
            Ray(address).run([Job(made(), tmp_path / "run")], lambda: None)


def test_sigterm_under_ray_is_an_interrupt_and_is_nobodys_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(executor_ray, "import_module", lambda name: Rude())
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), executor_ray._connected("", 1):
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.very_slow
def test_walk_forward_on_ray_leaves_the_files_of_a_local_one(
    tmp_path: Path, ray_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # nobody asked for that cluster
    for name, executor, settings in (
        ("local", Inline(), made()),
        ("ray", Ray(count=2), made(executor="ray")),
    ):
        (tmp_path / name).mkdir()
        here = settings.model_copy(update={"trials_path": f"{name}/trials.sqlite"})
        assert "failed" not in walk_forward(here, Path(name) / "run", executor)
    local, there = files(Path("local/run")), files(Path("ray/run"))
    told = [json.loads(found.pop("settings.json")) for found in (local, there)]
    assert [tree["train"]["executor"] for tree in told] == ["local", "ray"]
    own = [name for name in local if name.endswith("settings.json")]
    for name in own:  # where their ledger lies is part of them
        there[name] = there[name].replace(b"ray/trials", b"local/trials")
    assert there == local
    assert rows(Path("ray")) == rows(Path("local"))
    assert not [*Path("ray").rglob(PART + "*"), *Path("ray").rglob(SHARED)]


@pytest.mark.very_slow
def test_interrupt_and_failure_on_ray_end_as_local_ones_do(tmp_path: Path, ray_here: None) -> None:
    alone, long = job(tmp_path / "alone", SPLIT), job(tmp_path / "long", SPLIT)
    broken = job(tmp_path / "broken", SPLIT | {"train": {"end": "1999-01-04"}})
    Inline().run([alone], lambda: None)

    def tick() -> None:
        if (long.folder / TRAINING / METRICS).is_file():
            os.kill(os.getpid(), signal.SIGTERM)  # as Ctrl-C; under Ray's own handler it aborts

    assert Ray(count=2).run([long], tick)
    stopped = outcome(long)
    assert stopped is not None
    assert stopped["interrupted"]
    assert 0 < stopped["updates"] < 60
    assert not Ray(count=2).run([broken, long], lambda: None, resume=True)
    assert "split.train" in (outcome(broken) or {})["error"]
    assert (outcome(long) or {})["updates"] == 60
    for name in ("policy.onnx", "weights.safetensors"):
        part = Path("training") / "best" / name
        assert (long.folder / part).read_bytes() == (alone.folder / part).read_bytes()
