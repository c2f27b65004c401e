"""Why a wish was changed or an order refused: one list of reasons, one text for each.

A reason is a bit, so that one symbol's decision can carry several. It knows no prices and no venue.
"""

from enum import IntFlag

import numpy as np

from engine.masks import some


class Reason(IntFlag):
    """One bit for each thing that can come between a wish and a fill."""

    SHORT_OFF = 1 << 0
    MAX_EXPOSURE = 1 << 1
    MAX_GROSS = 1 << 2
    MAX_NET = 1 << 3
    MAX_POSITIONS = 1 << 4
    MAX_TURNOVER = 1 << 5
    CASH_RESERVE = 1 << 6
    MAX_ORDER_VALUE = 1 << 7
    CLOSE_FIRST = 1 << 8
    BUYING_POWER = 1 << 9
    TOO_SMALL = 1 << 10
    NOT_READY = 1 << 11
    NOT_TRADED = 1 << 12
    BAND = 1 << 13
    ORDER_OPEN = 1 << 14
    CASH_SHORT = 1 << 15
    EXPIRED = 1 << 16
    DELISTED = 1 << 17
    SHORT_FRACTION = 1 << 18
    BAD_ORDER = 1 << 19
    RUINED = 1 << 20
    MISSED = 1 << 21
    VENUE = 1 << 22
    UNTRADABLE = 1 << 23


REFUSALS = (
    Reason.MAX_EXPOSURE | Reason.MAX_GROSS | Reason.MAX_NET | Reason.MAX_POSITIONS
    | Reason.MAX_TURNOVER | Reason.MAX_ORDER_VALUE | Reason.BUYING_POWER | Reason.ORDER_OPEN
    | Reason.CASH_SHORT | Reason.CASH_RESERVE | Reason.EXPIRED | Reason.DELISTED
    | Reason.SHORT_FRACTION | Reason.BAD_ORDER | Reason.RUINED | Reason.MISSED | Reason.VENUE
    | Reason.UNTRADABLE
)  # fmt: skip
"""Why a wish was cut or an order refused; the other reasons say why none was sent."""

TEXT = {
    Reason.SHORT_OFF: "short wish cut to flat: shorts are not allowed",
    Reason.MAX_EXPOSURE: "cut to the largest exposure allowed in one symbol",
    Reason.MAX_GROSS: "cut to the largest gross exposure",
    Reason.MAX_NET: "cut to the largest net exposure",
    Reason.MAX_POSITIONS: "dropped: too many positions",
    Reason.MAX_TURNOVER: "cut to the largest turnover of one session",
    Reason.CASH_RESERVE: "cut to keep the cash reserve",
    Reason.MAX_ORDER_VALUE: "cut to the largest order value",
    Reason.CLOSE_FIRST: "closes first, opens the other side next session",
    Reason.BUYING_POWER: "cut or refused: more than the buying power at acceptance",
    Reason.TOO_SMALL: "no order: less than one unit",
    Reason.NOT_READY: "flat: listed, but short of lookback and burn-in",
    Reason.NOT_TRADED: "kept: the symbol did not trade in this session",
    Reason.BAND: "kept: the change is inside the no-trade band",
    Reason.ORDER_OPEN: "no order: an earlier order is still open",
    Reason.CASH_SHORT: "refused at the fill: the cash does not pay for it",
    Reason.EXPIRED: "expired unfilled at the end of its day",
    Reason.DELISTED: "the symbol no longer trades; the position was settled at its last close",
    Reason.SHORT_FRACTION: "refused: a short sale must be whole shares",
    Reason.BAD_ORDER: "refused: quantity or price of the order is not usable",
    Reason.RUINED: "no order: the book's equity is gone",
    Reason.MISSED: "not sent: the time for it had passed",
    Reason.VENUE: "refused by the venue, which says why in the journal",
    Reason.UNTRADABLE: "not sent: the venue does not let this symbol be traded so",
}


def explain(bits: int) -> list[str]:
    """Return the text of every reason in `bits`, in the order of the list."""
    return [text for reason, text in TEXT.items() if int(bits) & reason]


def mark(reasons: np.ndarray, where: np.ndarray, reason: Reason) -> None:
    """Set `reason` in place wherever `where` is true; both have the same shape."""
    if some(where):
        np.bitwise_or(reasons, np.int32(reason), out=reasons, where=where)
