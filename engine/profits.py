"""What each symbol of an account earned: money that came back minus money that went in.

Open positions count at their last mark. The symbols' profits add up to the account's, so that a
reader can see whether one lucky symbol made it all. It knows no file.
"""

from collections.abc import Mapping

import numpy as np

from engine.round_trips import Events, Fills

MUCH = 0.5  # share of the profit of one symbol that is worth a warning


def profits(
    fills: Fills, held: Mapping[str, float], events: Events | None = None
) -> dict[str, float]:
    """Return the dollars each symbol earned, net of fees, of an account that began flat.

    `held` is the value of each position at the last close, by symbol. Dividends count where `events`
    are given: pass none for an account that is paid none.
    """
    found = {}
    for symbol, value in held.items():
        mine = fills.symbol == symbol
        spent = (fills.qty[mine] * fills.price[mine] + fills.fee[mine]).sum()
        found[symbol] = float(value - spent) + _dividends(fills, symbol, events)
    return found


def of_tables(
    end: float,
    exposure: Mapping[str, np.ndarray],
    trades: Mapping[str, np.ndarray],
    events: Mapping[str, np.ndarray] | None = None,
) -> dict[str, float]:
    """Return the same from the tables of a run; `end` is its equity at the last close."""
    symbols = [name for name in exposure if name not in ("session", "gross", "net")]
    held = {symbol: float(exposure[symbol][-1] * end) for symbol in symbols}
    known = None if events is None else Events.from_columns(events)
    return profits(Fills.from_columns(trades), held, known)


def _dividends(fills: Fills, symbol: str, events: Events | None) -> float:
    # Paid on what was held at the close before, in shares after the session's split.
    if events is None:
        return 0.0
    mine, own = fills.symbol == symbol, events.symbol == symbol
    days = np.unique(np.concatenate([fills.session[mine], events.session[own]]))
    qty, paid = 0.0, 0.0
    for day in days:
        today = own & (events.session == day)
        qty *= float(np.prod(events.split[today]))
        paid += qty * float(events.dividend[today].sum())
        qty += float(fills.qty[mine & (fills.session == day)].sum())
    return paid


def lucky(found: Mapping[str, float]) -> tuple[str, float] | None:
    """Return the symbol that made too much of a profit and its share; None where there is none.

    Too much is more than half, and of fewer than four symbols more than 2 in N.
    """
    total = sum(found.values())
    if total <= 0:
        return None
    name = max(found, key=lambda symbol: found[symbol])
    share = found[name] / total
    return (name, share) if share > max(MUCH, 2 / len(found)) else None
