"""AgentStrategy: bars in, orders out. The decision is `engine.trader.Trader`; no arithmetic here.

It runs behind a VenueBroker (backtest and paper) and in anybody's own Cerebro with the stock broker.
"""

from pathlib import Path
from typing import Any

import backtrader as bt
import numpy as np

from engine.errors import DataError, UsageError
from engine.masks import every
from engine.step import StepPolicy
from engine.trader import Trader, TraderSpec
from engine.venue import Orders, VenueSettings
from strategies.books import StockBook, VenueBook

FIELDS = ("open", "high", "low", "close", "volume")
EVENTS = ("traded", "split", "dividend")
NOTHING, PLAIN = [0.0, 1.0, 0.0], [1.0, 1.0, 0.0]  # what they say without a bar, and of a plain one
NO_PRICES = [np.nan] * len(FIELDS)
NOT_FILLED = (bt.Order.Margin, bt.Order.Rejected, bt.Order.Expired)


def load_trader(checkpoint: str | Path, symbols: int, venue: VenueSettings) -> Trader:
    """Return a trader that decides as the checkpoint does, each symbol with an equal sleeve.

    Limits, sizing and costs are those it was trained with.
    Raises: CheckpointError when the folder is damaged or does not fit.
    """
    policy = StepPolicy.load(Path(checkpoint))
    spec = TraderSpec.of_checkpoint(policy.info, str(checkpoint), venue, 1.0 / symbols)
    return Trader(spec, policy, symbols)


class AgentStrategy(bt.Strategy):
    """Carries a trader's memory bar by bar over daily feeds.

    Give `checkpoint` (a folder), or a `trader` for as many symbols as there are feeds. Feeds with the
    lines `traded`, `split` and `dividend` (brokers.feed) are taken at their word; on others a bar is
    fresh when its date is today's, and there are no events. `refused` lists every order that was not
    filled: (session, symbol, status, why).
    With the stock broker, buys are kept within its cash (`account = "cash"`), since it lends none.
    """

    params = (("trader", None), ("checkpoint", None))

    def __init__(self) -> None:
        self.refused: list[tuple[np.datetime64, str, str, str]] = []
        self._columns = {data._name: column for column, data in enumerate(self.datas)}
        self._lines = [_lines_of(data) for data in self.datas]
        # The bars that all feeds were loaded from, where they show whole sessions.
        self._table: Any = None
        self._book: VenueBook | StockBook = StockBook(len(self.datas))
        settings = VenueSettings(account="cash")
        if hasattr(self.broker, "venue"):
            self._require_order()
            self._book = VenueBook(self.broker)
            settings = getattr(self.broker.venue, "settings", VenueSettings())
        self.trader = self._trader(settings)

    def start(self) -> None:
        """Begin: see whether the feeds are the columns of one table."""
        self._table = _table_of(self.datas)

    def prenext(self) -> None:
        """Decide also while a feed has no bar yet: its symbol just does not trade."""
        self.next()

    def notify_order(self, order: bt.Order) -> None:
        """Hand what happened to the book; keep what was refused."""
        self._book.told(order, self._columns[order.data._name])
        if order.status in NOT_FILLED:
            why = str(order.info.get("why", ""))
            self.refused.append((self._session(), order.data._name, order.getstatusname(), why))

    def next(self) -> None:
        """Decide on the closed bars of this session, and send what is decided, sales first."""
        ohlcv, traded, split, dividend = self._closed_bars()
        book, open_qty = self._book.read(self, ohlcv, traded)
        decision = self.trader.on_bar(
            self._session(), ohlcv, traded, split, dividend, book, open_qty
        )
        qty = decision.orders.qty[0]
        for column in np.flatnonzero(qty < 0):
            self._send(self.sell, int(column), decision.orders)
        for column in np.flatnonzero(qty > 0):
            self._send(self.buy, int(column), decision.orders)

    def _send(self, way: Any, column: int, orders: Orders) -> None:
        # The planner knows market orders only. Whole sizes go as int, as Backtrader likes them.
        size, weight = abs(float(orders.qty[0, column])), float(orders.weight[0, column])
        size = int(size) if size.is_integer() else size
        day = bt.Order.DAY if orders.day[0, column] else None
        fractional = bool(orders.fractional[0, column])
        aim = {} if np.isnan(weight) else {"weight": weight, "fractional": fractional}
        way(data=self.datas[column], size=size, valid=day, **aim)

    def _session(self) -> np.datetime64:
        return np.datetime64(self.datetime.date(0), "D")

    def _closed_bars(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        # Shapes: (N, 5), (N,), (N,), (N,).
        if self._table is not None:
            return self._row_of_table()
        now = self.datetime[0]
        read = np.array([_closed_bar(*lines, now) for lines in self._lines])
        traded, split, dividend = read[:, 0] != 0.0, read[:, 1], read[:, 2]
        ohlcv = read[:, len(EVENTS) :]
        self._require_prices(ohlcv, traded)
        return ohlcv, traded, split, dividend

    def _row_of_table(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        # What the lines say, in one go: they were filled from this table, every session of it, so they
        # all stand on one row.
        bars, row = self._table, len(self) - 1
        assert len(self.datas[0]) == len(self.datas[-1]) == row + 1
        ohlcv, traded = bars.ohlcv[row], bars.traded[row]
        if not every(traded):
            ohlcv = np.where(traded[:, None], ohlcv, np.nan)
        self._require_prices(ohlcv, traded)
        return ohlcv, traded, bars.split[row], bars.dividend[row]

    def _require_prices(self, ohlcv: np.ndarray, traded: np.ndarray) -> None:
        usable = (ohlcv[:, :-1] > 0.0) & (ohlcv[:, :-1] < np.inf)
        if every(usable | ~traded[:, None]):
            return
        bad = traded & ~usable.all(axis=1)
        name = self.datas[int(np.flatnonzero(bad)[0])]._name
        raise DataError(
            f'feed "{name}", {self._session()}: expected four prices above zero, found '
            f"{ohlcv[bad][0, :-1]}; clean the data before it is fed"
        )

    def _require_order(self) -> None:
        found, expected = tuple(self._columns), self.broker.bars.symbols
        if found != expected:
            raise UsageError(
                f"feeds: expected {', '.join(expected)} in this order, found {', '.join(found)}; "
                "add them with brokers.feed.add_feeds"
            )

    def _trader(self, venue: VenueSettings) -> Trader:
        if (self.p.trader is None) == (self.p.checkpoint is None):
            raise UsageError("AgentStrategy: expected a trader or a checkpoint, and not both")
        if len(self._columns) != len(self.datas):
            raise UsageError(
                "AgentStrategy: expected a name of its own for every feed, found "
                f"{[data._name for data in self.datas]}; use cerebro.adddata(feed, name=...)"
            )
        if self.p.trader is None:
            return load_trader(self.p.checkpoint, len(self.datas), venue)
        trader: Trader = self.p.trader
        if trader.shape != (1, len(self.datas)):
            raise UsageError(
                f"AgentStrategy: expected a trader for 1 book of {len(self.datas)} symbols, found "
                f"one of shape {trader.shape}; build it for the feeds it gets"
            )
        return trader


def _closed_bar(stamp: Any, events: list[Any], fields: list[Any], now: float) -> list[float]:
    # EVENTS and FIELDS of one feed. One without a bar today must not be read at all: it shows its last
    # bar, or one of the future. Its lines move together, so their place is asked for once.
    at = stamp._idx
    if not len(stamp) or stamp.array[at] != now:
        return NOTHING + NO_PRICES
    told = [line.array[at] for line in events] or PLAIN
    return told + ([line.array[at] for line in fields] if told[0] else NO_PRICES)


def _table_of(datas: list[Any]) -> Any:
    # Feeds of brokers.feed that show every session, all columns of one table, in its order; or None.
    tables = [getattr(data, "table", None) for data in datas]
    bars = tables[0]
    if bars is None or any(table is not bars for table in tables):
        return None
    return bars if tuple(data._name for data in datas) == bars.symbols else None


def _lines_of(data: Any) -> tuple[Any, list[Any], list[Any]]:
    # The clock of a feed, its event lines (none where it does not have all three), its prices.
    flagged = set(EVENTS) <= set(data.getlinealiases())
    events = [getattr(data.lines, name) for name in EVENTS] if flagged else []
    return data.lines.datetime, events, [getattr(data.lines, name) for name in FIELDS]
