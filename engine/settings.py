"""Settings: frozen models, read from TOML, with overrides; every error names file, key and remedy.

Defaults live here or in the room they belong to, once. Files in configs/ say only what differs.
"""

import json
import tomllib
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from engine.costs import Costs
from engine.drift import DriftSettings
from engine.errors import SettingsError
from engine.limits import Limits
from engine.orders import Sizing
from engine.policy import ActionSpace
from engine.settings_agent import MemoryRule, NetworkSettings, window_of
from engine.settings_blame import endless, explain, origin
from engine.settings_paper import ExchangeSettings, PaperSettings
from engine.settings_placebo import PlaceboSettings
from engine.settings_retrain import RegistrySettings, RetrainSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from engine.settings_walkforward import WalkForwardSettings
from engine.sources import DataSettings
from engine.venue import VenueSettings


class ObservationSettings(BaseModel, frozen=True, extra="forbid"):
    """What the agent sees."""

    features: tuple[str, ...] = Field(
        ("preset:guide",),
        min_length=1,
        description="market inputs: names, presets, module:function",
    )
    book: tuple[str, ...] = Field(
        ("position", "unrealised", "cash", "bars_since_trade"),
        description="book inputs; may be empty",
    )
    scaler: Literal["standard", "none"] = Field(
        "standard", description="fitted on training bars only"
    )
    clip: float = Field(5.0, gt=0, description="limit on a scaled market input, both sides")


class AgentSettings(BaseModel, frozen=True, extra="forbid"):
    """The agent: memory, action, network, reward."""

    memory: MemoryRule = Field("carry", description='"carry" or "window(K)"')
    burn_in: int = Field(64, ge=0, description="bars that build memory before the first decision")
    action: ActionSpace = ActionSpace()
    network: NetworkSettings = NetworkSettings()
    reward: RewardSettings = RewardSettings()

    @model_validator(mode="after")
    def _window_is_filled(self) -> "AgentSettings":
        window = window_of(self.memory)
        if window is not None and self.burn_in < window - 1:
            raise ValueError(
                f"burn_in must be at least {window - 1} to fill {self.memory}, found {self.burn_in}"
            )
        return self


class Span(BaseModel, frozen=True, extra="forbid"):
    """Dates, both inclusive; None = as far as the data goes."""

    start: date | None = Field(None, description="first date; empty = the first of the data")
    end: date | None = Field(None, description="last date; empty = the last of the data")

    @model_validator(mode="after")
    def _in_order(self) -> "Span":
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start} is after end {self.end}")
        return self

    def shares_dates_with(self, other: "Span") -> bool:
        """Tell whether both hold one date; a span without any bound is not given and holds none."""
        if not (self.start or self.end) or not (other.start or other.end):
            return False
        start = max(self.start or date.min, other.start or date.min)
        return start <= min(self.end or date.max, other.end or date.max)

    def text(self) -> str:
        """Return the span in words."""
        return f"{self.start or 'the first date'} to {self.end or 'the last date'}"


class SplitSettings(BaseModel, frozen=True, extra="forbid"):
    """Which dates train, choose, and test."""

    train: Span = Span()
    validation: Span = Span()
    test: Span = Span()

    @model_validator(mode="after")
    def _do_not_overlap(self) -> "SplitSettings":
        for one, other in (("train", "validation"), ("validation", "test"), ("train", "test")):
            left, right = getattr(self, one), getattr(self, other)
            if left.shares_dates_with(right):
                raise ValueError(
                    f"{one} and {other} overlap: {left.text()} and {right.text()}; "
                    f"set split.{one}.end before split.{other}.start"
                )
        return self


class BacktestSettings(BaseModel, frozen=True, extra="forbid"):
    """What a backtest runs with."""

    cash: float = Field(100_000.0, gt=0, description="starting cash, account currency")
    allocation: float | None = Field(
        None, gt=0, le=1, description="sleeve of one symbol, fraction of equity; default 1/N"
    )
    strategy: str = Field(
        "buy_and_hold", description="baseline that runs where no checkpoint is given"
    )
    baselines: tuple[str, ...] = Field(
        ("flat", "buy_and_hold", "equal_weight_monthly", "sma_cross", "momentum_12_1", "random"),
        description="policies that do not learn, run beside the agent; a backtest finds the windows of "
        "trend_following(best) and mean_reversion(best) on the bars before the test",
    )


class Settings(BaseModel, frozen=True, extra="forbid"):
    """Everything one run is made from."""

    name: str = Field(
        "run", pattern=r"^[A-Za-z0-9_.-]+$", description="first part of the run folder"
    )
    runs_dir: str = Field("runs", description="where run folders are written")
    trials_path: str = Field(
        "", description="ledger of every training and evaluation; empty = trials.sqlite in runs_dir"
    )
    data: DataSettings = DataSettings()
    split: SplitSettings = SplitSettings()
    observation: ObservationSettings = ObservationSettings()
    agent: AgentSettings = AgentSettings()
    limits: Limits = Limits()
    sizing: Sizing = Sizing()
    costs: Costs = Costs()
    venue: VenueSettings = VenueSettings()
    backtest: BacktestSettings = BacktestSettings()
    train: TrainSettings = TrainSettings()
    walkforward: WalkForwardSettings = WalkForwardSettings()
    placebo: PlaceboSettings = PlaceboSettings()
    retrain: RetrainSettings = RetrainSettings()
    registry: RegistrySettings = RegistrySettings()
    paper: PaperSettings = PaperSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    drift: DriftSettings = DriftSettings()

    @property
    def ledger(self) -> Path:
        """Return where the trial ledger is."""
        return Path(self.trials_path or Path(self.runs_dir) / "trials.sqlite")

    @model_validator(mode="after")
    def _levels_respect_shorts(self) -> "Settings":
        action = self.agent.action
        if action.kind != "levels" or self.limits.allow_short or action.levels[0] >= 0:
            return self
        if action.mask and action.levels[-1] >= 0:
            return self
        raise ValueError(
            f"agent.action.levels {list(action.levels)} go below 0 and limits.allow_short is false; "
            "take those levels out, set limits.allow_short = true, or set agent.action.mask = true "
            "and keep a level of 0 or more"
        )


def load(path: Path | None, overrides: tuple[str, ...] = ()) -> Settings:
    """Read a settings file (None = the defaults) and apply `key.path=value` overrides.

    Raises: SettingsError naming the file, the key, what was found and what to do.
    """
    tree = _tree(path) if path else {}
    before = deepcopy(tree)
    for override in overrides:
        _apply(tree, override)
    wrong = list(endless(tree))
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        wrong = [dict(item) for item in error.errors()]
    if not wrong:
        return settings
    told = [
        explain(
            item, origin(item["loc"], before, tree, overrides) or str(path or "--set"), Settings
        )
        for item in wrong
    ]
    raise SettingsError("\n".join(told))


def _tree(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        tree: dict[str, Any] = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError as error:
        raise SettingsError(f"{path}: no such settings file; see configs/ for examples") from error
    except (ValueError, OSError) as error:  # of TOML, of JSON (a run folder's settings), of text
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise SettingsError(f"{path}: cannot be read as {kind}: {error}") from error
    return tree


def build(tree: dict[str, Any], where: str) -> Settings:
    """Validate a settings tree; `where` names its origin in errors."""
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(
            "\n".join(explain(item, where, Settings) for item in error.errors())
        ) from error


def _apply(tree: dict[str, Any], override: str) -> None:
    key, sep, text = override.partition("=")
    parts = key.strip().split(".")
    if not sep or not all(parts):
        raise SettingsError(
            f"--set {override}: expected key.path=value, for example train.gamma=0.98"
        )
    node = tree
    for part in parts[:-1]:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise SettingsError(f"--set {override}: {part} is a value, not a table")
    node[parts[-1]] = _value(text.strip())


def _value(text: str) -> Any:
    # A TOML value if it is one (0.98, true, ["a"], 2010-01-04), otherwise plain text.
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
