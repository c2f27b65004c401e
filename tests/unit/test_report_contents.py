"""What the report says before it is set: warnings, rows of the tables, chart data."""

import math
from datetime import date

import numpy as np
import pytest

from engine.clock import sessions
from engine.reasons import TEXT, Reason
from engine.report.cautions import cautions, of_pace
from engine.report.charts import chart_data
from engine.report.folder import RunFolder
from engine.report.formats import plain_name, shown
from engine.report.sections import action_mix, metric_rows, monthly, trip_rows
from tests import made_up_run
from tests.made_up_run import FOUR_DAYS as DAYS
from tests.made_up_run import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_up_run.write(tmp_path_factory.mktemp("run") / "demo")


# Cautions --------------------------------------------------------------------------------------


def texts(run):
    return " | ".join(caution.text for caution in cautions(run))


def test_fills_at_the_observed_close_and_adjusted_prices_are_grave_and_first(tmp_path):
    run = small(
        tmp_path, settings={"venue": {"fill": "same_close"}}, data={"price_basis": "total"}
    ).read()
    first, second = cautions(run)[:2]
    assert first.grave
    assert "very close the decision was made on" in first.text
    assert second.grave
    assert "total-return" in second.text


def test_curve_equal_to_a_baseline_is_named(tmp_path):
    run = small(tmp_path, agent=(100.0, 101.0, 102.0, 103.02)).read()
    assert "identical to: Buy and hold" in texts(run)


@pytest.mark.parametrize(("fills", "closed", "said"), [(1, 0, True), (2, 1, False), (0, 0, False)])
def test_an_agent_that_closed_no_trade_shows_no_timing(tmp_path, fills, closed, said):
    metrics = {"agent": {"fills": fills, "trades": closed, "turnover": 0.2}}
    assert ("closed no trade" in texts(small(tmp_path, metrics=metrics).read())) == said


@pytest.mark.parametrize(
    ("fills", "closed", "said"),
    [
        (3, 0, "Only 3 orders were filled and 0 round trips were closed: too few to judge"),
        (59, 29, "Only 59 orders were filled and 29 round trips were closed: too few to judge"),
        (
            60,
            0,
            "It resizes more than it closes: 60 orders were filled, 0 round trips were closed.",
        ),
        (
            1_240,
            2,
            "1,240 orders were filled, 2 round trips were closed. Hit rate and profit a trip",
        ),
        (60, 30, None),
        (0, 0, None),
    ],
)
def test_agent_that_resizes_is_not_said_to_trade_too_little(tmp_path, fills, closed, said):
    metrics = {"agent": {"fills": fills, "trades": closed, "turnover": 4.0}}
    told = texts(small(tmp_path, metrics=metrics).read())
    assert ("round trips" in told) == (said is not None)
    assert said is None or said in told
    assert ("no timing" in told) == (0 < fills < 60 and closed == 0)


@pytest.mark.parametrize(
    ("sharpe", "said"), [(None, "There is no Sharpe ratio"), (-0.4, "ratio is not above zero")]
)
def test_a_ratio_that_is_none_is_not_called_a_bad_one(tmp_path, sharpe, said):
    metrics = {"agent": {"fills": 60, "trades": 30, "sharpe": sharpe, "track_record": None}}
    told = texts(small(tmp_path, metrics=metrics).read())
    assert said in told
    assert ("not above zero" in told) == (sharpe is not None)


@pytest.mark.parametrize(
    ("step", "bars", "said"),
    [
        (1, 400, "holds 365 bars, annual figures count 252: Sharpe ratio and volatility of a true"),
        (7, 60, "of a true year are 0.46 times those shown"),  # sqrt(365.25 / 7 / 252) = 0.45504
        (1, 60, None),  # too short to tell
    ],
)
def test_dates_of_another_pace_than_the_annual_figures_are_told(step, bars, said):
    days = np.datetime64("2020-01-01") + step * np.arange(bars)
    found = list(of_pace(days.astype(str), {"periods": 252}))
    assert [said in caution.text for caution in found] == [True] * (said is not None)
    assert [caution.grave for caution in found] == [step == 7] * (said is not None)


def test_dates_of_the_exchange_have_the_pace_of_the_annual_figures():
    days = np.array(sessions("XNYS", date(2019, 1, 2), date(2020, 12, 31)), dtype="datetime64[D]")
    assert list(of_pace(days, {"periods": 252})) == []


def test_interrupted_run_says_what_is_missing(tmp_path):
    assert "not complete, missing: settings, versions" in texts(small(tmp_path).read())


def test_made_up_run_is_warned_of_its_refusals_its_length_and_its_one_seed(folder):
    found = texts(RunFolder(folder).read())
    for part in ("refused or cut", "bars are too few", "one run of one seed"):
        assert part in found


def test_warning_of_the_run_is_shown_once_and_first(tmp_path):
    warnings = ["GOOG was delisted", "GOOG was delisted"]
    found = cautions(small(tmp_path, summary={"warnings": warnings}).read())
    assert found[0].text == "GOOG was delisted"
    assert sum(caution.text == "GOOG was delisted" for caution in found) == 1


def test_list_of_symbols_without_dates_is_called_survivorship_unless_it_is_made_up(tmp_path):
    data = {"symbols": ["A", "B"], "source": "sample"}
    assert "(survivorship)" in texts(small(tmp_path / "real", data=data).read())
    made_up = data | {"source": "synthetic"}
    assert "(survivorship)" not in texts(small(tmp_path / "made", data=made_up).read())


def test_one_symbol_that_made_the_profit_is_named(tmp_path):
    # 8.9 dollars in all: A was bought for 90 and is worth 98, B made the other 0.9.
    trades = {
        "session": [DAYS[1], DAYS[1], DAYS[2]],
        "symbol": ["A", "B", "B"],
        "qty": [9.0, 1.0, -1.0],
        "price": [10.0, 10.0, 10.9],
        "fee": [0.0, 0.0, 0.0],
        "slippage": [0.0, 0.0, 0.0],
    }
    flat = np.zeros(4)
    held = {"A": np.array([0, 0.9, 0.9, 98.0 / 108.9]), "B": flat, "C": flat, "D": flat}
    exposure = {"session": DAYS, "gross": held["A"], "net": held["A"], **held}
    run = small(tmp_path, trades=trades, exposure=exposure).read()
    assert "One lucky symbol: A made 90% of the profit; all others 0.90 dollars." in texts(run)


# Sections --------------------------------------------------------------------------------------


def test_monthly_returns_compound_inside_the_month_and_the_year(tmp_path):
    found = monthly(small(tmp_path).read())
    first, second = found["rows"]
    assert (first["year"], second["year"]) == ("2020", "2021")
    assert first["months"][0] == pytest.approx(0.10)  # 100 -> 110, the start lies in January
    assert first["months"][1] == pytest.approx(-0.10)  # 110 -> 99
    assert first["months"][2] is None
    assert first["total"] == pytest.approx(-0.01)
    assert first["rival"] == pytest.approx(0.02)
    assert second["months"][0] == pytest.approx(0.10)


def test_months_multiply_to_the_total_return(folder):
    run = RunFolder(folder).read()
    rows = monthly(run)["rows"]
    product = np.prod([1 + value for row in rows for value in row["months"] if value is not None])
    assert product - 1 == pytest.approx(run.metrics["agent"]["total_return"], rel=1e-12)


def test_number_that_cannot_be_computed_is_shown_as_such_with_its_reason(tmp_path):
    run = small(tmp_path, agent=(100.0, 100.0, 100.0, 100.0)).read()
    row = metric_rows(run, ("sharpe",))[0]
    assert row["cells"][0] == "n/a"
    assert row["reasons"] == ["the returns do not vary"]


def test_round_trips_of_the_page_are_those_of_the_metrics(folder):
    run = RunFolder(folder).read()
    assert len(trip_rows(run)) == run.metrics["agent"]["trades"]


def test_action_mix_counts_keep_before_exposure(tmp_path):
    actions = {
        "session": DAYS,
        "symbol": ["A"] * 4,
        "exposure": [1.0, 1.0, 0.0, -1.0],
        "keep": [False, True, False, False],
        "target": [0.0] * 4,
        "reasons": [""] * 4,
    }
    mix = action_mix(small(tmp_path, actions=actions).read())
    assert dict(zip(mix["kinds"], mix["shares"]["All"], strict=True)) == {
        "short": 0.25,
        "flat": 0.25,
        "long": 0.25,
        "keep": 0.25,
    }
    assert mix["entropy"] == pytest.approx(2.0)
    assert mix["changed"] == 1.0


def test_action_mix_of_a_few_exposures_names_each_of_them(tmp_path):
    # Half a sleeve was asked for twice: the second time the band kept it. The last did not trade.
    actions = {
        "session": DAYS,
        "symbol": ["A"] * 4,
        "exposure": [0.5, 0.5, -0.25, 0.0],
        "keep": [False, True, False, True],
        "target": [0.0] * 4,
        "reasons": ["", TEXT[Reason.BAND], "", TEXT[Reason.NOT_TRADED]],
    }
    run = small(tmp_path, actions=actions)
    mix = action_mix(run.read())
    assert dict(zip(mix["kinds"], mix["shares"]["All"], strict=True)) == {
        "-25\u00a0%": 0.25,
        "50\u00a0%": 0.5,
        "keep": 0.25,
    }
    assert mix["classes"] == ("short q1", "long q2", "keep")
    assert mix["entropy"] == pytest.approx(1.5)
    assert mix["bits"] == pytest.approx(math.log2(3))


def test_long_histories_are_drawn_as_closes(monkeypatch, folder):
    run = RunFolder(folder).read()
    assert "open" in chart_data(run)["prices"][0]
    monkeypatch.setattr("engine.report.charts.MAX_CANDLES", 100)
    assert "open" not in chart_data(run)["prices"][0]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "percent", "n/a"),
        (0.1234, "percent", "12.3\u00a0%"),
        (-0.00001, "percent", "0.0\u00a0%"),
        (0.01234, "small percent", "1.23\u00a0%"),
        (12345.678, "money", "12,346"),
        (3.456, "money", "3.46"),
        (4.56, "yearly", "4.6x"),
        (12.0, "bars", "12"),
        (1.239, "ratio", "1.24"),
    ],
)
def test_numbers_are_shown_with_their_unit(value, unit, text):
    assert shown(value, unit) == text


def test_names_of_baselines_become_words():
    assert plain_name("buy_and_hold") == "Buy and hold"
    assert plain_name("AAPL only") == "AAPL only"
