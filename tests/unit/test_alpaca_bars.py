"""Bars from Alpaca: keyed by New York date, closed sessions only, events on their sessions."""

from datetime import UTC, date, datetime

import numpy as np
import pytest

from brokers.alpaca.bars import download
from engine.clock import FakeClock
from engine.data.synthetic import SyntheticSettings
from engine.errors import DataError, VenueUnavailable
from engine.sources import DataSettings, load
from tests.vendor import Vendor, row

LATER = FakeClock(datetime(2024, 6, 1, tzinfo=UTC))
MARCH = [
    row("2024-03-07", 10.0, 12.0, 9.0, 11.0),  # the clocks change on the night to the 11th
    row("2024-03-08", 11.0, 13.0, 10.0, 12.0),
    row("2024-03-11", 12.0, 14.0, 11.0, 13.0),
    row("2024-03-12", 13.0, 15.0, 12.0, 14.0),
]


def vendor(**rows):
    one = Vendor()
    found = rows or {"AAA": MARCH}
    one.rows = {symbol: [dict(each) for each in bars] for symbol, bars in found.items()}
    return one


def asked(source, symbols=("AAA",), first="2024-03-07", last="2024-03-12", at=LATER, **more):
    days = date.fromisoformat(first), date.fromisoformat(last)
    return download(source, symbols, *days, "iex", at, **more)


def events(bars, n=0):
    return {
        str(bars.sessions[t]): (float(bars.split[t, n]), float(bars.dividend[t, n]))
        for t in range(len(bars.sessions))
        if bars.split[t, n] != 1.0 or bars.dividend[t, n] != 0.0
    }


def test_a_bar_belongs_to_the_new_york_date_of_its_stamp_in_winter_and_summer():
    assert [r["t"][11:13] for r in MARCH] == ["05", "05", "04", "04"]
    bars = asked(vendor())
    assert [str(d) for d in bars.sessions] == [
        "2024-03-07",
        "2024-03-08",
        "2024-03-11",
        "2024-03-12",
    ]
    assert bars.ohlcv[:, 0, 3].tolist() == [11.0, 12.0, 13.0, 14.0]
    assert (bars.source, bars.price_basis, bars.calendar) == ("alpaca:iex", "raw", "XNYS")


def test_a_stamp_that_is_not_midnight_in_new_york_is_refused():
    source = vendor()
    source.rows["AAA"][1]["t"] = "2024-03-08T00:00:00Z"  # the evening before, in New York
    with pytest.raises(DataError, match=r"alpaca:iex AAA, line 2.*expected one bar a session"):
        asked(source)


@pytest.mark.parametrize(
    ("at", "newest"),
    [
        ("2024-07-02T19:59:59", "2024-07-01"),
        ("2024-07-02T20:00:00", "2024-07-02"),
        ("2024-07-03T16:59:59", "2024-07-02"),
        ("2024-07-03T17:00:00", "2024-07-03"),  # early close
        ("2024-07-05T13:30:00", "2024-07-03"),  # the bar of the 5th is being formed
    ],
)
def test_a_bar_is_dropped_until_its_session_has_closed(at, newest):
    days = ("2024-07-01", "2024-07-02", "2024-07-03", "2024-07-05")
    source = vendor(AAA=[row(day, 10.0, 11.0, 9.0, 10.0) for day in days])
    clock = FakeClock(datetime.fromisoformat(at).replace(tzinfo=UTC))
    bars = asked(source, first="2024-07-01", last="2024-07-05", at=clock)
    assert str(bars.sessions[-1]) == newest
    assert source.asked == [("AAA", date(2024, 7, 1), date.fromisoformat(newest))]


def test_nothing_is_asked_of_a_range_that_has_not_begun():
    source = vendor()
    bars = asked(source, first="2024-06-03", last="2024-06-05")
    assert (len(bars.sessions), bars.symbols, source.asked) == (0, ("AAA",), [])


def test_what_the_bars_say_comes_back_bit_for_bit_with_gaps_listings_and_events():
    market = load(DataSettings()).between(date(2004, 6, 1), date(2005, 4, 29))
    clock = FakeClock(datetime(2020, 1, 1, tzinfo=UTC))
    days = date(2004, 6, 1), date(2005, 4, 29)
    found = download(Vendor(market), market.symbols, *days, "iex", clock)
    assert found.digest() == market.digest()
    assert float(found.split.max()) == 2.0
    assert float(found.dividend.max()) > 3.0


def test_a_symbol_without_any_bar_never_trades_and_is_named():
    bars = asked(vendor(), symbols=("AAA", "NONE"))
    assert bars.symbols == ("AAA", "NONE")
    assert bars.traded.sum(axis=0).tolist() == [4, 0]
    assert "NONE: no bar" in bars.notes


def test_every_session_asked_for_is_there_with_or_without_a_bar():
    bars = asked(vendor(), symbols=("NONE",), first="2024-03-06")
    assert bars.ohlcv.shape == (5, 1, 5)
    assert not bars.traded.any()
    source = vendor(AAA=[MARCH[1]])
    source.act("cash_dividends", symbol="AAA", ex_date="2024-03-12", rate=1)
    bars = asked(source, first="2024-03-06")
    assert bars.traded[:, 0].tolist() == [False, False, True, False, False]
    assert events(bars) == {"2024-03-12": (1.0, 1.0)}


def test_splits_of_every_kind_become_ratios():
    source = vendor()
    source.act("forward_splits", symbol="AAA", ex_date="2024-03-07", new_rate=3, old_rate=2)
    source.act("reverse_splits", symbol="AAA", ex_date="2024-03-08", new_rate=1, old_rate=50)
    source.act("stock_dividends", symbol="AAA", ex_date="2024-03-11", rate=0.05)
    source.act(
        "unit_splits",
        old_symbol="AAA",
        new_symbol="AAB",
        effective_date="2024-03-12",
        new_rate=2,
        old_rate=1,
    )
    bars = asked(source)
    assert events(bars) == {
        "2024-03-07": (1.5, 0.0),
        "2024-03-08": (0.02, 0.0),
        "2024-03-11": (1.05, 0.0),
        "2024-03-12": (2.0, 0.0),
    }
    assert "AAA 2024-03-12: split into shares called AAB" in bars.notes


def test_dividends_of_one_day_add_up_and_a_repeated_action_counts_once():
    source = vendor()
    source.act("cash_dividends", symbol="AAA", ex_date="2024-03-08", rate=0.25)
    twice = source.act("cash_dividends", symbol="AAA", ex_date="2024-03-08", rate=3, special=True)
    source.actions["cash_dividends"].append(dict(twice))
    assert events(asked(source)) == {"2024-03-08": (1.0, 3.25)}


def test_a_dividend_processed_weeks_later_is_found_by_its_ex_date():
    source = vendor()
    source.act(
        "cash_dividends", symbol="AAA", ex_date="2024-03-11", process_date="2024-04-30", rate=0.5
    )
    assert events(asked(source)) == {"2024-03-11": (1.0, 0.5)}


def test_an_event_on_a_session_without_a_bar_stays_there():
    source = vendor(AAA=[MARCH[0], MARCH[3]])
    source.act("forward_splits", symbol="AAA", ex_date="2024-03-08", new_rate=2, old_rate=1)
    bars = asked(source)
    assert bars.traded[:, 0].tolist() == [True, False, False, True]
    assert events(bars) == {"2024-03-08": (2.0, 0.0)}


def test_an_event_on_a_closed_day_moves_to_the_next_session_even_across_the_start():
    source = vendor()
    source.act("cash_dividends", symbol="AAA", ex_date="2024-03-09", rate=0.1)  # a Saturday
    assert events(asked(source)) == {"2024-03-11": (1.0, 0.1)}
    assert events(asked(source, first="2024-03-11")) == {"2024-03-11": (1.0, 0.1)}
    assert events(asked(source, last="2024-03-08")) == {}


def test_spin_offs_renames_and_mergers_are_noted_and_not_applied():
    source = vendor()
    source.act(
        "spin_offs",
        source_symbol="AAA",
        new_symbol="SPUN",
        ex_date="2024-03-08",
        source_rate=1,
        new_rate=1,
    )
    source.act("name_changes", old_symbol="OLD", new_symbol="AAA", process_date="2024-03-11")
    source.act("cash_mergers", acquiree_symbol="AAA", effective_date="2024-03-12", rate=5.0)
    source.act("cash_dividends", symbol="AAA", ex_date="2024-03-12", rate=1, currency="CAD")
    bars = asked(source)
    assert events(bars) == {}
    assert [n for n in bars.notes if n.startswith("AAA 2024")] == [
        "AAA 2024-03-12: dividend of 1 CAD is not in dollars; left out",
        "AAA 2024-03-12: cash merger is not applied to prices or shares",
        "AAA 2024-03-11: renamed from OLD to AAA; events under the old name are not in these bars",
        "AAA 2024-03-08: spin off is not applied to prices or shares",
    ]


@pytest.mark.parametrize("rate", [0, -2, None, "x", float("nan"), float("inf")])
def test_an_action_without_a_usable_rate_is_refused(rate):
    source = vendor()
    source.act("forward_splits", symbol="AAA", ex_date="2024-03-08", new_rate=rate, old_rate=1)
    with pytest.raises(DataError, match="AAA, forward_splits: expected new_rate above zero"):
        asked(source)


def test_an_action_without_a_date_is_refused():
    source = vendor()
    action = source.act("cash_dividends", symbol="AAA", ex_date="2024-03-08", rate=1)
    action |= {"ex_date": "soon"}
    with pytest.raises(DataError, match="expected an action with a date like 2024-01-02"):
        asked(source)


@pytest.mark.parametrize(
    ("cell", "value", "said"),
    [
        ("c", float("nan"), "column close: AAA: expected a number, found nothing"),
        ("o", None, "column open: AAA: expected a number, found nothing"),
        ("h", float("inf"), "column high: AAA: expected a finite number"),
        ("l", 0, "column low: AAA: expected a price above zero, found 0"),
        ("c", "ten", "column close: AAA: expected a number, found 'ten'"),
        ("c", True, "column close: AAA: expected a number, found 'True'"),
        ("t", "yesterday", "column date: AAA: expected a date like"),
        ("h", 10.5, "expected open and close within"),
        ("v", -1, "column volume: AAA: expected volume >= 0"),
    ],
)
def test_a_row_that_is_not_a_bar_is_refused_with_its_place(cell, value, said):
    source = vendor()
    source.rows["AAA"][1] = MARCH[1] | {cell: value}
    with pytest.raises(DataError, match=said) as caught:
        asked(source)
    assert "line 2" in str(caught.value)
    assert str(caught.value).endswith("or use another feed")


def test_an_answer_that_is_no_list_of_bars_is_no_answer():
    source = vendor()
    source.bars = lambda *_: {"AAA": ["bar"]}
    with pytest.raises(VenueUnavailable, match="expected a list of bars"):
        asked(source)


def test_made_up_markets_survive_the_wire_bit_for_bit():
    made = SyntheticSettings(kind="gbm", symbols=5, sessions=300, seed=3)
    market = load(DataSettings(source="synthetic", synthetic=made))
    first, last = market.sessions[0].item(), market.sessions[-1].item()
    found = download(
        Vendor(market),
        market.symbols,
        first,
        last,
        "iex",
        FakeClock(datetime(2026, 1, 1, tzinfo=UTC)),
    )
    assert found.ohlcv.tobytes() == market.ohlcv.tobytes()
    assert np.array_equal(found.sessions, market.sessions)
