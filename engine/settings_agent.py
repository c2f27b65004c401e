"""Settings of the agent: its network, and the rule of its memory.

They live in the core so that one file describes a run; nothing here imports torch.
"""

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from engine.errors import SettingsError


def _memory_rule(value: str) -> str:
    if value == "carry" or re.fullmatch(r"window\([1-9]\d*\)", value):
        return value
    raise ValueError(f'expected "carry" or "window(K)" with K at least 1, found "{value}"')


MemoryRule = Annotated[str, AfterValidator(_memory_rule)]


def window_of(rule: str) -> int | None:
    """Return K of `window(K)`, or None for `carry`."""
    return None if rule == "carry" else int(rule[len("window(") : -1])


class FeatureGroup(BaseModel, frozen=True, extra="forbid"):
    """Features that are encoded together, by a small network of their own."""

    features: tuple[str | int, ...] = Field(
        min_length=1, description="names, or places from 0, among the observation's features"
    )
    widths: tuple[PositiveInt, ...] = Field(
        min_length=1, description="widths of the layers that encode the group"
    )


class NetworkSettings(BaseModel, frozen=True, extra="forbid"):
    """Shape of the LSTM actor-critic."""

    hidden_size: int = Field(64, ge=1, description="LSTM width (guide: 64-256)")
    lstm_layers: int = Field(1, ge=1, description="stacked LSTM layers (guide: 1 to 2)")
    bidirectional: bool = Field(
        False, description="refused: the backward half would read bars that come later"
    )
    heads: tuple[PositiveInt, ...] = Field(
        (64,), description="widths of the layers of each head (guide: 128-64, 64-32, or 64)"
    )
    book_input: Literal["heads", "lstm"] = Field(
        "heads", description="where the book part of the observation enters"
    )
    activation: Literal["relu", "leaky_relu"] = Field(
        "relu", description="after the layers of heads and groups (guide: ReLU or LeakyReLU)"
    )
    leaky_slope: float = Field(0.01, gt=0, lt=1, description="slope of leaky_relu below zero")
    layer_norm: Literal["none", "outputs", "cell"] = Field(
        "none", description="layer normalisation of the LSTM's outputs, or inside its cell"
    )
    dropout_inside: float = Field(
        0.0, ge=0, lt=1, description="dropout between LSTM layers while training (guide: 0.1-0.5)"
    )
    dropout_after: float = Field(
        0.0, ge=0, lt=1, description="dropout of what the policy head sees (guide: 0.1-0.5)"
    )
    init: Literal["orthogonal", "torch"] = Field(
        "orthogonal", description="first weights: orthogonal with zero biases, or torch's uniform"
    )
    forget_bias: float = Field(
        1.0, description="bias the forget gates start with; above 0 they start open"
    )
    lstm_residual: bool = Field(
        False, description="a way around every LSTM layer, for deeper stacks"
    )
    head_residual: bool = Field(False, description="a way around every layer of the heads")
    encoder: int = Field(0, ge=0, description="width of a linear layer before the LSTM; 0 = none")
    groups: tuple[FeatureGroup, ...] = Field(
        (), description="features with encoders of their own; all others pass as they are"
    )
    attention: int = Field(
        0, ge=0, description="how many of the last LSTM outputs the heads can look at; 0 = none"
    )
    critic: Literal["shared", "separate"] = Field(
        "shared", description="does the critic share the policy's LSTM or have its own"
    )
    critic_gradient: Literal["full", "stop"] = Field(
        "full", description="does the critic's error train the shared LSTM, or the critic alone"
    )

    @field_validator("bidirectional")
    @classmethod
    def _reads_no_future(cls, value: bool) -> bool:
        if value:
            raise ValueError(
                "a bidirectional LSTM reads the future: at each bar its backward half has seen the "
                "bars that come later, which no live decision can; leave it false"
            )
        return value

    @model_validator(mode="after")
    def _means_something(self) -> "NetworkSettings":
        if self.dropout_inside and self.lstm_layers < 2:
            raise ValueError(
                "dropout_inside acts between LSTM layers and needs lstm_layers of at least 2, "
                f"found {self.lstm_layers}; use dropout_after, or add a layer"
            )
        if self.critic == "separate" and self.critic_gradient == "stop":
            raise ValueError(
                'critic_gradient = "stop" would leave the critic\'s own LSTM untrained; '
                'use it with critic = "shared"'
            )
        if self.layer_norm != "none" and self.hidden_size < 2:
            raise ValueError("layer_norm of a single number is always 0; use hidden_size above 1")
        return self


def places_of(
    groups: tuple[FeatureGroup, ...], names: tuple[str, ...], count: int
) -> tuple[tuple[int, ...], ...]:
    """Return where the features of each group stand among `count` features called `names`.

    Raises: SettingsError for a feature that is not there, or is named twice.
    """
    found: list[tuple[int, ...]] = []
    for number, group in enumerate(groups):
        where = f"agent.network.groups, group {number}"
        places = tuple(_place(feature, names, count, where) for feature in group.features)
        earlier = {place for other in found for place in other}
        twice = [p for at, p in enumerate(places) if p in earlier or p in places[:at]]
        if twice:
            name = names[twice[0]] if names else twice[0]
            raise SettingsError(
                f"{where}: expected every feature in one group only, found {name} twice; "
                "take it out of one place"
            )
        found.append(places)
    return tuple(found)


def _place(feature: str | int, names: tuple[str, ...], count: int, where: str) -> int:
    if isinstance(feature, str) and feature in names:
        return names.index(feature)
    if isinstance(feature, int) and 0 <= feature < count:
        return feature
    known = f"{', '.join(names)}, or " if names else ""
    raise SettingsError(
        f"{where}: expected {known}a place from 0 to {count - 1}, found {feature!r}; "
        "name features as observation.features gives them"
    )
