"""What the agent is paid for one bar, from the change of marked equity. Knows no positions."""

import numpy as np

from engine.settings_agent import RewardSettings

# A ruined book has no logarithm: losing everything counts as losing 99.99 %.
FLOOR = 1e-4


def reward_of(
    before: np.ndarray, after: np.ndarray, at_start: np.ndarray, settings: RewardSettings
) -> np.ndarray:
    """Return the scaled, clipped reward of one step.

    Shapes: (B,) each; equity before and after the step and at the start of the episode.
    Units: step_return (after - before) / before; log_return log(after / before); pnl
    (after - before) / at_start; then times `scale`, limited to +-`clip`. Zero for a ruined book.
    """
    alive = before > 0
    base = np.where(alive, before, 1.0)
    if settings.kind == "pnl":
        paid = (after - before) / at_start
    elif settings.kind == "step_return":
        paid = (after - before) / base
    else:
        paid = np.log(np.maximum(after / base, FLOOR))
    paid = np.where(alive, paid * settings.scale, 0.0)
    return paid if settings.clip is None else np.clip(paid, -settings.clip, settings.clip)
