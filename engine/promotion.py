"""Whether a challenger has earned the champion's place: from accounts over the same bars to a verdict.

The accounts are over sessions that neither agent was trained or chosen on. The challenger has to be
better than the champion, and than baselines, by a margin that is asked for, with one-sided confidence
in the paired block bootstrap of `engine.paired`. The share that may be wrong is divided among all
looks ever taken at these sessions, so that asking every week does not find luck in the end: of
challengers without skill that were judged every week on 62 sessions, one beat the champion within a
year in 64 % of years without that and in 17 % with it, champion, cash and market together in 21 % and
in 1 %.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np

from engine import measures as m
from engine.across_seeds import DRAWS
from engine.measures import STILL, NotComputable, returns_of
from engine.paired import block_of, drawn
from engine.settings_retrain import PromotionSettings
from engine.significance import student_quantile

YEAR = 252
CASH = "flat"
SCORES = {"sharpe": "Sharpe ratio", "log_growth": "log growth"}


@dataclass(frozen=True, slots=True)
class Gap:
    """By how much ours is ahead of theirs, and what it is at least. Units: the score, per year."""

    difference: float
    least: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that was asked for; `passed` None = it could not be answered, which is not enough."""

    name: str
    passed: bool | None
    text: str
    gap: Gap | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all rules together say."""

    rules: tuple[Rule, ...]

    @property
    def promote(self) -> bool:
        """True when every rule holds."""
        return all(rule.passed for rule in self.rules)

    @property
    def reason(self) -> str:
        """Why not, in words; or what was shown."""
        told = [rule.text for rule in self.rules if bool(rule.passed) == self.promote]
        return "; ".join(told)


def decide(
    challenger: np.ndarray,
    champion: np.ndarray | None,
    baselines: Mapping[str, np.ndarray],
    asked: PromotionSettings,
    looks: int = 1,
    checks: Mapping[str, bool | None] | None = None,
    deflated: float | None = None,
) -> Verdict:
    """Judge a challenger. `champion` None = there is none yet: then it must beat cash and baselines.

    Shapes: equities (T+1,), all over the same bars. `looks` at these sessions count this one.
    `checks` holds what each check said by its name, None = not run.
    """
    confidence = 1.0 - (1.0 - asked.confidence) / max(looks, 1)
    rivals = dict(baselines)
    if champion is None:
        rivals = {CASH: np.ones_like(challenger)} | rivals
    else:
        rivals = {"champion": champion} | rivals
    return Verdict(
        (
            enough(len(challenger) - 1, asked.sessions),
            *(_beats(name, challenger, other, asked, confidence) for name, other in rivals.items()),
            *(_passed(name, (checks or {}).get(name)) for name in asked.checks),
            *_deflated(deflated, asked.deflated_sharpe),
        )
    )


def enough(sessions: int, least: int) -> Rule:
    """Tell whether so many sessions can judge."""
    told = f"{sessions} sessions that neither was trained or chosen on, {least} needed"
    return Rule("sessions", sessions >= least, told)


def gap(ours: np.ndarray, theirs: np.ndarray, score: str, confidence: float) -> Gap:
    """Return how far our score is ahead, and the least of it that the confidence leaves.

    Shapes: (T,) returns per bar, both. The error is the deviation over the draws, widened by
    sqrt(T / (T - block)) because few blocks hold too little of it; the quantile is Student's, with
    one degree of freedom less than there are blocks. Plain percentiles let luck pass in 6 to 7 % of
    cases at 95 % and 63 bars, this in about 5 %. The generator is fixed.
    """
    if score == "log_growth":
        ours, theirs = np.log1p(ours), np.log1p(theirs)
    bars, block = len(ours), block_of(len(ours))
    ratios, means = drawn(ours, theirs, block, DRAWS, np.random.default_rng(0))
    if score == "sharpe":
        found, draws, unit = _ratio(ours) - _ratio(theirs), ratios, sqrt(YEAR)
    else:
        found, draws, unit = float((ours - theirs).mean()), means, float(YEAR)
    error = float(draws.std(ddof=1)) * sqrt(bars / (bars - block))
    least = found - student_quantile(confidence, bars / block - 1.0) * error
    return Gap(unit * found, unit * least, confidence)


def interval(ours: np.ndarray, theirs: np.ndarray, score: str) -> tuple[float, float, float]:
    """Return how far our score is ahead, and the 95 % interval of it, both sides of `gap`.

    Shapes: (T,) returns per bar, both; theirs zeros = our score itself. Units: the score, per year.
    """
    found = gap(ours, theirs, score, 0.975)
    return found.difference, found.least, 2.0 * found.difference - found.least


def _ratio(returns: np.ndarray) -> float:
    return m.sharpe(returns, 1) if returns.std(ddof=1) >= STILL else 0.0


def _beats(
    name: str,
    challenger: np.ndarray,
    other: np.ndarray,
    asked: PromotionSettings,
    confidence: float,
) -> Rule:
    called = {"champion": "the champion", CASH: "cash"}.get(name, name.replace("_", " "))
    try:
        found = gap(returns_of(challenger), returns_of(other), asked.score, confidence)
    except NotComputable as error:
        return Rule(name, None, f"cannot be compared with {called}: {error}")
    passed = found.least > asked.margin
    return Rule(
        name,
        passed,
        f"{'beats' if passed else 'does not beat'} {called}: {SCORES[asked.score]} "
        f"{found.difference:+.2f}, at least {found.least:+.2f} with {100 * confidence:.4g} % "
        f"confidence, more than {asked.margin:g} asked for",
        found,
    )


def _passed(name: str, passed: bool | None) -> Rule:
    told = {True: "passed", False: "FAILED", None: "was not run"}[passed]
    return Rule(name, passed, f"the {name} check {told}")


def _deflated(found: float | None, least: float) -> tuple[Rule, ...]:
    if not least:
        return ()
    told = "not known" if found is None else f"{found:.2f}"
    passed = None if found is None else found >= least
    return (Rule("deflated_sharpe", passed, f"deflated Sharpe ratio {told}, {least:g} needed"),)
