"""The live windows: primed, saved and restored without a changed bit."""

import numpy as np
import pytest

from engine.bars import Bars
from engine.errors import DataError
from engine.feature_stream import FeatureStream
from engine.features import FeatureSet
from tests.markets import first, made_up

NAMES = ("log_return", "rsi(9)", "realised_vol(30)", "volume_z(5)", "month_start")


def push(stream: FeatureStream, bars: Bars, t: int) -> tuple[np.ndarray, np.ndarray]:
    now = (bars.ohlcv[t], bars.traded[t], bars.split[t], bars.dividend[t])
    return stream.push(bars.sessions[t], *now)


def same(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and left[name].tobytes() == right[name].tobytes()
        for name in left
    )


@pytest.mark.parametrize("sessions", [1, 12, 29, 31, 45, 80, 200])
def test_priming_gives_the_state_of_pushing_every_bar(sessions):
    bars = first(made_up(11, sessions=200, gaps=0.3, events=0.2, late=25), sessions)
    pushed = FeatureStream(FeatureSet(NAMES), 3)
    primed = FeatureStream(FeatureSet(NAMES), 3)
    for t in range(sessions):
        push(pushed, bars, t)
    primed.prime(bars)
    assert same(pushed.state(), primed.state())


def test_restored_stream_goes_on_bit_for_bit():
    bars = made_up(12, sessions=120, gaps=0.3, events=0.2)
    features = FeatureSet(NAMES)
    whole = FeatureStream(features, 3)
    whole.prime(first(bars, 90))
    other = FeatureStream(features, 3)
    other.restore(whole.state())
    for t in range(90, 120):
        assert push(whole, bars, t)[0].tobytes() == push(other, bars, t)[0].tobytes()
    assert same(whole.state(), other.state())


def test_saved_state_is_not_moved_by_later_bars():
    bars = made_up(13, sessions=60)
    stream = FeatureStream(FeatureSet(NAMES), 3)
    stream.prime(first(bars, 50))
    saved = stream.state()
    copy = {name: array.copy() for name, array in saved.items()}
    push(stream, bars, 50)
    assert same(saved, copy)


@pytest.mark.parametrize("again", [49, 20])
def test_session_that_is_not_later_is_refused(again):
    bars = made_up(14, sessions=60)
    stream = FeatureStream(FeatureSet(NAMES), 3)
    stream.prime(first(bars, 50))
    before = stream.state()
    with pytest.raises(DataError, match="is not after"):
        push(stream, bars, again)
    assert same(before, stream.state())


def test_state_of_other_symbols_or_lookbacks_is_refused():
    state = FeatureStream(FeatureSet(NAMES), 3).state()
    with pytest.raises(DataError, match="expected shape"):
        FeatureStream(FeatureSet(NAMES), 4).restore(state)
    with pytest.raises(DataError, match="expected shape"):
        FeatureStream(FeatureSet(["rsi(3)"]), 3).restore(state)


def test_bars_of_other_symbols_are_refused():
    with pytest.raises(DataError, match="4 symbols, found bars of 3"):
        FeatureStream(FeatureSet(NAMES), 4).prime(made_up(15, sessions=20))


def test_one_symbol_gives_the_bits_it_gives_among_many():
    bars = made_up(16, sessions=150, symbols=9, late=3, events=0.1)
    features = FeatureSet(NAMES)
    together, alone = FeatureStream(features, 9), FeatureStream(features, 1)
    for t in range(150):
        row, _ = push(together, bars, t)
        assert row[4].tobytes() == push(alone, bars.select(("S4",)), t)[0][0].tobytes()
