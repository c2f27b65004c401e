"""Walk-forward windows: which bars train, which choose the checkpoint, which are tested.

Indices of sessions only; it knows no prices, no agents and no files. Every segment is inclusive at both
ends. A decision on bar t is paid on the `horizon` bars after it, so a segment that ends on bar `last`
trains or scores its last decision on `last - horizon`.

    label    no reward, scaler or selection uses a bar at or after the first one of the next segment;
             feature windows and burn-in may look back over the boundary, as they do in life
    strict   no bar of a window is touched by two of its segments, lookback and burn-in included
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from engine.errors import DataError
from engine.settings_walkforward import WalkForwardSettings

Purge = Literal["label", "strict"]
RULES: dict[str, str] = {
    "label": "label: no reward, scaler or selection uses a bar at or after the first one of the next "
    "segment; feature windows and burn-in look back, as in life",
    "strict": "strict: no bar of a window is touched by two of its segments, lookback and burn-in "
    "included",
}


@dataclass(frozen=True, slots=True)
class Reach:
    """How far one decision reads. Units: bars; `lookback` (w) counts the decision's own bar."""

    lookback: int
    burn_in: int
    horizon: int = 1


@dataclass(frozen=True, slots=True)
class Segment:
    """Bars `first` to `last`, both inclusive."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Window:
    """One step of the walk; `short` marks a last test segment with fewer sessions than the rest."""

    number: int
    train: Segment
    validation: Segment
    test: Segment
    short: bool = False


def distance(reach: Reach, purge: Purge) -> int:
    """Return the least a - (m + h): from the last bar a segment uses to the next one's first."""
    return 1 if purge == "label" else reach.burn_in + reach.lookback


def shared(m: int, a: int, reach: Reach) -> range:
    """Return the bars touched on both sides of a boundary, lookback and burn-in included.

    `m` is the last decision before it, `a` the first one scored after it.
    """
    return range(a - reach.burn_in - reach.lookback + 1, m + reach.horizon + 1)


def require_apart(m: int, a: int, reach: Reach, purge: Purge) -> None:
    """Refuse a boundary that the purge rule forbids.

    Raises: DataError naming the bars that both sides use.
    """
    least = m + reach.horizon + distance(reach, purge)
    if a >= least:
        return
    both = shared(m, a, reach) if purge == "strict" else range(a, m + reach.horizon + 1)
    named = f"bar {both[0]}" if len(both) == 1 else f"bars {both[0]} to {both[-1]}"
    raise DataError(
        f'purge = "{purge}": the last decision before a boundary is on bar {m}, so the first one '
        f"after it must be on bar {least} or later, found {a}; both sides would use {named}: "
        "set walkforward.gap_sessions higher"
    )


def plan_windows(
    settings: WalkForwardSettings,
    reach: Reach,
    first: int,
    last: int,
    test_first: int | None = None,
) -> tuple[Window, ...]:
    """Return every window whose bars lie in `first` to `last`, oldest first.

    The test segments follow one another without a gap from `test_first` (None = as early as the
    lengths allow) to `last`. Raises: DataError when the first training segment does not fit.
    """
    gap = distance(reach, settings.purge) - 1 + settings.gap_sessions
    before = settings.train_sessions + gap + settings.validation_sessions + gap
    at = first + before if test_first is None else test_first
    if at - before < first or at > last:
        raise DataError(
            f"walkforward: {before} sessions are needed before the first test ({gap} left out at "
            f"each of two boundaries) and one to test, found {max(min(at, last + 1) - first, 0)} before "
            f"it and {max(last - at + 1, 0)} to test; shorten train_sessions or validation_sessions, "
            "test later, or use more data"
        )
    windows: list[Window] = []
    while at <= last:
        windows.append(_window(settings, len(windows) + 1, gap, first, at, last))
        at = windows[-1].test.last + 1
    for window in windows:
        for left, right in ((window.train, window.validation), (window.validation, window.test)):
            require_apart(left.last - reach.horizon, right.first, reach, settings.purge)
    return tuple(windows)


def require_untouched(
    windows: tuple[Window, ...], reach: Reach, traded: np.ndarray, symbols: tuple[str, ...]
) -> None:
    """Refuse windows that touch a bar twice because a symbol has bars missing.

    Shapes: traded (T, N). Windows and memory run over the bars a symbol traded, so a gap lets them
    look further back than sessions say. Raises: DataError naming symbol and bar.
    """
    rows = reach.lookback + reach.burn_in
    for window in windows:
        for left, right in ((window.train, window.validation), (window.validation, window.test)):
            for symbol in np.flatnonzero(traded[right.first : right.last + 1].any(axis=0)):
                back = first_touched(traded[:, symbol], right.first, rows)
                if back <= left.last:
                    raise DataError(
                        f'purge = "strict": window {window.number}: {symbols[symbol]} has bars '
                        f"missing, so a decision on bar {right.first} reads back to bar {back}, used "
                        f"before the boundary (up to bar {left.last}); add at least "
                        f'{left.last - back + 1} to walkforward.gap_sessions, or use purge = "label"'
                    )


def first_touched(traded: np.ndarray, at: int, rows: int) -> int:
    """Return the oldest bar that `rows` traded bars up to `at` reach. Shapes: traded (T,)."""
    seen = np.flatnonzero(traded[: at + 1])
    return int(seen[-rows:][0]) if len(seen) else at


def _window(
    settings: WalkForwardSettings, number: int, gap: int, first: int, at: int, last: int
) -> Window:
    test = Segment(at, min(at + settings.test_sessions - 1, last))
    chosen_last = at - gap - 1
    validation = Segment(chosen_last - settings.validation_sessions + 1, chosen_last)
    trained_last = validation.first - gap - 1
    begin = first if settings.scheme == "expanding" else trained_last - settings.train_sessions + 1
    short = len(test) < settings.test_sessions
    return Window(number, Segment(begin, trained_last), validation, test, short)
