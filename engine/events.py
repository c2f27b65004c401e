"""What companies do to a book between two sessions: splits, dividends, the end of trading.

Shapes: (B, N) unless said otherwise. Each function changes the book it is given.
"""

import numpy as np

from engine.book import Book, Orders, Outcome


def apply_split(book: Book, pending: Orders, ratio: np.ndarray) -> np.ndarray:
    """Turn old shares into new ones, in positions, prices and waiting orders; return the cash paid.

    Shapes: returns (B,) dollars. A position of whole shares stays whole: the fraction left over
    is paid in cash at the last close in new shares. A position that already had a fraction keeps
    its fraction.
    """
    whole = book.qty == np.trunc(book.qty)
    book.mark = book.mark / ratio
    book.basis = book.basis / ratio
    shares = new_shares(book.qty, ratio)
    kept = np.where(whole, np.trunc(shares), shares)
    cash: np.ndarray = ((shares - kept) * book.mark).sum(axis=-1)
    book.cash += cash
    book.qty = kept
    book.basis *= kept != 0
    ordered = new_shares(pending.qty, ratio)
    pending.qty = np.where(pending.qty == np.trunc(pending.qty), np.trunc(ordered), ordered)
    pending.limit = pending.limit / ratio
    pending.stop = pending.stop / ratio
    return cash


def new_shares(qty: np.ndarray | float, ratio: np.ndarray | float) -> np.ndarray:
    """Return old shares in new ones; a whole number where rounding alone stands between.

    30 shares at 1-for-10 are 3, whatever 30 * 0.1 says.
    """
    shares = np.asarray(qty) * ratio
    near = np.rint(shares)
    return np.where(np.abs(shares - near) < 1e-6, near, shares)


def restate(outcome: Outcome, ratio: np.ndarray) -> None:
    """Put fills that came before the session's split into its new shares, as if they came after."""
    outcome.filled = outcome.filled * ratio
    outcome.unfilled = outcome.unfilled * ratio
    outcome.price = outcome.price / ratio


def pay_dividend(book: Book, dividend: np.ndarray) -> np.ndarray:
    """Pay dollars per share held into cash, and take them from shorts; return (B,) dollars."""
    paid: np.ndarray = (book.qty * dividend).sum(axis=-1)
    book.cash += paid
    return paid


def settle_ended(book: Book, ended: np.ndarray) -> np.ndarray:
    """Close positions of delisted symbols at their last close, free of charge; return them."""
    closed = np.where(ended, book.qty, 0.0)
    book.cash += (closed * book.mark).sum(axis=-1)
    book.qty = book.qty - closed
    book.basis = np.where(ended, 0.0, book.basis)
    return closed
