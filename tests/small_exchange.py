"""A small exchange, served: nine sessions around Thanksgiving 2024, three symbols, known prices.

AAA splits 2:1 on 2024-12-03, CCC 1:10 on 2024-12-04; BBB pays 0.25 on 2024-12-02 and does not trade
on 2024-11-27. 2024-11-28 is a holiday, 2024-11-29 closes at 13:00.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import requests

from brokers.exchange.exchange import Exchange
from brokers.exchange.faults import Faults, Rule
from brokers.exchange.server import Server, serve
from engine.bars import Bars
from engine.clock import FakeClock
from engine.settings_paper import ExchangeSettings

SESSIONS = (
    "2024-11-25", "2024-11-26", "2024-11-27", "2024-11-29", "2024-12-02", "2024-12-03",
    "2024-12-04", "2024-12-05", "2024-12-06",
)  # fmt: skip
FIRST = date(2024, 11, 27)
EVENING = datetime(2024, 11, 26, 21, 20, tzinfo=UTC)  # 20 minutes after the close before FIRST


def small_bars() -> Bars:
    """Return the bars: opens of 100, 50 and 2 that rise by 1, 0.5 and 0.01 a session."""
    t = len(SESSIONS)
    steps = np.arange(t)[:, None]
    opens = np.array([100.0, 50.0, 2.0]) + steps * np.array([1.0, 0.5, 0.01])
    split, dividend = np.ones((t, 3)), np.zeros((t, 3))
    split[5, 0], split[6, 2], dividend[4, 1] = 2.0, 0.1, 0.25
    opens = opens / np.cumprod(split, axis=0)
    volume = np.full((t, 3), 1_000_000.0)
    ohlcv = np.stack([opens, opens * 1.02, opens * 0.98, opens * 1.01, volume], axis=2)
    traded = np.ones((t, 3), dtype=bool)
    traded[2, 1] = False
    ohlcv[~traded] = np.nan
    days = np.array(SESSIONS, dtype="datetime64[D]")
    ended = np.full(3, np.datetime64("NaT", "D"))
    return Bars(days, ("AAA", "BBB", "CCC"), ohlcv, traded, split, dividend, ended)


def small_exchange(at: datetime = EVENING, **settings: Any) -> Exchange:
    """Return an exchange that stands still at `at`, without random partial fills."""
    chosen = ExchangeSettings(**{"partial_fills": 0.0, **settings})
    return Exchange(small_bars(), FakeClock(at), chosen, FIRST)


class Client:
    """Plain HTTP to a served exchange: the keys in every request, no proxy, short timeouts."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["APCA-API-KEY-ID"] = server.exchange.key_id
        self.session.headers["APCA-API-SECRET-KEY"] = server.exchange.secret

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """Send a request as it is."""
        chosen = {"timeout": 5.0, "allow_redirects": False, **more}
        return self.session.request(method, self.server.url + path, **chosen)

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of a request that must succeed."""
        answer = self.ask("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def buy(self, cid: str, symbol: str = "AAA", qty: float = 10, **more: Any) -> requests.Response:
        """Send a market order for the day; `timeout` is the client's patience."""
        order = {"symbol": symbol, "qty": str(qty), "side": "buy", "type": "market"}
        body = {**order, "time_in_force": "day", "client_order_id": cid}
        return self.ask("POST", "/v2/orders", json=body, **more)

    def control(self, method: str, name: str, **body: Any) -> requests.Response:
        """Send a request to a control path with the token."""
        headers = {"X-Exchange-Token": self.server.token}
        return self.ask(method, f"/exchange/{name}", headers=headers, json=body)


@contextmanager
def served(*rules: Rule, exchange: Exchange | None = None) -> Iterator[Client]:
    """Serve an exchange for the length of a block."""
    with serve(exchange or small_exchange(), Faults(rules)) as server:
        client = Client(server)
        with client.session:
            yield client
