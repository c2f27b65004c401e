"""Settings of the course of a training: the markets it learns on, and stages from easy to full."""

from typing import Literal

from pydantic import BaseModel, Field

Market = Literal["real", "bootstrap", "mix", "gbm"]


class AugmentSettings(BaseModel, frozen=True, extra="forbid"):
    """Made-up markets beside the real one, drawn from real bars of the training dates alone."""

    copies: int = Field(4, ge=1, description="made-up markets, each as long as the real one")
    share: float = Field(0.5, gt=0, lt=1, description="mix: share of episodes that play on them")
    mean_block: float = Field(
        20.0, ge=1, description="bootstrap: mean number of real days kept in a row"
    )
    mu: float | None = Field(
        None, description="gbm: drift a session; empty = that of each symbol's training bars"
    )
    sigma: float | None = Field(
        None, gt=0, description="gbm: noise a session; empty = that of each symbol's training bars"
    )


class StageSettings(BaseModel, frozen=True, extra="forbid"):
    """One stage of a curriculum; the last one lasts to the end. Validation is always at full costs."""

    name: str = Field("", description="what the run record calls it; empty = its number")
    updates: int | None = Field(None, ge=1, description="updates after which the next stage begins")
    promote_at: float | None = Field(
        None, description="validation score (train.score) at which the next stage begins sooner"
    )
    costs: float = Field(1.0, ge=0, le=1, description="part of the costs that is charged, 0 to 1")
    episode_steps: int | None = Field(
        None, ge=2, description="bars in one episode; empty = train.episode_steps"
    )
    volatility: Literal["all", "low", "high"] = Field(
        "all", description="episodes of the calmer or the wilder half of each symbol's, or all"
    )
    market: Market | None = Field(
        None, description="as train.market, which holds where it is empty"
    )
    learning_rate: float | None = Field(
        None,
        gt=0,
        description="as train.learning_rate, which holds where it is empty, from the stage's first "
        "update on; DDPG's critic goes with it in proportion, a schedule goes on",
    )
    entropy_weight: float | None = Field(
        None, ge=0, description="as that of train.ppo or train.a2c, which holds where it is empty"
    )
    gamma: float | None = Field(
        None, gt=0, le=1, description="as train.gamma, which holds where it is empty"
    )
