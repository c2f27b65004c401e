"""The pipeline that a look-ahead check puts under test, as backtests run it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.bars import Bars
from engine.features import FeatureSet
from engine.observation import Observation, Scaler
from engine.policy import ActionSpace, Policy, Wish, decode, greedy, leaning
from engine.run.build import dates, new_spec, within
from engine.run.check.lookahead import Pipeline, standard
from engine.run.evaluation import deployed
from engine.settings import Settings


def pipeline_of(settings: Settings, bars: Bars, checkpoint: Path | None) -> Pipeline:
    """Return the agent's pipeline; without a checkpoint, one that a training would start with.

    A checkpoint's scaler is frozen, yet its fit is put to the test as well: it is repeated on the
    training dates of every changed market.
    """
    cash, symbols = settings.backtest.cash, len(bars.symbols)
    policy: Policy
    if checkpoint is None:
        spec = new_spec(settings, bars, settings.backtest.allocation or 1.0 / symbols)
        policy = Probe(spec.action, spec.limits.allow_short)
    else:
        spec, policy = deployed(settings, checkpoint, bars)
    first, last = dates(bars, settings, "train")
    fit = fit_on(spec.features, first, last, spec.scaler.clip)
    fitted = settings.observation.scaler != "none"
    return standard(spec, policy, fit if fitted else None, last, cash, symbols)


@dataclass(frozen=True)
class Probe:
    """A policy that learns nothing and is moved by everything: every input, and its memory.

    It trades on the sign of a fading sum of all market inputs, leaning against what it holds.
    """

    action: ActionSpace
    allow_short: bool
    memory_width: int = 1

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        after = memory * np.float32(0.9) + obs.market.sum(axis=-1, keepdims=True)
        lean = obs.book.sum(axis=-1) * np.float32(0.1)
        up = after[..., 0] - lean
        chosen = greedy(leaning(up, self.action), self.action, obs.valid)
        return decode(chosen, self.action, self.allow_short), after


def fit_on(
    features: FeatureSet, first: int, last: int, clip: float
) -> Callable[[np.ndarray, np.ndarray], Scaler]:
    """Return the fit of the scaler on the bars `first` to `last` of whatever rows it is given."""

    def fit(rows: np.ndarray, ready: np.ndarray) -> Scaler:
        inside = within(ready, first, last)
        if not inside.any():
            return Scaler.none(len(features), clip)
        return Scaler.fit(rows, inside, clip)

    return fit
