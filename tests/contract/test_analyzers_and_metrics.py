"""Backtrader's own analyzers and engine.metrics say the same of one run, splits and a delisting in it."""

from dataclasses import replace

import backtrader as bt
import numpy as np
import pytest

from brokers.bridge import VenueBroker
from brokers.feed import add_feeds
from engine.account import Conventions
from engine.bars import Bars
from engine.costs import Costs
from engine.features import FeatureSet
from engine.limits import Limits
from engine.observation import Scaler
from engine.policy import ActionSpace
from engine.report.folder import RunFolder
from engine.run.outputs import write_run
from engine.run.record import Recorder
from engine.settings import Settings
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue
from strategies.agent import AgentStrategy
from tests.markets import made_up
from tests.policies import Follower

CASH = 1_000_000.0
COSTS = Costs(rate=0.001, per_order=0.35, slippage_bps=3.0)


def delisted(bars: Bars, symbol: int, last: int) -> Bars:
    traded, ohlcv, ended = bars.traded.copy(), bars.ohlcv.copy(), bars.ended.copy()
    traded[last + 1 :, symbol], ohlcv[last + 1 :, symbol] = False, np.nan
    ended[symbol] = bars.sessions[np.flatnonzero(traded[:, symbol])[-1]]
    return replace(bars, ohlcv=ohlcv, traded=traded, ended=ended)


@pytest.fixture(scope="module", params=[False, True], ids=["long", "long and short"])
def run(request, tmp_path_factory):
    """The strategy after the run, its metrics, and the run folder that was read back."""
    bars = delisted(made_up(31, sessions=500, gaps=0.05, late=20), 1, 345)
    space, symbols = ActionSpace(), len(bars.symbols)
    spec = TraderSpec(
        features=FeatureSet(("log_return", "rsi(14)")),
        scaler=Scaler(np.zeros(2), np.array([0.02, 0.2]), 5.0),
        book_inputs=("position",),
        action=space,
        limits=Limits(allow_short=request.param),
        costs=COSTS,
        allocation=1.0 / symbols,
    )
    trader = Trader(spec, Follower(space, request.param), symbols)
    recorder = Recorder()
    watched = recorder.watch(trader, SimVenue(CASH, (1, symbols), COSTS, spec.venue))
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    cerebro.setbroker(VenueBroker(watched, bars))
    add_feeds(cerebro, bars)
    cerebro.addstrategy(AgentStrategy, trader=trader)
    for name in ("TradeAnalyzer", "DrawDown", "TimeReturn", "Transactions"):
        cerebro.addanalyzer(getattr(bt.analyzers, name), _name=name)
    strategy = cerebro.run()[0]
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    settings = Settings(costs=COSTS, limits=spec.limits)
    metrics = write_run(folder, settings, bars, recorder, {}, {"name": "x"})["agent"]
    return strategy, metrics, folder.read()


def analysis(strategy, name):
    return strategy.analyzers.getbyname(name).get_analysis()


def test_the_run_holds_what_is_hard_to_count(run):
    _, metrics, found = run
    assert metrics["trades"] > 50
    assert metrics["open_trades"] > 0
    assert (found.events["split"] != 1.0).any()
    assert [item["symbol"] for item in found.summary["settled"]] == ["S1"]
    assert (found.trades["fee"] == 0.0).sum() > 1  # the settlement, and fractions left by splits


def test_time_return_gives_the_returns_behind_every_metric(run):
    strategy, metrics, found = run
    theirs = np.array(list(analysis(strategy, "TimeReturn").values()))
    equity = found.equity["agent"]
    np.testing.assert_allclose(theirs[1:], equity[1:] / equity[:-1] - 1.0, rtol=0, atol=1e-12)
    yearly = np.sqrt(Conventions().periods)
    assert metrics["sharpe"] == pytest.approx(
        theirs[1:].mean() / theirs[1:].std(ddof=1) * yearly, rel=1e-9
    )
    assert metrics["total_return"] == pytest.approx(np.prod(1.0 + theirs) - 1.0, rel=1e-9)


def test_drawdown_gives_the_deepest_and_the_longest(run):
    strategy, metrics, _ = run
    theirs = analysis(strategy, "DrawDown").max
    assert metrics["max_drawdown"] == pytest.approx(-theirs.drawdown / 100.0, rel=1e-9)
    assert metrics["under_water"] == theirs.len


def test_trade_analyzer_gives_the_round_trips(run):
    strategy, metrics, _ = run
    theirs = analysis(strategy, "TradeAnalyzer")
    assert metrics["trades"] == theirs.total.closed
    assert metrics["open_trades"] == theirs.total.get("open", 0)
    assert metrics["hit_rate"] == pytest.approx(theirs.won.total / theirs.total.closed, rel=1e-12)
    assert metrics["expectancy"] == pytest.approx(theirs.pnl.net.average, rel=1e-8)
    won, lost = theirs.won.pnl, theirs.lost.pnl
    assert metrics["profit_factor"] == pytest.approx(-won.total / lost.total, rel=1e-8)
    assert metrics["payoff"] == pytest.approx(-won.average / lost.average, rel=1e-8)
    assert metrics["holding_bars"] == pytest.approx(theirs.len.average, rel=1e-12)


def test_transactions_are_the_fills_and_the_turnover(run):
    strategy, metrics, found = run
    listed = [
        (str(day.date()), symbol, size, price)
        for day, rows in analysis(strategy, "Transactions").items()
        for size, price, _, symbol, _ in rows
    ]
    ours = found.trades
    assert metrics["fills"] == len(ours["qty"])
    by_day: dict[tuple[str, str], list[float]] = {}
    for day, symbol, qty, price in zip(
        ours["session"].astype(str), ours["symbol"], ours["qty"], ours["price"], strict=True
    ):
        moved = by_day.setdefault((day, symbol), [0.0, 0.0])
        moved[0] += qty
        moved[1] += qty * price
    theirs = {(day, symbol): [size, size * price] for day, symbol, size, price in listed}
    assert sorted(theirs) == sorted(by_day)
    for key, moved in theirs.items():
        assert moved == pytest.approx(by_day[key], rel=1e-9), key
