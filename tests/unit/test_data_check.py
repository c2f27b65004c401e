"""The check finds every defect known in the published sets, and none in the clean ones."""

import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.check import check_files
from engine.data.findings import Finding
from engine.errors import DataError, UsageError
from engine.sources import DataSettings, load

HEAD = "Date,Open,High,Low,Close,Volume\n"


def kinds(findings, *severities):
    wanted = severities or ("error", "warning", "info")
    return {f.kind for f in findings if f.severity in wanted}


def total(findings, kind, symbol=None):
    return sum(f.count for f in findings if f.kind == kind and symbol in (None, f.symbol))


def days(findings, kind, symbol):
    return [d for f in findings if f.kind == kind and f.symbol == symbol for d in f.days]


def written(folder, rows, name="ABC.csv", head=HEAD):
    path = folder / name
    path.write_text(head + "\n".join(rows) + "\n")
    return path


def calm(n, price=100.0, start="2020-03-02"):
    """Rows of a price that moves by one percent up and down, on weekdays that were sessions."""
    dates = np.busday_offset(start, np.arange(n))
    return [
        f"{d},{price},{price + 2},{price - 2},{price + i % 2},1000" for i, d in enumerate(dates)
    ]


# By hand


def test_a_clean_file_has_no_finding(tmp_path):
    assert check_files([written(tmp_path, calm(20))]) == []


def test_every_bad_row_is_listed_not_only_the_first(tmp_path):
    rows = calm(10)
    rows[3] = rows[3].replace(",100.0,", ",,", 1)
    rows[7] = rows[7].replace(",100.0,", ",,", 1)
    rows[5] = "2020-03-09,100,90,110,100,-5"
    found = check_files([written(tmp_path, rows)])
    assert kinds(found, "error") == {"nan", "high_below_low", "negative_volume"}
    (nan,) = [f for f in found if f.kind == "nan"]
    assert nan.rows == (5, 9)  # the header is line 1
    assert nan.days == ("2020-03-05", "2020-03-11")
    assert "line 5 (2020-03-05), column open" in nan.text()


def test_a_file_that_cannot_be_read_is_a_finding(tmp_path):
    (tmp_path / "X.csv").write_text("")
    (found,) = check_files([tmp_path / "X.csv"])
    assert (found.kind, found.severity) == ("unreadable", "error")
    assert found.message == "the file is empty"
    assert found.remedy == "download it again"


def test_a_date_no_calendar_knows_is_found_and_does_not_stop_the_check(tmp_path):
    rows = [*calm(10), "2202-03-16,100,102,98,100,1000"]
    found = check_files([written(tmp_path, rows)])
    assert [(f.kind, f.days) for f in found] == [("implausible_date", ("2202-03-16",))]


def test_a_split_without_event_is_suspected_with_date_and_ratio(tmp_path):
    rows = calm(15) + calm(10, 25.0, start="2020-03-23")
    (found,) = [f for f in check_files([written(tmp_path, rows)]) if f.severity != "info"]
    assert found.kind == "unlisted_split"
    assert found.days == ("2020-03-23",)
    assert "4:1" in found.message


def test_a_long_hole_with_another_price_is_reported_as_one(tmp_path):
    rows = calm(10) + calm(10, 7.0, start="2021-03-01")
    (found,) = [f for f in check_files([written(tmp_path, rows)]) if f.severity == "warning"]
    assert (found.kind, found.days) == ("hole", ("2021-03-01",))
    assert "used again, or renamed" in found.message


def test_a_price_far_from_both_closes_is_a_false_print(tmp_path):
    rows = calm(10)
    rows[4] = "2020-03-06,100,102,1,100,1000"
    (found,) = check_files([written(tmp_path, rows)])
    assert (found.kind, found.days) == ("false_print", ("2020-03-06",))


def test_files_of_one_folder_are_compared(tmp_path):
    written(tmp_path, calm(20), "AAA.csv")
    written(tmp_path, calm(5), "BBB.csv")
    written(tmp_path, calm(20), "CCC_2020-1-1.csv")
    written(tmp_path, calm(3, start="2020-03-26"), "CCC_2020-2-2.csv")
    found = check_files([tmp_path])
    assert {(f.kind, f.symbol) for f in found} == {("ended", "BBB"), ("overlap", "CCC")}
    assert total(found, "overlap") == 2  # 2020-03-26 and 27; the first file ends on the 27th


def test_a_distribution_that_is_no_split_is_doubted(tmp_path):
    rows = [f"{r},{(100 + i % 2) * (0.61 if i < 5 else 1.0)}" for i, r in enumerate(calm(10))]
    head = HEAD.strip() + ",Adj Close\n"
    found = check_files([written(tmp_path, rows, head=head)])
    assert "distribution" in kinds(found, "warning")


def test_a_finding_counts_its_places():
    one = Finding("f.csv", "X", "nan", "error", "a hole", "mend it", rows=(3, 5, 9))
    assert one.count == 3
    assert one.text() == "f.csv, line 3: X: a hole (and 2 more such places); mend it"


CELL = st.sampled_from(
    ["", "0", "-1", "nan", "inf", "1e308", "x", "10", "11", "9", "1e-300", "100", "2020-03-02"]
)
DATES = ["2020-03-02", "2020-03-03", "2020-03-05", "2020-03-06", "2020-03-07", "2020-06-01"]
ODD_DATES = ["2020-03-09T04:00:00Z", "2020-03-04 10:00:00", "", "x", "0001-01-01", "9999-12-31"]
STAMP = st.sampled_from(DATES + ODD_DATES)
LINE = st.tuples(STAMP, CELL, CELL, CELL, CELL, CELL, CELL, CELL, CELL)


@given(st.lists(LINE, min_size=1, max_size=8), st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_file_however_broken_stops_the_check_or_loads_without_a_word(
    tmp_path_factory, lines, events
):
    folder = tmp_path_factory.mktemp("any")
    width = 9 if events else 6
    head = HEAD.strip() + (",Adj Close,Dividends,Stock Splits" if events else "") + "\n"
    path = written(folder, [",".join(line[:width]) for line in lines], head=head)
    errors = [f for f in check_files([path]) if f.severity == "error"]
    try:
        bars = load(DataSettings(source="csv", path=str(path), price_basis="raw"))
    except DataError:
        return
    assert not errors
    assert np.isfinite(bars.ohlcv[bars.traded]).all()


# The clean sets


@pytest.mark.parametrize("folder", ["dow30-2009-2020", "etf-daily-1993-2025", "bokeh-stocks-wiki"])
def test_clean_sets_have_no_finding_but_facts(shared_data, folder):
    found = check_files([shared_data / folder])
    assert kinds(found, "error", "warning") == set()
    assert kinds(found) <= {"split", "dividends", "large_move"}


def test_events_of_the_sample_are_counted(shared_data):
    found = check_files([shared_data / "bokeh-stocks-wiki"])
    assert days(found, "split", "AAPL") == ["2000-06-21", "2005-02-28"]
    assert days(found, "split", "MSFT") == ["2003-02-18"]
    paid = {s: total(found, "dividends", s) for s in ("AAPL", "GOOG", "IBM", "MSFT")}
    assert paid == {"AAPL": 3, "GOOG": 0, "IBM": 52, "MSFT": 37}


# wiki-raw-and-adjusted


def test_wiki_defects_are_found(shared_data):
    found = check_files([shared_data / "wiki-raw-and-adjusted"])
    missing = {s: total(found, "missing_days", s) for s in ("AMZN", "FB", "GOOG", "KO")}
    assert missing == {"AMZN": 11, "FB": 12, "GOOG": 10, "KO": 1}
    assert days(found, "missing_days", "KO") == ["2016-03-10"]
    for symbol in ("AMZN", "FB", "GOOG"):
        assert days(found, "outside_range", symbol) == ["2015-07-16"]
    for kind in ("nan", "closed_day", "event_on_bad_row"):
        assert days(found, kind, "KO") == ["2001-09-12"]
    assert days(found, "event_mismatch", "AAPL") == ["2016-08-02"]
    assert total(found, "event_mismatch") == 1
    assert days(found, "split", "KO") == ["1996-05-13", "2012-08-13"]


# intraday


def test_intraday_spy_defects_are_found(shared_data):
    found = check_files([shared_data / "intraday-1min-2019" / "SPY.csv"])
    assert {"unsorted", "nan", "duplicate", "conflict"} <= kinds(found)
    # 5,075 surplus rows: 5,071 copies, three stamps that conflict in volume, one row of NaN.
    assert total(found, "duplicate") == 5071
    assert total(found, "conflict") == 4
    assert days(found, "nan", "SPY") == ["2019-12-20 09:30:00"]
    assert total(found, "zero_volume") == 37
    assert days(found, "truncated_day", "SPY") == ["2020-01-10 10:59:00"]
    assert days(found, "late_start", "SPY") == ["2019-12-13 11:00:00"]
    assert days(found, "outside_hours", "SPY") == ["2019-12-24 13:00:00"]
    assert {"event_twice", "event_on_bad_row"} <= kinds(found)


def test_intraday_tlt_and_dia_defects_are_found(shared_data):
    folder = shared_data / "intraday-1min-2019"
    found = check_files([folder / "TLT.csv", folder / "DIA.csv"])
    assert (total(found, "zero_volume", "TLT"), total(found, "zero_volume", "DIA")) == (19, 12)
    assert days(found, "truncated_day", "TLT") == ["2020-01-13 10:59:00"]
    assert days(found, "outside_hours", "DIA") == ["2019-12-24 13:00:00"]
    assert total(found, "duplicate") == 0
    assert "absent_bars" in kinds(found)


# tdqn-10


def test_tdqn_is_found_half_adjusted_and_overlapping(shared_data):
    found = check_files([shared_data / "tdqn-10"])
    assert total(found, "half_adjusted") == total(found, "outside_range") == 15_448
    assert {f.symbol for f in found if f.kind == "half_adjusted"}.isdisjoint({"AMZN", "GOOGL"})
    assert total(found, "zero_volume") == 89
    flat = [f.count for f in found if f.kind == "zero_volume" and f.symbol == "7203.T"]
    assert flat == [10, 16]
    overlap = {s: total(found, "overlap", s) for s in ("0700.HK", "0939.HK", "2503.T", "7203.T")}
    assert overlap == {"0700.HK": 1, "0939.HK": 1, "2503.T": 2, "7203.T": 2}
    assert total(found, "overlap", "AAPL") == 503  # the 2016 file is a tail of the 2012 file
    foreign = {f.symbol for f in found if f.kind == "other_calendar"}
    assert foreign == {"0700.HK", "0939.HK", "2503.T", "6758.T", "7203.T", "ABI.BR"}
    assert (
        total(found, "false_print") == 0
    )  # nothing is said about highs and lows that mean nothing


# LEAN


@pytest.fixture(scope="module")
def lean(shared_data):
    return check_files([shared_data / "lean-us-equity" / "daily"])


def test_lean_ticker_reuse_and_holes_are_found(lean):
    other = {f.symbol: f.days for f in lean if f.kind == "other_security"}
    assert other == {
        "AAA": ("2020-09-09",),
        "BAC": ("1998-10-01",),
        "BNO": ("2010-06-02",),
        "EEM": ("2003-04-11",),
        "FB": ("2012-05-18",),
        "GOOG": ("2014-04-03",),
        "USO": ("2006-04-10",),
        "WM": ("2009-08-05",),
    }
    assert days(lean, "hole", "QQQ") == ["2011-03-23"]
    assert {"AAA", "BNO", "EEM", "FB", "QQQ", "USO", "WM"} == {
        f.symbol for f in lean if f.kind == "hole"
    }


def test_lean_false_prints_odd_events_and_zero_volume_are_found(lean):
    assert "2008-09-30" in days(lean, "false_print", "GOOG")
    assert days(lean, "odd_event", "AAA") == ["2007-05-15"]
    assert total(lean, "zero_volume", "BNO") == 26
    assert "2008-09-15" in days(lean, "large_move", "AIG")
    assert "2008-09-26" in days(lean, "unlisted_split", "WM") + days(lean, "large_move", "WM")
    ended = {f.symbol: f.days for f in lean if f.kind == "ended"}
    assert ended["WMI"] == ("2009-08-04",)


def test_lean_splits_are_explained_by_factor_files(lean):
    assert days(lean, "split", "AAPL") == ["2000-06-21", "2005-02-28", "2014-06-09", "2020-08-31"]
    assert days(lean, "split", "AIG") == ["1998-08-03", "1999-08-02", "2000-07-31", "2009-07-01"]
    assert days(lean, "split", "USO") == ["2020-04-29"]
    assert not days(lean, "unlisted_split", "AAPL")
    assert not days(lean, "unlisted_split", "AIG")


def test_without_factor_files_every_split_is_suspected(shared_data, tmp_path):
    known = {
        "aapl": {"2000-06-21", "2005-02-28", "2014-06-09", "2020-08-31"},
        "ibm": {"1999-05-27"},
        "bac": {"2004-08-30"},
        "iwm": {"2005-06-09"},
        "qqq": {"2000-03-20"},
        "bno": {"2013-08-29"},
        "eem": {"2005-06-09", "2008-07-24"},
        "aig": {"1998-08-03", "1999-08-02", "2000-07-31", "2009-07-01"},
        "uso": {"2020-04-29"},
        "goog": {"2014-04-03"},
    }
    for name in known:
        shutil.copy(shared_data / "lean-us-equity" / "daily" / f"{name}.zip", tmp_path)
    found = check_files([tmp_path])
    for name, splits in known.items():
        assert splits <= set(days(found, "unlisted_split", name.upper())), name
    assert sum(len(s) for s in known.values()) / total(found, "unlisted_split") > 0.6


def test_lean_hourly_reverse_splits_holes_and_scales_are_found(shared_data):
    found = check_files([shared_data / "lean-us-equity" / "hour" / "vxx.zip"])
    reverse = ["2010-11-09", "2012-10-05", "2013-11-08", "2016-08-09", "2017-08-23"]
    assert days(found, "split", "VXX") == reverse
    assert days(found, "hole", "VXX") == days(found, "other_security", "VXX") == ["2019-05-02"]


def test_lean_hourly_reverse_splits_are_suspected_without_factors(shared_data, tmp_path):
    shutil.copy(shared_data / "lean-us-equity" / "hour" / "vxx.zip", tmp_path)
    found = check_files([tmp_path / "vxx.zip"])
    assert {"2010-11-09", "2012-10-05", "2013-11-08", "2016-08-09", "2017-08-23"} <= set(
        days(found, "unlisted_split", "VXX")
    )


def test_lean_minute_bars_outside_hours_and_across_a_split_are_found(shared_data):
    folder = shared_data / "lean-us-equity" / "minute"
    apple = check_files([folder / "aapl" / "20140609_trade.zip"])
    assert days(apple, "two_scales", "AAPL") == ["2014-06-09 04:00:00"]
    google = check_files([folder / "goog" / "20151224_trade.zip"])
    (late,) = [f for f in google if f.kind == "outside_hours"]
    assert any(stamp > "2015-12-24 13:00" for stamp in late.days)
    quotes = check_files([folder / "spy" / "20131004_quote.zip"])
    assert {f.symbol for f in quotes} == {"SPY bid", "SPY ask"}


def test_a_folder_without_prices_is_wrong_use_and_not_a_clean_bill(tmp_path):
    (tmp_path / "notes.txt").write_text("no prices here")
    with pytest.raises(UsageError, match="holds no file"):
        check_files([tmp_path])
