"""Settings of the learning side: network, memory, reward, algorithm, training.

They live in the core so that one file describes a run; nothing here imports torch.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field


def _memory_rule(value: str) -> str:
    if value == "carry" or re.fullmatch(r"window\([1-9]\d*\)", value):
        return value
    raise ValueError(f'expected "carry" or "window(K)" with K at least 1, found "{value}"')


MemoryRule = Annotated[str, AfterValidator(_memory_rule)]


def window_of(rule: str) -> int | None:
    """Return K of `window(K)`, or None for `carry`."""
    return None if rule == "carry" else int(rule[len("window(") : -1])


class NetworkSettings(BaseModel, frozen=True, extra="forbid"):
    """Shape of the LSTM actor-critic."""

    hidden_size: int = Field(64, ge=1, description="LSTM width (guide: 64-256)")
    lstm_layers: int = Field(1, ge=1, description="stacked LSTM layers (guide: 1 to 2)")
    heads: tuple[int, ...] = Field((64,), description="widths of the layers of each head")
    book_input: Literal["heads", "lstm"] = Field(
        "heads", description="where the book part of the observation enters"
    )


class RewardSettings(BaseModel, frozen=True, extra="forbid"):
    """What the agent is paid for in one bar."""

    kind: Literal["step_return", "log_return", "pnl"] = Field(
        "log_return", description="change of marked equity from close to close, in which form"
    )
    scale: float = Field(100.0, gt=0, description="multiplies the reward")
    clip: float | None = Field(10.0, gt=0, description="limit on the scaled reward, both sides")


class TrainSettings(BaseModel, frozen=True, extra="forbid"):
    """How an agent is trained (PPO)."""

    algorithm: Literal["ppo"] = Field("ppo", description="learning rule")
    seed: int = Field(0, ge=0, description="the one number every random draw is made from")
    updates: int = Field(40, ge=1, description="rollout-and-update rounds")
    books: int = Field(64, ge=1, description="books stepped side by side (B)")
    book_kind: Literal["single", "portfolio"] = Field(
        "single", description="one symbol a book, drawn from all; or every symbol, one cash"
    )
    rollout_steps: int = Field(126, ge=2, description="bars in one rollout (S)")
    episode_steps: int = Field(252, ge=2, description="bars in one episode")
    starts: Literal["random", "sequential"] = Field("random", description="where episodes begin")
    epochs: int = Field(4, ge=1, description="passes over one rollout")
    minibatches: int = Field(4, ge=1, description="parts of whole sequences in one pass")
    learning_rate: float = Field(1e-3, gt=0, description="Adam step size")
    gamma: float = Field(0.97, gt=0, le=1, description="discount a bar (guide: 0.95-0.99)")
    gae_lambda: float = Field(0.9, ge=0, le=1, description="GAE mixing")
    clip_ratio: float = Field(0.2, gt=0, description="PPO clip")
    value_weight: float = Field(0.5, ge=0, description="weight of the value loss")
    entropy_weight: float = Field(0.005, ge=0, description="weight of the entropy bonus")
    max_grad_norm: float = Field(0.5, gt=0, description="gradient clipping")
    weight_decay: float = Field(0.0, ge=0, description="decoupled L2 on the weights")
    validate_every: int = Field(5, ge=1, description="updates between greedy validations")
    threads: int = Field(1, ge=1, description="torch threads; 1 makes a seed reproducible")
