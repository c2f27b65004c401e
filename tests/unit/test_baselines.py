"""Baselines: what each rule wants, and what comes of it on tiny markets worked out by hand."""

import numpy as np
import pytest

from engine.bars import Bars
from engine.costs import Costs
from engine.errors import SettingsError
from engine.features import FeatureSet
from engine.limits import Limits
from engine.observation import Observation, Scaler
from engine.orders import Sizing
from engine.run.replay import replay
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue, VenueSettings
from strategies.at_random import uniform
from strategies.baselines import BASELINES, Momentum, make
from strategies.minimum_variance import weights

FREE = Costs(slippage_bps=0.0)
TENTH = Costs(rate=0.001, slippage_bps=0.0)


def market(*closes, start="2020-01-01", missing=()):
    """Bars that open where the last one closed, one row of closes a symbol."""
    close = np.array(closes, dtype=float).T
    open_ = np.vstack([close[:1], close[:-1]])
    high, low = np.maximum(open_, close), np.minimum(open_, close)
    ohlcv = np.stack([open_, high, low, close, np.full(close.shape, 1000.0)], axis=-1)
    for place in missing:
        ohlcv[place] = np.nan
    shape = close.shape
    return Bars(
        np.datetime64(start) + np.arange(shape[0]),
        tuple("ABCDEF"[: shape[1]]),
        ohlcv,
        ~np.isnan(ohlcv[:, :, 0]),
        np.ones(shape),
        np.zeros(shape),
        np.full(shape[1], np.datetime64("NaT", "D")),
        calendar="none",
    )


def run(baseline, bars, cash=1_000.0, costs=FREE, **changes):
    """Replay a baseline as a backtest does; return the recorded arrays."""
    features = FeatureSet(baseline.features)
    spec = TraderSpec(
        features=features,
        scaler=Scaler.none(len(features), clip=1e9),
        book_inputs=baseline.book_inputs,
        action=baseline.action,
        costs=costs,
        allocation=baseline.allocation,
        burn_in=baseline.burn_in,
        **changes,
    )
    symbols = len(bars.symbols)
    venue = SimVenue(cash, (1, symbols), costs, spec.venue)
    trader = Trader(spec, baseline.policy, symbols)
    return replay(trader, venue, bars, 0, len(bars.sessions) - 1).arrays()


def seen(market_part, position, fresh=None):
    """An observation of one book from rows of symbols."""
    market_part = np.array([market_part], dtype=np.float32)
    ready = np.ones(market_part.shape[:2], bool) if fresh is None else np.array([fresh])
    return Observation(market_part, np.array([position], dtype=np.float32)[..., None], ready)


# The one that cannot do without numbers gets some.
NAMES = [{"fixed_monthly": "fixed_monthly(40,30,20,5)"}.get(name, name) for name in BASELINES]
NONE = np.zeros((1, 4, 0), dtype=np.float32)


def test_flat_never_orders():
    rows = run(make("flat", 2), market([10, 11, 12], [20, 19, 18]))
    assert not rows["order_qty"].any()
    assert rows["equity"].tolist() == [1_000.0] * 3


def test_buy_and_hold_fills_each_sleeve_once():
    # 500 a symbol: 50 of A at 10, 25 of B at 20; nothing more, wherever prices go.
    rows = run(make("buy_and_hold", 2), market([10, 10, 12, 6, 10], [20, 20, 30, 15, 10]))
    assert rows["qty"].tolist() == [[0, 0], [50, 25], [50, 25], [50, 25], [50, 25]]
    assert rows["equity"].tolist() == [1_000, 1_000, 1_350, 675, 750]


def test_buy_and_hold_buys_a_late_listing_when_it_comes():
    late = [(0, 1), (1, 1)]
    rows = run(make("buy_and_hold", 2), market([10] * 5, [20] * 5, missing=late))
    assert rows["qty"].tolist() == [[0, 0], [50, 0], [50, 0], [50, 25], [50, 25]]


def test_equal_weight_held_is_buy_and_hold():
    bars = market([10, 11, 12, 13], [20, 18, 22, 21])
    held, bought = run(make("equal_weight_held", 2), bars), run(make("buy_and_hold", 2), bars)
    assert held["qty"].tolist() == bought["qty"].tolist()


def test_equal_weight_monthly_rebalances_after_the_first_bar_of_a_month():
    # 50 of A and 25 of B, bought on 30 January. On 1 February A stands at 30 and B at 20: 2,000 in all,
    # a thousand each: 33 of A, 50 of B. Sold and bought on 2 February at the same prices.
    closes = [10, 10, 10, 10, 30, 30, 60], [20] * 7
    rows = run(make("equal_weight_monthly", 2), market(*closes, start="2020-01-28"))
    assert rows["order_qty"].tolist() == [
        [0, 0],  # 28th: the feature needs two bars
        [50, 25],  # 29th
        [0, 0],
        [0, 0],
        [-17, 25],  # 1 February
        [0, 0],
        [0, 0],  # prices move, nobody trades
    ]
    assert rows["qty"][-1].tolist() == [33, 50]


@pytest.mark.parametrize(
    ("fast", "slow", "held", "exposure", "keep"),
    [
        (0.01, 0.03, 0.0, 1.0, False),  # the close is nearer to the fast average: it is higher
        (0.01, 0.03, 0.9, 1.0, True),  # and already held
        (0.03, 0.01, 0.9, 0.0, False),
        (0.03, 0.01, 0.0, 0.0, False),
        (-0.03, -0.01, 0.0, 1.0, False),
    ],
)
def test_sma_cross_holds_while_the_fast_average_is_above(fast, slow, held, exposure, keep):
    wish, _ = make("sma_cross", 1).policy.act(seen([[fast, slow]], [held]), NONE)
    assert (wish.exposure[0, 0], bool(wish.keep[0, 0])) == (exposure, keep)


def test_sma_cross_trades_at_the_open_after_the_cross():
    # Flat for 200 bars, then up by one: the fast average is above at once; then far down: below.
    closes = [10.0] * 200 + [11.0, 11.0, 11.0] + [2.0] * 15
    rows = run(make("sma_cross", 1), market(closes))
    ordered = np.flatnonzero(rows["order_qty"][:, 0])
    assert ordered[0] == 200
    assert rows["order_qty"][200, 0] == 90  # 1,000 / 11
    # fast = (10 (47 - k) + 33 + 2 k) / 50, slow = (10 (197 - k) + 33 + 2 k) / 200, so below as soon as
    # 4 (503 - 8 k) < 2,003 - 8 k: k = 1
    assert ordered.tolist() == [200, 203]
    assert rows["qty"][-1, 0] == 0


def test_momentum_chooses_the_top_third_and_gives_it_the_whole_book():
    scores = [0.1, 0.4, -0.2, 0.3, 0.0, 0.2]
    observed = seen([[score, 1.0] for score in scores], [0.0] * 6)
    wish, _ = Momentum().act(observed, NONE)
    assert wish.exposure.tolist() == [[0, 3, 0, 3, 0, 0]]  # two of six: half the book each
    assert not wish.keep.any()


def test_momentum_keeps_between_the_months():
    wish, _ = Momentum().act(seen([[0.1, 0.0], [0.4, 0.0]], [0.5, 0.0]), NONE)
    assert wish.keep.all()


def test_momentum_ranks_only_symbols_that_have_one():
    observed = seen([[0.1, 1.0], [0.0, 0.0], [-0.3, 1.0]], [0.0] * 3, [True, False, True])
    wish, _ = Momentum(top=0.5).act(observed, NONE)
    assert wish.exposure.tolist() == [[3, 0, 0]]  # one of two


def test_momentum_takes_the_earlier_symbol_on_a_tie_and_at_least_one():
    wish, _ = Momentum(top=0.1).act(seen([[0.2, 1.0], [0.2, 1.0]], [0.0, 0.0]), NONE)
    assert wish.exposure.tolist() == [[2, 0]]


def test_momentum_runs_through_the_trader():
    # B rises for a year and is chosen on the first of a month with 253 bars behind it.
    days = 300
    flat_price, rising = [100.0] * days, [100.0 * 1.001**n for n in range(days)]
    rows = run(make("momentum_12_1", 2), market(flat_price, rising, start="2020-01-01"), cash=1e5)
    bought = np.flatnonzero(rows["order_qty"][:, 1])
    assert np.datetime64("2020-01-01") + bought[0] == np.datetime64("2020-10-01")
    assert not rows["qty"][:, 0].any()
    value = rows["qty"][275, 1] * rows["mark"][275, 1]
    assert value == pytest.approx(rows["equity"][275], rel=0.01)


def test_random_trades_as_much_as_it_is_told_to():
    closes = [[10.0] * 4_000 for _ in range(4)]
    rows = run(make("random", 4, turnover=0.1, seed=3), market(*closes), cash=4_000.0)
    traded = np.abs(rows["filled"] * np.nan_to_num(rows["price"])).sum(axis=1) / rows["equity"]
    # 16,000 draws at one in ten: standard error of the mean 0.0024
    assert traded.mean() == pytest.approx(0.1, abs=0.01)


def test_random_is_a_function_of_seed_and_bar():
    bars = market(*[[10.0] * 300 for _ in range(2)])
    first, again = (run(make("random", 2, turnover=0.2, seed=3), bars) for _ in range(2))
    other = run(make("random", 2, turnover=0.2, seed=4), bars)
    assert first["filled"].tolist() == again["filled"].tolist()
    assert first["filled"].tolist() != other["filled"].tolist()


def test_random_with_its_memory_restored_goes_on_as_before():
    policy = make("random", 4, turnover=0.5, seed=1).policy
    observed = seen([[0.0]] * 4, [0.0] * 4)
    memory, keeps, memories = np.zeros((1, 4, 1), dtype=np.float32), [], []
    for _ in range(20):
        memories.append(memory)
        wish, memory = policy.act(observed, memory)
        keeps.append(wish.keep.tolist())
    wish, _ = policy.act(observed, memories[7])
    assert wish.keep.tolist() == keeps[7]


def test_draws_are_uniform_and_differ_from_symbol_to_symbol():
    draws = uniform(np.uint64(5), np.arange(100_000, dtype=np.uint64))
    assert draws.min() >= 0
    assert draws.max() < 1
    # standard error of the mean: 1 / sqrt(12 * 100,000) = 0.0009
    assert draws.mean() == pytest.approx(0.5, abs=0.004)
    assert len(np.unique(draws)) == 100_000


@pytest.mark.parametrize("name", NAMES)
def test_every_baseline_stays_within_the_limits_and_its_declared_inputs(name):
    rng = np.random.default_rng(0)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, (4, 600)), axis=1))
    bars = market(*closes, start="2019-01-01")
    rows = run(make(name, 4, turnover=0.05, seed=0), bars, cash=1e6, costs=Costs(), limits=Limits())
    value = rows["qty"] * rows["mark"]
    gross = np.abs(value).sum(axis=1) / rows["equity"]
    assert gross.max() <= 1.1  # one, and a day's move between the order and its fill
    assert (value >= 0).all()
    idle = ("flat", "sell_and_hold")  # shorts are not allowed
    assert (name in idle) == (not rows["filled"].any())


SHORTS = Limits(allow_short=True, max_exposure=10, max_gross=10, max_net=10)
CLOSES = VenueSettings(fill="next_close", size="fill", leverage=4.0)
ONE_ORDER = Sizing(flip="one_order")


def test_sell_and_hold_sells_short_once_after_the_bars_it_only_watches():
    # Decided on the third bar, sold at the close of the fourth: 1,000 / 20.02 = 49 shares at 20.
    closes = [10, 10, 10, 20, 10, 30]
    rows = run(
        make("sell_and_hold(2)", 1), market(closes), costs=TENTH, limits=SHORTS, venue=CLOSES
    )
    assert rows["qty"][:, 0].tolist() == [0, 0, 0, -49, -49, -49]
    cash = 1_000 + 49 * 20 * 0.999
    assert rows["equity"][3:] == pytest.approx([cash - 49 * x for x in (20, 10, 30)])


def test_trend_following_goes_from_long_to_short_at_the_close_after_the_crossing():
    # Averages of 1 and 2 closes: the last close against the one before; a tie is a rise.
    # 12: 1,000 / (1.001 * 12) = 83 bought. 9: 83 sold, then (cash after) / (1.001 * 9) sold short.
    closes = [10, 11, 12, 10, 9, 9, 9]
    rows = run(
        make("trend_following(1,2)", 1),
        market(closes),
        costs=TENTH,
        limits=SHORTS,
        venue=CLOSES,
        sizing=ONE_ORDER,
    )
    cash = 1_000 - 83 * 12 * 1.001 + 83 * 9 * 0.999
    short = np.floor(cash / (1.001 * 9))
    after = cash + short * 9 * 0.999
    long = np.floor((after - short * 9 * 1.001) / (1.001 * 9))
    assert rows["qty"][:, 0].tolist() == [0, 0, 83, 83, -short, -short, long]
    assert rows["equity"][5] == pytest.approx(after - short * 9)


def test_mean_reversion_takes_the_other_side_but_for_ties():
    rng = np.random.default_rng(3)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 200)))
    sides = []
    for name in ("trend_following(3,8)", "mean_reversion(3,8)"):
        rows = run(
            make(name, 1),
            market(closes),
            costs=TENTH,
            limits=SHORTS,
            venue=CLOSES,
            sizing=ONE_ORDER,
        )
        sides.append(np.sign(rows["qty"][10:, 0]))
    assert (sides[0] == -sides[1]).all()
    assert len(set(sides[0])) == 2


def test_fixed_monthly_holds_the_percents_it_is_given():
    rows = run(make("fixed_monthly(60,40)", 2), market([10] * 5, [20] * 5, start="2020-01-30"))
    assert rows["qty"][-1].tolist() == [60, 20]


def test_volatility_target_shrinks_its_sleeve_in_wild_times_and_fills_it_in_calm_ones():
    # 80 % a year is 0.050395 a bar; a bar of log(1.1) = 0.095310 leaves 0.5288 of 1,100: 52.88 shares.
    rows = run(make("volatility_target(80,1)", 1), market([10, 10, 10, 11, 11, 11]))
    assert rows["qty"][:, 0].tolist() == [0, 0, 100, 100, 52, 100]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("volatility_target(0)", "expected a volatility above 0 percent a year, found 0"),
        ("flat(3)", "expected 0 numbers in brackets, found 1"),
        ("trend_following(20,5)", "expected a fast window below the slow one, found 20 and 5"),
        ("fixed_monthly(60,40,20)", "expected 2 numbers in brackets, found 3"),
        ("fixed_monthly(60,50)", "expected percents that add up to 100 at most, found 110"),
    ],
)
def test_numbers_a_baseline_cannot_use_are_refused(name, wrong):
    with pytest.raises(SettingsError, match=wrong):
        make(name, 2)


def test_least_variance_of_two_symbols_is_the_closed_form():
    # w1 = (s22 - s12) / (s11 + s22 - 2 s12) = (9 - 1) / (4 + 9 - 2)
    found = weights(np.array([[4.0, 1.0], [1.0, 9.0]]))
    assert found == pytest.approx([8 / 11, 3 / 11])


def test_least_variance_leaves_out_what_would_be_sold_short():
    # Unconstrained, the second would get (1 - 1.9) / (1 + 4 - 3.8) < 0.
    assert weights(np.array([[1.0, 1.9], [1.9, 4.0]])).tolist() == [1.0, 0.0]


def test_least_variance_of_many_meets_the_conditions_of_an_optimum():
    rng = np.random.default_rng(5)
    for symbols in (2, 5, 30):
        cov = np.cov(rng.normal(size=(symbols, 60)) + rng.normal(size=60))
        found = weights(cov)
        slope = cov @ found
        assert found.min() >= 0
        assert found.sum() == pytest.approx(1.0)
        assert slope[found > 0] == pytest.approx(found @ slope)
        assert (slope >= found @ slope * (1 - 1e-9)).all()


def test_unknown_baseline_is_named_with_those_that_exist():
    with pytest.raises(SettingsError, match='unknown baseline "sma"; known: flat, buy_and_hold'):
        make("sma", 1)
