"""The pipeline that a look-ahead check puts under test, as backtests run it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine.bars import Bars
from engine.features import FeatureSet
from engine.observation import Scaler
from engine.run.backtest import baseline_trader
from engine.run.build import dates
from engine.run.evaluation import deployed
from engine.run.lookahead import Pipeline, standard
from engine.settings import Settings


def pipeline_of(settings: Settings, bars: Bars, checkpoint: Path | None) -> Pipeline:
    """Return the agent's pipeline, or that of `backtest.strategy` without a checkpoint.

    The scaler of a checkpoint is frozen; the features and the scaler that a training with these
    settings would fit are checked all the same, by refitting on training dates.
    """
    cash, symbols = settings.backtest.cash, len(bars.symbols)
    if checkpoint is None:
        trader = baseline_trader(settings, settings.backtest.strategy, bars, 0.02)
        return standard(trader.spec, trader.policy, None, 0, cash, symbols)
    spec, policy = deployed(settings, checkpoint, symbols)
    first, last = dates(bars, settings, "train")
    fit = fit_on(spec.features, first, last, spec.scaler.clip)
    fitted = settings.observation.scaler != "none"
    return standard(spec, policy, fit if fitted else None, last, cash, symbols)


def fit_on(
    features: FeatureSet, first: int, last: int, clip: float
) -> Callable[[np.ndarray, np.ndarray], Scaler]:
    """Return the fit of the scaler on the bars `first` to `last` of whatever rows it is given."""

    def fit(rows: np.ndarray, ready: np.ndarray) -> Scaler:
        inside = np.zeros_like(ready)
        inside[first : last + 1] = ready[first : last + 1]
        if not inside.any():
            return Scaler.none(len(features), clip)
        return Scaler.fit(rows, inside, clip)

    return fit
