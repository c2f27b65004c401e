"""Every feature on a window small enough to work out by hand."""

from math import log, sqrt

import numpy as np
import pytest

from engine.bars import CLOSE, HIGH, LOW, OPEN, VOLUME
from engine.feature_functions import DAY, FEATURES
from engine.features import FeatureSet


def value_of(name: str, **fields: list[float]) -> float:
    """Compute one feature; fields not given are 100 (prices) or 1,000 (volume), without range."""
    length = max(len(values) for values in fields.values())
    window = np.full((6, length), 100.0)
    window[VOLUME] = 1000.0
    window[DAY] = np.arange(length)
    places = {"open": OPEN, "high": HIGH, "low": LOW, "close": CLOSE, "volume": VOLUME, "day": DAY}
    for field, values in fields.items():
        window[places[field]] = values
    return float(FeatureSet([name]).compute(window)[0])


def days(*dates: str) -> list[float]:
    return [float(np.datetime64(date).astype(int)) for date in dates]


# macd(1,2,2): the fast average is the close; the slow one weighs the last close with
# w = 1 / (1 + 1/3 + ... + 1/243) = 243/364. Six flat bars at 100, then 110: in units of the last
# close the jump is 1/11, the line is (1 - w)/11 after no line at all, and its signal is w times it.
BY_HAND = [
    ("log_return", {"close": [110, 99]}, log(0.9)),
    ("overnight_gap", {"close": [110, 120], "open": [1, 104.5]}, log(0.95)),
    ("high_low_range", {"high": [110], "low": [100]}, log(1.1)),
    ("close_location", {"high": [110], "low": [100], "close": [107.5]}, 0.5),
    ("sma_ratio(3)", {"close": [90, 100, 110]}, 0.1),
    ("sma_ratio(1)", {"close": [90]}, 0.0),
    ("momentum(2)", {"close": [100, 7, 121]}, log(1.21)),
    ("momentum(3,1)", {"close": [100, 7, 121, 7]}, log(1.21)),
    ("realised_vol(2)", {"close": [100, 50, 200]}, log(2) * sqrt(5 / 2)),
    ("rsi(4)", {"close": [10, 13, 12, 12, 16]}, 7 / 8),
    ("macd(1,2,2)", {"close": [100] * 10 + [110]}, (121 / 364) ** 2 / 11),
    ("bollinger(4)", {"close": [98, 98, 102, 102]}, 0.5),
    ("drawdown(3)", {"high": [110, 120, 115], "close": [100, 100, 108]}, -0.1),
    ("volume_z(4)", {"volume": [1, 1, 3, 3]}, 1.0),
    ("volume_ratio(4)", {"volume": [1, 1, 3, 3]}, 0.5),
    ("volume_change", {"volume": [100, 300]}, 0.5),
    ("day_of_week", {"day": days("2024-01-01")}, -1.0),
    ("day_of_week", {"day": days("2024-01-03")}, 0.0),
    ("day_of_week", {"day": days("2024-01-05")}, 1.0),
    ("day_of_week", {"day": days("2024-01-06")}, 1.5),
    ("day_of_week", {"day": days("1969-12-29")}, -1.0),
    ("month_start", {"day": days("2024-01-31", "2024-02-01")}, 1.0),
    ("month_start", {"day": days("2024-02-01", "2024-02-02")}, 0.0),
    ("month_start", {"day": days("2020-01-31", "2021-01-04")}, 1.0),
    ("month_start", {"day": days("1969-11-28", "1969-12-01")}, 1.0),
]


@pytest.mark.parametrize(("name", "fields", "expected"), BY_HAND)
def test_feature_has_the_value_worked_out_by_hand(name, fields, expected):
    assert value_of(name, **fields) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_every_registered_feature_is_worked_out_by_hand():
    assert {name.partition("(")[0] for name, _, _ in BY_HAND} == set(FEATURES)


NOTHING_HAPPENED = {"close_location": 0.0, "volume_change": 0.0, "rsi": 0.5}


@pytest.mark.parametrize("name", sorted(set(FEATURES) - {"day_of_week", "month_start"}))
@pytest.mark.parametrize("volume", [0.0, 1234.5])
def test_bars_in_which_nothing_happens_give_nothing(name, volume):
    still = value_of(name, close=[100.0] * 300, volume=[volume] * 300)
    assert still == pytest.approx(NOTHING_HAPPENED.get(name, 0.0), abs=1e-15)


def test_volume_that_stops_is_the_smallest_ratio():
    assert value_of("volume_ratio(2)", volume=[500, 0]) == -1.0
    assert value_of("volume_change", volume=[500, 0]) == -1.0


def test_rsi_stays_within_its_bounds_when_every_bar_rises_or_falls():
    assert value_of("rsi(5)", close=[1, 2, 3, 5, 8, 13]) == 1.0
    assert value_of("rsi(5)", close=[13, 8, 5, 3, 2, 1]) == 0.0
