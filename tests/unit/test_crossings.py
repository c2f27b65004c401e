"""The search for the windows of the crossing rules: each book as the rule alone, the best one taken."""

import numpy as np
import pytest

from engine.errors import SettingsError
from engine.measures import returns_of, sharpe
from engine.run.backtest import run_baselines
from engine.run.crossings import best_pairs, with_best_windows
from engine.settings import Settings
from engine.sources import load
from strategies.baselines import make

WAIT = 29  # the search trades from the 30th bar on, when all its averages are known


@pytest.fixture(scope="module")
def settings():
    tree = {
        "data": {"source": "sample", "symbols": ("AAPL", "IBM"), "end": "2000-12-29"},
        "limits": {"allow_short": True},
        "split": {"test": {"start": "2000-11-01"}},
    }
    return Settings.model_validate(tree)


@pytest.mark.parametrize("rule", ["trend_following", "mean_reversion"])
def test_no_pair_of_windows_does_better_alone_than_the_one_found(settings, rule):
    bars = load(settings.data)
    fast, slow = best_pairs(settings, bars)[rule]
    pairs = [(fast, slow), (1, 2), (5, 20), (2, 29), (28, 29)]
    names = tuple(f"{rule}({a},{b},{WAIT})" for a, b in pairs)
    alone = settings.model_copy(
        update={"backtest": settings.backtest.model_copy(update={"baselines": names})}
    )
    records = run_baselines(alone, bars, 0, len(bars.sessions) - 1, 0.0)
    found = [sharpe(returns_of(records[name].arrays()["equity"]), 252) for name in names]
    assert np.argmax(found) == 0


def test_windows_are_found_on_the_bars_before_the_test(settings):
    bars = load(settings.data)
    asked = settings.backtest.model_copy(
        update={
            "strategy": "mean_reversion(best)",
            "baselines": ("flat", "trend_following(best,3)"),
        }
    )
    found = with_best_windows(settings.model_copy(update={"backtest": asked}), bars).backtest
    first = int(np.searchsorted(bars.sessions, np.datetime64("2000-11-01")))
    pairs = best_pairs(settings, bars.between(None, bars.sessions[first]))
    (a, b), (c, d) = pairs["mean_reversion"], pairs["trend_following"]
    assert found.strategy == f"mean_reversion({a},{b})"
    assert found.baselines == ("flat", f"trend_following({c},{d},3)")


def test_settings_that_name_their_windows_stay_as_they_are(settings):
    assert with_best_windows(settings, load(settings.data)) is settings


def test_a_rule_asked_for_its_best_windows_elsewhere_says_to_name_them():
    with pytest.raises(SettingsError, match=r"name them here, such as trend_following\(5,20\)"):
        make("trend_following(best)", 1)
