"""Settings of training: what every learning rule shares, with one table for each rule.

They live in the core so that one file describes a run; nothing here imports torch.
"""

from typing import Literal

from pydantic import BaseModel, Field, model_validator

from engine.settings_course import AugmentSettings, Market, StageSettings
from engine.settings_learners import A2CSettings, DDPGSettings, PPOSettings


class TrainSettings(BaseModel, frozen=True, extra="forbid"):
    """How an agent is trained."""

    algorithm: str = Field("ppo", description="learning rule: a name in agents.train.LEARNERS")
    ppo: PPOSettings = PPOSettings()
    a2c: A2CSettings = A2CSettings()
    ddpg: DDPGSettings = DDPGSettings()
    seed: int = Field(0, ge=0, description="the one number every random draw is made from")
    updates: int = Field(40, ge=1, description="rollout-and-update rounds")
    books: int = Field(64, ge=1, description="books stepped side by side (B)")
    book_kind: Literal["single", "portfolio"] = Field(
        "single", description="one symbol a book, drawn from all; or every symbol, one cash"
    )
    rollout_steps: int = Field(126, ge=2, description="bars in one rollout (S; guide: 128, say)")
    episode_steps: int = Field(252, ge=2, description="bars in one episode (guide: 252, say)")
    starts: Literal["random", "sequential"] = Field("random", description="where episodes begin")
    learning_rate: float = Field(1e-3, gt=0, description="step size of the optimiser")
    learning_rate_schedule: Literal["constant", "linear"] = Field(
        "constant", description="how the step size goes on: constant, or in a straight line to zero"
    )
    gamma: float = Field(0.97, gt=0, le=1, description="discount a bar (guide: 0.95-0.99)")
    bptt_steps: int | None = Field(
        None,
        ge=1,
        description="bars a gradient reaches back (guide: chunks of long episodes), the memory goes "
        "on; none = the whole rollout",
    )
    max_grad_norm: float = Field(
        0.5, gt=0, description="gradient clipping (guide: with PPO, for stability)"
    )
    weight_decay: float = Field(0.0, ge=0, description="decoupled L2 on the weights")
    validate_every: int = Field(5, ge=1, description="updates between greedy validations")
    threads: int = Field(1, ge=1, description="torch threads; 1 makes a seed reproducible")
    score: Literal["sharpe", "sortino", "calmar", "total_return"] = Field(
        "sharpe", description="what a validation measures; the checkpoint with the best is kept"
    )
    patience: int | None = Field(
        None, ge=1, description="validations without a better score that end it; empty = never"
    )
    watch_training: bool = Field(
        True,
        description="also score the last training dates, as many as validation has, to see "
        "overfitting (guide: monitor both)",
    )
    market: Market = Field(
        "real",
        description="training rows from real bars, from bootstrapped ones, from both, or from random "
        "walks (gbm), which nothing can time",
    )
    augment: AugmentSettings = AugmentSettings()
    stages: tuple[StageSettings, ...] = Field(
        (), description="curriculum, first to last (guide: for robustness); empty = none"
    )
    workers: int | None = Field(
        None, ge=1, description="seeds trained at once, one process each; empty = one a core"
    )
    executor: Literal["local", "ray"] = Field(
        "local",
        description="where seeds and windows are trained: processes of this machine, or Ray (extra `ray`)",
    )
    ray_address: str = Field(
        "", description="ray: address of a cluster, or auto; empty = this machine alone"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "cpu", description="where networks learn; auto = cuda if there is one (not bit for bit)"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of the products in whole sequences while learning: bfloat16 is up to twice as "
        "fast on processors made for it; weights, checkpoints and decisions are float32 either way",
    )
    tensorboard: bool = Field(
        False, description="also write TensorBoard events; needs the extra `track`"
    )

    @model_validator(mode="after")
    def _stages_end(self) -> "TrainSettings":
        for number, stage in enumerate(self.stages[:-1], start=1):
            if stage.updates is None and stage.promote_at is None:
                raise ValueError(f"stage {number} never ends: give it updates or promote_at")
        markets = {self.market, *(stage.market or self.market for stage in self.stages)}
        if markets != {"real"} and self.starts == "sequential":
            raise ValueError('made-up markets need starts = "random", found "sequential"')
        return self

    @model_validator(mode="after")
    def _stages_have_an_entropy_weight(self) -> "TrainSettings":
        if all(stage.entropy_weight is None for stage in self.stages):
            return self
        if self.algorithm == "ddpg":
            raise ValueError("stages set entropy_weight, which ddpg has not; leave it out of them")
        if self._own_entropy_weight_end is not None:
            raise ValueError(
                f"stages set entropy_weight while train.{self.algorithm}.entropy_weight_end fades it; "
                "use one of the two"
            )
        return self

    @property
    def fades(self) -> bool:
        """Whether something changes in proportion to `updates`, which are then part of the rule."""
        falls = self.learning_rate_schedule != "constant"
        return falls or self._own_entropy_weight_end is not None

    @property
    def _own_entropy_weight_end(self) -> float | None:
        return getattr(getattr(self, self.algorithm, None), "entropy_weight_end", None)
