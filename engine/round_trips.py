"""Round trips: fills of one account, grouped from flat to flat, symbol by symbol.

A round trip opens when a flat symbol is bought or sold short and closes when it is flat again.
Scaling in and out in between belongs to the same trip. Its profit is the money that came back
minus the money that went in, fees and (where the account receives them) dividends included, so it
depends on no cost method; entry and exit prices are averages (average cost). It knows no venue.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np

from engine.errors import DataError

FLAT = 1e-6  # shares: less than this is rounding


def _none(kind: str) -> np.ndarray:
    return np.empty(0, dtype=kind)


@dataclass(frozen=True)
class Fills:
    """What was bought and sold, one row per fill, in the order it happened.

    Shapes: every field (K,). Units: `qty` signed shares; `price` dollars per share as filled,
    slippage included; `fee` dollars, all of it; `regulatory` the part of `fee` that is not
    commission; `slippage` dollars lost against the price without slippage. A position settled
    because its symbol stopped trading, and a fraction of a share paid out at a split, are fills
    with a fee of zero.
    """

    session: np.ndarray = field(default_factory=lambda: _none("datetime64[D]"))
    symbol: np.ndarray = field(default_factory=lambda: _none("U8"))
    qty: np.ndarray = field(default_factory=lambda: _none("float64"))
    price: np.ndarray = field(default_factory=lambda: _none("float64"))
    fee: np.ndarray = field(default_factory=lambda: _none("float64"))
    slippage: np.ndarray = field(default_factory=lambda: _none("float64"))
    regulatory: np.ndarray | None = None

    @classmethod
    def from_columns(cls, columns: Mapping[str, np.ndarray]) -> Self:
        """Build from columns by name, as in trades.csv; other columns are left alone."""
        return cls(
            **{item.name: columns[item.name] for item in fields(cls) if item.name in columns}
        )

    def __len__(self) -> int:
        return len(self.qty)

    def values(self) -> np.ndarray:
        """Return the dollars that changed hands in each fill, always positive."""
        return np.asarray(np.abs(self.qty * self.price))


@dataclass(frozen=True)
class Events:
    """Splits and dividends, one row each; `split` 1 = none, `dividend` 0 = none.

    Units: as in `engine.bars`: new shares per old; dollars per share after this session's split.
    """

    session: np.ndarray = field(default_factory=lambda: _none("datetime64[D]"))
    symbol: np.ndarray = field(default_factory=lambda: _none("U8"))
    split: np.ndarray = field(default_factory=lambda: _none("float64"))
    dividend: np.ndarray = field(default_factory=lambda: _none("float64"))

    @classmethod
    def from_columns(cls, columns: Mapping[str, np.ndarray]) -> Self:
        """Build from columns by name, as in events.csv; other columns are left alone."""
        return cls(
            **{item.name: columns[item.name] for item in fields(cls) if item.name in columns}
        )


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """One position from flat to flat. Units: prices per share as counted when it closed."""

    symbol: str
    side: int  # 1 = long, -1 = short
    opened: np.datetime64
    closed: np.datetime64
    bars: int
    qty: float  # shares that were opened in all
    entry: float
    exit: float
    fees: float
    profit: float  # net of fees

    @property
    def gain(self) -> float:
        """Profit as a fraction of what was put in."""
        return self.profit / (self.qty * self.entry)


@dataclass(slots=True)
class _Position:
    symbol: str
    opened: np.datetime64
    side: int
    qty: float = 0.0
    opened_qty: float = 0.0
    opened_value: float = 0.0
    closed_qty: float = 0.0
    closed_value: float = 0.0
    dividends: float = 0.0
    fees: float = 0.0

    def trade(self, qty: float, price: float, fee: float) -> None:
        self.qty += qty
        self.fees += fee
        if qty * self.side > 0:
            self.opened_qty += abs(qty)
            self.opened_value += abs(qty) * price
        else:
            self.closed_qty += abs(qty)
            self.closed_value += abs(qty) * price

    def split(self, ratio: float) -> None:
        self.qty *= ratio
        self.opened_qty *= ratio
        self.closed_qty *= ratio

    def close(self, session: np.datetime64, bars: int) -> RoundTrip:
        gross = self.side * (self.closed_value - self.opened_value) + self.dividends
        return RoundTrip(
            self.symbol,
            self.side,
            self.opened,
            session,
            bars,
            self.opened_qty,
            self.opened_value / self.opened_qty,
            self.closed_value / self.closed_qty,
            self.fees,
            gross - self.fees,
        )


def round_trips(
    fills: Fills,
    sessions: np.ndarray,
    events: Events | None = None,
    dividends_paid: bool = False,
) -> tuple[list[RoundTrip], int]:
    """Return the closed round trips in order of closing, and how many positions are still open.

    Shapes: `sessions` (T+1,), to count the bars between two dates. A dividend counts only where
    `dividends_paid`; a split changes the shares held before the fills of its session.
    A fill through zero closes one trip and opens the next; its fee is shared by shares.
    Raises: DataError when a fill lies outside `sessions`.
    """
    index = {session: row for row, session in enumerate(sessions.tolist())}
    held: dict[str, _Position] = {}
    closed: list[RoundTrip] = []
    for session, symbol, item in _in_order(fills, events or Events()):
        if isinstance(item, _Event):
            _apply(held.get(symbol), item, dividends_paid)
            continue
        if session.item() not in index:
            raise DataError(
                f"fill of {symbol} on {session}: not a session of this run; mend trades"
            )
        for qty, price, fee in _cut_at_zero(held.get(symbol), item):
            position = held.setdefault(symbol, _Position(symbol, session, 1 if qty > 0 else -1))
            position.trade(qty, price, fee)
            if abs(position.qty) < FLAT:
                bars = index[session.item()] - index[position.opened.item()]
                closed.append(held.pop(symbol).close(session, bars))
    return closed, len(held)


@dataclass(frozen=True, slots=True)
class _Event:
    split: float
    dividend: float


_Trade = tuple[float, float, float]  # qty, price, fee


def _in_order(
    fills: Fills, events: Events
) -> Iterator[tuple[np.datetime64, str, "_Event | _Trade"]]:
    # Events take effect before the open, so they come before the fills of their session.
    rows: list[tuple[np.datetime64, int, int, str, _Event | _Trade]] = []
    for i in range(len(events.session)):
        event = _Event(float(events.split[i]), float(events.dividend[i]))
        rows.append((events.session[i], 0, i, str(events.symbol[i]), event))
    for i in range(len(fills)):
        trade = (float(fills.qty[i]), float(fills.price[i]), float(fills.fee[i]))
        if trade[0] != 0:
            rows.append((fills.session[i], 1, i, str(fills.symbol[i]), trade))
    for session, _, _, symbol, item in sorted(rows, key=lambda row: row[:3]):
        yield session, symbol, item


def _apply(position: _Position | None, event: _Event, dividends_paid: bool) -> None:
    if position is None:
        return
    position.split(event.split)
    if dividends_paid:
        position.dividends += position.qty * event.dividend


def _cut_at_zero(position: _Position | None, trade: _Trade) -> Sequence[_Trade]:
    qty, price, fee = trade
    held = position.qty if position else 0.0
    rest = held + qty
    if held * qty >= 0 or held * rest >= 0 or abs(rest) < FLAT:
        return [trade]
    share = abs(held / qty)
    return [(-held, price, fee * share), (rest, price, fee * (1.0 - share))]
