"""The decision: burn-in, gaps, readiness, snapshots, and what a wish turns into."""

from dataclasses import replace

import numpy as np
import pytest

from engine.bars import Bars
from engine.burn_in import last_rows
from engine.errors import CheckpointError, SettingsError
from engine.features import FeatureSet
from engine.observation import Scaler, market_part
from engine.policy import ActionSpace
from engine.reasons import Reason
from engine.run.replay import replay
from engine.trader import Trader, TraderSpec
from engine.venue import Book, SimVenue
from tests.markets import made_up
from tests.policies import Constant, Follower


def spec_for(bars: Bars, **changes: object) -> TraderSpec:
    features = FeatureSet(("log_return", "sma_ratio(5)"))
    rows, ready = features.history(bars)
    base: dict[str, object] = {
        "features": features,
        "scaler": Scaler.fit(rows, ready),
        "book_inputs": ("position", "cash"),
        "action": ActionSpace(),
        "allocation": 1.0 / len(bars.symbols),
        "burn_in": 10,
    }
    return TraderSpec(**(base | changes))  # type: ignore[arg-type]


def push(trader: Trader, bars: Bars, t: int, venue: SimVenue):
    return trader.on_bar(
        bars.sessions[t],
        bars.ohlcv[t],
        bars.traded[t],
        bars.split[t],
        bars.dividend[t],
        venue.book,
        venue.pending.qty,
    )


def test_live_windows_give_the_decisions_of_a_replay_bit_for_bit():
    bars = made_up(3, sessions=300)
    spec = spec_for(bars)
    first = 120
    record = replay(Trader(spec, Follower(), 3), SimVenue(1e5, (1, 3)), bars, first, 299).arrays()
    live, venue = Trader(spec, Follower(), 3), SimVenue(1e5, (1, 3))
    live.prime(bars.between(None, bars.sessions[first - 1]))
    for t in range(first, 300):
        venue.advance(bars.row(t))
        decision = push(live, bars, t, venue)
        venue.submit(decision.orders)
        at = t - first
        assert np.array_equal(live.memory[0], record["memory"][at])
        assert np.array_equal(decision.obs.market[0], record["market"][at])
        assert np.array_equal(decision.orders.qty[0], record["order_qty"][at])
    assert (record["filled"] != 0).sum() > 50


def thinned(seed: int) -> Bars:
    """Four symbols that trade always, now and then, or hardly ever, each for fifty sessions."""
    bars, rng = made_up(seed, sessions=200, symbols=4, events=0.05), np.random.default_rng(seed)
    share = np.repeat(rng.choice([0.03, 0.3, 1.0], (4, 4)), 50, axis=0)
    traded = bars.traded & (rng.random(share.shape) < share)
    ohlcv = np.where(traded[:, :, None], bars.ohlcv, np.nan)
    return replace(bars, ohlcv=ohlcv, traded=traded)


def same_memory(bars: Bars) -> bool:
    """Whether a primed trader remembers what every row of the whole history says it should."""
    spec = spec_for(bars, features=FeatureSet(("excess(momentum(3))", "sma_ratio(5)")))
    primed, whole = Trader(spec, Follower(), 4), Trader(spec, Follower(), 4)
    primed.prime(bars)
    rows, fresh = spec.features.history(bars)
    whole.burn_in(market_part(rows, spec.scaler)[:, None], fresh[:, None])
    assert np.any(whole.memory)
    return np.array_equal(primed.memory, whole.memory)


def test_priming_from_a_part_of_a_history_is_priming_from_all_of_it(monkeypatch):
    markets = [thinned(seed) for seed in range(30)]
    assert all(same_memory(bars) for bars in markets)

    def own_bars_only(
        history: Bars, lookback: int, burn_in: int
    ) -> Bars:  # planted: no others' rows
        first = int(last_rows(history.traded, burn_in + lookback).any(axis=1).argmax())
        return history.between(history.sessions[first], None)

    monkeypatch.setattr("engine.trader.needed", own_bars_only)
    assert not all(same_memory(bars) for bars in markets)


def test_memory_of_a_primed_trader_comes_from_the_last_burn_in_rows_alone():
    bars = made_up(4, sessions=200, gaps=0.1)
    spec = spec_for(bars, burn_in=7)
    trader = Trader(spec, Constant(0.0), 3)
    trader.prime(bars)
    assert (trader.memory == 7.0).all()
    assert (trader.warm == 7).all()


def test_memory_and_warmth_stand_still_on_a_bar_that_did_not_trade():
    bars = made_up(5, sessions=200, gaps=0.3)
    spec = spec_for(bars)
    trader = Trader(spec, Constant(0.0), 3)
    record = replay(trader, SimVenue(1e5, (1, 3)), bars, 0, 199)
    _, fresh = spec.features.history(bars)
    assert np.array_equal(trader.memory[0, :, 0], fresh.sum(axis=0))
    steps = np.diff(record.arrays()["memory"][:, :, 0], axis=0)
    assert np.array_equal(steps, fresh[1:].astype(np.float32))


def test_symbol_is_flat_until_lookback_and_burn_in_are_behind_it():
    bars = made_up(6, sessions=200, gaps=0.0, late=60)
    spec = spec_for(bars, burn_in=10)
    record = replay(Trader(spec, Constant(1.0), 3), SimVenue(1e5, (1, 3)), bars, 0, 199).arrays()
    for n in range(3):
        # sma_ratio(5) needs 5 bars: rows exist from the fifth; ten rows burn in, the next decides.
        decides = n * 60 + 4 + 10
        assert (record["order_qty"][:decides, n] == 0).all()
        assert record["order_qty"][decides, n] > 0
        waiting = record["reasons"][n * 60 : decides, n]
        assert ((waiting & Reason.NOT_READY) != 0).all()


def test_wish_inside_the_band_keeps_and_a_wish_for_nothing_always_sells():
    bars = made_up(7, sessions=60, symbols=1, gaps=0.0, events=0.0)
    spec = spec_for(bars, burn_in=0, action=ActionSpace(band=0.5))
    venue = SimVenue(1e5, (1, 1))
    trader = Trader(spec, Constant(0.4), 1)
    rows = replay(trader, venue, bars, 0, 59).arrays()
    assert (rows["order_qty"] == 0).all()  # 0.4 lies within 0.5 of holding nothing
    assert (rows["reasons"][10:] & Reason.BAND).all()
    book = Book.start(1e5, 1, 1)
    book.qty[:], book.mark[:] = 100.0, 10.0  # 1,000 of 101,000 dollars: 0.0099 of the sleeve
    trader.policy = Constant(0.0)
    market, fresh = np.zeros((1, 1, 2), np.float32), np.ones((1, 1), bool)
    decision = trader.step(market, fresh, fresh, book, np.zeros((1, 1)))
    assert decision.orders.qty[0, 0] == -100.0


def test_exposures_are_rounded_so_that_a_last_bit_buys_no_share():
    bars = made_up(8, sessions=30, symbols=1, gaps=0.0, events=0.0)
    spec = spec_for(bars, burn_in=0, action=ActionSpace(kind="continuous", band=0.0))
    orders = []
    for wish in (0.3, 0.3 + 4e-5, 0.3 - 4e-5):
        venue = SimVenue(1e6, (1, 1))
        record = replay(Trader(spec, Constant(wish), 1), venue, bars, 0, 29).arrays()
        orders.append(record["order_qty"])
    assert np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[0], orders[2])


def test_exposures_shrink_where_a_symbol_moves_more_than_a_full_sleeve_is_sized_for():
    bars = made_up(8, sessions=60, symbols=3, gaps=0.0, events=0.0)
    features = FeatureSet(("log_return", "realised_vol(5)"))
    scaler = Scaler(np.array([0.0, 0.02]), np.array([0.01, 0.005]), clip=5.0)
    action = ActionSpace(kind="continuous", band=0.0, volatility=0.02, volatility_bars=5)
    spec = spec_for(bars, features=features, scaler=scaler, action=action, burn_in=0)
    trader = Trader(spec, Constant(0.8), 3)
    fresh, book = np.ones((1, 3), bool), Book.start(1e5, 1, 3)
    book.mark[:] = 10.0
    moved = np.array([[[0.0, 0.04], [0.0, 0.02], [0.0, 0.01]]])  # twice, as much, half as much
    decision = trader.step(scaler.apply(moved), fresh, fresh, book, np.zeros((1, 3)))
    assert decision.wish.exposure == pytest.approx(np.array([[0.4, 0.8, 0.8]]))
    assert decision.target == pytest.approx(np.array([[0.4, 0.8, 0.8]]) / 3)


def test_sizing_by_a_volatility_that_is_not_observed_is_refused():
    bars = made_up(8, sessions=30, symbols=1, gaps=0.0, events=0.0)
    with pytest.raises(
        SettingsError, match=r"sizes exposures by realised_vol\(20\).*found log_ret"
    ):
        spec_for(bars, action=ActionSpace(volatility=0.01))


def test_snapshot_and_restore_go_on_bit_for_bit():
    bars = made_up(9, sessions=250)
    spec = spec_for(bars)
    whole, venue = Trader(spec, Follower(), 3), SimVenue(1e5, (1, 3))
    resumed = None
    for t in range(250):
        if t == 140:
            state = whole.snapshot()
            resumed = Trader(spec, Follower(), 3)
            resumed.restore(state)
            other = SimVenue(1e5, (1, 3))
            other.restore(venue.snapshot())
        venue.advance(bars.row(t))
        mine = push(whole, bars, t, venue)
        venue.submit(mine.orders)
        if resumed is not None:
            other.advance(bars.row(t))
            theirs = push(resumed, bars, t, other)
            other.submit(theirs.orders)
            assert np.array_equal(whole.memory, resumed.memory)
            assert np.array_equal(mine.orders.qty, theirs.orders.qty)


def test_snapshot_of_another_symbol_list_is_refused():
    bars = made_up(9, sessions=50)
    trader = Trader(spec_for(bars), Follower(), 3)
    with pytest.raises(CheckpointError, match="burn in again"):
        Trader(spec_for(bars), Follower(), 2).restore(trader.snapshot())


def test_policy_that_returns_nan_orders_nothing_and_stops_the_run():
    bars = made_up(9, sessions=50)
    trader = Trader(spec_for(bars), Constant(float("nan")), 3)
    with pytest.raises(CheckpointError, match="not finite"):
        replay(trader, SimVenue(1e5, (1, 3)), bars, 0, 49)


def test_ruined_book_sends_no_order_and_says_why():
    bars = made_up(10, sessions=30, symbols=1, gaps=0.0)
    trader = Trader(spec_for(bars, burn_in=0), Constant(1.0), 1)
    book = Book.start(-5.0, 1, 1)
    book.mark[:] = 10.0
    market, fresh = np.zeros((1, 1, 2), np.float32), np.ones((1, 1), bool)
    decision = trader.step(market, fresh, fresh, book, np.zeros((1, 1)))
    assert decision.orders.qty[0, 0] == 0.0
    assert decision.reasons[0, 0] & Reason.RUINED
