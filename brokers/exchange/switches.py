"""What a test or a person may turn on to make the exchange misbehave as the real one does."""

from dataclasses import dataclass, field
from datetime import date
from typing import Any


@dataclass(slots=True)
class Switches:
    """Faults that live inside the exchange; all off at first.

    `account_flags` overrides fields of the account (trading_blocked, account_blocked,
    trade_suspended_by_user, status); `asset_flags` fields of one symbol's asset (tradable,
    fractionable, shortable, status), and `halted` lets its orders rest. `hidden` counts the look-ups
    by client order id that still answer 404. `stuck` are symbols whose cancels never end, with
    whether their orders may fill all the same. `rejected` and `parts` wait for the next order of
    their symbol; `parts` is the fraction of it that fills first. `revised`, `dropped` and `stale`
    change the bars that are served, never those that orders meet. `forming` serves the bar of the
    running session, which is not what it will be.
    """

    account_flags: dict[str, Any] = field(default_factory=dict)
    asset_flags: dict[str, dict[str, Any]] = field(default_factory=dict)
    hidden: dict[str, int] = field(default_factory=dict)
    stuck: dict[str, bool] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)
    parts: dict[str, float] = field(default_factory=dict)
    revised: dict[tuple[str, date], float] = field(default_factory=dict)
    dropped: set[tuple[str, date]] = field(default_factory=set)
    stale: int = 0
    ignore_splits: bool = False
    forming: bool = False
    clock_skew_s: float = 0.0

    def asset(self, symbol: str, name: str, default: Any) -> Any:
        """Return one flag of a symbol."""
        return self.asset_flags.get(symbol, {}).get(name, default)
