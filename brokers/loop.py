"""Cerebro's loop over bars, for feeds that are the columns of one table.

Backtrader asks every feed on every bar whether it has one, sorts out which are late, looks at the wall
clock for feeds that wait, and calls timers and stores; then every strategy asks every feed how long
it is. Where all feeds were filled from the same table (brokers.feed) there is nothing to find out:
all of them stand on row t. What follows, broker, indicators and strategies, is Backtrader's own.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import backtrader as bt

from brokers.bridge import VenueBroker


class TableCerebro(bt.Cerebro):
    """A Cerebro that moves all feeds of a table at once; with other parts it is a plain Cerebro."""

    def _runnext(self, runstrats: list[Any]) -> None:
        if not self._plain():
            super()._runnext(runstrats)
            return
        lines = [line for feed in self.datas for line in feed.loaded]
        called = [self._brokernotify, *(strategy._next for strategy in runstrats)]
        with ExitStack() as told:
            for strategy in runstrats:
                told.enter_context(_one_clock(strategy, self.datas[0]))
            for row in range(len(self.datas[0].table.sessions)):
                for line in lines:
                    line._idx = row
                for call in called:
                    call()
                    if self._event_stop:
                        return

    def _plain(self) -> bool:
        # One table behind all feeds, its broker, and nothing that wants to be called in between.
        tables = [getattr(feed, "table", None) for feed in self.datas]
        shared = tables[0] is not None and all(table is tables[0] for table in tables)
        timed = self._timers or self._timerscheat or self.p.cheat_on_open
        others = timed or self.stores or self.runwriters
        return shared and isinstance(self._broker, VenueBroker) and not others


@contextmanager
def _one_clock(strategy: Any, feed: Any) -> Iterator[None]:
    # What Backtrader asks of every feed on every bar, `feed` answers for all of them.
    longest = max(strategy._minperiods)

    def move() -> int:
        strategy.forward()
        strategy.lines.datetime[0] = feed.datetime[0]
        return len(strategy)

    def bars_missing() -> int:
        strategy._minperstatus = longest - len(feed)
        return int(strategy._minperstatus)

    strategy._clk_update, strategy._getminperstatus = move, bars_missing
    try:
        yield
    finally:
        del strategy._clk_update, strategy._getminperstatus
