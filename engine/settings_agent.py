"""Settings of the agent: its network, and the rule of its memory.

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
