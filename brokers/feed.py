"""Bars as Backtrader feeds: one feed a symbol, all of them on the same sessions.

A session in which a symbol did not trade is there and says so: `traded` is 0, the prices repeat the
last close (NaN before the first), the volume is 0. It decides nothing and knows no broker.
"""

from array import array
from typing import Any

import backtrader as bt
import numpy as np
from backtrader.linebuffer import LineBuffer

from engine.bars import CLOSE, HIGH, LOW, OPEN, VOLUME, Bars
from engine.errors import UsageError

EPOCH = 719_163.0  # 1970-01-01 as Backtrader counts days
FIELDS = {"open": OPEN, "high": HIGH, "low": LOW, "close": CLOSE, "volume": VOLUME}


def add_feeds(cerebro: bt.Cerebro, bars: Bars, gaps: str = "flagged") -> None:
    """Add one feed for each symbol of `bars`, in their order."""
    for symbol in bars.symbols:
        cerebro.adddata(BarsFeed(bars=bars, symbol=symbol, gaps=gaps))


def stamps(sessions: np.ndarray) -> np.ndarray:
    """Return sessions as Backtrader counts them: days as floats, midnight, no time zone."""
    return sessions.astype("datetime64[D]").astype(np.int64) + EPOCH


class LoadedLine(LineBuffer):
    """A line whose values are all there: how far it has come follows from where it stands.

    Reading a value asks for no property. Both mean what they mean in Backtrader.
    """

    @property
    def lencount(self) -> int:
        """How many bars have been delivered; setting it changes nothing."""
        return self._idx + 1

    @lencount.setter
    def lencount(self, _: int) -> None:
        pass

    def __getitem__(self, ago: int) -> float:
        return self.array[self._idx + ago]


class BarsFeed(bt.feed.DataBase):
    """One symbol of Bars.

    Lines besides the usual ones: `traded` (1 or 0), `split` (new shares per old, 1 = none) and
    `dividend` (dollars a share, 0 = none). Prices are raw. With `gaps="absent"` sessions without a
    bar are left out, as the stock broker needs it, and so are the events that fell on them.
    """

    lines = ("traded", "split", "dividend")
    params = (("bars", None), ("symbol", None), ("gaps", "flagged"))

    def __init__(self, **_: object) -> None:  # Backtrader has taken the parameters by now
        super().__init__()
        if self.p.gaps not in ("flagged", "absent"):
            raise UsageError(f'gaps: expected "flagged" or "absent", found "{self.p.gaps}"')
        self._name = self.p.symbol
        self._column = self.p.bars.symbols.index(self.p.symbol)
        # Kept where it is found at once; Backtrader asks for it some ten times a bar. (`_clock` is its own.)
        self._day_line = self.datetime = getattr(self.lines, "datetime")  # noqa: B009 (mypy: a tuple)
        self._next_row = 0
        self.loaded: list[Any] = []  # every line, once they are filled in one go

    def start(self) -> None:
        """Begin a run: read the bars once, into one array for each line."""
        super().start()
        self._next_row = 0
        self._values = _lines(self.p.bars, self._column, self.p.gaps)
        self._all_rows = len(self._values["datetime"])
        for line in self.loaded:  # of an earlier run: Backtrader's again
            line.__class__, line.lencount = LineBuffer, 0
        self.loaded = []

    @property
    def table(self) -> Bars | None:
        """The bars whose row t this feed shows as its bar t + 1; None where that is not so.

        It is not so where sessions are left out, and where Backtrader looks at each bar as it comes.
        """
        return self.p.bars if self.loaded and self.p.gaps == "flagged" else None

    def __len__(self) -> int:
        """Return how many bars have been delivered."""
        return self._day_line.lencount

    def get_notifications(self) -> list[Any]:
        """Return what there is to tell: for bars out of a table next to never anything."""
        return super().get_notifications() if self.notifs else []

    def do_qcheck(self, onoff: bool, qlapse: float) -> None:
        """Wait for nothing: no bar is on its way."""

    def preload(self) -> None:
        """Fill every line in one go, unless filters or dates make Backtrader look at each bar."""
        if self._filters or self.p.fromdate is not None or self.p.todate is not None:
            super().preload()
            return
        for alias, values in self._values.items():
            line = getattr(self.lines, alias)
            ahead = np.full(line.extension, np.nan)
            line.array = array("d", np.concatenate((values, ahead)).tobytes())
            line.__class__ = LoadedLine
        self._next_row = self._all_rows
        self.loaded = [getattr(self.lines, alias) for alias in self._values]
        self._values = {}  # the lines have them now
        self.home()

    def next(self, datamaster: Any = None, ticks: bool = True) -> bool | None:
        """Move to the next bar: as Backtrader does, without its bookkeeping where all is loaded."""
        if not self.loaded:
            return bool(super().next(datamaster=datamaster, ticks=ticks))
        row = self.loaded[0]._idx + 1
        if row >= self._next_row:
            return False
        if datamaster is not None and self._day_line.array[row] > datamaster.datetime[0]:
            return False
        for line in self.loaded:
            line._idx = row
        return True

    def _load(self) -> bool:
        # One bar at a time: runs without preload, where the future is not in memory at all.
        row = self._next_row
        if row >= self._all_rows:
            return False
        for alias, values in self._values.items():
            getattr(self.lines, alias)[0] = values[row]
        self._next_row = row + 1
        return True

    # Backtrader copies every line into tick attributes on each bar, for brokers that look inside a
    # bar. Where they are missing it reads the lines, and daily bars have nothing else to offer.
    def _tick_nullify(self) -> None:
        pass

    def _tick_fill(self, force: bool = False) -> None:
        pass


def _lines(bars: Bars, column: int, gaps: str) -> dict[str, np.ndarray]:
    traded = bars.traded[:, column]
    rows = np.arange(len(traded)) if gaps == "flagged" else np.flatnonzero(traded)
    last = np.maximum.accumulate(np.where(traded, np.arange(len(traded)), -1))
    known = np.where(last[:, None] >= 0, bars.ohlcv[last, column], np.nan)
    lines = {"datetime": stamps(bars.sessions), "openinterest": np.zeros(len(traded))}
    for name, field in FIELDS.items():
        stale = known[:, CLOSE] if name != "volume" else np.zeros(len(traded))
        lines[name] = np.where(traded, known[:, field], stale)
    lines["traded"] = traded.astype(np.float64)
    lines["split"] = bars.split[:, column]
    lines["dividend"] = bars.dividend[:, column]
    return {
        alias: np.ascontiguousarray(values[rows], dtype=np.float64)
        for alias, values in lines.items()
    }
