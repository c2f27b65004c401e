"""A gateway on a scripted server: a clock that stands still, and patience or none."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from brokers.alpaca.gateway import Gateway
from brokers.alpaca.keys import Keys
from brokers.alpaca.transport import Timeouts
from engine.clock import FakeClock
from engine.settings_paper import PaperSettings
from tests.wire_server import WireServer, wire_server

KEYS = Keys("PKCANARY00", "canary")
PATIENT = Timeouts(connect_s=10.0, read_s=20.0, total_s=30.0)
HURRIED = Timeouts(connect_s=1.0, read_s=0.3, total_s=0.5)


@pytest.fixture(scope="module")
def server() -> Iterator[WireServer]:
    with wire_server() as running:
        yield running


@pytest.fixture
def wire(server: WireServer) -> WireServer:
    server.fresh()
    return server


@pytest.fixture
def paper(wire: WireServer) -> PaperSettings:
    return PaperSettings(trading_url=wire.url, data_url=wire.url)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime(2026, 3, 11, 21, 0, tzinfo=UTC))


@pytest.fixture
def gateway(paper: PaperSettings, clock: FakeClock) -> Iterator[Gateway]:
    with Gateway(paper, KEYS, clock, PATIENT) as made:
        yield made


@pytest.fixture
def hurried(paper: PaperSettings, clock: FakeClock) -> Iterator[Gateway]:
    with Gateway(paper, KEYS, clock, HURRIED) as made:
        yield made
