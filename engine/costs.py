"""What one trade costs: commission, slippage, and dated US regulatory fees.

It knows quantities, prices and dates; no book and no venue.
"""

from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, Field

from engine.fees_us import regulatory_fee


class Parts(NamedTuple):
    """One fee by origin. Shapes: those of the order. Units: dollars, >= 0."""

    commission: np.ndarray
    regulatory: np.ndarray


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
        if not self.regulatory:
            return self.commission(qty, price)
        fee: np.ndarray = self.commission(qty, price) + regulatory_fee(qty, price, session)
        return fee

    def commission(self, qty: np.ndarray, price: np.ndarray) -> np.ndarray:
        """Return the part of the fee that goes to the broker."""
        if not (self.rate or self.per_share or self.per_order or self.minimum):
            return np.zeros(np.shape(qty))
        shares = np.abs(qty)
        fee = self.rate * shares * price
        if self.per_share or self.per_order:
            fee = fee + self.per_share * shares + self.per_order
        if self.minimum:
            fee = np.maximum(fee, self.minimum)
        # The price of a symbol that does not trade is NaN: no shares, no fee.
        return np.where(shares > 0, fee, 0.0)

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
        moved: np.ndarray = price * (1.0 + np.sign(qty) * (self.slippage_bps * 1e-4))
        return moved


ALPACA = Costs()
"""Zero commission, slippage as guessed by default, no regulatory fees: what paper charges."""
