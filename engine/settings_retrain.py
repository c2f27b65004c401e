"""Settings of retraining: what is held back, what a promotion asks for, when it runs, what it may use."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Check = Literal["lookahead", "parity"]


class RegistrySettings(BaseModel, frozen=True, extra="forbid"):
    """Where the checkpoints that may trade are kept."""

    dir: str = Field("registry", description="folder of the copies and of their history")


class PromotionSettings(BaseModel, frozen=True, extra="forbid"):
    """What a challenger has to show on the held-back sessions. All of it must hold."""

    score: Literal["sharpe", "log_growth"] = Field(
        "sharpe", description="what is compared, both a year: Sharpe ratio, or mean log return"
    )
    margin: float = Field(
        0.0,
        ge=0,
        description="by how much of the score the champion and baselines are to be beaten",
    )
    confidence: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="one-sided, of the paired bootstrap; what is left is divided among all looks at "
        "these sessions",
    )
    baselines: tuple[str, ...] = Field(
        ("flat", "buy_and_hold"), description="to be beaten as the champion is; flat is cash"
    )
    checks: tuple[Check, ...] = Field(
        ("lookahead", "parity"), description="to be passed by the challenger"
    )
    deflated_sharpe: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="least deflated Sharpe ratio; 0 = it is shown and not asked for",
    )
    sessions: int = Field(
        42, ge=20, description="least sessions that neither was trained or chosen on"
    )


class RetrainSchedule(BaseModel, frozen=True, extra="forbid"):
    """When `barwise paper run` starts a retraining beside itself. Times are New York's."""

    weekly: bool = Field(False, description="start one every week")
    day: Day = Field("sat", description="day of the week")
    at: str = Field("06:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$", description="time of day, HH:MM")
    hours: float = Field(12.0, gt=0, le=160, description="it is ended when it takes longer")


class RetrainSettings(BaseModel, frozen=True, extra="forbid"):
    """How challengers are trained, judged and promoted. It cuts its own dates; [split] is not used."""

    held_back: Annotated[int, Field(ge=21)] = Field(
        63, description="newest sessions, kept out of training and choice, that judge"
    )
    validation_sessions: int = Field(
        252, ge=2, description="before them; they choose the checkpoint and the challenger"
    )
    train_sessions: int | None = Field(
        None, ge=2, description="trained on, before those; empty = all there are"
    )
    seeds: int = Field(5, ge=1, description="challengers, from train.seed on")
    refit: bool = Field(
        False,
        description="promote the same training moved to the newest session, which nothing can score",
    )
    promotion: PromotionSettings = PromotionSettings()
    schedule: RetrainSchedule = RetrainSchedule()
    workers: int = Field(1, ge=1, description="challengers trained at once")
    threads: int = Field(1, ge=1, description="threads of each")
    nice: int = Field(10, ge=0, le=19, description="how far it steps back behind other processes")
    lock_minutes: float = Field(
        30.0, ge=0, description="how long a promotion waits for a paper session to end"
    )

    @model_validator(mode="after")
    def _can_promote(self) -> "RetrainSettings":
        judged = self.held_back - 1  # the first one only marks the start
        if judged < self.promotion.sessions:
            raise ValueError(
                f"held_back {self.held_back} leaves {judged} sessions to judge on and promotion.sessions "
                f"asks for {self.promotion.sessions}: nothing could ever be promoted; hold back "
                f"{self.promotion.sessions + 1} or more, or ask for fewer"
            )
        return self
