"""A backtest: AgentStrategy in Backtrader on the simulated venue, and baselines beside it."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from engine.bars import Bars
from engine.features import FeatureSet
from engine.observation import Scaler
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.settings import Settings
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue, Venue

if TYPE_CHECKING:
    from brokers.bridge import VenueBroker


def through_backtrader(
    bars: Bars,
    trader: Trader,
    venue: SimVenue,
    first: int,
    last: int,
    recorder: Recorder | None = None,
    strategy: type | None = None,
) -> Recorder:
    """Run AgentStrategy over the bars `first` to `last`; bars before them prime the trader.

    `strategy` takes the place of AgentStrategy where a check plants a bug.
    """
    recorder = recorder or Recorder()
    if first:
        trader.prime(bars.between(None, bars.sessions[first - 1]))
    tested = bars.between(bars.sessions[first], bars.sessions[last])
    run_cerebro(tested, trader, recorder.watch(trader, venue), strategy=strategy)
    trader.observer = None
    return recorder


def run_cerebro(
    bars: Bars,
    trader: Trader,
    venue: Venue,
    strategy: type | None = None,
    send_last: bool = True,
) -> "VenueBroker":
    """Run AgentStrategy over all of `bars` in one finite Cerebro; return its broker.

    With `send_last=False` the orders of the last bar are left in the broker's `queued`.
    """
    from brokers.bridge import VenueBroker
    from brokers.feed import add_feeds
    from brokers.loop import TableCerebro
    from strategies.agent import AgentStrategy

    cerebro = TableCerebro(runonce=False, stdstats=False)
    broker = VenueBroker(venue, bars, send_last)
    cerebro.setbroker(broker)
    add_feeds(cerebro, bars)
    cerebro.addstrategy(strategy or AgentStrategy, trader=trader)
    with collector_frozen():
        cerebro.run()
    return broker


@contextmanager
def collector_frozen() -> Iterator[None]:
    """Let the garbage collector pass over all that exists already, libraries above all."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def run_baselines(
    settings: Settings,
    bars: Bars,
    first: int,
    last: int,
    turnover: float,
    done: Callable[[str], None] = lambda name: None,
) -> dict[str, Recorder]:
    """Replay every baseline of the settings through the same trader, venue, limits and costs.

    Units: `turnover` of the agent, fraction of the book traded a bar; `random` matches it.
    """
    records = {}
    for name in settings.backtest.baselines:
        trader = baseline_trader(settings, name, bars, turnover)
        records[name] = replay(trader, new_venue(settings, bars), bars, first, last)
        done(name)
    return records


def baseline_trader(settings: Settings, name: str, bars: Bars, turnover: float) -> Trader:
    """Return a trader with the policy of one baseline under the settings' limits and costs."""
    from strategies.baselines import make

    baseline = make(name, len(bars.symbols), turnover, settings.train.seed)
    features = FeatureSet(baseline.features)
    spec = TraderSpec(
        features=features,
        scaler=Scaler.none(len(features), clip=1e9),
        book_inputs=baseline.book_inputs,
        action=baseline.action,
        limits=settings.limits,
        sizing=settings.sizing,
        costs=settings.costs,
        venue=settings.venue,
        allocation=settings.backtest.allocation or baseline.allocation,
        burn_in=baseline.burn_in,
    )
    return Trader(spec, baseline.policy, len(bars.symbols))


def new_venue(settings: Settings, bars: Bars) -> SimVenue:
    """Return a simulated venue with the settings' cash, costs and rules."""
    shape = (1, len(bars.symbols))
    return SimVenue(settings.backtest.cash, shape, settings.costs, settings.venue)
