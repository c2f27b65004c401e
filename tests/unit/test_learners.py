"""What every learner owes the loop: schedules, resuming, and a fourth rule as one class and one line."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.checkpoint import build
from agents.env import BookEnv
from agents.on_policy import OnPolicy
from agents.rollout import Collector
from agents.sequences import mix
from agents.train import LEARNERS
from engine.checkpoint import CheckpointInfo
from engine.errors import SettingsError
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from engine.step import StepPolicy
from tests.rollouts import ON_POLICY, STEPS, Parts
from tests.small_training import rows_of, run, same, weights

Begun = tuple[dict[str, Any], Path, Path]
SCHEDULED = {
    "learning_rate_schedule": "linear",
    "ppo": {"minibatches": 2, "entropy_weight": 0.1, "entropy_weight_end": 0.0},
    "a2c": {"entropy_weight": 0.1, "entropy_weight_end": 0.0},
}


def stop_after(update: int) -> Any:
    def interrupt(row: dict[str, Any]) -> None:
        if row["update"] == update:
            raise KeyboardInterrupt

    return interrupt


@pytest.fixture(scope="module", params=ON_POLICY)
def begun(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """One training that was never stopped, and the same one stopped in its middle."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"algorithm": request.param, **SCHEDULED}
    run(folder / "whole", train_settings=settings)
    run(folder / "cut", train_settings=settings, progress=stop_after(2))
    return settings, folder / "whole", folder / "cut"


def resumed(begun: Begun, folder: Path) -> Path:
    settings, _, cut = begun
    shutil.copytree(cut, folder / "resumed")
    run(folder / "resumed", train_settings=settings, resume=True)
    return folder / "resumed"


def test_stopped_and_resumed_equals_never_stopped_with_schedules(
    tmp_path: Path, begun: Begun
) -> None:
    # R32: weights, optimiser, random state, memory, and where the schedules were
    whole, found = begun[1], resumed(begun, tmp_path)
    assert same(whole / "last", found / "last")
    pairs = list(zip(rows_of(whole), rows_of(found), strict=True))
    for left, right in pairs:
        assert left | {"steps_per_s": 0} == right | {"steps_per_s": 0}
    assert [left["entropy_weight"] for left, _ in pairs] == pytest.approx([0.1, 0.075, 0.05, 0.025])


@pytest.mark.parametrize("lost", ["descent", "collector", "rounds"])
def test_a_resume_that_loses_a_part_would_be_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: Begun, lost: str
) -> None:
    # planted bug P18, for every part of the state
    def forgetful(self: Any, state: dict[str, Any]) -> None:
        if lost != "rounds":
            self.rounds = state["rounds"]
        if lost != "descent":
            self.descent.restore(state["descent"])
        if lost != "collector":
            self.collector.restore(state["collector"])

    monkeypatch.setattr(OnPolicy, "restore", forgetful)
    assert not same(begun[1] / "last", resumed(begun, tmp_path) / "last")


def test_same_seed_gives_identical_weights_and_another_seed_does_not(
    tmp_path: Path, begun: Begun
) -> None:
    # R21
    for name, seed in (("same", 0), ("other", 1)):
        run(tmp_path / name, seed=seed, train_settings=begun[0])
    assert same(begun[1] / "last", tmp_path / "same/last")
    assert not same(begun[1] / "last", tmp_path / "other/last")


@pytest.mark.parametrize("rule", ON_POLICY)
@pytest.mark.parametrize(("kind", "expected"), [("linear", [1e-3, 5e-4]), ("constant", [1e-3] * 2)])
def test_learning_rate_follows_its_schedule(rule: str, kind: str, expected: list[float]) -> None:
    learner = Parts().learner(rule, learning_rate_schedule=kind, updates=2)
    found = []
    for _ in range(2):
        learner.round()
        found.append(learner.descent.optimiser.param_groups[0]["lr"])
    assert found == pytest.approx(expected)


def test_target_kl_ends_a_round_before_the_step_that_would_go_on() -> None:
    parts = Parts()
    rollout = parts.collector.collect(STEPS)

    def learned(target: float | None) -> dict[str, float]:
        own = {"epochs": 6, "minibatches": 2, "target_kl": target}
        found: dict[str, float] = parts.learner("ppo", ppo=own, learning_rate=1e-2).learn(rollout)
        return found

    free, held = learned(None), learned(1e-3)
    assert free["gradient_steps"] == 12
    assert 1 <= held["gradient_steps"] < 12
    assert held["kl"] <= 1e-3 < free["kl"]
    assert learned(1e9) == free


def test_target_kl_never_stops_the_first_step() -> None:
    parts = Parts()
    own = {"epochs": 2, "minibatches": 1, "target_kl": 1e-12}
    watched = parts.learner("ppo", ppo=own).learn(parts.collector.collect(STEPS))
    assert watched["gradient_steps"] == 1


class Unlearned:
    """A fourth rule: it plays, and makes its last bias a little larger."""

    def __init__(
        self, env: BookEnv, info: CheckpointInfo, settings: TrainSettings, reward: RewardSettings
    ) -> None:
        self.net = build(info)
        self.settings, self.space = settings, info.action
        self.collector = Collector(env, self.net, reward, env.generator)

    @torch.no_grad()
    def round(self) -> dict[str, Any]:
        self.net.get_parameter([n for n, _ in self.net.named_parameters()][-1]).add_(0.5)
        return mix(self.collector.collect(self.settings.rollout_steps), self.space)

    def state(self) -> dict[str, Any]:
        return {"collector": self.collector.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.collector.restore(state["collector"])


def test_a_fourth_rule_is_one_class_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LEARNERS, "unlearned", Unlearned)
    settings = {"algorithm": "unlearned"}
    done = run(tmp_path / "whole", train_settings=settings)
    last = weights(tmp_path / "whole/last")
    assert list(last.values())[-1].item() == 4 * 0.5
    policy = StepPolicy.load(done.best)
    assert policy.info.update == 2
    assert np.isfinite(policy.run(*[np.ones((3, n), np.float32) for n in (2, 2, 16)])[0]).all()
    run(tmp_path / "cut", train_settings=settings, progress=stop_after(3))
    run(tmp_path / "cut", train_settings=settings, resume=True)
    assert same(tmp_path / "whole/last", tmp_path / "cut/last")


def test_an_unknown_rule_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"expected one of ppo, a2c.*, found pp"):
        run(tmp_path, train_settings={"algorithm": "pp"})
