"""Features that compare the symbols of a session: what they are, who counts, and nobody's future."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bars import Bars
from engine.errors import SettingsError
from engine.feature_across import ACROSS, rank
from engine.features import FeatureSet
from tests.markets import KINDS, first, made_up, require_live_equals_history, scaled

NAMES = tuple(f"{how}({base})" for how in ACROSS for base in ("momentum(3)", "volume_ratio(4)"))

markets = st.builds(
    made_up,
    seed=st.integers(0, 2**32 - 1),
    sessions=st.integers(12, 40),
    symbols=st.integers(1, 12),
    kind=st.sampled_from(KINDS),
    gaps=st.sampled_from([0.0, 0.1, 0.5]),
    events=st.sampled_from([0.0, 0.3]),
    late=st.integers(0, 10),
)


def of(how: str, *values: float) -> list[float]:
    """What one of them makes of these values; NaN = not ready."""
    row = np.array(values)
    ready = ~np.isnan(row)
    found = ACROSS[how](row, ready)
    return [float(x) for x in found[ready]]


def test_each_by_hand() -> None:
    # 1, 5, 3: mean 3, deviations -2, 2, 0, variance 8/3; places 0, 2, 1 of 2 become -1, 1, 0.
    assert of("rank", 1.0, 5.0, 3.0) == [-1.0, 1.0, 0.0]
    assert of("market", 1.0, 5.0, 3.0) == [3.0, 3.0, 3.0]
    assert of("excess", 1.0, 5.0, 3.0) == [-2.0, 2.0, 0.0]
    assert of("spread", 1.0, 5.0, 3.0) == pytest.approx([(8 / 3) ** 0.5] * 3)


def test_ties_share_a_place_and_who_is_not_ready_counts_for_nobody() -> None:
    # 2, 2, 7, 9: places 0.5, 0.5, 2, 3 of 3 become 2 * place / 3 - 1.
    assert of("rank", 2.0, np.nan, 2.0, 7.0, 9.0) == pytest.approx([-2 / 3, -2 / 3, 1 / 3, 1.0])
    assert of("rank", 4.0, 4.0, np.nan) == [0.0, 0.0]
    assert of("market", 2.0, np.nan, 4.0) == [3.0, 3.0]
    assert of("spread", np.nan, 2.0, 4.0) == [1.0, 1.0]


def test_alone_there_is_nobody_to_differ_from() -> None:
    assert [of(how, 5.0, np.nan) for how in ACROSS] == [[0.0], [5.0], [0.0], [0.0]]


def test_rank_is_that_of_pandas() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, (200, 9)).astype(float)
    ready = rng.random(values.shape) < 0.7
    places = pd.DataFrame(np.where(ready, values, np.nan)).rank(axis=1, method="average") - 1.0
    others = np.maximum(ready.sum(axis=1, keepdims=True) - 1, 1)
    expected = np.where(ready.sum(axis=1, keepdims=True) > 1, 2 * places / others - 1, 0.0)
    assert np.allclose(rank(values, ready)[ready], expected[ready], atol=1e-15)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(markets, st.integers(0, 30))
def test_live_rows_are_those_of_the_history_bit_for_bit(bars: Bars, primed: int) -> None:
    require_live_equals_history(FeatureSet(NAMES), bars, primed)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(markets, st.integers(5, 39))
def test_no_session_reads_a_later_one(bars: Bars, kept: int) -> None:
    kept = min(kept, len(bars.sessions))
    features = FeatureSet(NAMES)
    assert features.history(first(bars, kept))[0].tobytes() == (
        features.history(bars)[0][:kept].tobytes()
    )


def test_what_is_compared_is_the_feature_itself_and_has_no_unit() -> None:
    bars = made_up(1, sessions=60, symbols=5, late=0, gaps=0.1)
    plain, ready = FeatureSet(("momentum(3)",)).history(bars)
    found, same = FeatureSet(("excess(momentum(3))", "market(momentum(3))")).history(bars)
    assert (ready == same).all()
    assert found.sum(axis=-1)[ready] == pytest.approx(plain[..., 0][ready])
    other, _ = FeatureSet(NAMES).history(scaled(bars, 2, 7.0))
    assert np.allclose(other, FeatureSet(NAMES).history(bars)[0], atol=1e-9, equal_nan=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rank", "one feature of one symbol"),
        ("rank(14)", "one feature of one symbol"),
        ("rank()", "one feature of one symbol"),
        ("rank(excess(rsi(14)))", "one feature of one symbol"),
        ("rank(momentun(20))", 'did you mean "momentum"'),
        ("rank(rsi(14)", "for example"),
        ("rank(preset:guide)", "one feature of one symbol"),
    ],
)
def test_names_that_mean_nothing_are_refused(name: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said.replace("(", r"\(")):
        FeatureSet((name,))


def test_names_are_written_in_one_way() -> None:
    features = FeatureSet((" rank( momentum( 20 ) )", "market(realised_vol)", "momentum(20)"))
    assert features.names == ("rank(momentum(20))", "market(realised_vol(20))", "momentum(20)")
    assert features.lookbacks == (21, 21, 21)
