"""The other rules, memory, and how the cost of a step grows with the length of a rollout.

A2C takes one step over rollouts of 32 bars; nobody else's has a memory to compare it with. DDPG learns
from sequences of 16 bars whose memory is built over their whole episode; stable-baselines3's DDPG, for
scale, has none: 512 transitions an update, an update for each bar all books play, for both.
"""

from typing import Any

import numpy as np

from engine.settings_training import TrainSettings
from tests.benchmarks.harness import Row, interleave
from tests.benchmarks.systems import System, ours, their_ddpg
from tests.benchmarks.workers import workers

LONG, SHORT = 504, 63


def rows(settings: TrainSettings, peer: bool, quick: bool) -> list[Row]:
    """Return the lines; `settings` are those of the matched comparison."""
    rounds = 1 if quick else 5
    return [*rules(settings, peer, rounds), memory(quick), *growth(settings, quick)]


def rules(settings: TrainSettings, peer: bool, rounds: int) -> list[Row]:
    """Return A2C and DDPG."""
    steps, books = min(32, settings.rollout_steps // 2), settings.books
    a2c = changed(settings, algorithm="a2c", rollout_steps=steps)
    episode = 2 * steps
    off = changed(
        settings,
        algorithm="ddpg",
        rollout_steps=steps,
        episode_steps=episode,
        ddpg={"warmup_steps": books * episode, "replay_size": 4 * books * episode},
    )
    systems: dict[str, System] = {"A2C": ours(a2c, episode), "DDPG": ours(off, episode)}
    if peer:
        systems["SB3 DDPG, no memory"] = their_ddpg(off, episode)
    rates = interleave(systems, rounds, warm=min(rounds, 2))
    width = f"{books} rows, episodes of {episode}"
    found = [Row(f"{name}, {width}", rate, "steps/s") for name, rate in rates.items()]
    if peer:
        found.append(Row(f"DDPG / SB3 DDPG, {width}", rates["DDPG"] / rates["SB3 DDPG, no memory"]))
    return found


def memory(quick: bool) -> Row:
    """Return the most memory that a wide training holds at any time, in a process of its own."""
    books, steps = (16, 16) if quick else (1024, 128)
    with workers({"books": books, "rollout_steps": steps}, 2 * steps, 1) as one:
        one.seconds()
        one.seconds()
    what = f"memory of a training, {books:,} rows x {steps} bars"
    return Row(what, np.array([one.peak_mib]), "MiB", "under 1024 MiB")


def growth(settings: TrainSettings, quick: bool) -> list[Row]:
    """Return what a step costs in long rollouts over short ones, everything else being the same."""
    short, long = (8, 16) if quick else (SHORT, LONG)
    systems = {
        bars: ours(changed(settings, rollout_steps=bars), 2 * bars) for bars in (short, long)
    }
    rates = interleave({str(bars): run for bars, run in systems.items()}, 1 if quick else 5)
    ratio = rates[str(short)] / rates[str(long)]
    what = f"cost of a step, rollouts of {long} / {short} bars, {settings.books} rows"
    return [Row(what, ratio, "x", "at most 1.3 x")]


def changed(settings: TrainSettings, **fields: Any) -> TrainSettings:
    """Return the settings with some fields changed, checked."""
    return TrainSettings.model_validate({**settings.model_dump(exclude_defaults=True), **fields})
