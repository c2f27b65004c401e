"""What one trade costs: commission, slippage, and dated US regulatory fees.

It knows quantities, prices and dates; no book and no venue.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
from pydantic import BaseModel, Field

from engine.errors import SettingsError
from engine.fees_us import regulatory_fee


class Parts(NamedTuple):
    """One fee by origin. Shapes: those of the order. Units: dollars, >= 0."""

    commission: np.ndarray
    regulatory: np.ndarray


class CostRules(Protocol):
    """What a trader and a venue ask of costs: `Costs`, or `CostsByBook`."""

    def fee(self, qty: np.ndarray, price: np.ndarray, session: np.ndarray) -> np.ndarray: ...

    def commission(self, qty: np.ndarray, price: np.ndarray) -> np.ndarray: ...

    def slipped(self, price: np.ndarray, qty: np.ndarray) -> np.ndarray: ...


class Costs(BaseModel, frozen=True, extra="forbid"):
    """What one fill costs. Defaults: no commission, 5 bps of slippage, no regulatory fees."""

    rate: float = Field(0.0, ge=0, lt=0.1, description="fraction of the traded value, per side")
    per_share: float = Field(0.0, ge=0, lt=1e6, description="dollars per share")
    per_order: float = Field(0.0, ge=0, lt=1e6, description="dollars per filled order")
    minimum: float = Field(
        0.0, ge=0, lt=1e6, description="least commission of a filled order, dollars"
    )
    slippage_bps: float = Field(
        5.0, ge=0, lt=1000, description="move of the fill price against the order, basis points"
    )
    regulatory: bool = Field(
        False, description="add the SEC and FINRA fees on US sales, by date (paper charges none)"
    )

    def fee(self, qty: np.ndarray, price: np.ndarray, session: np.ndarray) -> np.ndarray:
        """Return what filling `qty` at `price` costs on top of the price itself.

        Shapes: `session` broadcasts against `qty` and `price`; the result has the shape of `qty`.
        Units: signed shares, dollars per share, datetime64; dollars >= 0, zero where `qty` is 0.
        """
        return _fee(self, self.regulatory, qty, price, session)

    def commission(self, qty: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Return the part of the fee that goes to the broker."""
        if not (self.rate or self.per_share or self.per_order or self.minimum):
            return np.zeros(np.shape(qty))
        return _commission(qty, price, self.rate, self.per_share, self.per_order, self.minimum)

    def parts(self, qty: np.ndarray, price: np.ndarray, session: np.ndarray) -> Parts:
        """Split the fee into the broker's commission and the regulators' part."""
        commission = self.commission(qty, price)
        if not self.regulatory:
            return Parts(commission, np.zeros(np.shape(qty)))
        return Parts(commission, regulatory_fee(qty, price, session))

    def slipped(self, price: np.ndarray, qty: np.ndarray) -> np.ndarray:
        """Return `price` moved against the order: buys pay more, sells get less."""
        if not self.slippage_bps:
            return price
        return _slipped(price, qty, self.slippage_bps)


@dataclass(frozen=True)
class CostsByBook:
    """Costs of their own for each of B books, so that one replay asks how all of them are stood.

    What a book pays is what its own `Costs` would take, bit for bit. Shapes: quantities and prices
    (B, N), or (1, N) for every book alike. Raises: SettingsError without costs, or where only some of
    them have regulatory fees.
    """

    books: tuple[Costs, ...]

    def __post_init__(self) -> None:
        if len({costs.regulatory for costs in self.books}) != 1:
            raise SettingsError(
                "costs of several books: expected one or more that all have regulatory fees or none, "
                f"found {[costs.regulatory for costs in self.books]}; play the others apart"
            )

    def fee(self, qty: np.ndarray, price: np.ndarray, session: np.ndarray) -> np.ndarray:
        """Return what each fill costs on top of its price; see `Costs.fee`."""
        return _fee(self, self.books[0].regulatory, qty, price, session)

    def commission(self, qty: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Return the part of the fee that goes to the broker: (B, N) dollars."""
        return _commission(qty, price, *self._charges)

    def slipped(self, price: np.ndarray, qty: np.ndarray) -> np.ndarray:
        """Return `price` moved against the order of each book: (B, N) dollars."""
        return _slipped(price, qty, self._slippage)

    @cached_property
    def _charges(self) -> list[np.ndarray]:
        return [self._column(name) for name in ("rate", "per_share", "per_order", "minimum")]

    @cached_property
    def _slippage(self) -> np.ndarray:
        return self._column("slippage_bps")

    def _column(self, name: str) -> np.ndarray:
        return np.array([[getattr(costs, name)] for costs in self.books])


Number = float | np.ndarray


def _fee(
    rules: CostRules, regulatory: bool, qty: np.ndarray, price: np.ndarray, session: np.ndarray
) -> np.ndarray:
    commission = rules.commission(qty, price)
    return commission + regulatory_fee(qty, price, session) if regulatory else commission


def _commission(
    qty: np.ndarray,
    price: np.ndarray,
    rate: Number,
    per_share: Number,
    per_order: Number,
    minimum: Number,
) -> np.ndarray:
    shares = np.abs(qty)
    fee = rate * shares * price
    if _charged(per_share) or _charged(per_order):
        fee = fee + per_share * shares + per_order
    if _charged(minimum):
        fee = np.maximum(fee, minimum)
    # The price of a symbol that does not trade is NaN: no shares, no fee.
    return np.where(shares > 0, fee, 0.0)


def _charged(number: Number) -> bool:
    return isinstance(number, np.ndarray) or number != 0.0


def _slipped(price: np.ndarray, qty: np.ndarray, bps: Number) -> np.ndarray:
    moved: np.ndarray = price * (1.0 + np.sign(qty) * (bps * 1e-4))
    return moved


ALPACA = Costs()
"""Zero commission, slippage as guessed by default, no regulatory fees: what paper charges."""
