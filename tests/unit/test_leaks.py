"""The planted leaks leak, and the clean features do not: otherwise a look-ahead check proves nothing."""

from dataclasses import replace

import numpy as np
import pytest

from engine.features import FeatureSet
from tests.leaks import CLEAN, LEAKS, scaled_on_train
from tests.markets import first, made_up

ROW = 280


def moved(function, bars, other, row: int = ROW) -> bool:
    features, ready = function(bars)
    found, also = function(other)
    rows = slice(0, row + 1)
    return (
        found[rows].tobytes() != features[rows].tobytes()
        or also[rows].tobytes() != ready[rows].tobytes()
    )


def futures(bars, row: int = ROW):
    """Return the same past with no future, another future, and a split to come."""
    ohlcv, split = bars.ohlcv.copy(), bars.split.copy()
    ohlcv[row + 1 :] *= np.linspace(1.1, 2.0, len(ohlcv) - row - 1)[:, None, None]
    split[row + 10] *= 2.0
    return [first(bars, row + 1), replace(bars, ohlcv=ohlcv), replace(bars, split=split)]


@pytest.mark.parametrize("name", LEAKS)
def test_planted_leak_moves_the_past_when_the_future_changes(name):
    bars = made_up(20, sessions=320, events=0.0)
    # K3 shows only where a symbol has no row, so the cut goes to a session in which one did not trade.
    row = int(np.flatnonzero(~bars.traded[:ROW].all(axis=1))[-1])
    assert any(moved(LEAKS[name], bars, other, row) for other in futures(bars, row))


@pytest.mark.parametrize("name", LEAKS)
def test_planted_leak_has_the_shape_of_a_history(name):
    bars = made_up(21, sessions=320)
    features, ready = LEAKS[name](bars)
    assert features.shape[:2] == ready.shape == bars.traded.shape
    assert np.isfinite(features[ready]).all()
    assert np.isnan(features[~ready]).all()


@pytest.mark.parametrize("name", CLEAN)
def test_clean_feature_does_not_move(name):
    bars = made_up(22, sessions=320)
    assert not any(moved(FeatureSet([name]).history, bars, other) for other in futures(bars))


def test_scaler_fitted_on_train_does_not_move():
    bars = made_up(23, sessions=320)

    def honest(given):
        return scaled_on_train(given, bars.sessions[200])

    assert not any(moved(honest, bars, other) for other in futures(bars))


def test_clean_features_are_twenty_with_lookbacks_from_1_to_250():
    lookbacks = FeatureSet(CLEAN).lookbacks
    assert len(set(CLEAN)) == 20
    assert (min(lookbacks), max(lookbacks)) == (1, 250)
