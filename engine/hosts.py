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
    """Tell whether a URL is this machine by address: http://127.0.0.1:PORT, spelled just so.

    `localhost` is a name, and a name may be made to lead elsewhere; so it does not count.
    """
    try:
        parts = urlsplit(url)
        address = ipaddress.ip_address(parts.hostname or "")
        host = f"[{address}]" if address.version == 6 else str(address)
        spelled = f"http://{host}:{parts.port or ''}"
    except ValueError:
        return False
    is_plain = bool(parts.port) and "%" not in url  # a zone is no part of this machine's address
    return address.is_loopback and is_plain and _bare(url) == spelled


def _require(url: str, allowed: str, what: str) -> str:
    found = _bare(url)
    if found == allowed or is_loopback(url):
        return found
    raise ValueError(
        f"expected {allowed} or http://127.0.0.1:PORT as the {what} host, found {url!r}; "
        "barwise trades on paper only, and no setting changes that"
    )


def _bare(url: str) -> str:
    return url[:-1] if url.endswith("/") else url
