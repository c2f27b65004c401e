"""Only Alpaca's paper and data hosts and this machine may be spoken to."""

import pytest
from pydantic import ValidationError

from engine.hosts import PAPER_TRADING, STOCK_DATA, is_loopback, require_data, require_paper
from engine.settings_paper import PaperSettings

REFUSED = [
    "https://api.alpaca.markets",  # live money
    "https://api.alpaca.markets/",
    "https://broker-api.alpaca.markets",
    "https://broker-api.sandbox.alpaca.markets",
    "http://paper-api.alpaca.markets",  # in the clear
    "https://paper-api.alpaca.markets:443",
    "https://paper-api.alpaca.markets:8443",
    "https://paper-api.alpaca.markets/v2",
    "https://paper-api.alpaca.markets//",
    "https://paper-api.alpaca.markets.",
    "https://paper-api.alpaca.markets.example.com",  # suffix
    "https://xpaper-api.alpaca.markets",
    "https://paper-api.alpaca.market",
    "https://PAPER-API.ALPACA.MARKETS",  # case
    "HTTPS://paper-api.alpaca.markets",
    "https://user:pass@paper-api.alpaca.markets",  # userinfo
    "https://paper-api.alpaca.markets@example.com",
    "https://paper-api.alpaca.markets\\@example.com",
    "https://paper-api.alpaca.markets?x=1",
    "https://paper-api.alpaca.markets#api.alpaca.markets",
    "https://paper-api.alpaca.markets/redirect?to=https://api.alpaca.markets",
    "https://paper-аpi.alpaca.markets",  # noqa: RUF001 - a Cyrillic a
    "https://xn--paper-pi-0ng.alpaca.markets",
    "https://paper-api。alpaca。markets",  # dots that IDN takes for dots
    " https://paper-api.alpaca.markets",
    "https://paper-api.alpaca.markets\n",
    "paper-api.alpaca.markets",
    "",
    "ftp://127.0.0.1:8000",
    "https://127.0.0.1:8000",
    "http://localhost:8000",  # by name
    "http://127.0.0.1",  # no port
    "http://127.0.0.1:0",
    "http://127.0.0.1:80/v2",
    "http://127.0.0.1:80/?",
    "http://127.0.0.1:80#",
    "http://@127.0.0.1:80",
    "http://127.0.0.1:80\n",
    "http://127.0.0.1:080",
    "http://127.0.0.1:80@example.com",
    "http://127.0.0.1:99999",
    "http://127.0.0.1.example.com:80",
    "http://127.1:80",
    "http://2130706433:80",
    "http://0x7f000001:80",
    "http://0.0.0.0:80",
    "http://10.0.0.1:80",
    "http://169.254.169.254:80",
    "http://[::ffff:10.0.0.1]:80",
    "http://[::1%25lo]:80",
]


@pytest.mark.parametrize("url", REFUSED)
def test_f43_no_other_url_is_taken_for_a_host(url: str) -> None:
    for require in (require_paper, require_data):
        with pytest.raises(ValueError, match="barwise trades on paper only"):
            require(url)
    with pytest.raises(ValidationError, match="barwise trades on paper only"):
        PaperSettings(trading_url=url)
    with pytest.raises(ValidationError, match="barwise trades on paper only"):
        PaperSettings(data_url=url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://127.9.9.9:1", "http://[::1]:65535"]
)
def test_an_address_of_this_machine_is_taken_with_or_without_a_slash(url: str) -> None:
    assert is_loopback(url)
    assert require_paper(url) == require_paper(f"{url}/") == url
    assert require_data(url) == url


def test_each_of_alpacas_hosts_is_taken_for_its_own_purpose_only() -> None:
    assert require_paper("https://paper-api.alpaca.markets/") == PAPER_TRADING
    assert require_data("https://data.alpaca.markets") == STOCK_DATA
    with pytest.raises(ValueError, match="as the trading host"):
        require_paper(STOCK_DATA)
    with pytest.raises(ValueError, match="as the data host"):
        require_data(PAPER_TRADING)


def test_neither_of_alpacas_hosts_counts_as_this_machine() -> None:
    assert not is_loopback(PAPER_TRADING)
    assert not is_loopback(STOCK_DATA)
