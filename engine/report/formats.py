"""Numbers and names as people read them; the page and the terminal use the same ones."""

from collections.abc import Mapping
from typing import Any

from engine.metrics import Metric

NOT_AVAILABLE = "n/a"
PERCENT = "\u00a0%"
BASES = {"raw": "as traded", "split": "split-adjusted", "total": "total-return"}
FILL_RULES = {
    "open": "decided after the close, filled at the next open",
    "next_close": "decided after the close, filled at the next close",
    "same_close": "filled at the close of the decision itself",
}


def shown(value: float | None, unit: str) -> str:
    """Return a number with its unit, or n/a."""
    if value is None:
        return NOT_AVAILABLE
    if unit in ("percent", "small percent"):
        return percent(value, 2 if unit == "small percent" else 1)
    if unit == "money":
        return money(value)
    if unit == "yearly":
        return f"{value:.1f}x"
    if unit == "count":
        return f"{value:,.0f}"
    if unit == "bars":
        return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.1f}"
    return f"{value:,.2f}"


def percent(value: float, digits: int = 1) -> str:
    """Return a fraction as percent, its sign tied to the number."""
    return _signless_zero(f"{100 * value:,.{digits}f}") + PERCENT


def money(value: float) -> str:
    """Return dollars, with cents below ten."""
    digits = 2 if 0 < abs(value) < 10 else 0
    return _signless_zero(f"{value:,.{digits}f}")


def plain_name(key: str) -> str:
    """Return `buy_and_hold` as `Buy and hold`; a name with capitals or spaces is left alone."""
    if key != key.lower() or " " in key:
        return key
    text = key.replace("_", " ")
    return _KNOWN.get(key, text[:1].upper() + text[1:])


def definition(metric: Metric, conventions: Mapping[str, Any]) -> str:
    """Return the definition with the run's own number of bars per year."""
    return metric.definition.replace("252", str(conventions.get("periods", 252)))


_KNOWN = {
    "sma_cross": "SMA cross",
    "momentum_12_1": "Momentum 12-1",
    "equal_weight_monthly": "Equal weight, monthly",
}


def _signless_zero(text: str) -> str:
    return text.lstrip("-") if not text.strip("-0.,") else text
