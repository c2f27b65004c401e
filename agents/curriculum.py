"""The course of a training: its stages, when one gives way to the next, and what each plays on.

A stage's market, costs and episodes take hold when all books next start an episode, so that no episode
changes its rules; what is learned with changes at once.
"""

from collections.abc import Callable, Mapping
from typing import Any

from agents.env import BookEnv
from engine.costs import Costs
from engine.settings_course import StageSettings
from engine.settings_training import TrainSettings


def stages_of(settings: TrainSettings) -> tuple[StageSettings, ...]:
    """Return the stages with nothing left open; a training without stages is one stage."""
    given = settings.stages or (StageSettings(),)
    return tuple(
        stage.model_copy(
            update={
                "name": stage.name or f"stage {number}",
                "episode_steps": stage.episode_steps or settings.episode_steps,
                "market": stage.market or settings.market,
            }
        )
        for number, stage in enumerate(given, start=1)
    )


def part_of(costs: Costs, part: float) -> Costs:
    """Return costs of which only a part is charged; regulatory fees are charged in full or not."""
    if part == 1.0:
        return costs
    named = ("rate", "per_share", "per_order", "minimum", "slippage_bps")
    less = {name: part * getattr(costs, name) for name in named}
    return costs.model_copy(update={**less, "regulatory": costs.regulatory and part > 0})


def learned_with(settings: TrainSettings, stage: StageSettings) -> TrainSettings:
    """Return what is learned with in a stage: the settings, where the stage does not say otherwise."""
    own = {name: getattr(stage, name) for name in ("learning_rate", "gamma")}
    given: dict[str, object] = {name: value for name, value in own.items() if value is not None}
    if stage.entropy_weight is not None:
        weight = {"entropy_weight": stage.entropy_weight}
        given["ppo"] = settings.ppo.model_copy(update=weight)
        given["a2c"] = settings.a2c.model_copy(update=weight)
    return settings.model_copy(update=given)


class Curriculum:
    """Which stage a training is in. `env` is the environment its learner plays on."""

    def __init__(
        self, stages: tuple[StageSettings, ...], make: Callable[[StageSettings], BookEnv]
    ) -> None:
        self.stages, self.make = stages, make
        self.at, self.since = 0, 0
        self.env = make(stages[0])

    @property
    def stage(self) -> StageSettings:
        """The stage of now."""
        return self.stages[self.at]

    @property
    def is_last(self) -> bool:
        """Whether no other stage follows."""
        return self.at == len(self.stages) - 1

    def after(self, update: int, score: float | None) -> bool:
        """Move on when the stage is over after `update`, whose validation score this is, if any."""
        stage = self.stage
        done = stage.updates is not None and update - self.since >= stage.updates
        good = stage.promote_at is not None and score is not None and score >= stage.promote_at
        if self.is_last or not (done or good):
            return False
        self.at, self.since = self.at + 1, update
        self.env.follow(self.at, self.make(self.stage))
        return True

    def state(self) -> dict[str, int]:
        """Return everything needed to go on."""
        return {"at": self.at, "since": self.since, "playing": self.env.setup}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, before the learner is restored: episodes go on under their own stage."""
        self.at, self.since = state["at"], state["since"]
        if state["playing"] != self.env.setup:
            self.env.become(state["playing"], self.make(self.stages[state["playing"]]))
        if self.at != self.env.setup:
            self.env.follow(self.at, self.make(self.stage))
