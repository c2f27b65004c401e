"""Every metric against values worked out by hand, the check series V, and a second library."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import measures as m
from engine.account import Account, Conventions
from engine.errors import DataError
from engine.metrics import BY_KEY, CATALOGUE, summarise
from engine.round_trips import Events, Fills, round_trips
from engine.significance import Moments, probabilistic_sharpe

R = np.array([0.01, 0.02, -0.05, 0.02, 0.01, 0.0, 0.03, -0.02, 0.01, 0.01])
B = np.array([0.01, -0.01, 0.02, -0.03, 0.01, 0.01, 0.01, 0.0, 0.03, -0.02])
E = np.concatenate([[1.0], np.cumprod(1.0 + R)])
DAYS = np.arange("2020-01-01", "2020-01-12", dtype="datetime64[D]")
YEAR = 252


def fills(*rows, fee=0.0, slippage=0.0, regulatory=None):
    """rows of (day index, symbol, qty, price)."""
    day, symbol, qty, price = zip(*rows, strict=True)
    many = len(rows)
    return Fills(
        session=DAYS[list(day)],
        symbol=np.array(symbol),
        qty=np.array(qty, dtype=float),
        price=np.array(price, dtype=float),
        fee=np.full(many, fee),
        slippage=np.full(many, slippage),
        regulatory=None if regulatory is None else np.full(many, regulatory),
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (m.total_return(R), 0.03818021),
        (m.cagr(R, YEAR), 1.57082881),
        (m.volatility(R, YEAR), 0.36813041),
        (m.sharpe(R, 1), 0.17248787),
        (m.sharpe(R, YEAR), 2.73816009),
        (m.skewness(R), -1.35912847),
        (m.raw_kurtosis(R), 4.02479339),
        (probabilistic_sharpe(Moments.of(R)), 0.67779997),
        (m.downside_deviation(R), 0.01702939),
        (m.sortino(R, 1), 0.23488809),
        (m.sortino(R, YEAR), 3.72873280),
        (m.max_drawdown(E), -0.05),
        (m.calmar(E, YEAR), 31.41657611),
        (m.omega(R), 1.57142857),
        (m.value_at_risk(R, 0.90), 0.023),
        (m.conditional_value_at_risk(R, 0.90), 0.05),
        (m.tail_ratio(R), 0.69863014),
        (m.beta(R, B), -0.43853821),
        (m.alpha(R, B, 1), 0.00531561),
        (m.tracking_error(R, B, 1), 0.03414023),
        (m.information_ratio(R, B, YEAR), 0.46497947),
    ],
)
def test_check_series_gives_the_pinned_value(found, expected):
    assert found == pytest.approx(expected, abs=6e-9)


def test_first_drawdown_of_the_check_series_lasts_bars_three_to_six_and_the_second_is_open():
    deepest, second = m.drawdowns(E)
    assert (deepest.peak, deepest.trough, deepest.end, deepest.bars) == (2, 3, 7, 4)
    assert (second.peak, second.trough, second.end, second.bars) == (7, 8, None, 3)


def test_drawdown_from_the_start_counts_the_start_as_a_peak():
    assert m.max_drawdown(np.array([100.0, 90.0, 95.0])) == pytest.approx(-0.1)


def test_risk_free_rate_compounds_over_the_year():
    assert (1 + m.per_bar(0.05, YEAR)) ** YEAR == pytest.approx(1.05)
    assert m.sharpe(R, YEAR, 0.05) == pytest.approx(
        (R - m.per_bar(0.05, YEAR)).mean() / R.std(ddof=1) * math.sqrt(252)
    )


def test_second_library_agrees_on_a_long_random_series():
    empyrical = pytest.importorskip("empyrical", reason="the oracle is not installed")
    rng = np.random.default_rng(5)
    b = rng.standard_t(4, 1500) * 0.01
    r = 0.4 * b + rng.standard_t(5, 1500) * 0.008 + 0.0003
    equity = np.concatenate([[1.0], np.cumprod(1 + r)])
    pairs = {
        "total": (m.total_return(r), empyrical.cum_returns_final(r)),
        "cagr": (m.cagr(r, YEAR), empyrical.cagr(r)),
        "volatility": (m.volatility(r, YEAR), empyrical.annual_volatility(r)),
        "sharpe": (m.sharpe(r, YEAR), empyrical.sharpe_ratio(r)),
        "sharpe over a rate": (
            m.sharpe(r, YEAR, 0.03),
            empyrical.sharpe_ratio(r, m.per_bar(0.03, YEAR)),
        ),
        "sortino": (m.sortino(r, YEAR), empyrical.sortino_ratio(r)),
        "downside": (
            m.downside_deviation(r) * math.sqrt(YEAR),
            empyrical.downside_risk(r),
        ),
        "drawdown": (m.max_drawdown(equity), empyrical.max_drawdown(r)),
        "calmar": (m.calmar(equity, YEAR), empyrical.calmar_ratio(r)),
        "omega": (m.omega(r), empyrical.omega_ratio(r)),
        "tail": (m.tail_ratio(r), empyrical.tail_ratio(r)),
        "var": (m.value_at_risk(r, 0.95), -empyrical.value_at_risk(r, cutoff=0.05)),
        "cvar": (
            m.conditional_value_at_risk(r, 0.95),
            -empyrical.conditional_value_at_risk(r, cutoff=0.05),
        ),
        "beta": (m.beta(r, b), empyrical.beta(r, b)),
        # theirs compounds over the year, ours is the sum of its bars
        "alpha": ((1 + m.alpha(r, b, 1)) ** YEAR - 1, empyrical.alpha(r, b)),
    }
    for name, (ours, theirs) in pairs.items():
        assert ours == pytest.approx(theirs, rel=1e-9), name


def test_what_cannot_be_computed_is_none_with_a_reason_never_zero():
    flat = Account(np.full(11, 1000.0))
    found = summarise(DAYS, flat, {})
    assert found["agent"]["sharpe"] is None
    assert found["reasons"]["agent"]["sharpe"] == "the returns do not vary"
    assert found["agent"]["beta"] is None
    assert "no baseline named buy_and_hold" in found["reasons"]["agent"]["beta"]
    assert found["agent"]["turnover"] is None
    assert found["reasons"]["agent"]["turnover"] == "fills were not recorded"
    assert found["agent"]["total_return"] == 0.0


@pytest.mark.parametrize(
    "equity", [[100.0], [100.0, 100.0], [100.0, 0.0, 0.0], [100.0, 101.0], [100.0, 99.0, 98.0]]
)
def test_every_metric_of_a_short_or_ruined_curve_is_a_number_or_a_reason(equity):
    account = Account(np.array(equity), fills=Fills())
    found = summarise(DAYS[: len(equity)], account, {"buy_and_hold": account})
    for key, value in found["agent"].items():
        assert (value is None) == (key in found["reasons"]["agent"])
        assert value is None or math.isfinite(value)


def test_benchmark_says_that_it_is_the_benchmark():
    found = summarise(DAYS, Account(E), {"buy_and_hold": Account(E)})
    assert found["reasons"]["buy_and_hold"]["beta"] == "this is the benchmark"


def test_equity_that_is_not_a_number_is_refused_with_its_row():
    with pytest.raises(DataError, match="row 2"):
        m.returns_of(np.array([1.0, 1.0, np.nan]))


def test_accounts_of_another_length_are_refused():
    with pytest.raises(DataError, match="flat: equity must have one value per session"):
        summarise(DAYS, Account(E), {"flat": Account(E[:-1])})


def test_keys_of_the_catalogue_are_unique_and_each_has_a_definition():
    assert len(BY_KEY) == len(CATALOGUE)
    assert all(metric.definition.endswith(".") for metric in CATALOGUE)


# Round trips -----------------------------------------------------------------------------------

FIVE = fills(
    *((0, "A", 10, 100), (1, "A", -10, 110)),  # +100
    *((2, "A", 10, 100), (4, "A", -10, 95)),  # -50
    *((5, "A", -10, 50), (6, "A", 10, 47)),  # +30, short
    *((6, "B", 10, 20), (9, "B", -10, 12)),  # -80
    *((7, "A", 5, 10), (8, "A", 5, 14), (10, "A", -10, 18)),  # +60 in two steps
)


def test_trade_metrics_of_five_known_profits_are_pinned():
    found = summarise(DAYS, Account(E * 1000, fills=FIVE), {})["agent"]
    trips, still_open = round_trips(FIVE, DAYS)
    assert sorted(trip.profit for trip in trips) == [-80, -50, 30, 60, 100]
    assert still_open == 0
    assert (found["trades"], found["open_trades"]) == (5, 0)
    assert found["hit_rate"] == pytest.approx(0.6)
    assert found["profit_factor"] == pytest.approx(1.461538, abs=1e-6)
    assert found["expectancy"] == pytest.approx(12)
    assert found["payoff"] == pytest.approx(0.974359, abs=1e-6)
    assert found["holding_bars"] == pytest.approx((1 + 2 + 1 + 3 + 3) / 5)


def test_round_trip_is_net_of_the_fees_of_both_sides():
    trips, _ = round_trips(fills((0, "A", 10, 100), (1, "A", -10, 110), fee=2.5), DAYS)
    assert trips[0].profit == 95.0
    assert trips[0].gain == pytest.approx(0.095)


def test_fill_through_zero_closes_one_trip_and_opens_the_next_with_its_share_of_the_fee():
    through = fills((0, "A", 4, 10), (2, "A", -10, 12), (3, "A", 6, 11), fee=1.0)
    trips, still_open = round_trips(through, DAYS)
    assert [trip.side for trip in trips] == [1, -1]
    assert trips[0].profit == pytest.approx(4 * 2 - 1 - 0.4)
    assert trips[1].profit == pytest.approx(6 * 1 - 0.6 - 1)
    assert still_open == 0


def test_split_changes_the_shares_held_and_leaves_the_profit_alone():
    held = fills((0, "A", 10, 100), (3, "A", -20, 55))
    events = Events(DAYS[[2]], np.array(["A"]), np.array([2.0]), np.array([0.0]))
    trips, still_open = round_trips(held, DAYS, events)
    assert still_open == 0
    assert trips[0].profit == pytest.approx(100)
    assert (trips[0].entry, trips[0].exit) == (50.0, 55.0)


def test_split_on_the_day_of_a_fill_comes_before_it():
    bought = fills((2, "A", 10, 50), (3, "A", -10, 55))
    events = Events(DAYS[[2]], np.array(["A"]), np.array([2.0]), np.array([0.0]))
    assert round_trips(bought, DAYS, events)[0][0].profit == pytest.approx(50)


@pytest.mark.parametrize(("paid", "profit"), [(False, 0.0), (True, 15.0)])
def test_dividend_counts_only_where_the_account_receives_it(paid, profit):
    held = fills((0, "A", 10, 100), (3, "A", -10, 100))
    events = Events(DAYS[[2]], np.array(["A"]), np.array([1.0]), np.array([1.5]))
    assert round_trips(held, DAYS, events, paid)[0][0].profit == pytest.approx(profit)


def test_position_still_open_is_counted_and_not_a_round_trip():
    trips, still_open = round_trips(fills((0, "A", 10, 100), (3, "A", -4, 100)), DAYS)
    assert (trips, still_open) == ([], 1)


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(1, 99)), min_size=1, max_size=10))
def test_profits_of_all_trips_are_the_money_that_came_back(trades):
    trades = [*trades, (-sum(qty for qty, _ in trades), 50)]  # flat at the end
    rows = [(i, "A", qty, price) for i, (qty, price) in enumerate(trades)]
    trips, still_open = round_trips(fills(*rows, fee=0.5), DAYS)
    paid = 0.5 * sum(qty != 0 for qty, _ in trades)
    assert still_open == 0
    assert sum(trip.profit for trip in trips) == pytest.approx(
        -sum(qty * price for qty, price in trades) - paid
    )


def test_fill_outside_the_sessions_is_refused():
    with pytest.raises(DataError, match="not a session of this run"):
        round_trips(fills((10, "A", 1, 1)), DAYS[:5])


def test_turnover_is_half_of_all_trading_over_mean_equity_per_year():
    account = Account(np.full(11, 1000.0), fills=fills((0, "A", 5, 100), (3, "A", -5, 100)))
    found = summarise(DAYS, account, {})["agent"]
    assert found["turnover"] == pytest.approx(1000 / (2 * 1000) / (10 / 252))


def test_exposure_ignores_the_start_and_counts_bars_with_a_position():
    gross = np.array([0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0.5])
    account = Account(E, gross=gross, net=-gross)
    found = summarise(DAYS, account, {})["agent"]
    assert found["gross_exposure"] == pytest.approx(0.25)
    assert found["net_exposure"] == pytest.approx(-0.25)
    assert found["time_in_market"] == pytest.approx(0.3)


def test_costs_are_split_and_set_against_the_profit_before_costs():
    paid = fills((0, "A", 1, 10), (1, "A", -1, 10), fee=3.0, slippage=2.0, regulatory=1.0)
    equity = np.linspace(1000, 1030, 11)
    found = summarise(DAYS, Account(equity, fills=paid), {})["agent"]
    assert (found["commission"], found["regulatory_fees"], found["slippage"]) == (4, 2, 4)
    assert found["total_costs"] == 10
    assert found["cost_share"] == pytest.approx(10 / 40)


def test_conventions_are_written_beside_the_numbers():
    found = summarise(DAYS, Account(E), {}, conventions=Conventions(risk_free=0.02))
    assert found["conventions"]["risk_free"] == 0.02
    assert found["conventions"]["periods"] == 252
