"""Settings of the learning rules, one table each: what PPO, A2C and DDPG do not share."""

from typing import Literal

from pydantic import BaseModel, Field


class PPOSettings(BaseModel, frozen=True, extra="forbid"):
    """How PPO learns from a rollout."""

    epochs: int = Field(4, ge=1, description="passes over one rollout")
    minibatches: int = Field(4, ge=1, description="parts of whole sequences in one pass")
    gae_lambda: float = Field(0.9, ge=0, le=1, description="GAE mixing")
    clip_ratio: float = Field(0.2, gt=0, description="PPO clip")
    value_weight: float = Field(0.5, ge=0, description="weight of the value loss")
    entropy_weight: float = Field(0.005, ge=0, description="weight of the entropy bonus")


class A2CSettings(BaseModel, frozen=True, extra="forbid"):
    """How A2C learns from a rollout: one step over all of it, once."""

    n_steps: int = Field(
        5, ge=0, description="bars a return looks ahead before the critic takes over; 0 = GAE"
    )
    gae_lambda: float = Field(0.9, ge=0, le=1, description="GAE mixing, where n_steps is 0")
    value_weight: float = Field(0.5, ge=0, description="weight of the value loss")
    entropy_weight: float = Field(0.005, ge=0, description="weight of the entropy bonus")
    normalise: bool = Field(True, description="bring advantages to mean 0 and deviation 1")
    optimiser: Literal["rmsprop", "adam"] = Field(
        "rmsprop", description="rmsprop as in the paper, or adam"
    )


class DDPGSettings(BaseModel, frozen=True, extra="forbid"):
    """How DDPG learns from its replay."""
