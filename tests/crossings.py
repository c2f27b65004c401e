"""Every pair of moving averages at once, one book each, to find those that did best in training."""

import numpy as np

from engine import measures
from engine.account import PERIODS
from engine.features import FeatureSet
from engine.observation import Observation, Scaler, market_part
from engine.policy import Wish
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue
from strategies.baselines import EXACT, POSITION, mean_reversion, trend_following

LONGEST = 29
PAIRS = [(fast, slow) for fast in range(1, LONGEST) for slow in range(fast + 1, LONGEST + 1)]
BOOKS = 2 * len(PAIRS)  # trend following, then mean reversion


class EveryPair:
    """Both rules on every pair; the market part holds the ratios to averages of 1, 2, 3, ... closes."""

    memory_width = 0

    def act(self, obs, memory):
        """See `engine.policy.Policy`."""
        pairs = np.array(PAIRS * 2) - 1
        own = Observation(obs.market[0, 0][pairs][:, None], obs.book, obs.fresh)
        trend, reversion = trend_following(own), mean_reversion(own)
        first = (np.arange(BOOKS) < len(PAIRS))[:, None]
        exposure = np.where(first, trend.exposure, reversion.exposure)
        return Wish(exposure, np.where(first, trend.keep, reversion.keep)), memory


def best_pairs(settings, bars):
    """Return the first pair with the best Sharpe ratio over all bars: of the trend rule, of reversion.

    One average more than the longest is asked for, so that the first fill is that of the 31st bar.
    """
    features = FeatureSet(tuple(f"sma_ratio({n})" for n in range(1, LONGEST + 2)))
    spec = TraderSpec(
        features=features,
        scaler=Scaler.none(len(features), clip=1e9),
        book_inputs=POSITION,
        action=EXACT,
        limits=settings.limits,
        sizing=settings.sizing,
        costs=settings.costs,
        venue=settings.venue,
    )
    trader = Trader(spec, EveryPair(), 1, books=BOOKS)
    venue = SimVenue(settings.backtest.cash, (BOOKS, 1), settings.costs, settings.venue)
    rows, fresh = features.history(bars)
    market, every = market_part(rows, spec.scaler), np.ones((BOOKS, 1), dtype=bool)
    equity = [np.full(BOOKS, settings.backtest.cash)]  # the first bar has a return too, of zero
    for t in range(len(bars.sessions)):
        venue.advance(bars.row(t))
        equity.append(venue.book.equity())
        seen = np.broadcast_to(market[t], (BOOKS, 1, len(features)))
        held = venue.book, venue.pending.qty
        venue.submit(trader.step(seen, every & fresh[t], every, *held).orders)
    curves = np.array(equity).T
    sharpes = np.array([measures.sharpe(measures.returns_of(c), PERIODS) for c in curves])
    trend, reversion = np.split(sharpes, 2)
    return PAIRS[int(trend.argmax())], PAIRS[int(reversion.argmax())]
