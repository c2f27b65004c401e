"""Settings of the reward: what the agent is paid for in one bar."""

from typing import Literal

from pydantic import BaseModel, Field

RewardKind = Literal[
    "pnl", "step_return", "log_return", "differential_sharpe", "differential_downside"
]


class RewardSettings(BaseModel, frozen=True, extra="forbid"):
    """What the agent is paid for in one bar: a kind, less penalties, scaled, then clipped.

    Formulas and units: `agents.rewards`. How far ahead it looks is `train.gamma`.
    """

    kind: RewardKind = Field(
        "log_return",
        description="profit and loss / starting equity, return of the bar, its logarithm, or what "
        "the bar adds to the Sharpe ratio or to return over downside deviation",
    )
    over_benchmark: bool = Field(
        False, description="pay the kind over that of buying and holding the book's own symbols"
    )
    volatility_weight: float = Field(
        0.0, ge=0, description="lambda of the guide's return - lambda x volatility"
    )
    volatility_window: int = Field(
        20, ge=2, description="bars whose returns make that volatility, fewer as an episode starts"
    )
    drawdown_weight: float = Field(
        0.0, ge=0, description="times the fall from the episode's peak, a fraction, on every bar"
    )
    turnover_weight: float = Field(
        0.0, ge=0, description="times the value traded in the bar / equity before it"
    )
    decay: float = Field(
        0.01, gt=0, lt=1, description="eta of the differential ratios' moving averages, per bar"
    )
    start_volatility: float = Field(
        0.01, gt=0, description="deviation a bar that those averages begin an episode with"
    )
    scaling: Literal["constant", "running"] = Field(
        "constant",
        description="multiply by `scale` alone, or first divide by the root mean square of all "
        "rewards so far, which only training moves",
    )
    scale: float | None = Field(
        None,
        gt=0,
        description="multiplies the reward, towards [-1, 1] (guide); empty = 100, and 1 where it "
        "is a ratio already: the differential kinds, running scaling",
    )
    clip: float | None = Field(10.0, gt=0, description="limit on the scaled reward, both sides")

    @property
    def factor(self) -> float:
        """The constant that multiplies the reward."""
        if self.scale is not None:
            return self.scale
        is_ratio = self.scaling == "running" or self.kind.startswith("differential")
        return 1.0 if is_ratio else 100.0
