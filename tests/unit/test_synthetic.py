"""Made-up markets: valid, repeatable, with the properties they are made for."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bars import CLOSE, HIGH, LOW, OPEN, VOLUME
from engine.data import adjustment, synthetic
from engine.data.synthetic import SyntheticSettings
from engine.errors import DataError
from engine.sources import DataSettings, load


def made(symbols=(), calendar="XNYS", **kind):
    settings_ = SyntheticSettings(**kind)
    return load(
        DataSettings(source="synthetic", synthetic=settings_, symbols=symbols, calendar=calendar)
    )


def returns(bars):
    close = bars.ohlcv[:, :, CLOSE]
    return close[1:] / close[:-1] - 1


@pytest.mark.parametrize("kind", ["bootstrap", "gbm", "echo"])
def test_the_same_seed_gives_the_same_market_and_another_seed_another(kind):
    first = made(kind=kind, sessions=50, seed=7)
    assert made(kind=kind, sessions=50, seed=7).digest() == first.digest()
    assert made(kind=kind, sessions=50, seed=8).digest() != first.digest()


@given(
    st.sampled_from(["bootstrap", "gbm", "echo"]),
    st.integers(2, 300),
    st.integers(1, 5),
    st.integers(0, 1000),
)
@settings(max_examples=30, deadline=None)
def test_every_made_up_bar_is_a_valid_bar(kind, sessions, symbols, seed):
    bars = made(kind=kind, sessions=sessions, symbols=(), seed=seed, k=symbols)
    assert len(bars.sessions) == sessions
    prices = bars.ohlcv[:, :, :VOLUME]
    assert (bars.ohlcv[:, :, HIGH] == prices.max(axis=2)).all()
    assert (bars.ohlcv[:, :, LOW] == prices.min(axis=2)).all()
    assert (prices > 0).all()
    assert (bars.ohlcv[:, :, VOLUME] > 0).all()
    assert bars.traded.all()
    assert (bars.split == 1).all()
    assert not bars.dividend.any()


def test_sessions_are_real_while_they_last_and_weekdays_beyond():
    short = made(kind="echo", sessions=3)
    assert [str(s) for s in short.sessions] == ["2000-01-03", "2000-01-04", "2000-01-05"]
    assert short.calendar == "XNYS"
    year = made(kind="echo", sessions=253)
    assert str(year.sessions[-1]) == "2001-01-02"  # 2000 had 252 sessions
    long = made(kind="echo", sessions=10_000)
    assert long.calendar == "none"
    assert np.is_busday(long.sessions).all()
    assert made(kind="echo", sessions=10, calendar="none").calendar == "none"


def test_symbols_are_named_or_numbered():
    assert made(kind="gbm", sessions=5).symbols == ("S1",)
    five = load(
        DataSettings(
            source="synthetic",
            synthetic=SyntheticSettings(kind="gbm", sessions=5, symbols=5),
        )
    )
    assert five.symbols == ("S1", "S2", "S3", "S4", "S5")
    assert made(kind="echo", sessions=5, symbols=("X", "Y")).symbols == ("X", "Y")
    assert made(kind="bootstrap", sessions=5).symbols == ("AAPL", "GOOG", "IBM", "MSFT")
    assert made(kind="bootstrap", sessions=5, symbols=("IBM", "AAPL")).symbols == ("IBM", "AAPL")


# The market that needs memory


@pytest.mark.parametrize("k", [1, 2, 5])
def test_echo_pays_the_optimum_to_who_remembers(k):
    # Holding s[t+1-k] earns mu - kappa |change| = 0.01 - 0.001: the change is 0 or 2, 1 on average.
    bars = made(kind="echo", sessions=200_000, k=k, seed=1)
    signal = np.sign(bars.ohlcv[:, 0, VOLUME] - 1e6)
    gain = returns(bars)[:, 0]  # gain[t] is earned from t to t + 1
    held = signal[: len(gain)] if k == 1 else np.concatenate([np.zeros(k - 1), signal[:-k]])
    cost = 0.001 * np.abs(np.diff(held, prepend=0.0))
    net = (held * gain - cost).mean()
    assert net == pytest.approx(0.009, abs=4 * 0.01 / np.sqrt(200_000))


def test_echo_of_two_days_hides_from_the_last_bar():
    bars = made(kind="echo", sessions=200_000, k=2, seed=2)
    gain = returns(bars)[:, 0]
    last = bars.ohlcv[:-1, 0]
    for seen in (np.sign(last[:, VOLUME] - 1e6), np.sign(last[:, CLOSE] - last[:, OPEN])):
        # Deviation of a day's gain is sqrt(mu^2 + sigma^2) = 0.0141.
        assert abs((seen * gain).mean()) < 4 * 0.0141 / np.sqrt(len(gain))


def test_echo_bars_open_at_the_close_before_and_show_the_coin_in_volume():
    bars = made(kind="echo", sessions=500, symbols=("X", "Y", "Z"))
    assert (bars.ohlcv[1:, :, OPEN] == bars.ohlcv[:-1, :, CLOSE]).all()
    assert set(np.unique(bars.ohlcv[:, :, VOLUME])) == {500_000.0, 1_500_000.0}
    coins = np.sign(bars.ohlcv[:, :, VOLUME] - 1e6)
    assert abs(np.corrcoef(coins.T)[0, 1]) < 0.2  # every symbol has its own coin


def test_echo_refuses_noise_that_would_cross_zero():
    with pytest.raises(DataError, match="below zero"):
        made(kind="echo", sessions=5000, sigma=0.9)


# GBM


def test_a_random_walk_has_one_drift_and_nothing_to_time():
    bars = load(
        DataSettings(
            source="synthetic",
            synthetic=SyntheticSettings(
                kind="gbm", sessions=6000, symbols=40, mu=0.001, sigma=0.01
            ),
        )
    )
    gain = returns(bars)
    error = 0.01 / np.sqrt(len(gain))
    assert gain.mean() == pytest.approx(0.001, abs=4 * error / np.sqrt(40))
    assert np.abs(gain.mean(axis=0) - 0.001).max() < 4.5 * error
    assert gain.std(axis=0) == pytest.approx(np.full(40, 0.01), rel=0.05)
    one = gain - gain.mean(axis=0)
    lagged = (one[1:] * one[:-1]).mean(axis=0) / one.var(axis=0)
    assert np.abs(lagged).max() < 4.5 / np.sqrt(len(gain))


# Bootstrap


def test_blocks_follow_on_wrap_at_the_end_and_have_the_mean_length():
    rows = synthetic.stationary_rows(500, 100_000, 70.0, np.random.default_rng(0))
    follows = (rows[1:] == (rows[:-1] + 1) % 500).mean()
    # A jump lands on the following day by chance once in 500.
    assert follows == pytest.approx(1 - 1 / 70 * (1 - 1 / 500), abs=0.002)
    assert rows.min() == 0
    assert rows.max() == 499
    single = synthetic.stationary_rows(10, 1000, 1.0, np.random.default_rng(0))
    assert np.bincount(single, minlength=10).min() > 60


def test_every_bootstrapped_day_is_a_real_day_of_all_symbols_at_once():
    bars = made(kind="bootstrap", sessions=400, seed=3, symbols=("AAPL", "IBM", "MSFT"))
    real = load(DataSettings(symbols=("AAPL", "IBM", "MSFT")))
    step = adjustment.implied(real.ohlcv[:, :, CLOSE], real.split, real.dividend)[1:]
    days = real.ohlcv[1:, :, CLOSE] / real.ohlcv[:-1, :, CLOSE] * step - 1
    drawn = returns(bars)
    apart = np.abs(drawn[:, None] - days[None]).max(axis=2)  # of three symbols on one day
    assert apart.min(axis=1).max() < 1e-9


def test_a_bootstrap_shows_no_split_as_a_loss():
    bars = made(kind="bootstrap", sessions=6000, seed=4, mean_block=20, symbols=("MSFT",))
    real = load(DataSettings(symbols=("MSFT",)))
    raw = returns(real)
    assert raw.min() < -0.48  # the split of 2003-02-18, raw
    assert returns(bars).min() > -0.2


def test_a_bootstrap_can_be_kept_to_a_range_of_real_dates():
    wide = made(kind="bootstrap", sessions=300, symbols=("IBM",))
    kept = made(
        kind="bootstrap",
        sessions=300,
        symbols=("IBM",),
        base_start=date(2003, 6, 2),
        base_end=date(2004, 6, 2),
    )
    assert np.abs(returns(kept)).max() < 0.05 < np.abs(returns(wide)).max()
    with pytest.raises(DataError, match="at least 2 sessions"):
        made(kind="bootstrap", sessions=9, base_start=date(2003, 6, 2), base_end=date(2003, 6, 2))


def test_bootstrapped_volume_counts_the_shares_of_the_last_day():
    bars = made(kind="bootstrap", sessions=2000, seed=1, symbols=("AAPL",))
    real = load(DataSettings(symbols=("AAPL",)))
    shares = np.cumprod(real.split[:, 0])
    volume = real.ohlcv[:, 0, VOLUME] * shares[-1] / shares
    assert np.isin(bars.ohlcv[:, 0, VOLUME], volume).all()


def test_a_bootstrap_of_the_dow_looks_like_the_dow(shared_data):
    # Facts, section 6: 5-95 % ranges over paths of the same length.
    base = load(
        DataSettings(
            source="csv",
            path=str(shared_data / "dow30-2009-2020"),
            price_basis="split",
            symbols=tuple(_dow(shared_data)),
        )
    )
    kurtosis, correlation, clustering = [], [], []
    for seed in range(12):
        bars = synthetic.bootstrap(base, 2858, 70.0, np.random.default_rng(seed))
        logs = np.diff(np.log(bars[:, :, CLOSE]), axis=0)
        index = logs.mean(axis=1) - logs.mean()
        kurtosis.append((index**4).mean() / (index**2).mean() ** 2)
        pairs = np.corrcoef(logs.T)
        correlation.append((pairs.sum() - 30) / (30 * 29))
        size = np.abs(index)
        clustering.append(np.corrcoef(size[1:], size[:-1])[0, 1])
    assert 7.6 < np.median(kurtosis) < 25.7
    assert 0.39 < np.median(correlation) < 0.53
    assert 0.20 < np.median(clustering) < 0.48


def _dow(shared_data):
    stems = sorted(f.stem for f in (shared_data / "dow30-2009-2020").glob("*.csv"))
    return [s for s in stems if s not in ("GE", "DJI-index")]
