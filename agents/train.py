"""The training loop: roll out, learn, now and then validate greedily, keep the best.

    folder/best            the checkpoint with the best validation score so far
    folder/last            the newest one, with everything needed to resume
    folder/training.jsonl  one line an update

It knows no algorithm by heart: a learner is a class with `learn`, `state` and `restore`, and a line in
LEARNERS. What a good policy is, the caller says: `validate` gets the deployed step, as in life.
"""

import ctypes
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from agents.a2c import A2C
from agents.checkpoint import Writer, put_weights, recover, resume_state
from agents.env import BookEnv
from agents.networks import ActorCritic
from agents.ppo import PPO
from engine.checkpoint import WEIGHTS, CheckpointInfo, read, read_weights
from engine.errors import CheckpointError, SettingsError, TradingError
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from engine.step import StepPolicy

BEST, LAST, METRICS = "best", "last", "training.jsonl"
Row = dict[str, Any]


class Learner(Protocol):
    """What an algorithm is to the loop; a new one is a file with such a class and a line below.

    `net` is the actor that is validated, saved and deployed. A round plays, learns, and returns what
    to watch: "steps" it played (over all books), their mean "reward", and anything else that is a
    plain number. `state` holds all that changes but `net`'s weights and the environment's generator,
    which the loop saves, and has put back by the time `restore` is called.
    Raises: TradingError from `round`, before a weight has changed, when a loss is not finite.
    """

    net: ActorCritic

    def round(self) -> Row: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: Mapping[str, Any]) -> None: ...


NewLearner = Callable[[BookEnv, CheckpointInfo, TrainSettings, RewardSettings], Learner]
LEARNERS: dict[str, NewLearner] = {
    "ppo": PPO,
    "a2c": A2C,
}


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left behind. `score` is None when nothing was validated."""

    best: Path
    score: float | None
    updates: int
    interrupted: bool


def train(
    env: BookEnv,
    info: CheckpointInfo,
    settings: TrainSettings,
    reward: RewardSettings,
    folder: Path,
    validate: Callable[[StepPolicy], float],
    progress: Callable[[Row], None] = lambda row: None,
    resume: bool = False,
) -> Trained:
    """Train an agent of the kind `info` describes; every random draw comes from `env.generator`.

    Ctrl-C ends it early with a usable best checkpoint. The same seed on one thread gives identical
    weights, and N updates, stopped and resumed to 2N, give what 2N at once give.
    Raises: TradingError when a loss or score is not finite; the checkpoints before it stay.
    CheckpointError when the folder holds another training, or what is resumed does not fit.
    SettingsError when no learner has the name in `settings.algorithm`.
    """
    if settings.algorithm not in LEARNERS:
        raise SettingsError(
            f"train.algorithm: expected one of {', '.join(LEARNERS)}, found {settings.algorithm}"
        )
    if not resume and ((folder / BEST).exists() or (folder / LAST).exists()):
        raise CheckpointError(
            f"{folder}: expected no checkpoints yet, found those of an earlier training; "
            "resume it, or choose another folder"
        )
    run = _Run.start(env, info, settings, reward, folder, validate)
    if resume:
        run.restore()
    interrupted = False
    try:
        while run.update < settings.updates:
            progress(run.one_update())
    except KeyboardInterrupt:
        interrupted = True
    run.finish()
    score = read(folder / BEST).validation_score
    return Trained(folder / BEST, score, run.update, interrupted)


@dataclass
class _Run:
    # Everything that changes while training.
    learner: Learner
    generator: np.random.Generator
    writer: Writer
    info: CheckpointInfo
    settings: TrainSettings
    folder: Path
    validate: Callable[[StepPolicy], float]
    update: int = 0
    steps: int = 0
    score: float | None = None

    @classmethod
    def start(
        cls,
        env: BookEnv,
        info: CheckpointInfo,
        settings: TrainSettings,
        reward: RewardSettings,
        folder: Path,
        validate: Callable[[StepPolicy], float],
    ) -> "_Run":
        _keep_pages()
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        folder.mkdir(parents=True, exist_ok=True)
        learner = LEARNERS[settings.algorithm](env, info, settings, reward)
        known = info.model_copy(update={"memory_width": learner.net.memory_width})
        writer = Writer(learner.net)
        return cls(learner, env.generator, writer, known, settings, folder, validate)

    def one_update(self) -> Row:
        began = time.perf_counter()
        watched = self.learner.round()
        rate = watched["steps"] / (time.perf_counter() - began)
        self.update += 1
        self.steps += watched["steps"]
        row: Row = {"update": self.update, **watched, "steps": self.steps, "steps_per_s": rate}
        last = self.update == self.settings.updates
        if last or self.update % self.settings.validate_every == 0:
            row |= {"validation_score": self._validate(), "best_score": self.score}
        with (self.folder / METRICS).open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")
        return row

    def finish(self) -> None:
        # Stopped before the first validation: the weights of now are the best there is.
        recover(self.folder / BEST)
        if self.score is None and not (self.folder / BEST).exists():
            self.writer.save(self.folder / BEST, self._record(None))

    def restore(self) -> None:
        last = self.folder / LAST
        recover(last)
        recover(self.folder / BEST)
        written = read(last)
        same = {"sha256": {}, "versions": {}, "update": 0, "validation_score": None}
        if written.model_copy(update=same) != self.info.model_copy(update=same):
            raise CheckpointError(
                f"{last}: expected a checkpoint of these settings, found one of others; resume "
                "with the settings it was started with, or start a new run"
            )
        put_weights(self.learner.net, read_weights(last / WEIGHTS), str(last / WEIGHTS))
        state = resume_state(last)
        self.update, self.steps, self.score = state["update"], state["steps"], state["score"]
        self.generator.bit_generator.state = state["random"]
        self.learner.restore(state["learner"])
        self._forget_later_lines()

    def _forget_later_lines(self) -> None:
        # Updates after the last checkpoint are done again, and write their lines again.
        log = self.folder / METRICS
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True) if log.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["update"] <= self.update]
        log.write_text("".join(kept), encoding="utf-8")

    def _validate(self) -> float:
        record = self._record(None)
        score = float(self.validate(StepPolicy(self.writer.graph(), record, "policy in training")))
        if not math.isfinite(score):
            raise TradingError(
                f"the validation score of update {self.update} is {score}, expected a finite "
                "number; training stopped, the best checkpoint before it is kept"
            )
        if self.score is None or score > self.score:
            self.score = score
            self.writer.save(self.folder / BEST, self._record(score))
        self.writer.save(self.folder / LAST, self._record(score), self._state())
        return score

    def _record(self, score: float | None) -> CheckpointInfo:
        return self.info.model_copy(update={"update": self.update, "validation_score": score})

    def _state(self) -> dict[str, Any]:
        return {
            "update": self.update,
            "steps": self.steps,
            "score": self.score,
            "learner": self.learner.state(),
            "random": self.generator.bit_generator.state,
        }


def _keep_pages() -> None:
    # Keep freed memory for the next minibatch: page faults cost wide updates up to a factor of 4.
    # mallopt(M_MMAP_THRESHOLD, 32 MiB), mallopt(M_TRIM_THRESHOLD, 1 GiB); glibc only.
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-3, 1 << 25)
            libc.mallopt(-1, 1 << 30)
