"""Which hosts may be spoken to: Alpaca's paper and data hosts, and this machine. Nothing else.

There is no switch to widen the list: this project cannot reach a live account.
"""

import ipaddress
from urllib.parse import urlsplit

PAPER_TRADING = "https://paper-api.alpaca.markets"
STOCK_DATA = "https://data.alpaca.markets"


def require_paper(url: str) -> str:
    """Return the URL of a trading host without a slash at its end.

    Raises: ValueError for anything but Alpaca's paper host or loopback.
    """
    return _require(url, PAPER_TRADING, "trading")


def require_data(url: str) -> str:
    """Return the URL of a data host without a slash at its end.

    Raises: ValueError for anything but Alpaca's data host or loopback.
    """
    return _require(url, STOCK_DATA, "data")


def is_loopback(url: str) -> bool:
    """Tell whether a URL points at this machine by address, over http, with a port, and no more."""
    try:
        parts = urlsplit(url)
        port = parts.port
        address = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return False
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    bare = parts.path in ("", "/")
    return parts.scheme == "http" and address.is_loopback and bool(port) and plain and bare


def _require(url: str, allowed: str, what: str) -> str:
    found = url[:-1] if url.endswith("/") else url
    if found == allowed or is_loopback(url):
        return found
    raise ValueError(
        f"expected {allowed} or http://127.0.0.1:PORT as the {what} host, found {url!r}; "
        "barwise trades on paper only, and no setting changes that"
    )
