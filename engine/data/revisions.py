"""What a vendor says today about the past, against what it said before.

The newest word is kept and every number it changed is listed: a backtest made before can then be
explained.
"""

from collections.abc import Iterator
from datetime import date, datetime

import numpy as np
from pydantic import BaseModel

from engine import clock
from engine.data.history import History

FIELDS = ("open", "high", "low", "close", "volume", "split", "dividend")


class Revision(BaseModel, frozen=True, extra="forbid"):
    """A number of the past that a later answer changed; None = there was no bar."""

    session: date
    field: str
    old: float | None
    new: float | None
    seen_at: datetime

    def text(self, symbol: str) -> str:
        """Say it in one line."""
        old, new = ("no bar" if v is None else f"{v:g}" for v in (self.old, self.new))
        return f"{symbol} {self.session}: {self.field} was {old}, is {new}"


def revisions(
    held: History, new: History, first: date, last: date, at: datetime
) -> Iterator[Revision]:
    """List what changed from `first` to `last`, session by session."""
    days = np.union1d(held.days, new.days)
    days = days[(days >= clock.as_day(first)) & (days <= clock.as_day(last))]
    before, now = _numbers(held, days), _numbers(new, days)
    changed = (before != now) & ~(np.isnan(before) & np.isnan(now))
    for row, column in np.argwhere(changed):
        pair = (float(x[row, column]) for x in (before, now))
        old, found = (None if np.isnan(value) else value for value in pair)
        yield Revision(
            session=days[row].item(), field=FIELDS[column], old=old, new=found, seen_at=at
        )


def joined(held: History, new: History, first: date, last: date) -> History:
    """Return `held` with everything from `first` to `last` taken from `new`."""
    keep = (held.days < clock.as_day(first)) | (held.days > clock.as_day(last))
    days = np.concatenate([held.days[keep], new.days])
    order = np.argsort(days)
    return History(
        new.symbol,
        days[order],
        np.concatenate([held.ohlcv[keep], new.ohlcv])[order],
        np.concatenate([held.split[keep], new.split])[order],
        np.concatenate([held.dividend[keep], new.dividend])[order],
        tuple(dict.fromkeys((*held.notes, *new.notes))),
    )


def numbers(one: History) -> np.ndarray:
    """Return the rows of a history in one table, in the order of FIELDS. Shapes: (n, 7)."""
    return np.column_stack([one.ohlcv, one.split, one.dividend])


def _numbers(one: History, days: np.ndarray) -> np.ndarray:
    # A day that is not in the history had no bar and no event.
    table = np.tile(np.array([np.nan] * 5 + [1.0, 0.0]), (len(days), 1))
    there = np.isin(one.days, days)
    table[np.searchsorted(days, one.days[there])] = numbers(one)[there]
    return table
