"""Time and sessions: against the published NYSE calendar, and by hand."""

import csv
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from engine import clock
from engine.errors import DataError


def day(text):
    return np.datetime64(text, "D")


def published(shared_data):
    path = shared_data / "nyse-calendar" / "xnys-trading-days-1990-2027.csv"
    with path.open() as file:
        return list(csv.DictReader(file))


def test_sessions_opens_and_closes_are_those_published_since_1990(shared_data):
    rows = [r for r in published(shared_data) if r["date"] <= "2026-06-30"]
    days = clock.sessions("XNYS", date(1990, 1, 1), date(2026, 6, 30))
    assert days.tolist() == [date.fromisoformat(r["date"]) for r in rows]
    for got, column in (
        (clock.opens_at(days, "XNYS"), "open_utc"),
        (clock.closes_at(days, "XNYS"), "close_utc"),
    ):
        told = [datetime.fromisoformat(r[column]).replace(tzinfo=None) for r in rows]
        assert got.tolist() == told


def test_year_lengths_are_the_known_ones():
    # The exchange was shut for four days in September 2001, and for two in October 2012.
    for year, sessions in ((2001, 248), (2012, 250), (2008, 253), (2019, 252)):
        assert len(clock.sessions("XNYS", date(year, 1, 1), date(year, 12, 31))) == sessions


def test_close_is_early_on_christmas_eve_and_follows_summer_time():
    asked = np.array(["2019-12-24", "2019-07-01", "2019-12-23"], dtype="datetime64[D]")
    told = [str(t) for t in clock.closes_at(asked, "XNYS")]
    assert told == ["2019-12-24T18:00:00", "2019-07-01T20:00:00", "2019-12-23T21:00:00"]


def test_a_bar_without_calendar_is_complete_when_its_date_is_over():
    asked = np.array(["2019-12-25"], dtype="datetime64[D]")
    assert str(clock.closes_at(asked, "none")[0]) == "2019-12-26T00:00:00"


def test_a_date_past_the_known_calendar_raises_instead_of_being_closed():
    far = clock.now().date() + timedelta(days=800)
    with pytest.raises(DataError, match="known to"):
        clock.is_session(far, "XNYS")


def test_a_closed_day_has_no_closing_time():
    with pytest.raises(DataError, match="2001-09-12 is not a session"):
        clock.closes_at(np.array(["2001-09-12"], dtype="datetime64[D]"), "XNYS")


def test_an_unknown_calendar_is_refused():
    with pytest.raises(DataError, match="XTKS"):
        clock.sessions("XTKS", date(2019, 1, 1), date(2019, 1, 2))


def test_neighbouring_sessions_step_over_holidays_and_weekends():
    assert clock.next_session(date(2019, 11, 27), "XNYS") == day("2019-11-29")  # Thanksgiving
    assert clock.next_session(day("2001-09-10"), "XNYS") == day("2001-09-17")
    assert clock.previous_session(day("2019-11-29"), "XNYS") == day("2019-11-27")
    assert clock.previous_session(day("2020-01-05"), "XNYS") == day("2020-01-03")  # from a Sunday


def test_old_dates_are_known_too():
    assert not clock.is_session(date(1963, 11, 25), "XNYS")  # the funeral of President Kennedy
    assert clock.is_session(date(1963, 11, 26), "XNYS")


def test_a_session_counts_as_closed_from_its_closing_minute_on():
    close = datetime(2019, 12, 24, 18, 0, tzinfo=UTC)
    assert clock.last_closed(close, "XNYS") == day("2019-12-24")
    assert clock.last_closed(close - timedelta(seconds=1), "XNYS") == day("2019-12-23")


def test_fake_clock_stands_still_until_told():
    fake = clock.FakeClock(datetime(2020, 1, 2, 12, tzinfo=UTC))
    assert fake.now() == fake.now()
    fake.advance(timedelta(hours=5))
    assert fake.now() == datetime(2020, 1, 2, 17, tzinfo=UTC)
    fake.set(datetime(2020, 1, 3, tzinfo=UTC))
    assert fake.now() == datetime(2020, 1, 3, tzinfo=UTC)


def test_fake_clock_refuses_to_run_backwards_or_without_a_zone():
    fake = clock.FakeClock(datetime(2020, 1, 2, tzinfo=UTC))
    with pytest.raises(ValueError, match="forward"):
        fake.advance(timedelta(seconds=-1))
    with pytest.raises(ValueError, match="aware"):
        clock.FakeClock(datetime(2020, 1, 2))  # noqa: DTZ001


def test_now_is_aware_and_in_utc():
    assert clock.now().tzinfo is UTC
    assert clock.SystemClock().now() >= clock.now() - timedelta(minutes=1)
