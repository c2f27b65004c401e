"""An LSTM agent in Backtrader as it is usually wrapped, against ours.

- "naive": PandasData, a default Cerebro, the stock broker with the same costs, four analyzers, and in
  `next` one call of torch's nn.LSTM and of the head for every symbol; features and closes are computed
  beforehand (inside the time), in one go, which is more than the usual wrapping does;
- "barwise": `through_backtrader`, whole: priming, features bar by bar, limits, orders, recording.

Both carry the same weights over the same inputs, hold a thirtieth of the equity a symbol or nothing,
and pay the same. The wrapping buys once and holds, ours also brings a position back to size where the
agent buys again, so it has the more orders; how many there were stands in the rows. Making data
frames is outside the time.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import backtrader as bt
import pandas as pd
import torch

from agents.networks import ActorCritic
from engine.bars import Bars
from engine.observation import RECENT_BARS, market_part
from engine.run.record import Recorder
from engine.trader import TraderSpec
from tests.benchmarks.agent import FEATURES, network, random_walks, spec_for
from tests.benchmarks.backtest import CASH_A_SYMBOL, WARM_UP, agent, frames_of
from tests.benchmarks.harness import Row, interleave, seconds

ANALYZERS = ("SharpeRatio", "DrawDown", "TradeAnalyzer", "Returns")
ALMOST = 0.97  # of a sleeve: what a gap may cost is kept back
BUY, SELL = 2, 0


def measure(quick: bool) -> tuple[list[Row], list[str]]:
    """Return the rows; nothing is ever left out."""
    torch.set_num_threads(1)
    symbols, sessions, rounds = (2, 60, 1) if quick else (30, 2_800, 3)
    return _speed(symbols, sessions, rounds), []


def _speed(symbols: int, sessions: int, rounds: int) -> list[Row]:
    bars = random_walks(symbols, WARM_UP + sessions)
    spec = spec_for(bars, 1.0 / symbols)
    frames = frames_of(bars.between(bars.sessions[WARM_UP], None))
    found: dict[str, list[Any]] = {"naive": [], "ours": []}
    runs = {
        "naive": partial(wrapped, frames, bars, spec, WARM_UP),
        "ours": partial(agent, bars, spec, WARM_UP),
    }
    # The wrapping takes so long that nothing it does for the first time shows: no warm round.
    timed = {name: seconds(_kept(runs[name], found[name])) for name in runs}
    took = interleave(timed, rounds, warm=0)
    record: Recorder = found["ours"][0]
    orders = int((record.arrays()["filled"] != 0).sum())
    market = f"{symbols} symbols x {sessions:,}"
    return [
        Row(f"naive wrapping, {market}, {found['naive'][0].filled:,} orders", took["naive"], "s"),
        Row(f"barwise, {market}, {orders:,} orders", took["ours"], "s"),
        Row(f"naive wrapping / barwise, {market}", took["naive"] / took["ours"], "x", "20 x"),
    ]


def wrapped(frames: dict[str, pd.DataFrame], bars: Bars, spec: TraderSpec, first: int) -> "Naive":
    """Run the usual wrapping; return its strategy."""
    cerebro = bt.Cerebro()
    for symbol, frame in frames.items():
        cerebro.adddata(bt.feeds.PandasData(dataname=frame), name=symbol)
    cerebro.broker.setcash(CASH_A_SYMBOL * len(bars.symbols))
    info = {"commtype": bt.CommInfoBase.COMM_PERC, "percabs": True, "stocklike": True}
    cerebro.broker.addcommissioninfo(bt.CommInfoBase(commission=spec.costs.rate, **info))
    slip = {"slip_open": True, "slip_match": True, "slip_out": True}
    cerebro.broker.set_slippage_perc(spec.costs.slippage_bps * 1e-4, **slip)
    for name in ANALYZERS:
        cerebro.addanalyzer(getattr(bt.analyzers, name))
    rows, _ = FEATURES.history(bars)
    seen = torch.from_numpy(market_part(rows, spec.scaler))
    net = network(spec)
    cerebro.addstrategy(Naive, net=net, seen=seen, first=first, burn_in=spec.burn_in)
    strategy: Naive = cerebro.run()[0]
    return strategy


class Naive(bt.Strategy):
    """One LSTM call a symbol and bar; `seen` (T, N, F) are the inputs of the whole range."""

    params = (("net", None), ("seen", None), ("first", 0), ("burn_in", 0))

    def __init__(self) -> None:
        self.state: list[Any] = [None] * len(self.datas)
        self.since = [-1] * len(self.datas)
        self.filled = 0
        for t in range(self.p.first - self.p.burn_in, self.p.first):
            for column in range(len(self.datas)):
                self.step(t, column, [0.0, 0.0, 1.0, 1.0])

    def notify_order(self, order: bt.Order) -> None:
        """Count fills, and the bars since."""
        if order.status == bt.Order.Completed:
            self.filled += 1
            self.since[self.datas.index(order.data)] = -1

    def step(self, t: int, column: int, book: list[float]) -> int:
        """Return the action for one symbol, and carry its state on."""
        net: ActorCritic = self.p.net
        with torch.no_grad():
            out, self.state[column] = net.lstm(
                self.p.seen[t, column][None, None], self.state[column]
            )
            return int(net.policy(out[0], torch.tensor([book])).argmax())

    def next(self) -> None:
        """Decide for one symbol after the other."""
        equity, cash = self.broker.getvalue(), self.broker.getcash()
        sleeve = equity / len(self.datas)
        for column, data in enumerate(self.datas):
            held, close = self.getposition(data), data.close[0]
            self.since[column] += held.size != 0 or self.since[column] >= 0
            gain = close / held.price - 1.0 if held.size else 0.0
            recent = min(self.since[column], RECENT_BARS) / RECENT_BARS
            book = [
                min(held.size * close / sleeve, 1.0),
                min(gain, 1.0),
                cash / equity,
                recent if self.since[column] >= 0 else 1.0,
            ]
            action = self.step(self.p.first + len(self) - 1, column, book)
            if action == BUY and not held.size:
                self.buy(data=data, size=int(ALMOST * sleeve / close))
            elif action == SELL and held.size:
                self.close(data=data)


def _kept(run: Callable[[], Any], kept: list[Any]) -> Callable[[], None]:
    return lambda: kept.append(run())
