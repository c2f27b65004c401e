"""How numbers and times look on the wire, and how they are read from it.

Money and quantities are JSON strings without an exponent; a whole number has no decimals. Times are
RFC 3339 in UTC, or with the offset of New York where the venue sends them so.
"""

from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from brokers.exchange.refusals import parameter

LARGEST = Decimal("1e15")  # beyond it a float has no cents
NEW_YORK = ZoneInfo("America/New_York")


def number(value: float) -> str:
    """Return a number as a string that reads back to the same float: 10.0 is "10"."""
    if value == int(value):
        return str(int(value))
    text = repr(float(value))
    return format(Decimal(text), "f") if "e" in text else text


def number_or_none(value: float | None) -> str | None:
    """Return a number as a string, null where there is none."""
    return None if value is None else number(value)


def moment(at: datetime) -> str:
    """Return a time in UTC: "2026-03-11T14:00:00.000010Z"."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def moment_or_none(at: datetime | None) -> str | None:
    """Return a time in UTC, null where there is none."""
    return None if at is None else moment(at)


def new_york(at: datetime) -> str:
    """Return a time with New York's offset: "2026-03-11T10:00:02-04:00"."""
    return at.astimezone(NEW_YORK).isoformat()


def new_york_date(at: datetime) -> date:
    """Return the date in New York."""
    return at.astimezone(NEW_YORK).date()


def read_decimal(name: str, value: Any) -> Decimal | None:
    """Read a JSON number or string; None where absent. Raises: Refusal where it is no number."""
    if value is None or value == "":
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        found = Decimal("nan")
    if isinstance(value, bool) or not found.is_finite() or abs(found) >= LARGEST:
        raise parameter(f"{name} must be a number")
    return found


def read_flag(value: Any) -> bool:
    """Read a boolean in any case: True, "true", "True"."""
    return value is True or str(value).lower() == "true"


def read_moment(name: str, text: str) -> datetime:
    """Read a date or an RFC 3339 time; naive means UTC. Raises: Refusal where it is neither."""
    try:
        at = datetime.fromisoformat(text.strip().replace(" ", "+"))
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise parameter(f"{name} must be a date or a time in RFC 3339") from None


def read_date(name: str, text: str) -> date:
    """Read a date, or the date part of a time. Raises: Refusal where it is neither."""
    try:
        return date.fromisoformat(text.strip()[:10])
    except ValueError:
        raise parameter(f"{name} must be a date, YYYY-MM-DD") from None


def read_count(name: str, text: str | None, default: int, most: int) -> int:
    """Read a whole number from 1 to `most`. Raises: Refusal where it is none."""
    if not text:
        return default
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise parameter(f"{name} must be a whole number from 1 to {most}")
    return int(text)
