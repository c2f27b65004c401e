"""What the agent sees: scaled market part, book part in sleeves, and the layout both sides agree on."""

import json
import subprocess
import sys
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from engine.book import Book
from engine.errors import CheckpointError, DataError, SettingsError
from engine.features import FeatureSet
from engine.observation import BOOK_INPUTS, LIMIT, Layout, Scaler, book_part, market_part
from tests.markets import made_up

INPUTS = tuple(BOOK_INPUTS)


def fitted(clip: float = 5.0) -> Scaler:
    """Column 0 is 1, 3, 5 (mean 3, deviation sqrt(8/3)); column 1 never moves."""
    features = np.array([[[1.0, 7.0]], [[np.nan, np.nan]], [[3.0, 7.0]], [[5.0, 7.0]]])
    return Scaler.fit(features, np.array([[True], [False], [True], [True]]), clip)


def test_scaler_is_fitted_on_ready_rows_only():
    scaler = fitted()
    assert scaler.mean.tolist() == [3.0, 7.0]
    assert scaler.scale == pytest.approx([sqrt(8 / 3), 1.0])


def test_feature_that_never_moved_in_training_is_centred_and_left_unscaled():
    assert fitted().apply(np.array([3.0, 7.5])).tolist() == [0.0, 0.5]


def test_constant_that_float64_cannot_hold_counts_as_constant():
    scaler = Scaler.fit(np.full((1001, 1), 0.1), np.ones(1001, dtype=bool))
    assert scaler.scale.tolist() == [1.0]


def test_scaled_values_are_cut_and_cast_once():
    found = fitted(clip=2.0).apply(np.array([[100.0, 7.0], [-100.0, 1e300]]))
    assert found.dtype == np.float32
    assert found.tolist() == [[2.0, 0.0], [-2.0, 2.0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scaler_refuses_to_be_fitted_on_rows_that_are_not_finite(bad):
    features = np.array([[1.0, 2.0], [bad, 2.0], [3.0, 2.0]])
    with pytest.raises(DataError, match="input 0 of row 1"):
        Scaler.fit(features, np.ones(3, dtype=bool))


@pytest.mark.parametrize("rows", [0, 1])
def test_scaler_refuses_fewer_than_two_rows(rows):
    with pytest.raises(DataError, match=f"at least 2 rows .* found {rows}"):
        Scaler.fit(np.ones((3, 2)), np.arange(3) < rows)


def test_scaler_fitted_on_train_does_not_change_when_test_bars_are_appended():
    bars, features = made_up(30, sessions=300), FeatureSet(["log_return", "volume_z(20)"])
    short = Scaler.fit(*features.history(bars.between(None, bars.sessions[199])))
    rows, ready = features.history(bars)
    whole = Scaler.fit(rows[:200], ready[:200])
    assert short.mean.tobytes() == whole.mean.tobytes()
    assert short.scale.tobytes() == whole.scale.tobytes()


numbers = st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    arrays(np.float64, 4, elements=numbers),
    arrays(np.float64, 4, elements=st.floats(1e-300, 1e300)),
)
def test_scaler_comes_back_from_json_bit_for_bit(mean, scale):
    scaler = Scaler(mean, scale, 4.7)
    found = Scaler.from_dict(json.loads(json.dumps(scaler.as_dict())))
    assert found.mean.tobytes() == mean.tobytes()
    assert found.scale.tobytes() == scale.tobytes()
    assert found.clip == 4.7


@pytest.mark.parametrize(
    "damage",
    [
        {"mean": [0.0]},
        {"mean": "x"},
        {"mean": [0.0, float("nan")]},
        {"scale": [1.0, 0.0]},
        {"scale": [1.0, -1.0]},
        {"clip": 0.0},
        {"clip": None},
    ],
)
def test_damaged_scaler_is_refused(damage):
    with pytest.raises(CheckpointError, match="scaler: expected"):
        Scaler.from_dict({**fitted().as_dict(), **damage})


def test_scaler_without_a_part_is_refused():
    with pytest.raises(CheckpointError, match="scaler: expected"):
        Scaler.from_dict({"mean": [0.0], "clip": 5.0})


def test_rows_without_features_become_zeros_in_the_market_part():
    found = market_part(np.array([[np.nan, np.nan], [3.0, 7.5]]), fitted())
    assert found.dtype == np.float32
    assert found.tolist() == [[0.0, 0.0], [0.0, 0.5]]


def test_market_part_without_a_scaler_is_cut_at_the_limit():
    assert market_part(np.array([-11.0, 0.25, np.nan]), None).tolist() == [-LIMIT, 0.25, 0.0]


def test_market_part_of_one_row_has_the_bits_of_the_row_in_a_history():
    rows = np.random.default_rng(0).normal(size=(1000, 4, 7))
    scaler = Scaler.fit(rows, np.ones((1000, 4), dtype=bool))
    whole = market_part(rows, scaler)
    for t in (0, 1, 500, 999):
        assert market_part(rows[t].copy(), scaler).tobytes() == whole[t].tobytes()


def book(cash, qty, basis, mark, since) -> Book:
    return Book(
        cash=np.array(cash, dtype=np.float64),
        qty=np.array(qty, dtype=np.float64),
        basis=np.array(basis, dtype=np.float64),
        mark=np.array(mark, dtype=np.float64),
        since=np.array(since),
        fees=np.zeros(len(cash)),
    )


def test_book_part_is_what_is_held_in_sleeves():
    # Equity 500 + 10 x 60 - 5 x 20 = 1,000; two sleeves of 500.
    held = book([500], [[10, -5]], [[50, 25]], [[60, 20]], [[5, 0]])
    found = book_part(held, np.full((1, 2), 500.0), INPUTS)
    assert found.dtype == np.float32
    # position 600/500, shown as full; up 20 %; cash 500/1000; 5 of 20 bars
    assert found[0, 0] == pytest.approx([1.0, 0.2, 0.5, 0.25])
    # short 100/500; sold at 25, now 20: 20 % gained; traded this bar
    assert found[0, 1] == pytest.approx([-0.2, 0.2, 0.5, 0.0])


def test_book_part_of_a_flat_book_that_never_traded():
    flat = book([1000], [[0]], [[0]], [[0]], [[-1]])
    assert book_part(flat, np.full((1, 1), 1000.0), INPUTS).tolist() == [[[0.0, 0.0, 1.0, 1.0]]]


def test_trades_further_back_than_twenty_bars_look_the_same():
    old = book([1000, 1000], [[0], [0]], [[0], [0]], [[10], [10]], [[20], [2000]])
    assert book_part(old, np.full((2, 1), 1000.0), ("bars_since_trade",)).tolist() == [
        [[1.0]],
        [[1.0]],
    ]


def test_ruined_book_gives_finite_inputs():
    ruined = book([-200], [[1]], [[100]], [[50]], [[3]])
    found = book_part(ruined, np.zeros((1, 1)), INPUTS)
    assert found[0, 0] == pytest.approx([0.0, -0.5, 0.0, 0.15])


def test_book_inputs_are_cut_at_the_limit():
    wide = book([1e9], [[1e9]], [[1e-9]], [[1.0]], [[1]])
    found = book_part(wide, np.ones((1, 1)), ("position", "unrealised"))
    assert found.tolist() == [[[1.0, 1.0]]]
    # Owing twice the equity: 1e9 short shares against cash of 1.01e9.
    owing = book([1.01e9], [[-1e9]], [[1.0]], [[1.0]], [[1]])
    assert book_part(owing, np.ones((1, 1)), ("position", "cash")).tolist() == [[[-1.0, LIMIT]]]


def test_book_part_may_be_empty():
    flat = book([1000, 1], [[0] * 3] * 2, [[0] * 3] * 2, [[0] * 3] * 2, [[-1] * 3] * 2)
    found = book_part(flat, np.ones((2, 3)), ())
    assert (found.shape, found.dtype) == ((2, 3, 0), np.float32)


def test_single_symbol_sleeve_and_one_of_four_give_the_same_position():
    alone = book([500], [[5]], [[80]], [[100]], [[2]])
    four = book([3500], [[5, 0, 0, 0]], [[80, 0, 0, 0]], [[100, 1, 1, 1]], [[2, -1, -1, -1]])
    names = ("position", "unrealised", "bars_since_trade")
    found = book_part(four, np.full((1, 4), 1000.0), names)
    assert found[0, 0].tolist() == book_part(alone, np.full((1, 1), 1000.0), names)[0, 0].tolist()


def layout(**changes) -> Layout:
    parts = {"features": ["rsi"], "book": INPUTS, "clip": 5.0, **changes}
    return Layout.of(FeatureSet(parts["features"]), parts["book"], parts["clip"])


def test_layout_fingerprint_tells_every_difference():
    others = [
        layout(),
        layout(features=["rsi(15)"]),
        layout(features=["rsi", "log_return"]),
        layout(book=()),
        layout(book=INPUTS[::-1]),
        layout(clip=4.0),
    ]
    assert len({one.fingerprint() for one in others}) == len(others)
    assert layout().fingerprint() == layout().fingerprint()


def test_layout_fingerprint_is_the_same_in_another_process():
    code = (
        "import sys; from engine.features import FeatureSet; from engine.observation import Layout, "
        "BOOK_INPUTS; l = Layout.of(FeatureSet(['rsi']), tuple(BOOK_INPUTS), 5); "
        "sys.stdout.write(l.fingerprint())"
    )
    for seed in ("1", "2"):
        found = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": "."},
        )
        assert found.stdout == layout().fingerprint()


@pytest.mark.parametrize(
    ("names", "message"),
    [(("positon",), "unknown book input"), (("cash", "cash"), "named 2 times")],
)
def test_book_input_unknown_or_twice_is_refused(names, message):
    with pytest.raises(SettingsError, match=message):
        layout(book=names)
