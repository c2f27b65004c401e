"""Time systems side by side and print what came out as ratios.

Speed drifts while a machine works, so systems take turns (A B A B ...) and are compared round by
round: a ratio is the median of the ratios of single rounds. Nothing here asserts a number.
"""

import gc
import json
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

HEADER = ("what", "measured", "target", "spread", "verdict")
CEILINGS = ("at most", "under", "about")  # how a target begins that is not to be passed
LIBRARIES = ("torch", "onnxruntime", "backtrader", "sb3-contrib", "numpy")


@dataclass(frozen=True)
class Row:
    """One line of the table. Shapes: values (rounds,).

    `target` as text in the unit of the values: "4 x" is a floor, "at most 2 x" a ceiling.
    """

    what: str
    values: np.ndarray
    unit: str = "x"
    target: str = "none"

    @property
    def median(self) -> float:
        """What is quoted."""
        return float(np.median(self.values))

    @property
    def verdict(self) -> str:
        """Whether the median meets the target: "pass", "short", or "-" without one."""
        if self.target == "none":
            return "-"
        bound = float(next(x for x in self.target.split() if x[0].isdigit()))
        is_met = self.median <= bound if self.target.startswith(CEILINGS) else self.median >= bound
        return "pass" if is_met else "short"

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return the line as text."""
        spread = f"{short(self.values.min())}-{short(self.values.max())}"
        return self.what, f"{short(self.median)} {self.unit}", self.target, spread, self.verdict

    def as_dict(self) -> dict[str, Any]:
        """Return the line as JSON has it, every round included."""
        values = [float(value) for value in self.values]
        return {
            "what": self.what,
            "measured": self.median,
            "unit": self.unit,
            "target": self.target,
            "verdict": self.verdict,
            "min": min(values),
            "max": max(values),
            "rounds": values,
        }


def interleave(
    systems: Mapping[str, Callable[[], float]], rounds: int, warm: int = 1
) -> dict[str, np.ndarray]:
    """Let systems take turns; return what each call answered, round by round.

    Shapes: (rounds,) for each name. `warm` rounds before them are not counted; garbage is collected
    before every call.
    """
    found: dict[str, list[float]] = {name: [] for name in systems}
    for turn in range(warm + rounds):
        for name, run in systems.items():
            gc.collect()
            answer = run()
            if turn >= warm:
                found[name].append(answer)
    return {name: np.array(values) for name, values in found.items()}


def seconds(run: Callable[[], Any]) -> Callable[[], float]:
    """Return a system that answers how long one call of `run` takes."""

    def timed() -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return timed


def short(value: float) -> str:
    """Return a number in three digits: 12,346, 123, 12.3, 1.23, 0.00123."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    digits = max(2 - int(np.floor(np.log10(abs(value)))), 0)
    return f"{value:,.{digits}f}"


def table(rows: list[Row]) -> str:
    """Return the rows as an aligned Markdown table."""
    lines = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(HEADER))]
    text = [
        " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
    ]
    rule = "-|-".join("-" * width for width in widths)
    return "\n".join(f"| {line} |" for line in [text[0], rule, *text[1:]])


def as_json(rows: list[Row], notes: list[str]) -> str:
    """Return one JSON object: where it ran, the rows, and what was left out."""
    installed = {}
    for name in LIBRARIES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = "not installed"
    where = {"machine": platform.machine(), "python": platform.python_version(), **installed}
    return json.dumps({"where": where, "rows": [row.as_dict() for row in rows], "notes": notes})


def say(text: str) -> None:
    """Write a line of progress to stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
