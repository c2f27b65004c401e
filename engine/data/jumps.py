"""Price jumps that look like an unadjusted split.

A jump is reported, never repaired: large real moves exist, and only an event says that one is a
split.
"""

from dataclasses import dataclass

import numpy as np

from engine.bars import CLOSE, OPEN

HOLE = 20  # sessions; a longer silence may end with another company
NEAR = 0.035  # how near to a split ratio the overnight step must be, relative
HUGE = 3.0  # a step this many times over is hardly trading: near enough is ROUGHLY near
ROUGHLY = 0.25
LEAST = 0.18  # log of the smallest step looked at; 5:4 is 0.22
USUAL = np.array(
    [1.25, 4 / 3, 1.5, 2.5, *range(2, 11), 12, 15, 20, 25, 30, 40, 50, 100]
    + [1 / n for n in (*range(2, 11), 12, 15, 20, 25, 30, 40, 50, 100)]
)


@dataclass(frozen=True, slots=True)
class Jump:
    """A step from one close to the next open. Units: `factor` = close before / open after."""

    index: int
    day: np.datetime64
    before: float
    after: float
    ratio: float

    @property
    def factor(self) -> float:
        """How many times the price fell (below 1: rose)."""
        return self.before / self.after

    def text(self) -> str:
        """Say it in one line."""
        return (
            f"price goes from {self.before:g} to {self.after:g} overnight, "
            f"a factor of {self.factor:.3f}, near a split of {ratio_text(self.ratio)} that no "
            "event lists"
        )


def suspects(days: np.ndarray, ohlcv: np.ndarray, split: np.ndarray) -> list[Jump]:
    """List the overnight steps that look like an unadjusted split.

    Shapes: `days` (n,), `ohlcv` (n, 5), `split` (n,), over bars that traded.
    Asked of a suspect: no split on its date; a step near a ratio that splits have, open and
    close agreeing on it; and far outside what the surrounding sessions did.
    """
    opens, closes = ohlcv[:, OPEN], ohlcv[:, CLOSE]
    overnight = np.log(closes[:-1] / opens[1:])
    daily = np.log(closes[:-1] / closes[1:])
    found = []
    for t in np.where((np.abs(overnight) > LEAST) & (split[1:] == 1.0))[0]:
        ratio = float(USUAL[np.argmin(np.abs(np.log(USUAL) - overnight[t]))])
        near = ROUGHLY if abs(overnight[t]) > np.log(HUGE) else NEAR
        if abs(np.exp(overnight[t]) / ratio - 1) > near or abs(daily[t] - np.log(ratio)) > 0.3:
            continue
        around = np.abs(daily[max(0, t - 20) : t + 21])
        if abs(overnight[t]) > 5 * np.median(around):
            found.append(Jump(int(t) + 1, days[t + 1], closes[t], opens[t + 1], ratio))
    return found


def ratio_text(ratio: float) -> str:
    """Write a split ratio as people do: 2:1, 3:2, 1:20."""
    for q in range(1, 101):
        p = ratio * q
        if abs(p - round(p)) < 1e-9 and round(p) >= 1:
            return f"{round(p)}:{q}"
    return f"{ratio:g}:1"
