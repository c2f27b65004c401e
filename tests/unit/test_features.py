"""Three promises of every registered feature: one arithmetic, no future, no unit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import feature_windows
from engine.bars import CLOSE, VOLUME, Bars
from engine.feature_functions import DAY, FEATURES
from engine.feature_stream import FeatureStream
from engine.features import FeatureSet
from tests.markets import KINDS, first, made_up, require_live_equals_history, scaled

SHORT = (
    *("log_return", "overnight_gap", "high_low_range", "close_location", "volume_change"),
    *("day_of_week", "month_start", "sma_ratio(1)", "sma_ratio(9)", "momentum(1)", "momentum(7,2)"),
    *("realised_vol(1)", "realised_vol(8)", "rsi(1)", "rsi(6)", "macd(2,3,2)", "bollinger(2)"),
    *("bollinger(11)", "drawdown(1)", "drawdown(5)", "volume_z(2)", "volume_z(7)"),
    *("volume_ratio(1)", "volume_ratio(4)"),
)
DEFAULTS = tuple(FEATURES)  # every registered feature at its default length
LENGTHS = ("sma_ratio", "momentum", "realised_vol", "rsi", "drawdown", "volume_ratio")
UNITS = (0.003, 7.0, 1e4)

markets = st.builds(
    made_up,
    seed=st.integers(0, 2**32 - 1),
    sessions=st.integers(25, 60),
    symbols=st.integers(1, 3),
    kind=st.sampled_from(KINDS),
    gaps=st.sampled_from([0.0, 0.1, 0.5]),
    events=st.sampled_from([0.0, 0.05, 0.3]),
    late=st.integers(0, 10),
)


def naive_window(bars: Bars, row: int, symbol: int, lookback: int) -> np.ndarray:
    """Adjust one window bar by bar with plain numbers, as DESIGN words it."""
    rows = [t for t in range(row + 1) if bars.traded[t, symbol]]
    raw = [[float(x) for x in bars.ohlcv[t, symbol]] for t in rows]
    for at in range(1, len(rows)):
        ratio, paid = 1.0, 0.0
        for t in range(rows[at - 1] + 1, rows[at] + 1):
            paid = paid / float(bars.split[t, symbol]) + float(bars.dividend[t, symbol])
            ratio *= float(bars.split[t, symbol])
        before = raw[at - 1][CLOSE]
        raw[at] += [(before / ratio - paid) / before if paid else 1.0 / ratio, ratio]
    window = np.empty((6, lookback))
    price = volume = 1.0
    for place in range(lookback - 1, -1, -1):
        at = len(rows) - lookback + place
        window[:VOLUME, place] = [x * price for x in raw[at][:VOLUME]]
        window[VOLUME, place] = raw[at][VOLUME] * volume
        window[DAY, place] = bars.sessions[rows[at]].astype(np.int64)
        if place:
            price, volume = price * raw[at][5], volume * raw[at][6]
    return window


def assert_history_is_compute(bars: Bars, features: FeatureSet, rows: list[int]) -> None:
    found, ready = features.history(bars)
    for row in rows:
        for symbol in range(len(bars.symbols)):
            held = bars.traded[: row + 1, symbol].sum()
            expected = bool(bars.traded[row, symbol] and held >= features.lookback)
            assert ready[row, symbol] == expected
            if expected:
                alone = features.compute(naive_window(bars, row, symbol, features.lookback))
                assert alone.tobytes() == found[row, symbol].tobytes()
            else:
                assert np.isnan(found[row, symbol]).all()


def test_short_list_covers_every_registered_feature():
    assert {name.partition("(")[0] for name in SHORT} == set(FEATURES)


def test_history_equals_single_windows_bit_for_bit_on_a_market_with_everything():
    bars = made_up(1, sessions=420)
    assert_history_is_compute(bars, FeatureSet(DEFAULTS), list(range(0, 420, 3)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(markets)
def test_history_equals_single_windows_bit_for_bit_on_any_market(bars):
    assert_history_is_compute(
        bars, FeatureSet(SHORT), [0, 7, 18, 19, 20, 23, len(bars.sessions) - 1]
    )


@settings(max_examples=40, deadline=None, derandomize=True)
@given(markets, st.integers(0, 30))
def test_stream_equals_history_bit_for_bit_on_any_market(bars, primed):
    require_live_equals_history(FeatureSet(SHORT), bars, primed)


def test_stream_equals_history_bit_for_bit_as_rare_events_come_and_go():
    bars = made_up(5, sessions=700, symbols=5, gaps=0.02, events=0.002)
    rare = np.flatnonzero(((bars.split != 1.0) | (bars.dividend != 0.0)).any(axis=1))
    assert np.diff(rare).max() > 200 > np.diff(rare).min()  # windows with events, and long without
    features = FeatureSet(SHORT)
    found, _ = features.history(bars)
    stream = FeatureStream(features, 5)
    for t in range(700):
        now = (bars.ohlcv[t], bars.traded[t], bars.split[t], bars.dividend[t])
        assert stream.push(bars.sessions[t], *now)[0].tobytes() == found[t].tobytes()


@pytest.mark.parametrize("shortest", range(2, 253, 25))
def test_every_lookback_gives_one_window_the_bits_of_thousands(shortest):
    bars = made_up(2, sessions=330, symbols=2, late=0)
    for length in range(shortest, min(shortest + 25, 253)):
        names = [f"{name}({length})" for name in (*LENGTHS, "bollinger", "volume_z")]
        features = FeatureSet(names)
        found, _ = features.history(bars)
        for row, symbol in ((-1, 0), (-1, 1), (-30, 0)):
            row = int(np.flatnonzero(bars.traded[: len(bars.sessions) + row + 1, symbol])[-1])
            window = naive_window(bars, row, symbol, features.lookback)
            for batch in (1, 2, 7, 1000):
                many = features.compute(np.broadcast_to(window, (batch, *window.shape)))
                assert many[0].tobytes() == found[row, symbol].tobytes()
                assert many[-1].tobytes() == found[row, symbol].tobytes()


def test_window_longer_than_needed_or_not_contiguous_gives_the_same_bits():
    bars = made_up(3, sessions=400, symbols=1, late=0)
    features = FeatureSet(DEFAULTS)
    row = int(np.flatnonzero(bars.traded[:, 0])[-1])
    window = naive_window(bars, row, 0, features.lookback + 40)
    expected = features.compute(naive_window(bars, row, 0, features.lookback)).tobytes()
    assert features.compute(window).tobytes() == expected
    assert features.compute(np.asfortranarray(window)).tobytes() == expected


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.sampled_from([8, 16, 40]),
    before=st.integers(0, 70),
    behind=st.integers(0, 70),
    fields_between=st.integers(0, 3),
)
def test_view_of_a_longer_store_gives_every_feature_the_bits_of_a_copy(
    seed, rows, before, behind, fields_between
):
    lookback = FeatureSet(DEFAULTS).lookback
    bars = made_up(seed, sessions=300, symbols=2, gaps=0.0, late=0)
    whole = np.stack([naive_window(bars, 299 - row, row % 2, lookback) for row in range(8)])
    whole = np.concatenate([whole] * (rows // 8))
    store = np.full((rows, 6 + fields_between, before + lookback + behind), np.nan)
    view = store[:, :6, before : before + lookback]
    view[...] = whole
    for feature in (*FeatureSet(SHORT).features, *FeatureSet(DEFAULTS).features):
        windows = view[:, :, lookback - feature.lookback :]
        expected = feature.function(np.ascontiguousarray(windows))
        assert feature.function(windows).tobytes() == expected.tobytes(), feature.name


def test_history_does_not_depend_on_the_size_of_its_chunks(monkeypatch):
    bars, features = made_up(4, sessions=500), FeatureSet(DEFAULTS)
    expected = features.history(bars)[0].tobytes()
    monkeypatch.setattr(feature_windows, "CHUNK_NUMBERS", 1)
    assert features.history(bars)[0].tobytes() == expected


@pytest.mark.parametrize("start", [1, 20, 127, 254, 300])
def test_history_that_starts_later_gives_the_same_rows_once_ready(start):
    bars, features = made_up(5, sessions=800), FeatureSet(DEFAULTS)
    whole, _ = features.history(bars)
    later, ready = features.history(bars.between(bars.sessions[start], None))
    assert ready.any(axis=0).all()
    assert later[ready].tobytes() == whole[start:][ready].tobytes()


def changed_futures(bars: Bars, row: int) -> dict[str, Bars]:
    """Return the market with everything after `row` cut, moved, shuffled, or split."""
    after = slice(row + 1, None)
    wild, mixed, events = bars.ohlcv.copy(), bars.ohlcv.copy(), bars.split.copy()
    wild[after] *= 1000.0
    mixed[after] = mixed[after][::-1]
    traded = bars.traded.copy()
    traded[after] = traded[after][::-1]
    events[after] *= 4.0
    paid = bars.dividend.copy()
    paid[after] = 0.01 * np.nan_to_num(bars.ohlcv[after, :, CLOSE])
    return {
        "cut": first(bars, row + 1),
        "x1000": replace(bars, ohlcv=wild, dividend=np.zeros_like(paid)),
        "reversed": replace(bars, ohlcv=mixed, traded=traded, dividend=np.zeros_like(paid)),
        "split": replace(bars, split=events, dividend=np.zeros_like(paid)),
        "paid": replace(bars, dividend=paid),
    }


def assert_future_is_not_seen(bars: Bars, features: FeatureSet, row: int) -> None:
    # Dividends of the past stay; those of the future are dropped where prices move below them.
    expected, ready = (part[: row + 1] for part in features.history(bars))
    for name, other in changed_futures(bars, row).items():
        past = replace(other, dividend=other.dividend.copy())
        past.dividend[: row + 1] = bars.dividend[: row + 1]
        found, also = (part[: row + 1] for part in features.history(past))
        assert found.tobytes() == expected.tobytes(), name
        assert (also == ready).all()


@pytest.mark.parametrize("row", [0, 260, 333, 450, 498])
def test_changed_future_moves_no_earlier_row_of_any_feature(row):
    assert_future_is_not_seen(made_up(6, sessions=500), FeatureSet(DEFAULTS), row)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(markets, st.integers(0, 23))
def test_changed_future_moves_no_earlier_row_on_any_market(bars, row):
    assert_future_is_not_seen(bars, FeatureSet(SHORT), row)


def assert_unit_is_not_seen(bars: Bars, features: FeatureSet, factor: float) -> None:
    expected, ready = features.history(bars)
    for symbol in range(len(bars.symbols)):
        found, also = features.history(scaled(bars, symbol, factor))
        assert (also == ready).all()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("factor", UNITS)
@pytest.mark.parametrize("kind", KINDS)
def test_constant_factor_on_prices_moves_no_feature(kind, factor):
    assert_unit_is_not_seen(made_up(7, sessions=420, kind=kind), FeatureSet(DEFAULTS), factor)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(markets, st.floats(1e-3, 1e5))
def test_any_constant_factor_moves_no_feature_on_any_market(bars, factor):
    assert_unit_is_not_seen(bars, FeatureSet(SHORT), factor)


@pytest.mark.parametrize("kind", KINDS)
def test_every_feature_is_finite_on_every_kind_of_market(kind):
    features, ready = FeatureSet((*SHORT, "macd", "momentum")).history(made_up(8, kind=kind))
    assert ready.any()
    assert np.isfinite(features[ready]).all()
