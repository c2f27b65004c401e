"""Settings of the learning rules, one table each: what PPO, A2C and DDPG do not share."""

from typing import Literal

from pydantic import BaseModel, Field


class PPOSettings(BaseModel, frozen=True, extra="forbid"):
    """How PPO learns from a rollout."""

    epochs: int = Field(4, ge=1, description="passes over one rollout")
    minibatches: int = Field(4, ge=1, description="parts of whole sequences in one pass")
    gae_lambda: float = Field(0.9, ge=0, le=1, description="GAE mixing")
    clip_ratio: float = Field(0.2, gt=0, description="PPO clip")
    target_kl: float | None = Field(
        None,
        gt=0,
        description="end a round before a step once the policy has moved (KL) so far; none = no",
    )
    value_clip: float | None = Field(
        None,
        gt=0,
        description="PPO clip of the value, in scaled reward, the larger error of both; none = no",
    )
    value_weight: float = Field(0.5, ge=0, description="weight of the value loss")
    entropy_weight: float = Field(
        0.005, ge=0, description="weight of the entropy bonus (guide: entropy regularisation)"
    )
    entropy_weight_end: float | None = Field(
        None,
        ge=0,
        description="that weight in the end, reached in a straight line; none = the same",
    )
    memory: Literal["stored", "measured", "refreshed"] = Field(
        "stored",
        description="memory a rollout starts with: as played in all epochs, so but its drift logged, "
        "or built again from the bars with the weights of now before each further epoch",
    )


class A2CSettings(BaseModel, frozen=True, extra="forbid"):
    """How A2C learns from a rollout: one step over all of it, once."""

    n_steps: int = Field(
        5, ge=0, description="bars a return looks ahead before the critic takes over; 0 = GAE"
    )
    gae_lambda: float = Field(0.9, ge=0, le=1, description="GAE mixing, where n_steps is 0")
    value_weight: float = Field(0.5, ge=0, description="weight of the value loss")
    entropy_weight: float = Field(
        0.005, ge=0, description="weight of the entropy bonus (guide: entropy regularisation)"
    )
    entropy_weight_end: float | None = Field(
        None,
        ge=0,
        description="that weight in the end, reached in a straight line; none = the same",
    )
    normalise: bool = Field(True, description="bring advantages to mean 0 and deviation 1")
    optimiser: Literal["rmsprop", "adam"] = Field(
        "rmsprop", description="rmsprop as in the paper, or adam"
    )


class DDPGSettings(BaseModel, frozen=True, extra="forbid"):
    """How DDPG learns from its replay.

    Sources: Lillicrap et al., arXiv:1509.02971 (DDPG); Heess et al., arXiv:1512.04455 (recurrent);
    Kapturowski et al., ICLR 2019 (R2D2: stored memory and burn-in).
    """

    replay_size: int = Field(
        200_000, ge=1, description="transitions kept, of all books together (DDPG paper: 1,000,000)"
    )
    warmup_steps: int = Field(
        5_000, ge=0, description="transitions played at random before the first update"
    )
    updates_per_bar: float = Field(
        1.0, gt=0, description="gradient updates for each bar all books play (DDPG paper: 1)"
    )
    batch_steps: int = Field(
        512, ge=1, description="transitions in one update, as whole sequences (DDPG paper: 64)"
    )
    sequence_steps: int = Field(
        16, ge=1, description="bars in one sampled sequence (R2D2: 80); 1 where memory is window(K)"
    )
    memory_start: Literal["auto", "exact", "stored", "zero"] = Field(
        "auto",
        description="what builds the memory of a sampled sequence: exact = every bar since its "
        "episode's burn-in began; stored = what was remembered in play, zero = nothing, each followed "
        "by burn_in_steps bars; auto = stored where the LSTM sees the book, else exact",
    )
    burn_in_steps: int = Field(
        20,
        ge=0,
        description="bars run without gradient before a sampled sequence, unless its memory is exact "
        "(R2D2: 40)",
    )
    tau: float = Field(
        0.005, gt=0, le=1, description="share of the online weights a target takes over an update"
    )
    critic_learning_rate: float = Field(
        1e-3, gt=0, description="step size of the critic; train.learning_rate is the actor's"
    )
    mean_weight: float = Field(
        0.003,
        ge=0,
        description="weight of the squared mean before the tanh in the actor's loss: an actor at the "
        "edge of its range has no gradient left to come back with (Andrychowicz et al., 2017)",
    )
    noise: Literal["gaussian", "ou"] = Field(
        "gaussian", description="exploration: independent, or Ornstein-Uhlenbeck (DDPG paper)"
    )
    noise_start: float = Field(0.3, ge=0, description="deviation of the noise at first, in actions")
    noise_end: float = Field(0.1, ge=0, description="deviation of the noise after noise_steps")
    noise_steps: int = Field(
        100_000, ge=1, description="transitions over which the noise fades, in a straight line"
    )
    ou_theta: float = Field(
        0.15, gt=0, le=1, description="pull of Ornstein-Uhlenbeck noise to zero a bar (paper: 0.15)"
    )
    save_replay: bool = Field(
        True, description="keep the replay for resuming; false: a resumed run fills a new one"
    )
