"""What our agent did on the ten instruments, as one table beside the published one: every seed."""

from dataclasses import dataclass

import numpy as np

from engine.across_seeds import bootstrap_interval, interquartile_mean
from tests.ten_instruments import PUBLISHED

HEAD = (
    "instrument", "B&H", "S&H", "trend", "reversion", "TDQN", "ours, IQM", "each seed",
    "long", "trades",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One agent: what validation said of it, and the test. Units: `long` part of the bars, `profit`
    dollars on 100,000, CPU seconds. `digest` names the settings it was made with."""

    ticker: str
    seed: int
    validation: float
    sharpe: float = float("nan")
    profit: float = float("nan")
    trades: float = float("nan")
    long: float = float("nan")
    seconds: float = float("nan")
    digest: str = ""

    def line(self) -> str:
        """Return it in one line of words."""
        told = f"{self.ticker} | seed {self.seed} | validation {self.validation:.3f}"
        if not np.isnan(self.sharpe):
            told += f" | test {self.sharpe:.3f} | {self.trades:.0f} trades"
        return f"{told} | {self.seconds:.0f} s"


def table(results: list[Result], seeds: int) -> str:
    """Return the table as Markdown, and below it how our mean over instruments is distributed."""
    scores = {
        ticker: [r for r in sorted(results, key=lambda r: r.seed) if r.ticker == ticker]
        for ticker in PUBLISHED
    }
    rows = [_line(ticker, found) for ticker, found in scores.items()]
    whole = all(len(found) >= seeds for found in scores.values())
    if whole:
        rows.append(
            _means(np.array([[r.sharpe for r in found[:seeds]] for found in scores.values()]))
        )
    text = "\n".join(f"| {' | '.join(row)} |" for row in (HEAD, ("---",) * len(HEAD), *rows))
    if not whole:
        return f"{text}\n\n{len(results)} of {seeds * len(scores)} runs"
    return f"{text}\n\n{_said(scores, seeds)}"


def _line(ticker: str, found: list[Result]) -> tuple[str, ...]:
    published = (f"{value:.3f}" for value in PUBLISHED[ticker])
    if not found:
        return (ticker, *published, "", "", "", "")
    sharpes = np.array([r.sharpe for r in found])
    return (
        ticker,
        *published,
        f"{interquartile_mean(sharpes):.3f}",
        ", ".join(f"{value:.3f}" for value in sharpes),
        f"{np.mean([r.long for r in found]):.0%}",
        ", ".join(f"{r.trades:.0f}" for r in found),
    )


def _means(sharpes: np.ndarray) -> tuple[str, ...]:
    # Shapes: (instruments, seeds).
    published = np.array(list(PUBLISHED.values())).mean(axis=0)
    middle = np.mean([interquartile_mean(row) for row in sharpes])
    each = ", ".join(f"{value:.3f}" for value in sharpes.mean(axis=0))
    return ("mean of ten", *(f"{value:.3f}" for value in published), f"{middle:.3f}", each, "", "")


def _said(scores: dict[str, list[Result]], seeds: int) -> str:
    sharpes = np.array([[r.sharpe for r in found[:seeds]] for found in scores.values()])
    held = np.array([PUBLISHED[ticker].buy_and_hold for ticker in scores])
    theirs = np.array([PUBLISHED[ticker].tdqn for ticker in scores])
    middle = np.array([interquartile_mean(row) for row in sharpes]).round(3)  # as published
    low, high = bootstrap_interval(sharpes.mean(axis=0))
    return (
        f"Mean over the ten: interquartile mean of {seeds} seeds "
        f"{interquartile_mean(sharpes.mean(axis=0)):.3f}, 95 % interval {low:.3f} to {high:.3f} "
        f"over seeds alone. Above buy and hold on {(middle > held).sum()} of ten, above the TDQN "
        f"column on {(middle > theirs).sum()}."
    )
