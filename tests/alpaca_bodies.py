"""Bodies as Alpaca sends them, and ways to spoil them. Values are made up."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

ACCOUNT: dict[str, Any] = {
    "id": "5f0a4d3e-6c1b-4e57-9a55-0d7f3a1c2b10", "account_number": "PA3SIM000001",
    "status": "ACTIVE", "currency": "USD", "cash": "97875", "equity": "100006",
    "last_equity": "100000", "multiplier": "2", "buying_power": "197881",
    "shorting_enabled": False, "trading_blocked": False, "transfers_blocked": False,
    "account_blocked": False, "trade_suspended_by_user": False,
}  # fmt: skip
ORDER: dict[str, Any] = {
    "id": "a1c7f2de-3b90-4d0e-8a44-9f6f5f1f0c21", "client_order_id": "barwise-1",
    "created_at": "2026-03-11T14:00:00.010Z", "updated_at": "2026-03-11T14:00:01.120Z",
    "submitted_at": "2026-03-11T14:00:00.008123456Z", "filled_at": None, "symbol": "AAPL",
    "asset_class": "us_equity", "notional": None, "qty": "10", "filled_qty": "4",
    "filled_avg_price": "212.44", "order_class": "", "order_type": "market", "type": "market",
    "side": "buy", "time_in_force": "day", "limit_price": None, "stop_price": None, "legs": None,
    "status": "partially_filled", "extended_hours": False, "subtag": None,
}  # fmt: skip
POSITION: dict[str, Any] = {
    "asset_id": "7b2f9f36-5a4c-4c0b-9f63-1f3f0a2f6d55", "symbol": "AAPL", "exchange": "NASDAQ",
    "asset_class": "us_equity", "qty": "10", "qty_available": "6", "avg_entry_price": "212.5",
    "side": "long", "market_value": "2131", "cost_basis": "2125", "current_price": "213.1",
    "lastday_price": "210",
}  # fmt: skip
CLOCK: dict[str, Any] = {
    "timestamp": "2026-03-11T10:00:02.123456789-04:00", "is_open": True,
    "next_open": "2026-03-12T09:30:00-04:00", "next_close": "2026-03-11T16:00:00-04:00",
}  # fmt: skip
CALENDAR: list[dict[str, Any]] = [
    {"date": "2026-11-25", "open": "09:30", "close": "16:00", "session_close": "2000"},
    {"date": "2026-11-27", "open": "0930", "close": "1300", "session_close": "1700"},
]
ASSET: dict[str, Any] = {
    "id": "7b2f9f36-5a4c-4c0b-9f63-1f3f0a2f6d55", "class": "us_equity", "symbol": "AAPL",
    "status": "active", "tradable": True, "shortable": True, "fractionable": True,
    "borrow_status": "easy_to_borrow",
}  # fmt: skip
_ODD: list[Any] = [
    None, True, False, 0, -1, 1e308, 10**400, "", "NaN", "inf", "-0", "1e999", "1_000", "\uff11\uff10", " 1",
    "0x10", "long", [], {}, [[]], {"a": {"b": []}}, "x" * 5000, "\x00", "2026-13-45", "24:61",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-11T10:00:00", "buy\n", -5.5,
]  # fmt: skip


def spoiled(body: Any, rng: np.random.Generator) -> str:
    """Return one body changed at one to three places, as the text on the wire."""
    changed = copy.deepcopy(body)
    for _ in range(int(rng.integers(0, 4))):
        _change(changed, rng)
    text = json.dumps(changed)
    return _damage(text, rng) if rng.random() < 0.4 else text


def _change(body: Any, rng: np.random.Generator) -> None:
    holders = list(_holders(body))
    if not holders:
        return
    holder, key = holders[int(rng.integers(len(holders)))]
    if rng.random() < 0.25:
        del holder[key]
    else:
        holder[key] = copy.deepcopy(_ODD[int(rng.integers(len(_ODD)))])


def _holders(body: Any) -> Iterator[tuple[Any, Any]]:
    items = body.items() if isinstance(body, dict) else enumerate(body)
    for key, value in list(items):
        yield body, key
        if isinstance(value, dict | list):
            yield from _holders(value)


def _damage(text: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(len(text) + 1))
    kind = int(rng.integers(6))
    odd = chr(int(rng.integers(1, 0x2FF)))
    return (
        text[:at],  # cut
        text[:at] + odd + text[at + 1 :],  # one character changed
        text[:at] + text[at:] * 2,  # said twice
        "<html>" + text,
        text.replace('"', "NaN", 1) if at % 2 else "[" * 100_000,
        "\ufeff" + text,
    )[kind]
