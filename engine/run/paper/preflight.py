"""Before anything else: is this the account, is it allowed to trade, do we agree on the time."""

import logging
import shutil
from datetime import date, datetime, timedelta

import numpy as np

from brokers.alpaca.records import Account, MarketClock
from engine import clock as time
from engine.errors import TradingHalted
from engine.run.paper.room import CALENDAR, Room
from engine.run.paper.state import State

WARN_SKEW, HALT_SKEW = timedelta(seconds=2), timedelta(seconds=30)
EDGE = timedelta(minutes=2)  # around an open or a close both may be right
FREE_BYTES = 50_000_000
ACTIVE, PAPER = "ACTIVE", "PA"
_log = logging.getLogger("barwise.paper")


def preflight(room: Room, state: State) -> Account:
    """Return the account, once it, the disk and the time are as they must be.

    Raises: TradingHalted for anything that a person has to look at; VenueUnavailable.
    """
    free = shutil.disk_usage(room.folder).free
    if free < FREE_BYTES:
        raise TradingHalted(
            f"{room.folder}: expected {FREE_BYTES / 1e6:.0f} MB free on the disk, found "
            f"{free / 1e6:.0f} MB; make room, then resume"
        )
    account = room.gateway.account()
    _require_account(account, state)
    _require_symbols(room, state)
    before = room.clock.now()
    venue = room.gateway.market_clock()
    _require_time(venue, before, room.clock.now())
    return account


def require_no_kill(room: Room) -> None:
    """Refuse to go on while the kill switch is on. Raises: TradingHalted."""
    if room.kill_file.exists():
        raise TradingHalted(
            f"the kill switch {room.kill_file} is on; when the reason is gone, `barwise paper resume "
            "CONFIG --reason ...` takes it away"
        )


def require_calendar(room: Room, session: date) -> None:
    """Refuse to decide when the venue's sessions around `session` are not ours.

    Raises: TradingHalted naming the first day that differs.
    """
    first, last = session - timedelta(days=5), session + timedelta(days=10)
    ours = time.sessions(CALENDAR, first, last)
    hours = zip(ours, time.opens_at(ours, CALENDAR), time.closes_at(ours, CALENDAR), strict=True)
    expected = {str(day): (str(opens), str(closes)) for day, opens, closes in hours}
    found = {
        day.session.isoformat(): (_plain(day.opens_at), _plain(day.closes_at))
        for day in room.gateway.calendar(first, last)
    }
    for day in sorted(expected.keys() | found.keys()):
        if expected.get(day) != found.get(day):
            raise TradingHalted(
                f"calendar of {day}: expected open and close {expected.get(day, 'none')} (UTC), the "
                f"venue has {found.get(day, 'none')}; find out which is right and update "
                "exchange-calendars, then resume"
            )


def _require_account(account: Account, state: State) -> None:
    if not account.number.startswith(PAPER):
        raise TradingHalted(
            f"account {account.number}: expected a paper account, whose number begins with {PAPER}; "
            "use the keys of a paper account"
        )
    if account.status != ACTIVE or account.blocked:
        raise TradingHalted(
            f"account {account.number}: expected it {ACTIVE} and not blocked, found "
            f"{account.status}{', blocked' if account.blocked else ''}; see the venue's dashboard"
        )
    if state.opened is not None and state.opened["account"] != account.id:
        raise TradingHalted(
            f"expected account {state.opened['account']}, found {account.id}; a paper account that "
            "was reset is a new one: start with a new paper.state_dir"
        )


def _require_symbols(room: Room, state: State) -> None:
    # Books and memory are kept by place: another order of the symbols would mix them up.
    if state.opened is not None and tuple(state.opened["symbols"]) != room.symbols:
        raise TradingHalted(
            f"data.symbols: expected those of this account, {', '.join(state.opened['symbols'])}, "
            f"in this order, found {', '.join(room.symbols)}; put them back, then resume, or start "
            "another account with a new paper.state_dir"
        )


def _require_time(venue: MarketClock, now: datetime, after: datetime) -> None:
    # The venue looked at its clock between our two looks at ours.
    skew = max(now - venue.at, venue.at - after, timedelta(0))
    if skew > WARN_SKEW:
        _log.warning("clock: %.1f s from the venue's", skew.total_seconds())
    if skew > HALT_SKEW:
        raise TradingHalted(
            f"clock: expected to be within {HALT_SKEW.seconds} s of the venue, found "
            f"{skew.total_seconds():.1f} s; set this machine's clock, then resume"
        )
    today = time.last_opened(now, CALENDAR)
    is_open = now < time.closing(today, CALENDAR)
    upcoming = time.opening(time.next_session(today, CALENDAR), CALENDAR)
    edges = (time.opening(today, CALENDAR), time.closing(today, CALENDAR), upcoming)
    near = min(abs(now - edge) for edge in edges)
    if near > EDGE and (venue.is_open != is_open or abs(venue.next_open - upcoming) > EDGE):
        raise TradingHalted(
            f"expected the market {'open' if is_open else 'closed'} and next open at {upcoming}, the "
            f"venue says {'open' if venue.is_open else 'closed'} and {venue.next_open}; the "
            "calendars differ: update exchange-calendars, then resume"
        )


def _plain(at: datetime) -> str:
    return str(np.datetime64(at.replace(tzinfo=None), "s"))
