"""The cache: what is asked for, what is kept, what is noticed, and what is found out."""

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from pydantic import ValidationError

from engine import clock
from engine.clock import FakeClock
from engine.data.cache import Cache, require_symbol
from engine.errors import DataError, UsageError, VenueUnavailable
from engine.run.fetch import OVERLAP, fetch
from engine.sources import DataSettings, load
from tests.vendor import Vendor

MARKET = load(DataSettings()).between(date(2004, 6, 1), date(2005, 4, 29))
FIRST, LAST = date(2004, 6, 1), date(2005, 4, 29)
SYMBOLS = MARKET.symbols


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "kept", "alpaca:iex")


def fetched(cache, source, symbols=SYMBOLS, first=FIRST, last=LAST, again=False, at=None):
    at = at or FakeClock(datetime(2020, 1, 1, tzinfo=UTC))
    return list(fetch(source, cache, "iex", symbols, first, last, at, again))


def read(cache, symbols=SYMBOLS, **more):
    where = {"source": "alpaca", "cache": str(cache.root), "symbols": symbols}
    return load(DataSettings(**where, **more))


def refused(cache, **more):
    with pytest.raises(DataError) as caught:
        read(cache, **more)
    return str(caught.value)


def files(cache):
    return sorted(p.name for p in cache.folder.iterdir())


def test_what_is_fetched_loads_bit_for_bit_as_the_vendor_serves_it(cache):
    told = fetched(cache, Vendor(MARKET))
    assert [(one.symbol, one.bars) for one in told] == [
        (s, int(MARKET.traded[:, n].sum())) for n, s in enumerate(SYMBOLS)
    ]
    bars = read(cache)
    assert bars.digest() == MARKET.digest()
    assert (bars.source, bars.price_basis, bars.calendar) == ("alpaca:iex", "raw", "XNYS")
    assert read(cache, symbols=()).digest() == MARKET.digest()
    assert read(cache, symbols=("msft",)).symbols == ("MSFT",)


def test_an_event_on_a_session_without_a_bar_survives(cache):
    source = Vendor(MARKET)
    day = str(MARKET.sessions[100])
    source.rows["IBM"] = [r for r in source.rows["IBM"] if not r["t"].startswith(day)]
    source.act("forward_splits", symbol="IBM", ex_date=day, new_rate=3, old_rate=1)
    fetched(cache, source, ("IBM",))
    bars = read(cache, symbols=("IBM",))
    assert (bool(bars.traded[100, 0]), float(bars.split[100, 0])) == (False, 3.0)


def test_a_part_of_what_is_held_is_that_part(cache):
    fetched(cache, Vendor(MARKET))
    days = {"start": date(2004, 9, 1), "end": date(2004, 12, 31)}
    assert read(cache, **days).digest() == MARKET.between(days["start"], days["end"]).digest()


def test_the_manifest_says_what_is_held_and_since_when(cache):
    fetched(cache, Vendor(MARKET), ("GOOG",))
    told = json.loads((cache.folder / "manifest.json").read_text())
    assert (told["source"], told["price_basis"], told["calendar"]) == ("alpaca:iex", "raw", "XNYS")
    goog = told["symbols"]["GOOG"]
    assert (goog["first"], goog["last"], goog["bars"]) == ("2004-06-01", "2005-04-29", 176)
    assert goog["fetched_at"] == "2020-01-01T00:00:00Z"
    assert files(cache) == [".lock", goog["file"], "manifest.json"]


# What is not there


def test_a_missing_range_is_named_with_the_command_that_fetches_it(cache):
    assert refused(cache, symbols=("AAPL",), start=FIRST, end=LAST).endswith(
        f"found none; run `barwise data fetch AAPL --from 2004-06-01 --to 2005-04-29 --feed iex "
        f"--cache {cache.root}`"
    )
    fetched(cache, Vendor(MARKET), ("AAPL", "IBM"), last=date(2004, 12, 31))
    fetched(cache, Vendor(MARKET), ("MSFT",))
    text = refused(cache, symbols=("AAPL", "MSFT"), start=FIRST, end=LAST)
    assert "expected bars of AAPL from 2004-06-01 to 2005-04-29" in text
    assert "found AAPL 2004-06-01 to 2004-12-31; run `barwise data fetch AAPL --from" in text


def test_without_dates_every_symbol_must_go_as_far_as_the_others(cache):
    fetched(cache, Vendor(MARKET), ("AAPL",), first=date(2004, 9, 1))
    fetched(cache, Vendor(MARKET), ("MSFT",), last=date(2005, 3, 31))
    text = refused(cache, symbols=("AAPL", "MSFT"))
    assert "--from 2004-06-01 --to 2005-04-29" in text
    assert "fetch AAPL MSFT" in text


def test_a_range_held_up_to_a_friday_holds_the_weekend_too(cache):
    fetched(cache, Vendor(MARKET), ("IBM",), last=date(2004, 12, 31))  # a Friday
    assert read(cache, symbols=("IBM",), start=FIRST, end=date(2005, 1, 2)).sessions[-1] == (
        np.datetime64("2004-12-31")
    )


def test_an_empty_cache_and_no_symbols_say_so(cache):
    assert "expected bars of a symbol" in refused(cache, symbols=())


def test_bars_kept_of_one_feed_are_not_those_of_another(cache):
    fetched(cache, Vendor(MARKET), ("IBM",))
    assert "alpaca-sip" in refused(cache, symbols=("IBM",), feed="sip")
    (cache.root / "alpaca-sip").symlink_to(cache.folder)
    assert "feeds are never mixed" in refused(cache, symbols=("IBM",), feed="sip")


# Asking again


def test_what_is_held_is_not_asked_for_again(cache):
    source = Vendor(MARKET)
    fetched(cache, source)
    source.asked.clear()
    assert [one.asked for one in fetched(cache, source)] == [None] * 4
    assert source.asked == []


def test_later_sessions_are_asked_for_with_an_overlap_and_joined(cache):
    source = Vendor(MARKET)
    middle = date(2004, 12, 31)
    fetched(cache, source, ("IBM",), last=middle)
    held = clock.sessions("XNYS", FIRST, middle)
    source.asked.clear()
    fetched(cache, source, ("IBM",))
    assert source.asked == [("IBM", held[-OVERLAP].item(), LAST)]
    assert read(cache, symbols=("IBM",)).digest() == MARKET.select(("IBM",)).digest()


def test_earlier_sessions_and_a_range_far_away_are_joined_in_one_piece(cache):
    source = Vendor(MARKET)
    fetched(cache, source, ("IBM",), date(2004, 9, 1), date(2004, 9, 30))
    fetched(cache, source, ("IBM",), date(2005, 3, 1), LAST)  # leaves no hole behind
    fetched(cache, source, ("IBM",), FIRST, date(2004, 6, 30))
    assert read(cache, symbols=("IBM",)).digest() == MARKET.select(("IBM",)).digest()


def test_a_revised_bar_is_kept_new_recorded_old_and_told(cache):
    source = Vendor(MARKET)
    fetched(cache, source, ("IBM",), last=date(2005, 4, 28))
    changed = source.rows["IBM"][-3]
    was, day = changed["c"], changed["t"][:10]
    changed["c"] = changed["h"]
    (told,) = fetched(cache, source, ("IBM",))
    (revision,) = told.revisions
    assert (str(revision.session), revision.field) == (day, "close")
    assert (revision.old, revision.new) == (was, changed["h"])
    assert revision.text("IBM") == f"IBM {day}: close was {was:g}, is {changed['h']:g}"
    assert cache.manifest().symbols["IBM"].revisions == (revision,)
    assert float(read(cache, symbols=("IBM",)).ohlcv[-3, 0, 3]) == changed["h"]
    (told,) = fetched(cache, source, ("IBM",), again=True)  # nothing new changed
    assert told.revisions == ()
    assert len(cache.manifest().symbols["IBM"].revisions) == 1


def test_a_bar_taken_back_and_an_event_told_late_are_revisions_too(cache):
    source = Vendor(MARKET)
    fetched(cache, source, ("AAPL",))
    gone = source.rows["AAPL"].pop(10)
    day = str(MARKET.sessions[20])
    source.act("cash_dividends", symbol="AAPL", ex_date=day, rate=0.25)
    (told,) = fetched(cache, source, ("AAPL",), again=True)
    assert {(str(r.session), r.field, r.new) for r in told.revisions} == {
        *((gone["t"][:10], field, None) for field in ("open", "high", "low", "close", "volume")),
        (day, "dividend", 0.25),
    }


def test_a_range_ends_with_the_last_session_that_has_closed(cache):
    at = FakeClock(datetime(2005, 4, 28, 19, 59, tzinfo=UTC))  # one minute before the close
    (told,) = fetched(cache, Vendor(MARKET), ("IBM",), at=at)
    assert told.asked == (FIRST, date(2005, 4, 27))
    at.advance(timedelta(minutes=1))
    (told,) = fetched(cache, Vendor(MARKET), ("IBM",), at=at)
    assert told.asked is not None
    assert told.asked[1] == date(2005, 4, 28)


def test_a_range_without_a_closed_session_is_refused(cache):
    at = FakeClock(datetime(2004, 6, 1, 15, 0, tzinfo=UTC))
    with pytest.raises(UsageError, match="no session closed from 2004-06-01 to 2005-04-29"):
        fetched(cache, Vendor(MARKET), at=at)


def test_a_vendor_that_was_late_is_asked_again_and_its_late_bar_is_no_revision(cache):
    source = Vendor(MARKET)
    late = source.rows["IBM"].pop()
    (told,) = fetched(cache, source, ("IBM",))
    assert str(told.last_bar) == "2005-04-28"
    assert len(read(cache, symbols=("IBM",)).sessions) == len(MARKET.sessions) - 1
    source.rows["IBM"].append(late)
    (told,) = fetched(cache, source, ("IBM",))
    assert told.asked is not None
    assert told.revisions == ()
    assert read(cache, symbols=("IBM",)).digest() == MARKET.select(("IBM",)).digest()
    (told,) = fetched(cache, source, ("IBM",))
    assert told.asked is None


# What goes wrong


class Interrupted(Vendor):
    """Stops answering after some requests for bars."""

    def __init__(self, bars, answers, error):
        super().__init__(bars)
        self.answers, self.error = answers, error

    def bars(self, symbols, first, last, feed):
        if self.answers == 0:
            raise self.error
        self.answers -= 1
        return super().bars(symbols, first, last, feed)


@pytest.mark.parametrize("error", [VenueUnavailable("no answer"), KeyboardInterrupt()])
def test_a_fetch_that_stops_half_way_goes_on_where_it_stopped(cache, error):
    with pytest.raises(type(error)):
        fetched(cache, Interrupted(MARKET, 2, error))
    assert list(cache.manifest().symbols) == ["AAPL", "GOOG"]
    source = Vendor(MARKET)
    fetched(cache, source)
    assert [symbol for symbol, *_ in source.asked] == ["IBM", "MSFT"]
    assert read(cache).digest() == MARKET.digest()


def test_bad_data_ends_its_own_symbol_only(cache):
    source = Vendor(MARKET)
    source.rows["GOOG"][5]["c"] = -1.0
    told = {one.symbol: one.error for one in fetched(cache, source)}
    assert "expected a price above zero, found -1" in str(told.pop("GOOG"))
    assert told == {"AAPL": None, "IBM": None, "MSFT": None}
    assert "fetch GOOG --from" in refused(cache)


def test_an_unknown_symbol_is_not_kept_as_an_empty_one(cache):
    (told,) = fetched(cache, Vendor(MARKET), ("NONE",))
    assert "NONE: alpaca:iex has no bar from 2004-06-01 to 2005-04-29" in str(told.error)
    assert cache.manifest().symbols == {}


@pytest.mark.parametrize("harm", ["truncate", "flip", "delete"])
def test_a_damaged_file_is_found_out_and_fetched_again(cache, harm):
    fetched(cache, Vendor(MARKET))
    path = cache.folder / cache.manifest().symbols["IBM"].file
    data = path.read_bytes()
    if harm == "delete":
        path.unlink()
    else:
        half = len(data) // 2
        path.write_bytes(
            data[:half] if harm == "truncate" else data[:half] + b"?" + data[half + 1 :]
        )
    text = refused(cache)
    assert f"{path}: expected sha256" in text
    assert "run `barwise data fetch IBM --from 2004-06-01 --to 2005-04-29 --feed iex" in text
    source = Vendor(MARKET)
    fetched(cache, source)
    assert [symbol for symbol, *_ in source.asked] == ["IBM"]
    assert read(cache).digest() == MARKET.digest()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format_version": 2}', '{"format_version": 1, "symbols": {"A": 1}}']
)
def test_a_manifest_that_cannot_be_read_is_refused(cache, text):
    fetched(cache, Vendor(MARKET), ("IBM",))
    (cache.folder / "manifest.json").write_text(text)
    assert "expected a manifest of format version 1" in refused(cache)


def test_what_a_killed_writer_left_is_cleared_away_and_nothing_else(cache):
    fetched(cache, Vendor(MARKET), ("IBM",))
    kept = files(cache)
    for name in (
        "IBM.0123456789ab.parquet",
        ".IBM.0123456789ab.parquet.x_y3",
        ".manifest.json.abc",
        "notes.txt",
        "IBM.parquet",
    ):
        (cache.folder / name).write_text("half")
    fetched(cache, Vendor(MARKET), ("IBM",))
    assert files(cache) == sorted([*kept, "notes.txt", "IBM.parquet"])


def test_only_one_writes_at_a_time(cache):
    with cache.writing(), pytest.raises(UsageError, match="another fetch is writing here"):
        fetched(cache, Vendor(MARKET), ("IBM",))


@pytest.mark.parametrize("symbol", ["", "../AAPL", "A/B", "A B", ".A", "A" * 40])
def test_what_cannot_be_a_ticker_is_refused(symbol):
    with pytest.raises(UsageError, match="expected a ticker"):
        require_symbol(symbol)
    assert require_symbol("brk.b") == "BRK.B"


def test_another_calendar_is_refused_for_alpaca():
    with pytest.raises(ValidationError, match='"alpaca" has sessions of XNYS'):
        DataSettings(source="alpaca", calendar="none")
