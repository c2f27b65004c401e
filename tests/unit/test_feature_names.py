"""Names in the settings: what they stand for, and what is refused."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from engine.bars import Bars
from engine.errors import DataError, SettingsError
from engine.feature_stream import FeatureStream
from engine.features import FeatureSet
from tests.markets import first, made_up

OWN = """
import numpy as np

def range_ratio(window):
    return window[..., 1, :].max(axis=-1) / window[..., 2, :].min(axis=-1) - 1.0
range_ratio.lookback = 5

def by_default(window, lookback=7):
    assert window.shape[-1] == lookback
    return window[..., 3, -1] / window[..., 3, 0]

def without(window):
    return window[..., 3, -1]

def broken(window):
    out = window[..., 3, -1] / window[..., 3, 0]
    out[window[..., 5, -1] == 11446.0] = np.nan  # 2001-05-04
    return out
broken.lookback = 2

def too_many(window):
    return window[..., 3, :]
too_many.lookback = 2

def meddling(window):
    window[:] = 1.0
    return window[..., 3, -1]
meddling.lookback = 2

def all_at_once(window):
    return np.einsum("nfl,nfl->n", window, window)
all_at_once.lookback = 11

constant = 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_features_of_a_test.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_features_of_a_test"
    sys.modules.pop("own_features_of_a_test", None)


def test_guide_is_five_features_without_a_price_level():
    features = FeatureSet(["preset:guide"])
    assert features.names == (
        "overnight_gap",
        "close_location",
        "log_return",
        "volume_z(20)",
        "sma_ratio(150)",
    )
    assert features.lookback == 150


def test_numbers_left_out_are_defaults_and_become_part_of_the_name():
    features = FeatureSet(["rsi", "momentum(252, 21)", "macd", " sma_ratio( 20 ) "])
    assert features.names == ("rsi(14)", "momentum(252,21)", "macd(12,26,9)", "sma_ratio(20)")
    assert features.lookbacks == (15, 253, 104, 20)


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (["sma_ration(20)"], 'did you mean "sma_ratio"'),
        (["zzz"], "known: log_return"),
        (["preset:guid"], 'did you mean "guide"'),
        (["rsi(14"], "expected a name"),
        (["rsi(x)"], "whole numbers"),
        (["rsi(1.5)"], "whole numbers"),
        (["rsi(-3)"], "whole numbers"),
        (["rsi(1,2)"], "at most 1 numbers, found 2"),
        (["log_return(2)"], "at most 0 numbers"),
        (["rsi(0)"], "at least 1 bar"),
        (["macd(0,5,3)"], "at least 1 bar"),
        (["macd(26,12,9)"], "must be below"),
        (["macd(12,26,0)"], "at least 2 bars"),
        (["momentum(21,21)"], "must be below"),
        (["bollinger(1)"], "at least 2 bars"),
        (["volume_z(1)"], "at least 2 bars"),
        ([""], "expected a name"),
        ([], "at least one name"),
        (["rsi(14)", "rsi"], "named 2 times"),
        (["preset:guide", "log_return"], "named 2 times"),
        (["no_such_module_here:f(3)"], "no module no_such_module_here"),
        (["math:no_such_function"], 'no function "no_such_function"'),
        (["math:"], "has no function"),
        ([":f"], "has no function"),
    ],
)
def test_name_that_means_nothing_is_refused_with_a_remedy(specs, message):
    with pytest.raises(SettingsError, match=message.replace("(", r"\(")):
        FeatureSet(specs)


def test_own_function_takes_its_lookback_from_attribute_default_or_brackets(own):
    features = FeatureSet(
        [f"{own}:range_ratio", f"{own}:range_ratio(9)", f"{own}:by_default", f"{own}:by_default(3)"]
    )
    assert features.lookbacks == (5, 9, 7, 3)
    assert features.names[1] == f"{own}:range_ratio(9)"
    found, ready = features.history(made_up(17, sessions=60))
    assert np.isfinite(found[ready]).all()
    assert FeatureSet([f"{own}:without(4)"]).lookback == 4


def test_own_function_without_a_lookback_is_refused(own):
    with pytest.raises(SettingsError, match="lookback"):
        FeatureSet([f"{own}:without"])
    with pytest.raises(SettingsError, match="lookback"):
        FeatureSet([f"{own}:without(0)"])
    with pytest.raises(SettingsError, match="not a function"):
        FeatureSet([f"{own}:constant(3)"])


def test_own_function_that_returns_nan_is_named_with_symbol_and_session(own):
    bars = made_up(18, sessions=60, gaps=0.0, late=0)
    features = FeatureSet(["log_return", f"{own}:broken"])
    expected = (
        rf"feature {own}:broken\(2\) of S0 at 2001-05-04: expected a finite number, found nan"
    )
    with pytest.raises(DataError, match=expected):
        features.history(bars)
    stream = FeatureStream(features, 3, bars.symbols)
    t = bars.index_of(np.datetime64("2001-05-04"))
    stream.prime(first(bars, t))
    with pytest.raises(DataError, match=expected):
        stream.push(
            bars.sessions[t], bars.ohlcv[t], bars.traded[t], bars.split[t], bars.dividend[t]
        )


def test_own_function_that_returns_the_wrong_shape_is_refused(own):
    with pytest.raises(DataError, match="expected shape"):
        FeatureSet([f"{own}:too_many"]).history(made_up(19, sessions=20))


def test_own_function_cannot_change_the_window_of_the_next_feature(own):
    with pytest.raises(ValueError, match="read-only"):
        FeatureSet([f"{own}:meddling"]).history(made_up(19, sessions=20))


def test_own_function_may_reduce_whole_windows_and_gives_the_bits_of_a_history_live(own):
    bars = made_up(20, sessions=90)
    features = FeatureSet([f"{own}:all_at_once", "sma_ratio(40)"])
    assert live(features, bars).tobytes() == features.history(bars)[0].tobytes()
    # Without the copy it is promised, the same function sums in another order.
    features.features = tuple(replace(feature, packed=False) for feature in features.features)
    assert live(features, bars).tobytes() != features.history(bars)[0].tobytes()


def live(features: FeatureSet, bars: Bars) -> np.ndarray:
    stream = FeatureStream(features, len(bars.symbols))
    rows = zip(bars.sessions, bars.ohlcv, bars.traded, bars.split, bars.dividend, strict=True)
    return np.stack([stream.push(*row)[0] for row in rows])


def test_window_shorter_than_the_lookback_is_refused():
    with pytest.raises(DataError, match="at least 15"):
        FeatureSet(["rsi(14)"]).compute(np.ones((6, 14)))


def test_compute_keeps_the_outer_shape_of_its_windows():
    features = FeatureSet(["rsi(3)", "log_return"])
    assert features.compute(np.ones((2, 5, 6, 8))).shape == (2, 5, 2)
    assert features.compute(np.ones((6, 4))).shape == (2,)
    assert features.compute(np.ones((0, 6, 4))).shape == (0, 2)


def test_fingerprint_differs_by_name_length_and_order():
    prints = {
        FeatureSet(specs).fingerprint
        for specs in (["rsi"], ["rsi(15)"], ["rsi", "log_return"], ["log_return", "rsi"])
    }
    assert len(prints) == 4
    assert FeatureSet(["rsi"]).fingerprint == FeatureSet(["rsi(14)"]).fingerprint


def test_fingerprint_is_the_same_in_another_process():
    code = "from engine.features import FeatureSet as S; import sys; sys.stdout.write(S(['rsi']).fingerprint)"
    for seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": "."},
        )
        assert found.stdout == FeatureSet(["rsi"]).fingerprint
