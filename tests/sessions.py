"""Made-up sessions, orders and simulated venues with round numbers, for tests of the market."""

import numpy as np

from engine.bars import MarketRow
from engine.costs import Costs
from engine.venue import LIMIT, MARKET, STOP, STOP_LIMIT, Orders, SimVenue, VenueSettings

FIRST = np.datetime64("2024-06-03", "D")
FREE = Costs(slippage_bps=0.0)
KINDS = np.array([MARKET, MARKET, LIMIT, STOP, STOP_LIMIT], dtype=np.int8)


def session(
    open=None, high=None, low=None, close=None, *, split=1.0, dividend=0.0, ended=False, day=0
) -> MarketRow:
    """Return a row: `close` (list over symbols, or lists over books) is enough; NaN = no bar.

    Missing prices are the open (or close); high and low span both.
    """
    close = np.atleast_2d(np.array(open if close is None else close, dtype=float))
    open = close.copy() if open is None else np.atleast_2d(np.array(open, dtype=float))
    shape = close.shape
    fill = lambda x, other: other if x is None else np.atleast_2d(np.array(x, float))  # noqa: E731
    spread = lambda x, kind: np.broadcast_to(np.array(x, dtype=kind), shape).copy()  # noqa: E731
    return MarketRow(
        session=np.full(shape[0], FIRST + day),
        open=open,
        high=fill(high, np.maximum(open, close)),
        low=fill(low, np.minimum(open, close)),
        close=close,
        traded=~np.isnan(close),
        split=spread(split, float),
        dividend=spread(dividend, float),
        ended=spread(ended, bool),
    )


def walk(seed: int, sessions: int, books: int, symbols: int, gaps: float = 0.0) -> list[MarketRow]:
    """Return random sessions: prices around 100, ranges of a few percent, some bars missing."""
    rng = np.random.default_rng(seed)
    shape = (books, symbols)
    last, rows = np.full(shape, 100.0), []
    for day in range(sessions):
        moves = np.exp(0.02 * rng.standard_normal((4, *shape)))
        open, close = last * moves[0], last * moves[0] * moves[1]
        high = np.maximum(open, close) * np.maximum(moves[2], 1 / moves[2])
        low = np.minimum(open, close) / np.maximum(moves[3], 1 / moves[3])
        prices = [np.round(x, 2) for x in (open, high, low, close)]
        missing = rng.random(shape) < gaps
        for price in prices:
            price[missing] = np.nan
        rows.append(session(*prices, day=day))
        last = close
    return rows


def venue(cash=10_000.0, symbols=1, costs=FREE, books=1, **kind):
    """Return a simulated venue: no costs, one book and one symbol unless said otherwise."""
    return SimVenue(cash, (books, symbols), costs, VenueSettings(**kind))


def market(*qty):
    """Return market orders of one book."""
    return Orders.market(np.array([qty], dtype=float))


def special(kind, qty, limit=np.nan, stop=np.nan, day=False):
    """Return one order of any kind."""
    one = lambda x, t: np.array([[x]], dtype=t)  # noqa: E731
    return Orders(
        one(qty, float), one(kind, "i1"), one(limit, float), one(stop, float), one(day, bool)
    )


def held(qty, price, **kind):
    """Return a venue whose 100,000 dollars bought `qty` shares at `price`."""
    sim = venue(100_000.0, **kind)
    sim.advance(session(price))
    sim.submit(market(qty))
    sim.advance(session(price))
    return sim


def random_orders(rng, book, shape, flat=False):
    """Return orders of every kind around the marks of a book; `flat` = market orders only."""
    qty = np.where(rng.random(shape) < 0.5, rng.integers(-30, 31, shape), 0).astype(float)
    kind = np.full(shape, MARKET, np.int8) if flat else rng.choice(KINDS, shape)
    near = np.where(book.mark > 0, book.mark, 100.0)
    limit, stop = (np.round(near * rng.uniform(0.96, 1.04, shape), 2) for _ in range(2))
    limit = np.where((kind == LIMIT) | (kind == STOP_LIMIT), limit, np.nan)
    stop = np.where((kind == STOP) | (kind == STOP_LIMIT), stop, np.nan)
    return Orders(qty, kind, limit, stop, rng.random(shape) < 0.5)
