"""`barwise exchange`: serve past bars as an exchange that speaks Alpaca's API, on this machine."""

import json
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from engine import clock
from engine.bars import Bars
from engine.errors import UsageError
from engine.run.build import bars_of, find_settings
from engine.run.console import echo, say
from engine.settings import Settings

AFTER_CLOSE = timedelta(minutes=20)
LAST_YEAR = 252
TICK_S = 0.5
Result = dict[str, Any]


def run_exchange(
    config: str | None,
    overrides: tuple[str, ...],
    start: str | None,
    speed: float | None,
    port: int,
    faults: Path | None,
    as_json: bool,
) -> None:
    """Serve until interrupted; says first where it listens and how a client gets in."""
    from brokers.exchange.exchange import Exchange
    from brokers.exchange.faults import Faults, load_rules
    from brokers.exchange.pace import PacedClock
    from brokers.exchange.server import serve

    if speed is not None and speed < 0:
        raise UsageError(f"--speed {speed:g}: expected 0 or more")
    settings = find_settings(config, overrides) if config else _defaults(overrides)
    rules = load_rules(faults) if faults else []
    bars = bars_of(settings)
    first = first_session(bars, settings, start)
    begins = _evening_before(first, bars.calendar)
    timer = PacedClock(begins, speed) if speed else clock.FakeClock(begins)
    exchange = Exchange(bars, timer, settings.exchange, first)
    with serve(exchange, Faults(rules), port) as server:
        told = {
            "url": server.url,
            "stream": server.ws_url,
            "key_id": exchange.key_id,
            "secret": exchange.secret,
            "token": server.token,
            "symbols": list(bars.symbols),
            "from": str(first),
            "to": str(bars.sessions[-1]),
            "now": begins.isoformat(),
            "speed": speed or 0.0,
            "faults": len(rules),
        }
        _until_interrupted(told, as_json, exchange.catch_up)
    say("exchange stopped")


def first_session(bars: Bars, settings: Settings, start: str | None) -> date:
    """Return the first session to trade: `start`, the test dates' first, or the last year's.

    Raises: UsageError where `start` is no date or no session is left.
    """
    try:
        asked = date.fromisoformat(start) if start else settings.split.test.start
    except ValueError:
        raise UsageError(f"--from {start}: expected a date, YYYY-MM-DD") from None
    row = bars.span(asked, None)[0] if asked else max(len(bars.sessions) - LAST_YEAR, 0)
    if row >= len(bars.sessions):
        raise UsageError(
            f"--from {asked}: the bars end on {bars.sessions[-1]}; choose an earlier day"
        )
    found: date = bars.sessions[row].item()
    return found


def _defaults(overrides: tuple[str, ...]) -> Settings:
    # Without a settings file: the prices that come with barwise, as the demo has them.
    return find_settings("demo", overrides)


def _evening_before(session: date, calendar: str) -> datetime:
    # An order sent now waits for the open of `session`.
    if calendar == "none":
        raise UsageError('the exchange needs opening hours; set data.calendar = "XNYS"')
    before = clock.previous_session(session, calendar)
    closed: datetime = clock.closes_at(before.reshape(1), calendar)[0].item()
    return closed.replace(tzinfo=UTC) + AFTER_CLOSE


def _announce(told: Result, as_json: bool) -> None:
    echo(json.dumps(told) if as_json else _for_people(told))
    sys.stdout.flush()  # whoever reads through a pipe waits for the address


def _for_people(told: Result) -> str:
    pace = f"runs {told['speed']:g} times as fast as yours" if told["speed"] else "stands still"
    body = '{"next": "close", "minutes": 20}'
    lines = (
        f"exchange   {told['url']}   (this machine only, simulated money)",
        f"stream     {told['stream']}",
        f"key id     {told['key_id']}",
        f"secret     {told['secret']}",
        f"bars       {', '.join(told['symbols'])}: daily, {told['from']} to {told['to']} to trade",
        f"clock      {told['now']}, {pace}; to move it to the evening of the next session:",
        f"  curl -H 'X-Exchange-Token: {told['token']}' -d '{body}' {told['url']}/exchange/clock",
        "alpaca-py  TradingClient(KEY, SECRET, paper=True, url_override=URL), data clients alike",
        f"faults     {told['faults']} rules; Ctrl-C stops it",
    )
    return "\n".join(lines)


def _until_interrupted(told: Result, as_json: bool, catch_up: Callable[[], None]) -> None:
    pause = threading.Event()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _announce(told, as_json)
        while not pause.wait(TICK_S):
            catch_up()  # a clock that runs by itself brings fills nobody asked for: tell the stream
    except KeyboardInterrupt:
        return
