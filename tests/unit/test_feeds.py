"""Another feed than the training's: refused, or allowed by name and measured."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from engine.bars import CLOSE, VOLUME
from engine.checkpoint import TrainedOn, feed_of
from engine.errors import CheckpointError
from engine.features import FeatureSet
from engine.run.paper.feeds import apart, compare, lines, require_feed
from engine.sources import DataSettings, load

FEATURES = FeatureSet(("log_return", "rsi(14)"))
BARS = load(DataSettings()).between(date(2010, 1, 4), date(2010, 12, 31))


def trained(source="sample", **more):
    return TrainedOn(
        digest="d",
        source=source,
        price_basis="raw",
        symbols=("IBM",),
        start=date(2010, 1, 4),
        end=date(2010, 12, 31),
        **more,
    )


@pytest.mark.parametrize(
    ("source", "feed"),
    [
        ("alpaca:iex", "alpaca:iex"),
        ("sample", "sample"),
        ("csv: /data/IBM.csv", "csv"),
        ("parquet: bars", "parquet"),
        ("synthetic gbm, seed 3", "synthetic"),
    ],
)
def test_vendor_and_feed_come_from_the_source_of_the_bars(source, feed):
    assert feed_of(source) == feed
    assert trained(source).feed == feed


def test_a_record_written_before_feeds_were_kept_is_read_and_given_its_feed():
    old = trained("alpaca:iex").model_dump(exclude={"feed"})
    assert "feed" not in old
    assert TrainedOn.model_validate(old) == trained("alpaca:iex")
    assert TrainedOn.model_validate_json(trained().model_dump_json()) == trained()


def test_the_feed_of_the_training_needs_no_leave():
    assert require_feed(trained("alpaca:iex"), "alpaca:iex", None)
    assert require_feed(trained("alpaca:iex"), "alpaca:iex", "alpaca:sip")


def test_another_feed_is_refused_unless_allowed_by_its_name():
    assert not require_feed(trained("alpaca:sip"), "alpaca:iex", "alpaca:sip")
    for allowed in (None, "alpaca:iex", "csv", ""):
        with pytest.raises(CheckpointError, match=r'set paper\.allow_feed = "sample"'):
            require_feed(trained(), "alpaca:iex", allowed)


def test_equal_feeds_lie_nowhere_apart():
    found = compare(FEATURES, BARS, BARS)
    assert [one.feature for one in found] == list(FEATURES.names)
    assert [(one.mean, one.worst) for one in found] == [(0.0, 0.0)] * 2


def test_distance_is_measured_in_spreads_of_the_training_feed_and_its_worst_place_named():
    one = FeatureSet(("log_return",))
    ohlcv = BARS.ohlcv.copy()
    day = BARS.index_of(date(2010, 6, 15))
    ohlcv[day, 2, CLOSE] *= np.exp(0.01)  # IBM closes one percent higher on that feed
    (apart,) = compare(one, BARS, replace(BARS, ohlcv=ohlcv))
    rows, ready = one.history(BARS)
    spread = rows[ready].std()
    assert apart.worst == pytest.approx(0.01 / spread)
    assert apart.mean == pytest.approx(
        2 * 0.01 / spread / ready.sum()
    )  # up that day, down the next
    assert apart.symbol == "IBM"
    assert str(apart.session) in ("2010-06-15", "2010-06-16")


def test_only_common_sessions_and_symbols_count():
    part = BARS.select(("MSFT", "IBM")).between(date(2010, 7, 1), None)
    found = compare(FEATURES, BARS, part)
    # Returns of the first days need bars that the part does not have; all others agree.
    assert max(one.worst for one in found) == 0.0
    later = replace(part, sessions=part.sessions + 3650)
    assert compare(FEATURES, BARS, later) == ()
    assert list(lines((), "sample", "alpaca:iex")) == [
        "features of sample and alpaca:iex cannot be compared: they share no bar"
    ]


def test_feeds_without_a_symbol_in_common_cannot_be_compared():
    assert compare(FEATURES, BARS.select(("IBM",)), BARS.select(("AAPL",))) == ()


def test_the_farthest_feature_is_told_first_and_a_far_one_is_marked():
    volume = FeatureSet(("log_return", "volume_ratio(20)"))
    ohlcv = BARS.ohlcv.copy()
    rng = np.random.default_rng(2)
    ohlcv[:, :, VOLUME] *= rng.uniform(0.01, 0.04, ohlcv.shape[:2])  # a few percent of the volume
    found = compare(volume, BARS, replace(BARS, ohlcv=ohlcv))
    told = list(lines(found, "alpaca:sip", "alpaca:iex"))
    assert told[0] == "features of alpaca:iex against alpaca:sip, in spreads of the training feed:"
    assert told[1].startswith("  volume_ratio")
    assert told[1].endswith("FAR APART")
    assert told[2].startswith("  log_return")
    assert "mean 0.000, largest 0.00" in told[2]


def test_the_bars_of_the_training_are_found_through_the_settings_or_missed_by_name(tmp_path):
    other = replace(BARS, source="alpaca:iex")
    told = apart(trained(), FEATURES, DataSettings(), other)
    assert told[0].startswith("features of alpaca:iex against sample")
    assert len(told) == 3
    (told,) = apart(trained("alpaca:sip"), FEATURES, DataSettings(), other)
    assert "cannot be compared: [data] names bars of sample" in told
    empty = DataSettings(source="alpaca", cache=str(tmp_path), symbols=("IBM",))
    (told,) = apart(trained("alpaca:iex"), FEATURES, empty, other)
    assert "run `barwise data fetch IBM" in told
