"""VenueBroker: any engine Venue behind Backtrader.

A session, once: the orders of the last bar go to the venue in one batch, the venue advances, and
Backtrader is told what came of it. Cash, shares, prices, fees and refusals are the venue's;
`brokers.records` keeps what Backtrader notes of them in step.
"""

from typing import Any

import backtrader as bt
import numpy as np

from brokers.feed import stamps
from brokers.records import Records
from brokers.translate import batch, refuse, require_plain, resize
from engine.bars import Bars
from engine.errors import DataError, UsageError, VenueError
from engine.masks import some
from engine.reasons import Reason
from engine.venue import Outcome, Venue

SETTLED = "delisted: settled at its last close"
COSTS_ELSEWHERE = "costs are the venue's: set them where the venue is built (engine.costs.Costs)"


class VenueBroker(bt.BrokerBase):
    """A Backtrader broker whose account is the one book of a Venue.

    `bars` are the sessions the feeds run over; feeds are found by symbol. An order refused or ended
    by the venue carries `info.reason` (engine.reasons.Reason) and `info.why` (text). With
    `send_last=False` the orders of the last bar stay in `queued`.
    """

    params = (
        (
            "commission",
            bt.CommInfoBase(commission=0.0, commtype=bt.CommInfoBase.COMM_FIXED, stocklike=True),
        ),
    )

    def __init__(self, venue: Venue, bars: Bars, send_last: bool = True) -> None:
        super().__init__()
        if venue.book.qty.shape != (1, len(bars.symbols)):
            raise UsageError(
                f"VenueBroker: expected a venue of 1 book and {len(bars.symbols)} symbols, found "
                f"shape {venue.book.qty.shape}; build it for the bars it trades"
            )
        self.venue, self.bars, self.send_last = venue, bars, send_last
        self.queued: list[bt.Order] = []
        self._live: dict[int, bt.Order] = {}  # accepted and open, by column, oldest first
        self._records = Records(self.getcommissioninfo)
        self._stamps = stamps(bars.sessions)
        self._rows = {stamp: t for t, stamp in enumerate(self._stamps.tolist())}
        self._at: int | None = None
        self._seen = -np.inf  # the stamp of that session
        self._started = False

    def start(self) -> None:
        """Begin the only run of this broker: the venue's book goes on from here."""
        if self._started:
            raise VenueError(
                "a VenueBroker serves one run, and this one has run; build the venue and the "
                "broker anew"
            )
        super().start()
        self._started = True
        self.startingcash = self.getcash()
        self.startingvalue = self.getvalue()
        self._columns = {data._name: self._column_of(data) for data in self.cerebro.datas}
        self._records.start(
            self.cerebro, {self._columns[data._name]: data for data in self.cerebro.datas}
        )
        self._records.follow(self.venue.book)
        self._clocks = [data.lines.datetime for data in self.cerebro.datas]

    def stop(self) -> None:
        """End the run: the orders of the last bar are sent, and fill in no session of this run."""
        if self.send_last:
            self._send()

    def getcash(self) -> float:
        """Return the cash of the venue's book."""
        return float(self.venue.book.cash[0])

    def getvalue(self, datas: Any = None) -> float:
        """Return the equity, or the value of the positions in `datas`."""
        if not datas:
            return float(self.venue.book.equity()[0])
        value = self.venue.book.value()[0]
        return float(sum(value[self._columns[data._name]] for data in datas))

    get_cash, get_value = getcash, getvalue  # Backtrader uses both spellings

    def getposition(self, data: Any) -> bt.Position:
        """Return the position in one feed's symbol."""
        return self._records.positions[self._columns[data._name]]

    @property
    def positions(self) -> dict[Any, bt.Position]:
        """The position of every feed, as `strategy.getpositions()` asks for them."""
        return {data: self.getposition(data) for data in self.cerebro.datas}

    def orderstatus(self, order: bt.Order) -> int:
        """Return an order's status; orders here are always up to date."""
        return int(order.status)

    def get_notification(self) -> bt.Order | None:
        """Return the next thing to tell, or None."""
        return self._records.told.popleft() if self._records.told else None

    def setcommission(self, *args: Any, **kwargs: Any) -> None:
        """Refuse. Raises: UsageError, always."""
        raise UsageError(f"setcommission: {COSTS_ELSEWHERE}")

    def addcommissioninfo(self, *args: Any, **kwargs: Any) -> None:
        """Refuse. Raises: UsageError, always."""
        raise UsageError(f"addcommissioninfo: {COSTS_ELSEWHERE}")

    def buy(self, owner: Any, data: Any, size: float, **order: Any) -> bt.Order:
        """Queue a purchase; it goes to the venue with the next session."""
        return self._queue(bt.BuyOrder, owner, data, size, **order)

    def sell(self, owner: Any, data: Any, size: float, **order: Any) -> bt.Order:
        """Queue a sale; it goes to the venue with the next session."""
        return self._queue(bt.SellOrder, owner, data, size, **order)

    def cancel(self, order: bt.Order) -> bool:
        """Take an order back; False if it was over already."""
        column = self._columns[order.data._name]
        if order in self.queued:
            self.queued.remove(order)
        elif self._live.get(column) == order:
            where = np.zeros(self.venue.book.qty.shape, dtype=bool)
            where[0, column] = True
            self.venue.cancel(where)
            del self._live[column]
        else:
            return False
        order.cancel()
        self._records.tell(order)
        return True

    def next(self) -> None:
        """Let every session happen that the feeds have reached, each exactly once."""
        for t in self._due():
            self._send()
            self._happened(t)

    def _queue(
        self,
        kind: type[bt.Order],
        owner: Any,
        data: Any,
        size: float,
        price: float | None = None,
        plimit: float | None = None,
        exectype: int | None = None,
        valid: Any = None,
        tradeid: int = 0,
        transmit: bool = True,
        **others: Any,
    ) -> bt.Order:
        links = ("oco", "parent", "trailamount", "trailpercent")
        require_plain(exectype, valid, {name: others.pop(name, None) for name in links})
        order = kind(owner=owner, data=data, size=size, price=price, pricelimit=plimit,
                     exectype=exectype, valid=valid, tradeid=tradeid)  # fmt: skip
        order.addinfo(day=valid is not None, **others)
        order.addcomminfo(self.getcommissioninfo(data))
        order.submit(self)
        self._records.tell(order)
        self.queued.append(order)
        return order

    def _send(self) -> None:
        # One batch, as the environment sends it. A second order for a symbol comes in a batch of its
        # own, for the venue to judge.
        while self.queued:
            first = {self._columns[order.data._name]: order for order in reversed(self.queued)}
            orders = [(self._columns[o.data._name], o) for o in self.queued]
            chosen = [(column, o) for column, o in orders if first[column] is o]
            self.queued = [o for column, o in orders if first[column] is not o]
            refused = self.venue.submit(batch(chosen, len(self.bars.symbols)))
            for column, order in chosen:
                self._accepted(column, order, int(refused[0, column]))

    def _accepted(self, column: int, order: bt.Order, refused: int) -> None:
        if refused:
            refuse(order, refused)
        else:
            order.accept(self)
            self._live[column] = order
            self._records.last_order[column] = order
        self._records.tell(order)

    def _happened(self, t: int) -> None:
        # Splits before fills before delistings, as in the venue.
        split, marks = self.bars.split[t], self.venue.book.mark[0].copy()
        self._records.stamp = float(self._stamps[t])
        outcome = self.venue.advance(self.bars.row(t))
        has_split = some(split != 1.0)
        for column in np.flatnonzero(split != 1.0) if has_split else ():
            if int(column) in self._records.datas:
                self._report_split(int(column), float(split[column]), outcome, marks)
        self._report_orders(outcome)
        is_settled = some(outcome.settled)
        for column in np.flatnonzero(outcome.settled[0]) if is_settled else ():
            price = float(self.venue.book.mark[0, column])
            qty = -float(outcome.settled[0, column])
            self._records.event(int(column), qty, price, SETTLED, Reason.DELISTED)
        if has_split or is_settled or some(outcome.filled):
            self._records.follow(self.venue.book)

    def _report_orders(self, outcome: Outcome) -> None:
        for column, order in list(self._live.items()):
            qty, bits = float(outcome.filled[0, column]), int(outcome.refused[0, column])
            if qty:
                if "weight" in order.info:  # the venue found the size at the fill
                    resize(order, qty)
                price, fee = float(outcome.price[0, column]), float(outcome.fee[0, column])
                self._records.fill(column, order, qty, price, fee)
            if bits:
                refuse(order, bits)
                order.executed.dt = self._records.stamp
                self._records.tell(order)
            if not order.alive():
                del self._live[column]

    def _report_split(self, column: int, ratio: float, outcome: Outcome, marks: np.ndarray) -> None:
        held, filled = self.venue.book.qty[0, column], outcome.filled[0, column]
        kept = float(held + outcome.settled[0, column] - filled)
        self._records.split(column, ratio, kept, float(marks[column]) / ratio)
        order = self._live.get(column)
        if order is None:
            return
        waiting = self.venue.pending.qty[0, column]
        left = float(outcome.filled[0, column] or outcome.unfilled[0, column] or waiting)
        resize(order, left, ratio)
        if not left:
            refuse(order, Reason.TOO_SMALL)
            self._records.tell(order)
            del self._live[column]

    def _due(self) -> range:
        stamp = self._new_stamp()
        if stamp is None:
            return range(0)
        t = self._rows.get(stamp)
        if t is None:
            raise DataError(
                f"a feed has a bar at {bt.num2date(stamp)}, which is no session of the broker's "
                f"bars ({self.bars.sessions[0]} to {self.bars.sessions[-1]}); feed both from the "
                "same bars, stamped at midnight without a time zone"
            )
        first = t if self._at is None else self._at + 1
        self._at, self._seen = t, stamp
        return range(first, t + 1)

    def _new_stamp(self) -> float | None:
        # The feeds that move, move to one date: the first that is past the last session tells.
        for line in self._clocks:
            if len(line) and line[0] > self._seen:
                return float(line[0])
        return None

    def _column_of(self, data: Any) -> int:
        if data._name not in self.bars.symbols:
            raise UsageError(
                f'feed "{data._name}": expected the name of one of the symbols '
                f"{', '.join(self.bars.symbols)}; name the feed, or add it to the bars"
            )
        return self.bars.symbols.index(data._name)
