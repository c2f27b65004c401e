"""Answers become records: what is missing or impossible is refused, what is new is let through."""

import math
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from brokers.alpaca import parse
from brokers.alpaca.transport import read_json
from engine.errors import VenueUnavailable
from tests.alpaca_bodies import ACCOUNT, ASSET, CALENDAR, CLOCK, ORDER, POSITION, spoiled

READERS: list[tuple[Callable[[object], Any], Any]] = [
    (parse.account, ACCOUNT),
    (parse.order, ORDER),
    (parse.positions, [POSITION, POSITION | {"symbol": "MSFT", "side": "short", "qty": "-3"}]),
    (parse.market_clock, CLOCK),
    (parse.calendar, CALENDAR),
    (parse.asset, ASSET),
]


def test_an_account_is_read_from_texts() -> None:
    found = parse.account(ACCOUNT)
    assert (found.cash, found.equity, found.buying_power) == (97875.0, 100006.0, 197881.0)
    assert (found.number, found.multiplier, found.blocked) == ("PA3SIM000001", 2.0, False)


@pytest.mark.parametrize("flag", ["trading_blocked", "account_blocked", "trade_suspended_by_user"])
def test_f38_any_flag_blocks_the_account(flag: str) -> None:
    assert parse.account(ACCOUNT | {flag: True}).blocked
    with pytest.raises(VenueUnavailable, match=f"true or false as '{flag}'"):
        parse.account(ACCOUNT | {flag: None})


def test_fields_that_alpaca_removed_are_not_needed() -> None:
    least = ("id", "account_number", "status", "cash", "equity", "buying_power")
    found = parse.account({key: ACCOUNT[key] for key in least})
    assert (found.multiplier, found.blocked, found.shorting_enabled) == (1.0, False, False)


def test_an_order_is_signed_by_its_side_and_keeps_its_status() -> None:
    found = parse.order(ORDER | {"side": "sell", "status": "resting_on_the_moon"})
    assert (found.qty, found.filled_qty, found.filled_price) == (-10.0, 4.0, 212.44)
    assert found.submitted_at == datetime(2026, 3, 11, 14, 0, 0, 8123, tzinfo=UTC)
    assert (found.known, found.over) == (False, False)  # unknown is live


def test_an_unfilled_order_may_have_neither_fills_nor_times() -> None:
    bare = ORDER | {"filled_qty": None, "filled_avg_price": None, "submitted_at": None}
    found = parse.order(bare)
    assert (found.filled_qty, found.filled_price, found.submitted_at) == (0.0, 0.0, None)


def test_an_order_in_dollars_has_no_quantity() -> None:
    assert math.isnan(parse.order(ORDER | {"qty": None, "notional": "100"}).qty)


@pytest.mark.parametrize(
    "changes",
    [
        {"filled_avg_price": None},  # filled at no price
        {"filled_qty": "-1"},
        {"qty": "-10"},
        {"qty": "1_0"},
        {"qty": "NaN"},
        {"qty": True},
        {"qty": ["10"]},
        {"side": "hold"},
        {"side": None},
        {"status": ""},
        {"symbol": 7},
        {"submitted_at": "2026-03-11T14:00:00"},  # no zone
        {"submitted_at": "yesterday"},
        {"limit_price": "-5"},
    ],
)
def test_f17_an_impossible_order_is_refused_by_the_field_that_is_wrong(changes: dict) -> None:
    with pytest.raises(VenueUnavailable, match=f"'{next(iter(changes))}' of the order"):
        parse.order(ORDER | changes)


@pytest.mark.parametrize(("side", "qty"), [("long", 10.0), ("short", -10.0)])
@pytest.mark.parametrize("text", ["10", "-10"])
def test_a_position_is_signed_by_its_side_whatever_the_sign(
    side: str, qty: float, text: str
) -> None:
    found = parse.positions([POSITION | {"side": side, "qty": text}])["AAPL"]
    assert (found.qty, found.available) == (qty, math.copysign(6.0, qty))


def test_a_position_without_a_price_has_none_and_without_availability_all_of_it() -> None:
    row = {key: value for key, value in POSITION.items() if key != "qty_available"}
    found = parse.positions([row | {"current_price": None}])["AAPL"]
    assert found.available == 10.0
    assert math.isnan(found.price)


@pytest.mark.parametrize("raw", [None, {}, "[]", [POSITION, POSITION], [None]])
def test_f42_positions_that_are_no_list_of_positions_are_never_flat(raw: object) -> None:
    with pytest.raises(VenueUnavailable):
        parse.positions(raw)


def test_the_clock_is_told_in_utc() -> None:
    found = parse.market_clock(CLOCK)
    assert found.at == datetime(2026, 3, 11, 14, 0, 2, 123456, tzinfo=UTC)
    assert found.next_open == datetime(2026, 3, 12, 13, 30, tzinfo=UTC)
    assert found.at.utcoffset() is not None


def test_calendar_hours_are_new_york_wall_time_in_both_spellings() -> None:
    normal, early = parse.calendar(CALENDAR)
    assert normal.session == date(2026, 11, 25)
    assert normal.opens_at == datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
    assert early.closes_at == datetime(2026, 11, 27, 18, 0, tzinfo=UTC)
    summer = parse.calendar([{"date": "2026-07-01", "open": "09:30", "close": "16:00"}])[0]
    assert summer.opens_at == datetime(2026, 7, 1, 13, 30, tzinfo=UTC)


def test_an_asset_without_easy_to_borrow_or_shortable_is_still_read() -> None:
    gone = {key: value for key, value in ASSET.items() if key != "shortable"}
    assert parse.asset(gone).shortable
    assert not parse.asset(gone | {"borrow_status": "hard_to_borrow"}).shortable
    assert not parse.asset(ASSET | {"status": "inactive"}).active


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"code": 40310000}, 40310000),
        ({"code": "40310000"}, 40310000),
        ({"code": None}, None),
        ({"code": True}, None),
        ({"code": 4.5}, None),
        ({"code": "forbidden"}, None),
        ({"code": "4" * 400}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_a_code_is_a_whole_number_or_none(body: object, code: int | None) -> None:
    assert parse.code_of(body) == code


def test_an_error_quotes_what_was_found_in_short() -> None:
    with pytest.raises(VenueUnavailable, match="expected a number") as caught:
        parse.account(ACCOUNT | {"cash": "9" * 10_000})
    assert len(str(caught.value)) < 250


def test_f17_ten_thousand_spoiled_bodies_raise_nothing_but_our_own_error() -> None:
    rng = np.random.default_rng(17)
    read = refused = 0
    for n in range(10_000):
        reader, body = READERS[n % len(READERS)]
        try:
            found = reader(read_json(spoiled(body, rng)))
        except VenueUnavailable:
            refused += 1
            continue
        read += 1
        _require_sane(found)
    assert read > 2_000
    assert refused > 2_000


def _require_sane(found: Any) -> None:
    rows = found if isinstance(found, list) else [found]
    rows = list(found.values()) if isinstance(found, dict) else rows
    for row in rows:
        for each in fields(row):
            value = getattr(row, each.name)
            if isinstance(value, float):
                assert not math.isinf(value)
                assert not math.isnan(value) or each.name in ("qty", "price")
            if isinstance(value, datetime):
                assert value.utcoffset() is not None
            if isinstance(value, str):
                assert value
