"""`barwise doctor`: what paper trading needs, looked at one by one, and what to do about it.

A failure means that trading could not work; a warning does not. Keys are never shown.
"""

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from enum import Enum, auto
from pathlib import Path
from typing import Any, Literal

from brokers.alpaca.keys import HOW_TO_ADD, Keys, load_keys, require_keys
from engine.clock import CALENDARS, KNOWN_AHEAD, Clock, last_closed, next_session, sessions
from engine.errors import TradingError, UsageError, VenueError
from engine.hosts import is_loopback
from engine.run.console import echo, say
from engine.run.paper.capability import ask_open_questions, symbol_of
from engine.settings import Settings

PYTHON = ((3, 11), (3, 14))  # from, below
NEEDED = {"torch": (2, 10), "alpaca-py": (0, 44), "apscheduler": (3, 11)}
CALENDAR = CALENDARS[0]
AMPLE_BYTES = 1_000_000_000
Result = dict[str, Any]


class Probing(Enum):
    """How far to go with an account: not at all, one order, several orders."""

    NONE = auto()
    ONE = auto()
    ORDERS = auto()


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at; `todo` says what would mend it."""

    name: str
    state: Literal["ok", "warn", "fail"]
    found: str
    todo: str = ""


def run_doctor(
    settings: Settings,
    environment: Mapping[str, str],
    folder: Path,
    clock: Clock,
    probing: Probing = Probing.NONE,
    as_json: bool = False,
) -> Result:
    """Look at everything, print one line each; exit code 1 where trading could not work.

    `folder` is where a `.env` file would be.
    """
    checks: list[Check] = []
    for check in examine(settings, environment, folder, clock):
        checks.append(check)
        if not as_json:
            _print(check)
    failed = [check.name for check in checks if check.state == "fail"]
    result: Result = {"checks": [asdict(check) for check in checks], "failed": failed}
    if probing is not Probing.NONE and failed:
        say("the account was not asked anything: mend what failed first")
    elif probing is not Probing.NONE:
        keys = require_keys(environment, folder / ".env")
        result |= ask_open_questions(settings, keys, clock, probing is Probing.ORDERS, as_json)
    if not as_json:
        echo(f"paper trading cannot work: {', '.join(failed)}" if failed else "ready for paper")
    return result | {"exit_code": int(bool(failed))}


def examine(
    settings: Settings, environment: Mapping[str, str], folder: Path, clock: Clock
) -> Iterator[Check]:
    """Look at this machine first, then at the keys, then at the venue."""
    yield _python(sys.version_info[:2])
    for name, least in NEEDED.items():
        yield _package(name, least)
    yield _disk(Path(settings.paper.state_dir))
    yield _calendar(clock)
    yield from _checkpoint(settings)
    yield Check("paper host", "ok", settings.paper.trading_url)
    try:
        keys = load_keys(environment, folder / ".env")
    except UsageError as error:
        yield Check("keys", "fail", str(error))
        return
    if keys is None:
        yield Check("keys", "fail", "none found", HOW_TO_ADD)
        return
    yield _keys(keys, is_loopback(settings.paper.trading_url))
    yield from _venue(settings, keys, clock)


def _python(version: tuple[int, int]) -> Check:
    least, below = PYTHON
    if least <= version < below:
        return Check("python", "ok", platform.python_version())
    wanted = f"install Python {least[0]}.{least[1]} to {below[0]}.{below[1] - 1}"
    return Check("python", "fail", platform.python_version(), wanted)


def _package(name: str, least: tuple[int, int]) -> Check:
    try:
        found = importlib.metadata.version(name)  # reads a file: importing torch takes seconds
    except importlib.metadata.PackageNotFoundError:
        return Check(name, "fail", "not installed", f"pip install {name}")
    numbers = tuple(int(part) for part in found.split("+")[0].split(".")[:2])
    if numbers >= least:
        return Check(name, "ok", found)
    return Check(name, "fail", found, f"pip install '{name}>={least[0]}.{least[1]}'")


def _disk(folder: Path) -> Check:
    from engine.run.paper.preflight import FREE_BYTES

    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / 1e9:.1f} GB free at {there}"
    if not os.access(there, os.W_OK):
        return Check("disk", "fail", f"{there} cannot be written", "set paper.state_dir")
    if free < FREE_BYTES:
        return Check("disk", "fail", found, "make room: the journal could not be written")
    return Check("disk", "ok" if free >= AMPLE_BYTES else "warn", found)


def _calendar(clock: Clock) -> Check:
    today = clock.now().date()
    coming = sessions(CALENDAR, today, today + KNOWN_AHEAD)
    following = next_session(today, CALENDAR)
    return Check("calendar", "ok", f"{len(coming)} sessions ahead, the next on {following}")


def _checkpoint(settings: Settings) -> Iterator[Check]:
    from brokers.alpaca.bars import source_name
    from engine import checkpoint
    from engine.registry import Registry
    from engine.run.paper.feeds import require_feed
    from engine.run.paper.room import require_champion, require_tradable
    from engine.settings_paper import CHAMPION

    folder = settings.paper.checkpoint
    if folder is None:
        yield Check("checkpoint", "warn", "none named", "set paper.checkpoint to trade")
        return
    try:
        if folder == CHAMPION:
            folder = str(require_champion(Registry(Path(settings.registry.dir))).folder)
        trained_on = checkpoint.read(Path(folder)).trained_on
    except (TradingError, OSError) as error:
        yield Check("checkpoint", "fail", str(error))
        return
    yield Check("checkpoint", "ok", f"{folder} is whole")
    try:
        require_tradable(settings)
        require_feed(trained_on, source_name(settings.paper.feed), settings.paper.allow_feed)
    except TradingError as error:
        yield Check("settings", "fail", str(error))
        return
    yield Check("settings", "ok", f"{', '.join(settings.data.symbols)} on {settings.paper.feed}")


def _keys(keys: Keys, near: bool) -> Check:
    if near or keys.key_id.startswith("PK"):
        return Check("keys", "ok", keys.masked)
    return Check("keys", "warn", keys.masked, "keys of a paper account begin with PK")


def _venue(settings: Settings, keys: Keys, clock: Clock) -> Iterator[Check]:
    from brokers.alpaca.gateway import Gateway

    with Gateway(settings.paper, keys, clock) as gateway:
        looks: tuple[tuple[str, Callable[[], Check]], ...] = (
            ("clock", lambda: _skew(gateway, settings, clock)),
            ("account", lambda: _account(gateway)),
            ("rate limit", lambda: _rates(gateway)),
            ("market data", lambda: _data(gateway, settings)),
        )
        for name, look in looks:
            try:
                yield look()
            except VenueError as error:
                yield Check(name, "fail", str(error))
                return


def _skew(gateway: Any, settings: Settings, clock: Clock) -> Check:
    from engine.run.paper.preflight import HALT_SKEW, WARN_SKEW

    began = clock.now()
    venue = gateway.market_clock().at
    took = clock.now() - began
    skew = abs(venue - began - took / 2)
    found = (
        f"{skew.total_seconds():.1f} s from the venue's, answered in {took.total_seconds():.2f} s"
    )
    if skew > HALT_SKEW and is_loopback(settings.paper.trading_url):
        return Check(
            "clock", "warn", f"the exchange keeps its own time, {venue:%Y-%m-%d %H:%M} UTC"
        )
    if skew > HALT_SKEW:
        return Check("clock", "fail", found, "set this machine's clock")
    return Check("clock", "ok" if skew <= WARN_SKEW else "warn", found)


def _account(gateway: Any) -> Check:
    from engine.run.paper.preflight import ACTIVE, PAPER

    found = gateway.account()
    told = f"{found.status}, cash {found.cash:,.2f}, equity {found.equity:,.2f}"
    if not found.number.startswith(PAPER):
        return Check("account", "fail", f"number begins with {found.number[:2]}", "use paper keys")
    if found.status != ACTIVE or found.blocked:
        why = f"{told}{', blocked' if found.blocked else ''}"
        return Check("account", "fail", why, "see the venue's dashboard")
    return Check("account", "ok", told)


def _rates(gateway: Any) -> Check:
    told = ", ".join(f"{name} {text}" for name, text in sorted(gateway.rates.items()))
    return Check("rate limit", "ok", told or "the venue names none; our own limit holds")


def _data(gateway: Any, settings: Settings) -> Check:
    symbol = symbol_of(settings)
    last = date.fromisoformat(str(last_closed(gateway.market_clock().at, CALENDAR)))
    bars = gateway.bars([symbol], last - timedelta(days=14), last, settings.paper.feed)
    if not bars.get(symbol):
        todo = "check the ticker and the feed"
        return Check("market data", "warn", f"no bar of {symbol} to {last}", todo)
    newest = str(bars[symbol][-1].get("t"))[:10]
    return Check("market data", "ok", f"{symbol} to {newest} from {settings.paper.feed}")


def _print(check: Check) -> None:
    todo = f"; {check.todo}" if check.todo else ""
    echo(f"{check.state:4}  {check.name:12}  {check.found}{todo}")
