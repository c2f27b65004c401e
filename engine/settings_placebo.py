"""Settings of the placebo check: how much is trained on each made-up market, and the control."""

from pydantic import BaseModel, Field


class PlaceboSettings(BaseModel, frozen=True, extra="forbid"):
    """Markets without an edge, made from the configured bars, and one whose edge is known."""

    updates: int = Field(
        15, ge=1, description="rollout-and-update rounds of each training on a placebo market"
    )
    mean_block: float = Field(
        20.0, ge=1, description="block bootstrap: mean number of real days kept in a row"
    )
    control_k: int = Field(
        2, ge=1, description="control: a day's signal pays k days later; from 2 on it needs memory"
    )
    control_updates: int = Field(60, ge=1, description="control: updates of each training")
    control_sessions: int = Field(1_500, ge=300, description="control: length of its market")
    control_share: float = Field(
        0.9, gt=0, le=1, description="control: part of the known optimum that must be earned"
    )
