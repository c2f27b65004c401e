"""What a split or a dividend does to the bars before it, and what it does not touch."""

from dataclasses import replace
from math import log

import numpy as np
import pytest

from engine.bars import CLOSE, HIGH, VOLUME, Bars
from engine.errors import DataError
from engine.feature_functions import FEATURES
from engine.feature_stream import FeatureStream
from engine.feature_windows import PRICE_FACTOR, adjust, series_of
from engine.features import FeatureSet
from tests.markets import made_up


def market(closes: list[float | None], **events: dict[int, float]) -> Bars:
    """One symbol, bars without range, volume 100; None = did not trade."""
    ohlcv = np.full((len(closes), 1, 5), np.nan)
    for row, close in enumerate(closes):
        if close is not None:
            ohlcv[row, 0] = [close, close, close, close, 100.0]
    split, dividend = np.ones((len(closes), 1)), np.zeros((len(closes), 1))
    for row, ratio in events.get("split", {}).items():
        split[row, 0] = ratio
    for row, dollars in events.get("dividend", {}).items():
        dividend[row, 0] = dollars
    return Bars(
        sessions=np.busday_offset("2020-01-06", np.arange(len(closes))),
        symbols=("XYZ",),
        ohlcv=ohlcv,
        traded=~np.isnan(ohlcv[:, :, 0]),
        split=split,
        dividend=dividend,
        ended=np.array(["NaT"], dtype="datetime64[D]"),
    )


def last_return(bars: Bars) -> float:
    return float(FeatureSet(["log_return"]).history(bars)[0][-1, 0, 0])


def test_two_for_one_split_alone_is_no_return():
    assert last_return(market([100, 50], split={1: 2.0})) == 0.0


def test_price_that_falls_by_the_dividend_is_no_return():
    assert last_return(market([100, 99], dividend={1: 1.0})) == pytest.approx(0.0, abs=1e-15)


def test_dividend_with_a_split_is_counted_in_new_shares():
    # 100 becomes 2 x 50; each new share pays 1 and falls to 49.
    bars = market([100, 49], split={1: 2.0}, dividend={1: 1.0})
    assert last_return(bars) == pytest.approx(0.0, abs=1e-15)


def test_events_of_sessions_without_a_bar_belong_to_the_next_bar():
    # 1 dollar a share is 50 cents a share after the split: 100 -> 50 - 0.5 = 49.5.
    bars = market([100, None, None, 99], dividend={1: 1.0}, split={2: 2.0})
    assert last_return(bars) == pytest.approx(log(99 / 49.5), rel=1e-12)


def test_events_on_and_before_the_next_bar_are_joined():
    # 100 -> /2 = 50; pays 1 -> after the next split /5 = 0.2; 10 - 0.2 - 0.3 = 9.5.
    bars = market([100, None, 19], split={1: 2.0, 2: 5.0}, dividend={1: 1.0, 2: 0.3})
    assert last_return(bars) == pytest.approx(log(19 / 9.5), rel=1e-12)


def test_split_multiplies_earlier_volume_and_a_dividend_does_not():
    windows = adjust(
        series_of(market([100, 50, 49], split={1: 2.0}, dividend={2: 1.0}), 0).stored[None]
    )
    assert windows[0, VOLUME].tolist() == [200.0, 100.0, 100.0]
    assert windows[0, CLOSE] == pytest.approx([49.0, 49.0, 49.0])
    assert windows[0, HIGH] == pytest.approx([49.0, 49.0, 49.0])


def test_window_without_events_is_the_raw_data_untouched():
    series = series_of(made_up(9, symbols=1, events=0.0), 0)
    assert adjust(series.stored[None]).tobytes() == series.stored[None, :6].tobytes()


def test_event_on_the_first_bar_of_a_window_leaves_it_untouched():
    series = series_of(market([100, 50, 51], split={1: 2.0}), 0)
    window = series.stored[None, :, 1:]
    assert window[0, PRICE_FACTOR, 0] == 0.5
    assert adjust(window)[0].tobytes() == np.ascontiguousarray(window[0, :6]).tobytes()


@pytest.mark.parametrize("ratio", [2.0, 3.0, 0.1])
def test_raw_prices_with_a_split_give_the_features_of_the_adjusted_series(ratio):
    adjusted = made_up(10, sessions=600, symbols=1, events=0.0)
    ohlcv, split = adjusted.ohlcv.copy(), adjusted.split.copy()
    ohlcv[:300, 0, :VOLUME] *= ratio  # before the split a share was `ratio` new ones
    ohlcv[:300, 0, VOLUME] /= ratio
    split[300] = ratio
    features = FeatureSet(tuple(FEATURES))
    expected, ready = features.history(adjusted)
    found, also = features.history(replace(adjusted, ohlcv=ohlcv, split=split))
    assert (ready == also).all()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dollars", [100.0, 250.0])
def test_dividend_that_leaves_nothing_is_refused_by_history_and_stream(dollars):
    bars = market([100, 50, 51], dividend={1: dollars})
    features = FeatureSet(["log_return"])
    with pytest.raises(DataError, match="XYZ: the dividend at 2020-01-07"):
        features.history(bars)
    stream = FeatureStream(features, 1, bars.symbols)
    stream.push(bars.sessions[0], bars.ohlcv[0], bars.traded[0], bars.split[0], bars.dividend[0])
    with pytest.raises(DataError, match="XYZ: the dividend at 2020-01-07"):
        stream.push(
            bars.sessions[1], bars.ohlcv[1], bars.traded[1], bars.split[1], bars.dividend[1]
        )
