"""The look-ahead check finds every planted leak and raises no false alarm.

K1-K5, K7, K8 leak through features or scaler, K6 and K10 through the venue, K13 through the network,
K14 through the strategy; K12 is a memory that is not reset, K9 a list of today's members, which no
change of bars can show and every page warns of. K11, a label that reaches into the next segment, is
refused where windows are planned: tests/unit/test_windows.py.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.bars import CLOSE, Bars, MarketRow
from engine.errors import CheckError
from engine.features import FeatureSet
from engine.observation import Observation, Scaler
from engine.policy import ActionSpace, Wish
from engine.report.cautions import cautions
from engine.run.check.lookahead import LookaheadResult, Pipeline, check_lookahead, standard
from engine.run.check.lookahead_strategy import (
    SEGMENTS,
    check_network,
    check_runs,
    check_segment_start,
    check_strategy,
    check_units,
)
from engine.run.check.pipelines import fit_on
from engine.trader import Trader, TraderSpec
from engine.venue import Outcome, SimVenue, VenueSettings
from tests.leaks import CLEAN, LEAKS, scaled_on_train
from tests.made_up_run import small
from tests.markets import made_up
from tests.policies import Follower

FIRST, LAST = 320, 599


@pytest.fixture(scope="module")
def bars() -> Bars:
    return made_up(21, sessions=620, symbols=3, gaps=0.06, events=0.01, late=30)


def spec_for(features: FeatureSet, width: int, **changes: object) -> TraderSpec:
    base: dict[str, object] = {
        "features": features,
        "scaler": Scaler(np.zeros(width), np.full(width, 0.01), 5.0),  # so that it trades
        "book_inputs": ("position", "cash"),
        "action": ActionSpace(),
        "allocation": 1 / 3,
        "burn_in": 10,
    }
    return TraderSpec(**(base | changes))  # type: ignore[arg-type]


def check(bars: Bars, pipeline: Pipeline, dates: int = 200) -> LookaheadResult:
    return check_lookahead(pipeline, bars, FIRST, LAST, dates=dates)


def test_clean_pipeline_moves_nothing_at_two_hundred_dates(bars):
    features = FeatureSet(("preset:guide", "rsi(14)"))
    fit = fit_on(features, 0, FIRST, 5.0)
    spec = spec_for(features, len(features), scaler=fit(*features.history(bars)))
    found = check(bars, standard(spec, Follower(), fit, FIRST, 1e5, 3))
    assert found.dates == 200
    assert found.changes == 600
    assert found.clean, found.leaks[:3]


def test_twenty_clean_features_raise_no_alarm(bars):
    features = FeatureSet(CLEAN)
    spec = spec_for(features, len(features))
    found = check(bars, standard(spec, Follower(), None, 0, 1e5, 3), dates=30)
    assert found.clean, found.leaks[:3]


def with_history(history: Callable[[Bars], tuple[np.ndarray, np.ndarray]], bars: Bars) -> Pipeline:
    width = history(bars)[0].shape[-1]
    spec = spec_for(FeatureSet(("log_return",)), width)
    pipeline = standard(spec, Follower(), None, 0, 1e5, 3)
    return replace(pipeline, history=history)


@pytest.mark.parametrize("number", sorted(LEAKS))
def test_planted_feature_leak_is_found(bars, number):
    found = check(bars, with_history(LEAKS[number], bars), dates=200)
    assert not found.clean
    assert {leak.output for leak in found.leaks} & {"features", "observation"}


def test_the_feature_that_leaks_is_named_and_its_clean_neighbour_is_not(bars):
    features = FeatureSet(("log_return", "rsi(14)"))

    def peeks(seen: Bars) -> tuple[np.ndarray, np.ndarray]:
        rows, ready = features.history(seen)
        rows = rows.copy()
        rows[:-1, :, 1] = rows[1:, :, 1]  # tomorrow's
        return rows, ready

    pipeline = standard(spec_for(features, 2), Follower(), None, 0, 1e5, 3)
    found = check(bars, replace(pipeline, history=peeks), dates=10)
    named = {leak.features for leak in found.leaks if leak.output == "features"}
    assert named == {("rsi(14)",)}


def test_scaler_fitted_on_training_bars_is_not_a_leak(bars):
    found = check(
        bars, with_history(lambda seen: scaled_on_train(seen, bars.sessions[FIRST]), bars), dates=30
    )
    assert found.clean, found.leaks[:3]


def test_k8_scaler_refitted_on_all_bars_is_found_in_the_fit_step(bars):
    features = FeatureSet(("log_return", "rsi(14)"))

    def fit_everything(rows: np.ndarray, ready: np.ndarray) -> Scaler:
        return Scaler.fit(rows, ready, 5.0)

    spec = spec_for(features, 2)
    pipeline = standard(spec, Follower(), fit_everything, FIRST, 1e5, 3)
    found = check(bars, pipeline, dates=30)
    assert "observation" in {leak.output for leak in found.leaks}


class FillsAtTheCloseJustSeen(SimVenue):
    """K6: fills at the close of the decision, and does not say so."""

    def __init__(self, books: int) -> None:
        super().__init__(1e5, (books, 3), settings=VenueSettings(fill="same_close"))


def test_k6_fill_at_the_close_just_observed_is_found_unless_declared(bars):
    features = FeatureSet(("log_return", "rsi(14)"))
    pipeline = standard(spec_for(features, 2), Follower(), None, 0, 1e5, 3)
    found = check(bars, replace(pipeline, venue=FillsAtTheCloseJustSeen), dates=60)
    assert {leak.output for leak in found.leaks} == {"fill"}
    declared = replace(pipeline.spec, venue=VenueSettings(fill="same_close"))
    again = replace(pipeline, venue=FillsAtTheCloseJustSeen, spec=declared)
    assert check(bars, again, dates=60).clean


class FillsAtTheOpenOfItsOwnBar(SimVenue):
    """K10: a daily bar is decided on, and its own open, hours before its close, is dealt at."""

    def __init__(self, books: int) -> None:
        super().__init__(1e5, (books, 3))
        self.seen: np.ndarray | None = None

    def advance(self, row: MarketRow) -> Outcome:
        """See `SimVenue`, with the open of the bar before."""
        stale = row.open if self.seen is None else self.seen
        self.seen = row.open
        return super().advance(replace(row, open=np.where(np.isnan(stale), row.open, stale)))


def test_k10_daily_bar_dealt_at_its_own_open_is_found(bars):
    features = FeatureSet(("log_return", "rsi(14)"))
    pipeline = standard(spec_for(features, 2), Follower(), None, 0, 1e5, 3)
    found = check(bars, replace(pipeline, venue=FillsAtTheOpenOfItsOwnBar), dates=20)
    assert {leak.output for leak in found.leaks} == {"fill"}


def test_k9_list_of_symbols_without_dates_is_warned_of(tmp_path):
    data = {"symbols": ["AAPL", "IBM"], "source": "csv: prices"}
    told = [item.text for item in cautions(small(tmp_path / "real", data=data).read())]
    assert sum("survivorship" in text for text in told) == 1
    made = small(tmp_path / "made", data=data | {"source": "synthetic gbm"})
    assert not any("survivorship" in item.text for item in cautions(made.read()))


def test_k12_memory_carried_from_one_segment_into_another_is_found(bars):
    features = FeatureSet(("log_return", "rsi(14)"))
    spec = spec_for(features, 2)
    check_segment_start(spec, Follower(), bars, FIRST, LAST)

    class Carries(Trader):
        def burn_in(self, market: np.ndarray, fresh: np.ndarray) -> None:
            kept = self.memory
            super().burn_in(market, fresh)
            self.memory = self.memory + np.float32(0.1) * kept

    with pytest.raises(CheckError, match="zero and burn-in"):
        check_segment_start(spec, Follower(), bars, FIRST, LAST, trader=Carries)


def test_k14_strategy_that_reads_tomorrows_close_is_found(bars):
    from strategies.agent import AgentStrategy

    features = FeatureSet(("log_return", "rsi(14)"))
    spec = spec_for(features, 2)
    assert check_strategy(spec, Follower(), bars, FIRST, LAST, 1e5, dates=12) == ()

    class Peeks(AgentStrategy):
        def _closed_bars(self):
            ohlcv, traded, split, dividend = super()._closed_bars()
            for column, data in enumerate(self.datas):
                with suppress(IndexError):  # the last bar has no tomorrow, and a sly one knows
                    if traded[column] and data.traded[1]:
                        ohlcv[column, 3] = data.close[1]
            return ohlcv, traded, split, dividend

    found = check_strategy(spec, Follower(), bars, FIRST, LAST, 1e5, dates=12, strategy=Peeks)
    assert {"market", "memory"} & {leak.output for leak in found}


def test_k13_network_that_reads_the_future_has_a_gradient_there():
    import torch
    from torch import nn

    from agents.causality import future_gradient

    torch.manual_seed(0)
    one = nn.LSTM(3, 8, num_layers=2)
    both = nn.LSTM(3, 8, num_layers=2, bidirectional=True)
    rows = torch.randn(20, 2, 3)
    assert future_gradient(lambda x: one(x)[0], rows) == 0.0
    assert future_gradient(lambda x: both(x)[0], rows) > 0.0


def test_k13_in_a_checkpoint_is_found(monkeypatch):
    # The network a checkpoint gives back, with a trunk that also runs backwards.
    import torch
    from torch import nn

    import agents.checkpoint

    class Network(nn.Module):
        inputs = 3

        def __init__(self, both: bool) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, bidirectional=both)

        def start(self, rows: int) -> torch.Tensor:
            return torch.zeros(rows, 0)

        def trunk(self, rows, memory):
            return self.lstm(rows)[0], memory

    for both in (False, True):
        torch.manual_seed(0)
        net = Network(both)
        monkeypatch.setattr(agents.checkpoint, "load_network", lambda folder, net=net: (net, None))
        outputs = [leak.output for leak in check_network(Path("unused"))]
        assert outputs == (["network"] if both else [])


def test_policy_with_a_clock_of_its_own_is_no_excuse_for_different_bits(bars):
    # A policy that hides state outside its memory gives other answers the second time.
    class Hides(Follower):
        calls = 0

        def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
            self.calls += 1
            wish, after = super().act(obs, memory)
            return wish, after + np.float32(1e-3) * self.calls

    features = FeatureSet(("log_return",))
    pipeline = standard(spec_for(features, 1), Hides(), None, 0, 1e5, 3)
    assert not check(bars, pipeline, dates=5).clean
    found = {leak.output for leak in check_runs(pipeline, bars, FIRST, LAST, 1e5)}
    assert {SEGMENTS, "memory"} <= found


def test_feature_that_is_a_price_is_found_by_its_unit(bars):
    def price(seen: Bars) -> tuple[np.ndarray, np.ndarray]:
        return np.where(seen.traded, seen.ohlcv[..., CLOSE], np.nan)[..., None], seen.traded

    pipeline = with_history(price, bars)
    assert check(bars, pipeline, dates=10).clean  # no bar of the future moves it
    (leak,) = check_units(pipeline, bars)
    assert (leak.output, leak.features) == ("units", pipeline.spec.features.names[:1])
    clean = standard(spec_for(FeatureSet(CLEAN), len(CLEAN)), Follower(), None, 0, 1e5, 3)
    assert check_units(clean, bars) == ()


def test_whole_runs_of_a_clean_pipeline_raise_no_alarm(bars):
    features = FeatureSet(("log_return",))
    pipeline = standard(spec_for(features, 1), Follower(), None, 0, 1e5, 3)
    assert check_runs(pipeline, bars, FIRST, LAST, 1e5) == ()
