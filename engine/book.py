"""What a venue keeps and says: orders, books, and what one session did to them.

Plain arrays over books and symbols; the rules that change them live in `engine.market`.
"""

from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np

NONE, MARKET, LIMIT, STOP, STOP_LIMIT = range(5)


@dataclass(slots=True)
class Orders:
    """One order for each book and symbol, or none.

    Shapes: all (B, N). Units: `qty` signed shares (0 = no order), `limit` and `stop` raw dollars
    (NaN = unused). `kind` is one of NONE, MARKET, LIMIT, STOP, STOP_LIMIT. `day` orders expire at
    the end of the first session in which they could trade. `weight` (NaN = none) is the fraction of
    equity that a market order aims at; a venue that sizes at the fill uses it in place of `qty`,
    in fractions of a share where `fractional`.
    """

    qty: np.ndarray
    kind: np.ndarray
    limit: np.ndarray
    stop: np.ndarray
    day: np.ndarray
    weight: np.ndarray = field(default_factory=lambda: np.array(np.nan))
    fractional: np.ndarray = field(default_factory=lambda: np.array(False))

    def __post_init__(self) -> None:
        if self.weight.ndim == 0:
            self.weight = np.full(self.qty.shape, self.weight)
        if self.fractional.ndim == 0:
            self.fractional = np.full(self.qty.shape, self.fractional)

    @classmethod
    def none(cls, books: int, symbols: int) -> Self:
        """Return no orders at all."""
        return cls.market(np.zeros((books, symbols)))

    @classmethod
    def market(cls, qty: np.ndarray) -> Self:
        """Return day orders at the market for every `qty` that is not zero."""
        kind = (qty != 0.0).astype(np.int8)  # MARKET is 1, NONE is 0
        unused, day = np.empty(qty.shape), np.empty(qty.shape, dtype=bool)
        unused.fill(np.nan)
        day.fill(True)
        return cls(qty, kind, unused, unused.copy(), day, unused.copy(), ~day)

    def copy(self) -> Self:
        """Return orders that share no array with these."""
        return type(self)(*(getattr(self, name).copy() for name in self.__dataclass_fields__))


@dataclass(slots=True)
class Book:
    """Cash and positions of every book. A venue changes its book in place: copy what must last.

    Shapes: `cash` and `fees` (B,), the rest (B, N). Units: dollars, signed shares; `basis`
    average entry price (0 when flat), `mark` last raw close (0 before the first), `since` bars
    since the last fill (0 = this one, -1 = never), `fees` dollars paid so far.
    """

    cash: np.ndarray
    qty: np.ndarray
    basis: np.ndarray
    mark: np.ndarray
    since: np.ndarray
    fees: np.ndarray

    @classmethod
    def start(cls, cash: float | np.ndarray, books: int, symbols: int) -> Self:
        """Return books that hold `cash` and nothing else."""
        shape = (books, symbols)
        return cls(
            cash=np.array(np.broadcast_to(np.asarray(cash, dtype=np.float64), (books,))),
            qty=np.zeros(shape),
            basis=np.zeros(shape),
            mark=np.zeros(shape),
            since=np.full(shape, -1, dtype=np.int64),
            fees=np.zeros(books),
        )

    def restart(self, where: np.ndarray, cash: float | np.ndarray) -> None:
        """Start the books in `where` (B,) anew with `cash`, as if nothing had been."""
        fresh = type(self).start(cash, *self.qty.shape)
        for item in fields(self):
            new, old = getattr(fresh, item.name), getattr(self, item.name)
            mask = where if old.ndim == 1 else where[:, None]
            setattr(self, item.name, np.where(mask, new, old))

    def value(self) -> np.ndarray:
        """Return the value of each position at its mark: (B, N) dollars, negative when short."""
        value: np.ndarray = self.qty * self.mark
        return value

    def equity(self) -> np.ndarray:
        """Return cash plus positions at their marks: (B,) dollars."""
        equity: np.ndarray = self.cash + self.value().sum(axis=-1)
        return equity

    def still(self) -> "StillBook":
        """Return this book as it stands, value and equity counted once; it shares every array."""
        return StillBook(self.cash, self.qty, self.basis, self.mark, self.since, self.fees)

    def copy(self) -> Self:
        """Return a book that shares no array with this one."""
        return type(self)(*(getattr(self, item.name).copy() for item in fields(self)))


class StillBook(Book):
    """A book that nobody changes while it is asked: good for one question, not to be kept."""

    __slots__ = ("_equity", "_value")

    def __init__(self, *arrays: np.ndarray) -> None:
        super().__init__(*arrays)
        self._value = super().value()
        self._equity: np.ndarray = self.cash + self._value.sum(axis=-1)

    def still(self) -> "StillBook":
        """Return this book: it stands still already."""
        return self

    def value(self) -> np.ndarray:
        """Return the value of each position; see `Book`."""
        return self._value

    def equity(self) -> np.ndarray:
        """Return cash plus positions; see `Book`."""
        return self._equity


@dataclass(slots=True)
class Outcome:
    """What one session did to every book.

    Shapes: `session`, `dividends`, `split_cash` (B,), the rest (B, N). Units: `filled`, `settled`
    and `unfilled` signed shares, `price` raw dollars with slippage (NaN = no fill), `fee`
    dollars; `refused` Reason bits of orders that ended unfilled, `unfilled` their size; `settled`
    closed by delisting at the last close; `dividends` and `split_cash` dollars into cash,
    negative when paid on a short position. Shares and prices are those after the session's split.
    """

    session: np.ndarray
    filled: np.ndarray
    price: np.ndarray
    fee: np.ndarray
    refused: np.ndarray
    unfilled: np.ndarray
    settled: np.ndarray
    dividends: np.ndarray
    split_cash: np.ndarray

    @classmethod
    def nothing(cls, session: np.ndarray, books: int, symbols: int) -> Self:
        """Return a session in which nothing happened."""
        shape = (books, symbols)
        return cls(
            session=session,
            filled=np.zeros(shape),
            price=np.full(shape, np.nan),
            fee=np.zeros(shape),
            refused=np.zeros(shape, dtype=np.int32),
            unfilled=np.zeros(shape),
            settled=np.zeros(shape),
            dividends=np.zeros(books),
            split_cash=np.zeros(books),
        )


def arrays(prefix: str, record: Orders | Book | Outcome) -> dict[str, np.ndarray]:
    """Return the arrays of a record, named `prefix.field`."""
    return {f"{prefix}.{item.name}": getattr(record, item.name) for item in fields(record)}
