"""A small log-log chart as SVG text: curves over one size, and how a straight one would run on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT, MARGIN = 420, 320, 56
COLOURS = ("#1f5fa8", "#b3541e", "#3a7d44", "#6b4c9a")
GRID = "#ddd"
Curve = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Chart:
    """Curves by name, (x, y) each, and what stands at the axes."""

    title: str
    across: str
    up: str
    curves: Mapping[str, Curve]


def page(charts: Sequence[Chart]) -> str:
    """Return one SVG with the charts side by side."""
    inside = "".join(
        f'<g transform="translate({at * WIDTH},0)">{_drawn(chart)}</g>'
        for at, chart in enumerate(charts)
    )
    size = f'width="{WIDTH * len(charts)}" height="{HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">'
        f'<rect width="100%" height="100%" fill="white"/>{inside}</svg>\n'
    )


def _drawn(chart: Chart) -> str:
    xs = np.concatenate([np.asarray(x, float) for x, _ in chart.curves.values()])
    ys = np.concatenate([np.asarray(y, float) for _, y in chart.curves.values()])
    across = _Axis(xs.min(), xs.max(), MARGIN, WIDTH - 16)
    up = _Axis(ys.min(), ys.max(), HEIGHT - MARGIN, 36)
    parts = [
        _text(WIDTH / 2, 18, chart.title, "middle"),
        _text(WIDTH / 2, HEIGHT - 14, chart.across, "middle"),
        _text(8, 30, chart.up, "start"),
    ]
    for value in across.ticks():
        x = across.at(value)
        parts.append(_line(x, up.near, x, up.far, GRID))
        parts.append(_text(x, up.near + 16, f"{value:,g}", "middle"))
    for value in up.ticks():
        y = up.at(value)
        parts.append(_line(across.near, y, across.far, y, GRID))
        parts.append(_text(across.near - 6, y + 4, f"{value:,g}", "end"))
    for at, (name, (x, y)) in enumerate(chart.curves.items()):
        parts.append(_curve(across, up, x, y, COLOURS[at % len(COLOURS)]))
        parts.append(
            _text(across.near + 8, 50 + 14 * at, name, "start", COLOURS[at % len(COLOURS)])
        )
    return "".join(parts)


def _curve(
    across: "_Axis", up: "_Axis", x: Sequence[float], y: Sequence[float], colour: str
) -> str:
    dots = [(across.at(a), up.at(b)) for a, b in zip(x, y, strict=True)]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in dots)
    marks = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in dots)
    straight = y[-1] * x[0] / x[-1]  # in proportion to the last point: slope 1
    ends = (dots[-1][0], dots[-1][1], across.at(x[0]), up.at(straight))
    line = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    return line + marks + _line(*ends, colour, ' stroke-dasharray="3 4"')


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    near: float
    far: float

    def at(self, value: float) -> float:
        """Return the place of a value; beyond the ends it stays at the end."""
        low, high = np.log10(self.low), np.log10(self.high)
        share = (np.log10(value) - low) / max(high - low, 1e-9)
        return float(self.near + np.clip(share, 0.0, 1.0) * (self.far - self.near))

    def ticks(self) -> list[float]:
        """Return 1, 2 and 5 times powers of ten that lie on the axis."""
        first, last = int(np.floor(np.log10(self.low))), int(np.ceil(np.log10(self.high)))
        all_of_them = [base * 10.0**power for power in range(first, last + 1) for base in (1, 2, 5)]
        return [value for value in all_of_them if self.low <= value <= self.high]


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}"{more}/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>'
