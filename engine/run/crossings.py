"""Windows of the crossing rules that did best before the test: all pairs at once, one book each.

A baseline `trend_following(best)` or `mean_reversion(best,30)` (30 bars only watched) becomes the same
rule with the windows that had the highest Sharpe ratio on the bars before the test, under the settings'
own limits, costs and venue. All 406 pairs of 1 to 29 bars are tried; the first of the best is taken.
"""

import re
from dataclasses import dataclass, replace

import numpy as np

from engine import measures
from engine.account import PERIODS
from engine.bars import Bars
from engine.features import FeatureSet
from engine.observation import Observation, Scaler, market_part
from engine.policy import Wish
from engine.run.build import dates
from engine.settings import Settings
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue

LONGEST = 29
PAIRS = [(fast, slow) for fast in range(1, LONGEST) for slow in range(fast + 1, LONGEST + 1)]
RULES = ("trend_following", "mean_reversion")
BOOKS = len(RULES) * len(PAIRS)
BEST = re.compile(rf"({'|'.join(RULES)})\(best((?:,\d+)?)\)")
Pair = tuple[int, int]


def with_best_windows(settings: Settings, bars: Bars) -> Settings:
    """Return the settings with windows in the place of every `best` among strategy and baselines.

    Raises: DataError when there are no bars before the test.
    """
    asked = settings.backtest
    names = [name.replace(" ", "") for name in (asked.strategy, *asked.baselines)]
    if not any(BEST.fullmatch(name) for name in names):
        return settings
    first, _ = dates(bars, settings, "test")
    found = best_pairs(settings, bars.between(None, bars.sessions[first]))
    strategy, *baselines = (_named(name, found) for name in names)
    chosen = {"strategy": strategy, "baselines": tuple(baselines)}
    return settings.model_copy(update={"backtest": asked.model_copy(update=chosen)})


def _named(name: str, found: dict[str, Pair]) -> str:
    match = BEST.fullmatch(name)
    if match is None:
        return name
    fast, slow = found[match[1]]
    return f"{match[1]}({fast},{slow}{match[2]})"


def best_pairs(settings: Settings, bars: Bars) -> dict[str, Pair]:
    """Return the first pair with the best Sharpe ratio over all bars, of each rule.

    One average more than the longest is asked for, so that the first fill is that of the 31st bar.
    """
    curves = _curves(settings, bars)
    sharpes = np.array([_sharpe(curve) for curve in curves]).reshape(len(RULES), len(PAIRS))
    return {rule: PAIRS[int(row.argmax())] for rule, row in zip(RULES, sharpes, strict=True)}


def _sharpe(curve: np.ndarray) -> float:
    try:
        return float(measures.sharpe(measures.returns_of(curve), PERIODS))
    except measures.NotComputable:  # it never traded, or was ruined
        return -np.inf


@dataclass(frozen=True)
class EveryPair:
    """Both rules on every pair; the market part holds the ratios to averages of 1, 2, 3, ... closes."""

    memory_width: int = 0

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        from strategies.baselines import mean_reversion, trend_following

        pairs = np.array(PAIRS * len(RULES)) - 1
        own = replace(obs, market=obs.market[0][:, pairs].swapaxes(0, 1))
        trend, reversion = trend_following(own), mean_reversion(own)
        first = (np.arange(BOOKS) < len(PAIRS))[:, None]
        exposure = np.where(first, trend.exposure, reversion.exposure)
        return Wish(exposure, np.where(first, trend.keep, reversion.keep)), memory


def _curves(settings: Settings, bars: Bars) -> np.ndarray:
    # Equity of every book, (BOOKS, T+1): the first bar has a return too, of zero.
    symbols = len(bars.symbols)
    features = FeatureSet(tuple(f"sma_ratio({n})" for n in range(1, LONGEST + 2)))
    spec = _spec(settings, features, symbols)
    trader = Trader(spec, EveryPair(), symbols, books=BOOKS)
    shape = (BOOKS, symbols)
    venue = SimVenue(settings.backtest.cash, shape, settings.costs, settings.venue)
    rows, fresh = features.history(bars)
    market, every = market_part(rows, spec.scaler), np.ones(shape, dtype=bool)
    equity = [np.full(BOOKS, settings.backtest.cash)]
    for t in range(len(bars.sessions)):
        venue.advance(bars.row(t))
        equity.append(venue.book.equity())
        seen = np.broadcast_to(market[t], (*shape, len(features)))
        held = venue.book, venue.pending.qty
        venue.submit(trader.step(seen, every & fresh[t], every, *held).orders)
    return np.array(equity).T


def _spec(settings: Settings, features: FeatureSet, symbols: int) -> TraderSpec:
    from strategies.baselines import EXACT, POSITION

    return TraderSpec(
        features=features,
        scaler=Scaler.none(len(features), clip=1e9),
        book_inputs=POSITION,
        action=EXACT,
        limits=settings.limits,
        sizing=settings.sizing,
        costs=settings.costs,
        venue=settings.venue,
        allocation=settings.backtest.allocation or 1.0 / symbols,
    )
