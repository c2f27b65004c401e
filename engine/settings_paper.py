"""Settings of paper trading: the account, its guards, the hours of the day, the loopback exchange.

Keys are no settings: they come from the environment or a private file, never from here.
"""

from typing import Literal

from pydantic import BaseModel, Field, field_validator

from engine.hosts import PAPER_TRADING, STOCK_DATA, require_data, require_paper

Feed = Literal["iex", "sip", "otc", "boats"]
CHAMPION = "champion"  # in the place of a folder: whoever the registry says


class GuardSettings(BaseModel, frozen=True, extra="forbid"):
    """Stops for the whole account, besides the position limits of the backtest. None = off."""

    max_daily_loss: float | None = Field(
        None, gt=0, lt=1, description="halt when a session loses this fraction of equity"
    )
    max_drawdown: float | None = Field(
        None, gt=0, lt=1, description="halt when equity is this fraction below its peak"
    )
    max_orders: int | None = Field(
        None, ge=1, description="halt when one session would send more orders than this"
    )
    price_collar: float | None = Field(
        0.5, gt=0, description="halt when a close is this fraction away from the one before"
    )
    symbols: tuple[str, ...] = Field(
        (), description="the only symbols that may be ordered; empty = those of data.symbols"
    )


class ScheduleSettings(BaseModel, frozen=True, extra="forbid"):
    """When the day's work is done. Units: minutes from the session's own close or open."""

    decide_after_close: int = Field(20, ge=1, le=240, description="decide and submit")
    check_before_open: int = Field(30, ge=6, le=600, description="look at the queued orders")
    book_after_open: int = Field(15, ge=1, le=180, description="book fills, cancel leftovers")
    submit_until_open: int = Field(5, ge=1, le=60, description="nothing is sent later than this")
    heartbeat: int = Field(30, ge=1, le=720, description="write that the runner is alive")
    misfire_grace: int = Field(360, ge=1, description="how late a job may still start")


class PaperSettings(BaseModel, frozen=True, extra="forbid"):
    """One paper account and the agent that trades it."""

    checkpoint: str | None = Field(
        None, description='checkpoint folder of the agent, or "champion": that of the registry'
    )
    strategy: str = Field(
        "barwise", pattern=r"^[a-z0-9]{1,8}$", description="first part of every client order id"
    )
    state_dir: str = Field("paper", description="folder of the journal, the lock and the log")
    trading_url: str = Field(PAPER_TRADING, description="Alpaca's paper host, or loopback")
    data_url: str = Field(STOCK_DATA, description="Alpaca's data host, or loopback")
    feed: Feed = Field("iex", description="market data feed, the same from bar to bar")
    allow_feed: str | None = Field(
        None, description="vendor and feed of the training data, to trade on another all the same"
    )
    adopt: bool = Field(
        False, description="start with the positions that the account holds in data.symbols"
    )
    trust_env: bool = Field(False, description="let proxies of the environment see the requests")
    requests_per_minute: int = Field(150, ge=10, le=10_000, description="our own rate limit")
    guards: GuardSettings = GuardSettings()
    schedule: ScheduleSettings = ScheduleSettings()

    @field_validator("trading_url")
    @classmethod
    def _paper_only(cls, url: str) -> str:
        return require_paper(url)

    @field_validator("data_url")
    @classmethod
    def _known_data_host(cls, url: str) -> str:
        return require_data(url)


class ExchangeSettings(BaseModel, frozen=True, extra="forbid"):
    """How the loopback exchange treats its one account; defaults are what Alpaca's paper does."""

    cash: float = Field(100_000.0, gt=0, description="starting cash, dollars")
    seed: int = Field(0, ge=0, description="of ids and partial fills")
    partial_fills: float = Field(
        0.10, ge=0, le=1, description="share of orders that fill in part first"
    )
    spread_bps: float = Field(0.0, ge=0, description="half spread paid by market orders")
    multiplier: Literal[1, 2, 4] = Field(2, description="buying power, x equity")
    shorting: bool = Field(False, description="the account may sell short")
    day_end: Literal["expired", "canceled"] = Field(
        "expired", description="what becomes of a day order at the close"
    )
    wash_trade_status: Literal[403, 422] = Field(403, description="status of that refusal")
    fractional_types: Literal["market", "all"] = Field(
        "all", description="order types that may be fractional"
    )
    rate_limit: int | None = Field(
        None, ge=1, description="requests a minute before 429; None = no limit"
    )
    easy_to_borrow: bool = Field(True, description="send the asset field that is going away")
    pay_dividends: bool = Field(False, description="pay cash dividends (paper pays none)")
