"""Placebo check: train and test where nothing can be earned, and where it is known what can.

An agent that beats holding its own mean exposure on shuffled, random or sign-flipped returns, after
costs, shows that the pipeline is broken. One that finds nothing in a market whose optimum is known
proves nothing by finding nothing elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.across_seeds import bootstrap_interval, interquartile_mean
from engine.errors import CheckError
from engine.run.check.placebo_markets import MARKETS
from engine.run.check.placebo_plan import CONTROL, NO_EDGE, RANDOM, TITLES, TWIN, Case, Placebo
from engine.run.check.placebo_score import Score, optimum, score_case, score_random
from engine.run.console import progress, say
from engine.run.training.executor import Executor, Job, is_done, outcome
from engine.run.training.job_progress import train_all
from engine.settings import Settings

ENOUGH = 10  # seeds; of two, both are above zero by luck in one market of four
GUESS = 0.1  # turnover of random actions a bar, where no agent was trained to match
LOST = 0.5  # a twin that earns this part of the optimum has not failed


@dataclass(frozen=True)
class Row:
    """One market over all seeds: interquartile mean, its 95 % interval, and what it comes to.

    `passed` None = reported only. Units: yearly Sharpe ratio of the excess return; for the control
    parts of the known optimum.
    """

    market: str
    mean: float
    low: float
    high: float
    fills: float
    exposure: float
    turnover: float
    passed: bool | None
    words: str


def run_check(plan: Placebo, executor: Executor, resume: bool) -> tuple[Row, ...] | None:
    """Train and test what is missing; return a row a market, None where a person stopped it.

    Raises: CheckError where a training failed.
    """
    cases = {name: plan.cases(name) for name in plan.trained}
    jobs = [case.job for found in cases.values() for case in found]
    if _train([job for job in jobs if not is_done(job)], executor, resume):
        return None
    failed = [job for job in jobs if not is_done(job)]
    if failed:
        why = (outcome(failed[0]) or {}).get("error", "stopped before its end")
        raise CheckError(f"placebo: {len(failed)} trainings failed; {failed[0].folder}: {why}")
    try:
        scores = _test(plan, cases)
    except KeyboardInterrupt:
        return None
    return tuple(_row(plan.settings, name, found) for name, found in scores.items())


def verdict(rows: Sequence[Row], settings: Settings, seeds: int) -> tuple[bool, str]:
    """Return whether all that was asked held, and what to make of it, in words without a period."""
    parts = []
    clean = [row.market for row in rows if row.market in NO_EDGE and row.passed]
    broken = [row.market for row in rows if row.market in NO_EDGE and not row.passed]
    if broken:
        luck = f", or it is luck: {ENOUGH} seeds or more can tell" if seeds < ENOUGH else ""
        told = f"{', '.join(broken)}: the pipeline is broken{luck}"
        parts.append(f"AN EDGE WHERE THERE IS NONE: {told}")
    if clean:
        parts.append(f"no edge in {', '.join(clean)}")
    parts += [f"{row.market} {row.words}" for row in rows if row.market in (CONTROL, TWIN)]
    done = f"{seeds} seeds, {settings.placebo.updates} updates each"
    return all(row.passed is not False for row in rows), f"{'; '.join(parts)} ({done})"


def _train(jobs: list[Job], executor: Executor, resume: bool) -> bool:
    say(f"{len(jobs)} trainings to do")
    return train_all(jobs, executor, resume)


def _test(plan: Placebo, cases: dict[str, list[Case]]) -> dict[str, list[Score]]:
    random = RANDOM in plan.only
    total = sum(map(len, cases.values())) + plan.seeds * random
    done, scores = 0, dict[str, list[Score]]()
    with progress("testing", total) as show:
        for name, found in cases.items():
            scores[name] = []
            for case in found:
                scores[name].append(score_case(case))
                done += 1
                show(done, f"{name}, seed {case.seed}")
        if random:
            seen = [s["turnover"] for name in MARKETS for s in scores.get(name, [])]
            turnover = float(np.median(seen)) if seen else GUESS
            scores[RANDOM] = _random(plan, turnover or GUESS)
            show(total, RANDOM)
    return scores


def _random(plan: Placebo, turnover: float) -> list[Score]:
    first, found = plan.settings.train.seed, []
    for seed in range(first, first + plan.seeds):
        train = plan.settings.train.model_copy(update={"seed": seed})
        settings = plan.settings.model_copy(update={"train": train})
        case = Case(RANDOM, seed, Job(settings, plan.folder / RANDOM / f"seed-{seed}"))
        case.job.folder.mkdir(parents=True, exist_ok=True)
        found.append(score_random(case, plan.bars, turnover))
    return found


def _row(settings: Settings, name: str, scores: list[Score]) -> Row:
    if name in (CONTROL, TWIN):
        values = np.array([score["return_a_bar"] / optimum(settings) for score in scores])
    else:
        values = np.array([score["excess_sharpe"] for score in scores])
    mean, (low, high) = interquartile_mean(values), bootstrap_interval(values)
    passed, words = _of_random(scores) if name == RANDOM else _judged(settings, name, mean, low)
    middle = {
        k: float(np.median([s[k] for s in scores])) for k in ("fills", "exposure", "turnover")
    }
    return Row(name, mean, low, high, passed=passed, words=words, **middle)


def _judged(settings: Settings, name: str, mean: float, low: float) -> tuple[bool | None, str]:
    if name == CONTROL:
        asked = settings.placebo.control_share
        found = mean >= asked
        told = "found" if found else "NOT FOUND: silence elsewhere proves nothing"
        return found, f"{told}, {mean:.0%} of the optimum (asked {asked:.0%})"
    if name == TWIN:
        failed = mean < LOST
        told = "fails, as it must" if failed else "SUCCEEDS: the control needs no memory"
        return failed, f"{told}, {mean:.0%} of the optimum"
    if name in NO_EDGE:
        return low <= 0.0, "no edge" if low <= 0.0 else "AN EDGE"
    return None, "no edge" if low <= 0.0 else "an edge, shorter than a block perhaps: reported only"


def _of_random(scores: list[Score]) -> tuple[bool | None, str]:
    # Without its costs it must earn nothing: it lost its costs, as far as can be told.
    net = np.array([score["excess_a_bar"] for score in scores]) * 1e4
    costs = np.array([score["cost_a_bar"] for score in scores]) * 1e4
    low, high = bootstrap_interval(net + costs)
    told = "loses about its costs" if low <= 0.0 <= high else "DOES NOT lose about its costs"
    numbers = (
        f"earned {interquartile_mean(net):+.2f}, costs {interquartile_mean(costs):.2f} bp a bar"
    )
    return None, f"{told}: {numbers}, without them {low:+.2f} to {high:+.2f}"


def table_of(rows: Sequence[Row]) -> list[str]:
    """Return the lines a person reads."""
    head = f"{'market':<30} {'IQM':>7} {'95 % interval':>17} {'fills':>7} {'exposure':>9}"
    lines = [f"{head} {'turnover':>9}"]
    lines += [
        f"{row.market:<8} {TITLES[row.market]:<21} {row.mean:>7.2f} {row.low:>8.2f} "
        f"{row.high:>8.2f} {row.fills:>7.0f} {row.exposure:>9.2f} {row.turnover:>9.3f}  {row.words}"
        for row in rows
    ]
    return [
        *lines,
        "IQM: interquartile mean over seeds of the yearly Sharpe ratio, after costs, of what was earned",
        "beyond holding the mean exposure so far; Q5: parts of the known optimum",
    ]
