"""Settings of a walk-forward: how the windows move, and what is run beside the agent."""

from datetime import date
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

Bps = Annotated[float, Field(ge=0, lt=1000)]


class WalkForwardSettings(BaseModel, frozen=True, extra="forbid"):
    """Train, choose, test; move on; stitch the tested segments together. Lengths in sessions."""

    scheme: Literal["rolling", "expanding"] = Field(
        "expanding", description="training moves along with its length, or keeps its first session"
    )
    train_sessions: int = Field(
        1260, ge=2, description="trained on, in each window; expanding: in the first one"
    )
    validation_sessions: int = Field(252, ge=2, description="that choose the checkpoint")
    test_sessions: int = Field(252, ge=1, description="tested before the next training")
    purge: Literal["label", "strict"] = Field(
        "label",
        description="what a boundary keeps apart: what is learned, scored and chosen on; or every bar "
        "that is touched, lookback and burn-in included",
    )
    gap_sessions: int = Field(0, ge=0, description="further sessions left out at each boundary")
    start: date | None = Field(
        None, description="first session used; empty = the first of the data"
    )
    test_start: date | None = Field(
        None, description="first session tested; empty = as early as the lengths allow"
    )
    end: date | None = Field(None, description="last session tested; empty = the last of the data")
    seeds: int = Field(
        10,
        ge=1,
        description="trainings of each window, from train.seed on; below 10 compare little",
    )
    twin: bool = Field(
        True, description="train the memoryless twin too: the same agent with memory window(1)"
    )
    cost_bps: tuple[Bps, ...] = Field(
        (0.0, 5.0, 10.0, 25.0),
        description="commissions, basis points of value a side, that the tests are run again with; "
        "everything else of [costs] stays",
    )

    @model_validator(mode="after")
    def _in_order(self) -> "WalkForwardSettings":
        given = [day for day in (self.start, self.test_start, self.end) if day]
        if given != sorted(given):
            raise ValueError(
                f"start, test_start and end must be in this order, found {', '.join(map(str, given))}"
            )
        if len(set(self.cost_bps)) != len(self.cost_bps):
            raise ValueError(f"cost_bps must differ from one another, found {list(self.cost_bps)}")
        return self
