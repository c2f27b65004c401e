"""The training loop: play, learn, now and then validate greedily, keep the best.

    folder/best                      the checkpoint with the best validation score so far
    folder/last                      the newest one, with everything needed to resume
    folder/training.jsonl            one line an update
    folder/faulty-batch.safetensors  what was being learned from when a loss was not finite

It knows no algorithm by heart: a learner is a class with `round`, `state` and `restore`, and a line in
LEARNERS. What a good policy is, the caller says: `validate` gets the deployed step, as in life.
"""

import math
import re
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from agents.a2c import A2C
from agents.checkpoint import Writer, put_weights, recover, resume_state
from agents.curriculum import Curriculum, learned_with
from agents.ddpg import DDPG
from agents.descent import NotFinite
from agents.env import BookEnv
from agents.machine import device_of, keep_pages, slow_precision
from agents.monitor import METRICS, Log, Row, is_stuck, save_batch, warnings
from agents.networks import ActorCritic
from agents.ppo import PPO
from engine.checkpoint import WEIGHTS, CheckpointInfo, read, read_weights
from engine.errors import CheckpointError, SettingsError, TradingError
from engine.settings_course import StageSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from engine.step import StepPolicy

BEST, LAST = "best", "last"
__all__ = ["BEST", "LAST", "LEARNERS", "METRICS", "Learner", "Row", "Trained", "train"]

# A score, or a row with "validation_score" and what else was seen.
Validate = Callable[[StepPolicy], float | Mapping[str, float]]


class Learner(Protocol):
    """What an algorithm is to the loop; a new one is a file with such a class and a line below.

    `net` is the actor that is validated, saved and deployed. A round plays, learns, and returns what
    to watch: "steps" it played (over all books), their mean "reward", and anything else that is a
    plain number. `state` holds all that changes but `net`'s weights and the environment's generator,
    which the loop saves, and has put back by the time `restore` is called. `settings` are those of
    the stage: the loop puts them in before every round.
    Raises: TradingError from `round`, before a weight has changed, when a loss is not finite.
    """

    net: ActorCritic
    settings: TrainSettings

    def round(self) -> Row: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: Mapping[str, Any]) -> None: ...


NewLearner = Callable[[BookEnv, CheckpointInfo, TrainSettings, RewardSettings], Learner]
LEARNERS: dict[str, NewLearner] = {
    "ppo": PPO,
    "a2c": A2C,
    "ddpg": DDPG,
}


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training left behind. `score` is None when nothing was validated; `stopped` says why
    it ended before its last update, `warnings` what a user of the checkpoint must know."""

    best: Path
    score: float | None
    updates: int
    interrupted: bool
    stopped: str | None = None
    warnings: tuple[str, ...] = ()


def train(
    env: BookEnv | Curriculum,
    info: CheckpointInfo,
    settings: TrainSettings,
    reward: RewardSettings,
    folder: Path,
    validate: Validate,
    progress: Callable[[Row], None] = lambda row: None,
    resume: bool = False,
    warn: Callable[[str], None] = lambda text: None,
) -> Trained:
    """Train an agent of the kind `info` describes; every random draw comes from `env.generator`.

    Ctrl-C ends it early with a usable best checkpoint. The same seed on one thread gives identical
    weights, and N updates, stopped and resumed to 2N, give what 2N at once give. A resume without
    any checkpoint yet starts at the beginning.
    Raises: TradingError when a loss or score is not finite; the checkpoints before it stay.
    CheckpointError when the folder holds another training, or what is resumed does not fit.
    SettingsError when no learner has the name in `settings.algorithm`, or the device is not there.
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
    if isinstance(env, BookEnv):
        only = env
        env = Curriculum((StageSettings(),), lambda stage: only)
    run = _Run.start(env, info, settings, reward, folder, validate)
    if (slow := slow_precision(settings.precision, device_of(settings.device))) is not None:
        warn(slow)
    if resume:
        run.restore()
    interrupted = False
    try:
        while run.update < settings.updates and not run.is_stuck:
            progress(run.one_update(warn))
    except KeyboardInterrupt:
        interrupted = True
    except NotFinite:
        save_batch(folder, run.learner)
        raise
    finally:
        run.log.close()
    return run.finish(interrupted)


@dataclass
class _Run:
    # Everything that changes while training.
    learner: Learner
    course: Curriculum
    writer: Writer
    log: Log
    info: CheckpointInfo
    settings: TrainSettings
    folder: Path
    validate: Validate
    update: int = 0
    steps: int = 0
    score: float | None = None
    told: set[str] = field(default_factory=set)

    @classmethod
    def start(
        cls,
        course: Curriculum,
        info: CheckpointInfo,
        settings: TrainSettings,
        reward: RewardSettings,
        folder: Path,
        validate: Validate,
    ) -> "_Run":
        keep_pages()
        device = device_of(settings.device)
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        folder.mkdir(parents=True, exist_ok=True)
        # Networks and optimisers are made where they learn; the environment stays in NumPy.
        with nullcontext() if device == "cpu" else torch.device(device):
            learner = LEARNERS[settings.algorithm](course.env, info, settings, reward)
        known = info.model_copy(update={"memory_width": learner.net.memory_width})
        log = Log(folder, settings.tensorboard)
        return cls(learner, course, Writer(learner.net), log, known, settings, folder, validate)

    @property
    def is_stuck(self) -> bool:
        # Only the last stage may end a training: an earlier one is left by promotion.
        since = self.course.since
        return self.course.is_last and is_stuck(
            self.log.validations(), self.settings.patience, since
        )

    def one_update(self, warn: Callable[[str], None]) -> Row:
        began = time.perf_counter()
        self.learner.settings = learned_with(self.settings, self.course.stage)
        watched = self.learner.round()
        rate = watched["steps"] / (time.perf_counter() - began)
        self.update += 1
        self.steps += watched["steps"]
        row: Row = {"update": self.update, **watched, "steps": self.steps, "steps_per_s": rate}
        if len(self.course.stages) > 1:
            row["stage"] = self.course.at + 1
        validated = self.update % self.settings.validate_every == 0
        last = self.update == self.settings.updates
        if validated or last:
            row |= self._validate()
        if (validated or last) and (new := self._unheard([*self.log.rows, row])):
            row["warnings"] = new
        self.log.add(row)
        for text in row.get("warnings", ()):
            warn(text)
        self.course.after(self.update, row.get("validation_score"))
        if validated or last:
            self.writer.save(
                self.folder / LAST, self._record(row["validation_score"]), self._state()
            )
        return row

    def warnings(self, rows: list[Row]) -> list[str]:
        """Return what lines of this training warn of."""
        space = self.info.action
        names = () if space.kind == "continuous" else tuple(space.names)
        return warnings(rows, self.settings.updates, names)

    def _unheard(self, rows: list[Row]) -> list[str]:
        # Once each: the numbers inside move from validation to validation.
        found = {re.split(r"[\d(]", text)[0]: text for text in self.warnings(rows)}
        new = [text for about, text in found.items() if about not in self.told]
        self.told |= found.keys()
        return new

    def finish(self, interrupted: bool) -> Trained:
        # Stopped before the first validation: the weights of now are the best there is.
        best = self.folder / BEST
        recover(best)
        if self.score is None and not best.exists():
            self.writer.save(best, self._record(None))
        stopped = None
        if not interrupted and self.update < self.settings.updates:
            stopped = f"no better validation score in {self.settings.patience} validations"
        found = tuple(self.warnings(self.log.rows))
        return Trained(best, read(best).validation_score, self.update, interrupted, stopped, found)

    def restore(self) -> None:
        last = self.folder / LAST
        recover(last)
        recover(self.folder / BEST)
        if not last.exists():  # killed before the first checkpoint: nothing to go on from
            self.log.back_to(0)
            return
        written = read(last)
        same = {"sha256": {}, "versions": {}, "update": 0, "validation_score": None, "digest": ""}
        if written.model_copy(update=same) != self.info.model_copy(update=same):
            raise CheckpointError(
                f"{last}: expected a checkpoint of these settings, found one of others; resume "
                "with the settings it was started with, or start a new run"
            )
        put_weights(self.learner.net, read_weights(last / WEIGHTS), str(last / WEIGHTS))
        state = resume_state(last)
        self.update, self.steps, self.score = state["update"], state["steps"], state["score"]
        self.course.restore(state["course"])
        self.course.env.generator.bit_generator.state = state["random"]
        torch.set_rng_state(torch.from_numpy(np.array(state["torch"])))
        self.learner.restore(state["learner"])
        self.log.back_to(self.update)
        self._unheard(self.log.rows)

    def _validate(self) -> Row:
        record = self._record(None)
        found = self.validate(StepPolicy(self.writer.graph(), record, "policy in training"))
        seen = dict(found) if isinstance(found, Mapping) else {"validation_score": float(found)}
        score = seen["validation_score"]
        if not math.isfinite(score):
            raise TradingError(
                f"the validation score of update {self.update} is {score}, expected a finite "
                "number; training stopped, the best checkpoint before it is kept"
            )
        if self.score is None or score > self.score:
            self.score = score
            self.writer.save(self.folder / BEST, self._record(score))
        return {**seen, "best_score": self.score}

    def _record(self, score: float | None) -> CheckpointInfo:
        return self.info.model_copy(update={"update": self.update, "validation_score": score})

    def _state(self) -> dict[str, Any]:
        return {
            "update": self.update,
            "steps": self.steps,
            "score": self.score,
            "course": self.course.state(),
            "learner": self.learner.state(),
            "random": self.course.env.generator.bit_generator.state,
            "torch": torch.get_rng_state().numpy(),
        }
