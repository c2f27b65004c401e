"""What the battery found, as tables: every seed, means against gates, ours against the peers.

A gate is a bound on the mean over seeds. Against a peer ours passes when the lower end of a one-sided
95 % bootstrap interval of (mean of ours - mean of theirs) lies above -5 % of the range from random to
best; both sides are drawn anew, since equal seeds have nothing in common between two programs.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np

from tests.benchmarks.plan import Gate, Plan

DRAWS = 20_000
HEAD = ("task", "learner", "score of each seed", "mean", "gate", "verdict", "steps", "CPU s each")
BESIDE = ("task", "ours - theirs", "difference of means", "lower bound", "must exceed", "verdict")


@dataclass(frozen=True)
class Result:
    """One training: who learned what from which seed. Units: score of the task, steps, CPU seconds.

    `digest` names the settings it was made with.
    """

    task: str
    learner: str
    seed: int
    score: float
    steps: int
    seconds: float
    digest: str

    def as_json(self) -> str:
        """Return the line that `--out` keeps."""
        return json.dumps(asdict(self))


def lower_bound(ours: np.ndarray, theirs: np.ndarray, seed: int = 0) -> float:
    """Return the 5 % quantile of the bootstrapped difference of means, ours less theirs."""
    generator = np.random.default_rng(seed)
    means = [
        x[generator.integers(len(x), size=(DRAWS, len(x)))].mean(axis=1) for x in (ours, theirs)
    ]
    return float(np.quantile(means[0] - means[1], 0.05))


def judged(gate: Gate, scores: np.ndarray, seeds: int) -> str:
    """Return pass or short, reported where the gate is a guess; how many seeds while too few."""
    if len(scores) < seeds:
        return f"{len(scores)} of {seeds} seeds"
    above = float(np.round(scores.mean(), 6)) >= gate.value
    met = above if gate.side == ">=" else scores.mean() <= gate.value
    word = "pass" if met else "short"
    return word if gate.source else f"reported ({word})"


def table(results: list[Result], plans: tuple[Plan, ...], seeds: int) -> str:
    """Return both tables as Markdown."""
    scores = {
        (plan.name, learner): [r for r in results if (r.task, r.learner) == (plan.name, learner)]
        for plan in plans
        for learner in plan.learners
    }
    first = [_line(plan, *key, scores[key], seeds) for plan in plans for key in _keys(plan, scores)]
    second = [line for plan in plans for line in _beside(plan, scores, seeds)]
    blocks = [_markdown(HEAD, first)] + ([_markdown(BESIDE, second)] if second else [])
    return "\n\n".join(blocks)


def _keys(plan: Plan, scores: dict[tuple[str, str], list[Result]]) -> list[tuple[str, str]]:
    return [(plan.name, name) for name in plan.learners if scores[plan.name, name]]


def _line(plan: Plan, task: str, learner: str, rows: list[Result], seeds: int) -> tuple[str, ...]:
    found = np.array([row.score for row in rows])
    digits = 2 if plan.best - plan.worst <= 1.0 else 1
    gates = [gate for gate in plan.gates if gate.learner == learner]
    return (
        task,
        learner,
        ", ".join(f"{score:.{digits}f}" for score in found),
        f"{found.mean():.{digits}f}",
        ", ".join(f"{g.side} {g.value:g}{'' if g.source else ' (guess)'}" for g in gates),
        ", ".join(judged(gate, found, seeds) for gate in gates) or _reported(found, seeds),
        _span([row.steps for row in rows]),
        _span([round(row.seconds) for row in rows]),
    )


def _reported(found: np.ndarray, seeds: int) -> str:
    return "reported" if len(found) >= seeds else f"{len(found)} of {seeds} seeds"


def _beside(
    plan: Plan, scores: dict[tuple[str, str], list[Result]], seeds: int
) -> list[tuple[str, ...]]:
    lines = []
    for peer, own in plan.rivals.items():
        both = [np.array([row.score for row in scores[plan.name, who]]) for who in (own, peer)]
        if not all(len(found) for found in both):
            continue
        low, gap = lower_bound(*both), both[0].mean() - both[1].mean()
        word = "pass" if low > -plan.margin else "short"
        if min(len(found) for found in both) < seeds:
            word = f"{len(both[0])} and {len(both[1])} of {seeds} seeds"
        numbers = (f"{gap:+.3g}", f"{low:+.3g}", f"{-plan.margin:.3g}")
        lines.append((plan.name, f"{own} - {peer}", *numbers, word))
    return lines


def _span(values: list[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,}-{high:,}"


def _markdown(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    rows = [head, ("---",) * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
