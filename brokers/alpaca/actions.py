"""Corporate actions as events: what splits shares or pays cash, and a note for everything else.

Dates are ex-dates: the event comes before that day's open. Spin-offs, mergers and renames are
noted, never applied.
"""

import math
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import numpy as np

from engine.data.history import Event
from engine.errors import DataError

Action = Mapping[str, Any]
Actions = Mapping[str, list[dict[str, Any]]]

_SPLITS = ("forward_splits", "reverse_splits", "unit_splits")
_DATES = ("ex_date", "effective_date", "process_date")
# A listed action is applied to the holder's symbol; the others it names are only told about it.
_OWN = ("symbol", "old_symbol", "new_symbol", "source_symbol", "acquiree_symbol")


def events_of(
    actions: Actions, symbol: str, first: np.datetime64, last: np.datetime64
) -> tuple[list[Event], tuple[str, ...]]:
    """Return one symbol's events from `first` to `last`, and notes on what was not applied.

    Raises: DataError for an action without a date or a usable rate.
    """
    events: list[Event] = []
    notes: list[str] = []
    for kind, action in _about(actions, symbol):
        day = _day(kind, action, symbol)
        if not first <= day <= last:
            continue
        event, note = _read(kind, action, symbol, day)
        events += [event] if event else []
        notes += [f"{symbol} {day}: {note}"] if note else []
    return events, tuple(notes)


def _about(actions: Actions, symbol: str) -> Iterator[tuple[str, Action]]:
    # Each action once: pages may overlap, and an id says which one it is.
    seen: list[object] = []
    for kind in sorted(actions):
        for action in actions[kind]:
            if symbol not in [action.get(key) for key in _OWN]:
                continue
            identity = action.get("id") or dict(action)
            if identity not in seen:
                seen.append(identity)
                yield kind, action


def _read(
    kind: str, action: Action, symbol: str, day: np.datetime64
) -> tuple[Event | None, str | None]:
    if kind in _SPLITS:
        ratio = _rate(kind, action, "new_rate", symbol) / _rate(kind, action, "old_rate", symbol)
        return Event(day, split=ratio), _new_name(action, symbol)
    if kind == "stock_dividends":
        return Event(day, split=1.0 + _rate(kind, action, "rate", symbol)), None
    if kind == "cash_dividends":
        currency = action.get("currency") or "USD"
        if currency != "USD":
            return None, f"dividend of {action.get('rate')} {currency} is not in dollars; left out"
        return Event(day, dividend=_rate(kind, action, "rate", symbol)), None
    if kind == "name_changes":
        old, new = action.get("old_symbol"), action.get("new_symbol")
        return None, f"renamed from {old} to {new}; events under the old name are not in these bars"
    return None, f"{kind.replace('_', ' ').removesuffix('s')} is not applied to prices or shares"


def _new_name(action: Action, symbol: str) -> str | None:
    other = action.get("new_symbol")
    return f"split into shares called {other}" if other and other != symbol else None


def _rate(kind: str, action: Action, key: str, symbol: str) -> float:
    try:
        rate = float(action[key])
    except (KeyError, TypeError, ValueError):
        rate = math.nan
    if not (math.isfinite(rate) and rate > 0):
        raise DataError(
            f"{symbol}, {kind}: expected {key} above zero, found {action.get(key)!r} in the action "
            f"of {action.get('ex_date') or action.get('process_date')}; ask again later, or end "
            "the range before it"
        )
    return rate


def _day(kind: str, action: Action, symbol: str) -> np.datetime64:
    told = next((action[key] for key in _DATES if action.get(key)), None)
    try:
        return np.datetime64(date.fromisoformat(str(told)[:10]), "D")
    except ValueError as error:
        raise DataError(
            f"{symbol}, {kind}: expected an action with a date like 2024-01-02, found {told!r}; "
            "ask again later"
        ) from error
