"""Sources: the sample's events, strict loading with its messages, joins, ranges."""

import hashlib
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.bars import CLOSE, VOLUME
from engine.data import adjustment, tables
from engine.errors import DataError
from engine.sources import SAMPLE, DataSettings, load

HEAD = "Date,Open,High,Low,Close,Volume\n"
GOOD = [
    "2020-03-02,10,12,9,11,100",
    "2020-03-03,11,13,10,12,200",
    "2020-03-04,12,14,11,13,300",
]


def written(folder, rows, head=HEAD, name="ABC.csv"):
    path = folder / name
    path.write_text(head + "\n".join(rows) + "\n")
    return path


def loaded(path, **more):
    return load(DataSettings(**({"source": "csv", "path": str(path), "price_basis": "raw"} | more)))


def refused(path, **more):
    with pytest.raises(DataError) as caught:
        loaded(path, **more)
    return str(caught.value)


# The sample


def test_sample_is_the_four_stocks_with_google_listed_late():
    bars = load(DataSettings())
    assert bars.symbols == ("AAPL", "GOOG", "IBM", "MSFT")
    assert (bars.sessions[0], bars.sessions[-1]) == (
        np.datetime64("2000-03-01"),
        np.datetime64("2013-03-01"),
    )
    assert bars.traded.sum(axis=0).tolist() == [3270, 2148, 3270, 3270]
    assert str(bars.sessions[bars.traded[:, 1]][0]) == "2004-08-19"
    assert np.isnan(bars.ohlcv[~bars.traded]).all()
    assert bars.price_basis == "raw"
    assert bars.notes == ()
    assert np.isnat(bars.ended).all()


def test_sample_splits_are_the_three_known_ones():
    bars = load(DataSettings())
    at = np.argwhere(bars.split != 1.0)
    told = {(bars.symbols[n], str(bars.sessions[t]), bars.split[t, n]) for t, n in at}
    assert told == {
        ("AAPL", "2000-06-21", 2.0),
        ("AAPL", "2005-02-28", 2.0),
        ("MSFT", "2003-02-18", 2.0),
    }


def test_sample_dividends_are_whole_cents_and_as_many_as_known():
    bars = load(DataSettings())
    assert (bars.dividend > 0).sum(axis=0).tolist() == [3, 0, 52, 37]
    paid = bars.dividend[bars.dividend > 0]
    assert np.abs(paid * 1000 - np.round(paid * 1000)).max() < 1e-4
    special = bars.dividend[bars.index_of(date(2004, 11, 15)), 3]
    assert special == pytest.approx(3.08)  # Microsoft's three dollars and the quarter's eight cents


def test_sample_events_rebuild_the_adjusted_close_of_the_file():
    bars = load(DataSettings())
    for table in tables.read(SAMPLE):
        if table.symbol not in bars.symbols:
            continue
        n = bars.symbols.index(table.symbol)
        on = bars.traded[:, n]
        rebuilt = adjustment.adjusted_close(
            bars.ohlcv[on, n, CLOSE], bars.split[on, n], bars.dividend[on, n]
        )
        ratio = rebuilt / table.adjusted
        assert np.abs(ratio / ratio[-1] - 1).max() < 1e-9


def test_sample_file_is_the_published_one_with_its_notice():
    digest = hashlib.sha256(SAMPLE.read_bytes()).hexdigest()
    assert digest == "5abadf99b2d394f920120a27de6f0df129859d71d4cfb0bf661bcc99446ab1fd"
    assert digest in (SAMPLE.parent / "NOTICE.txt").read_text()


def test_sample_symbols_and_dates_can_be_chosen():
    bars = load(DataSettings(symbols=("MSFT", "FB"), start=date(2012, 5, 1), end=date(2012, 5, 31)))
    assert bars.symbols == ("MSFT", "FB")
    assert bars.traded.sum(axis=0).tolist() == [22, 9]  # Facebook listed on 2012-05-18
    with pytest.raises(DataError, match="XYZ: no such symbol in the sample"):
        load(DataSettings(symbols=("XYZ",)))


def test_an_empty_range_is_refused():
    with pytest.raises(DataError, match="no bar that traded from 2013-03-02 to the last day"):
        load(DataSettings(start=date(2013, 3, 2)))


# Files


def test_a_plain_file_loads_as_written(tmp_path):
    bars = loaded(written(tmp_path, GOOD))
    assert bars.symbols == ("ABC",)
    assert bars.ohlcv[:, 0].tolist() == [
        [10, 12, 9, 11, 100],
        [11, 13, 10, 12, 200],
        [12, 14, 11, 13, 300],
    ]


def test_column_names_are_matched_without_case_order_or_signs(tmp_path):
    head = "VOLUME,adj_close,Close,low,HIGH,open,Timestamp\n"
    rows = ["100,11,11,9,12,10,2020-03-02", "200,12,12,10,13,11,2020-03-03"]
    bars = loaded(written(tmp_path, rows, head))
    assert bars.ohlcv[0, 0].tolist() == [10, 12, 9, 11, 100]


def test_parquet_and_csv_of_the_same_bars_have_one_digest(tmp_path):
    columns = list(zip(*(row.split(",") for row in GOOD), strict=True))
    names = HEAD.strip().split(",")
    cells = {n: [float(x) for x in c] for n, c in zip(names[1:], columns[1:], strict=True)}
    days = pa.array([date.fromisoformat(d) for d in columns[0]])
    pq.write_table(pa.table({"Date": days, **cells}), tmp_path / "ABC.parquet")
    from_parquet = loaded(tmp_path / "ABC.parquet", source="parquet")
    assert from_parquet.digest() == loaded(written(tmp_path, GOOD)).digest()


def test_a_parquet_file_has_rows_and_needs_a_named_date(tmp_path):
    prices = {name: [1.0, 1.0, None] for name in ("Open", "High", "Low", "Close", "Volume")}
    days = [date(2020, 3, 2), date(2020, 3, 3), date(2020, 3, 4)]
    pq.write_table(pa.table({"Date": days, **prices}), tmp_path / "A.parquet")
    pq.write_table(pa.table({"__index_level_0__": days, **prices}), tmp_path / "B.parquet")
    assert "A.parquet, row 3 (2020-03-04), column open" in refused(
        tmp_path / "A.parquet", source="parquet"
    )
    assert "unknown column '__index_level_0__'" in refused(tmp_path / "B.parquet", source="parquet")


def test_stamps_of_midnight_new_york_are_the_date_they_mean(tmp_path):
    rows = ["2020-03-06T05:00:00Z,10,12,9,11,100", "2020-03-09T04:00:00Z,11,13,10,12,200"]
    bars = loaded(written(tmp_path, rows))  # winter time on Friday, summer time on Monday
    assert [str(s) for s in bars.sessions] == ["2020-03-06", "2020-03-09"]


def test_a_folder_holds_one_file_for_each_symbol(tmp_path):
    written(tmp_path, GOOD, name="BBB.csv")
    written(tmp_path, GOOD[1:], name="aaa.csv")
    (tmp_path / "SOURCE.txt").write_text("not prices")
    assert loaded(tmp_path).symbols == ("AAA", "BBB")
    bars = loaded(tmp_path, symbols=("BBB", "AAA"))
    assert bars.traded.tolist() == [[True, False], [True, True], [True, True]]
    assert "no file for CCC; the folder holds AAA, BBB" in refused(tmp_path, symbols=("CCC",))
    (tmp_path / "AAA.csv.gz").write_bytes(b"")
    assert "both hold AAA; remove one of them" in refused(tmp_path)


def test_a_long_file_holds_many_symbols(tmp_path):
    rows = [f"{row},{symbol}" for symbol in ("B", "A") for row in GOOD]
    path = written(tmp_path, rows, HEAD.strip() + ",Ticker\n")
    assert loaded(path).symbols == ("B", "A")
    assert loaded(path, symbols=("A",)).symbols == ("A",)


YFINANCE = [
    "Price,Close,Close,High,High,Low,Low,Open,Open,Volume,Volume",
    "Ticker,AAA,BBB,AAA,BBB,AAA,BBB,AAA,BBB,AAA,BBB",
    "Date,,,,,,,,,,",
    "2020-03-02,11,21,12,22,9,19,10,20,100,900",
    "2020-03-03,12,,13,,10,,11,,200,",
    "2020-03-04,13,23,14,24,11,21,12,22,300,950",
]


def test_the_three_header_lines_of_yfinance_are_read_ticker_by_ticker(tmp_path):
    bars = loaded(written(tmp_path, YFINANCE, head="", name="prices.csv"))
    assert bars.symbols == ("AAA", "BBB")
    assert bars.traded.tolist() == [[True, True], [True, False], [True, True]]
    assert bars.ohlcv[0, 1].tolist() == [20, 22, 19, 21, 900]
    plain = loaded(written(tmp_path, GOOD), symbols=("ABC",))
    assert np.array_equal(bars.ohlcv[:, 0], plain.ohlcv[:, 0])


def test_a_bad_row_under_the_three_header_lines_is_told_by_its_own_line(tmp_path):
    negative = [*YFINANCE[:3], "2020-03-02,11,21,12,22,9,-1,10,20,100,900"]
    assert "line 4 (2020-03-02), column low: BBB: expected a price above zero, found -1" in refused(
        written(tmp_path, negative, head="")
    )
    as_wide_as_one_ticker = [*YFINANCE, "2020-03-05,AAA,13,14,11,12,300"]
    assert "line 7" in refused(written(tmp_path, as_wide_as_one_ticker, head=""))
    lacking = [line.rsplit(",", 1)[0] for line in YFINANCE]
    assert "line 1: column 'Close' appears twice" in refused(written(tmp_path, lacking, head=""))


def test_a_missing_session_is_not_traded_and_noted(tmp_path):
    bars = loaded(written(tmp_path, [GOOD[0], GOOD[2]]))
    assert bars.traded[:, 0].tolist() == [True, False, True]
    assert "no bar on 1 session (2020-03-03)" in bars.notes[0]
    alone = loaded(tmp_path / "ABC.csv", calendar="none")
    assert alone.traded[:, 0].tolist() == [True, True]


def test_volume_zero_is_a_bar_without_trades_unless_told_otherwise(tmp_path):
    path = written(tmp_path, [GOOD[0], "2020-03-03,11,11,11,11,0", GOOD[2]])
    bars = loaded(path)
    assert bars.traded[:, 0].tolist() == [True, False, True]
    assert np.isnan(bars.ohlcv[1, 0]).all()
    assert "1 bar of volume 0" in bars.notes[0]
    index = loaded(path, zero_volume="traded")
    assert index.traded.all()
    assert index.ohlcv[1, 0, VOLUME] == 0


def test_identical_rows_are_dropped_with_a_note(tmp_path):
    bars = loaded(written(tmp_path, [GOOD[0], GOOD[0], *GOOD[1:]]))
    assert len(bars.sessions) == 3
    assert "line 3" in bars.notes[0]
    assert "repeats an earlier row" in bars.notes[0]


def test_listed_events_are_read_and_vendors_zero_means_none(tmp_path):
    rows = ["2020-03-02,10,12,9,10,100,0,0", "2020-03-03,5,6,4,5,200,0.25,2"]
    path = written(tmp_path, rows, HEAD.strip() + ",Dividends,Stock Splits\n")
    bars = loaded(path)
    assert bars.split[:, 0].tolist() == [1.0, 2.0]
    assert bars.dividend[:, 0].tolist() == [0.0, 0.25]
    adjusted = ["2020-03-02,5,6,4.5,5,200,0,0", rows[1]]  # the split is in the prices already
    path = written(tmp_path, adjusted, HEAD.strip() + ",Dividends,Stock Splits\n")
    split = loaded(path, price_basis="split")
    assert split.split[:, 0].tolist() == [1.0, 1.0]
    assert split.dividend[:, 0].tolist() == [0.0, 0.25]
    assert not loaded(path, price_basis="total").dividend.any()


def test_a_step_the_listed_events_do_not_explain_is_noted(tmp_path):
    rows = ["2020-03-02,10,12,9,10,100,0,9.5", "2020-03-03,10,12,9,10,200,0,10"]
    bars = loaded(written(tmp_path, rows, HEAD.strip() + ",Dividends,Adj Close\n"))
    assert "adjusted close steps by 1.052632" in bars.notes[0]


def test_a_jump_like_a_split_is_reported_with_date_and_ratio_and_left_alone(tmp_path):
    days = [d for d in np.arange("2020-03-02", "2020-03-28", dtype="datetime64[D]")]
    days = [d for d in days if np.is_busday(d)]
    rows = [f"{d},100,101,99,{100 + i % 2},1000" for i, d in enumerate(days[:10])]
    rows += [f"{d},50,51,49,{50 + i % 2},1000" for i, d in enumerate(days[10:])]
    bars = loaded(written(tmp_path, rows))
    (note,) = bars.notes
    assert "2020-03-16" in note
    assert "factor of 2.020" in note
    assert "near a split of 2:1" in note
    assert (bars.split == 1).all()
    assert bars.ohlcv[10, 0, CLOSE] == 50


def test_a_symbol_silent_for_five_sessions_at_the_end_has_ended(tmp_path):
    days = np.busday_offset("2020-03-02", np.arange(8))
    for name, last in (("LONG", 8), ("GONE", 3), ("LATE", 4)):
        written(tmp_path, [f"{d},10,12,9,11,100" for d in days[:last]], name=f"{name}.csv")
    bars = loaded(tmp_path)
    assert dict(zip(bars.symbols, bars.ended.astype(str), strict=True)) == {
        "GONE": "2020-03-04",
        "LATE": "NaT",
        "LONG": "NaT",
    }


def test_a_range_that_ends_in_a_hole_ends_the_symbol(tmp_path):
    days = np.busday_offset("2021-03-01", np.arange(60))
    days = days[days != np.datetime64("2021-04-02")]  # Good Friday
    written(tmp_path, [f"{d},10,12,9,11,100" for d in days], name="ALL.csv")
    written(tmp_path, [f"{d},10,12,9,11,100" for d in [*days[:5], *days[40:]]], name="TWO.csv")
    assert np.isnat(loaded(tmp_path).ended).all()
    cut = loaded(tmp_path, end=date(2021, 4, 1))
    assert str(cut.ended[1]) == "2021-03-05"


# What is refused

BAD = {
    "unsorted": ([GOOD[1], GOOD[0]], "line 3 (2020-03-02), column date", "rising order"),
    "conflict": ([GOOD[0], "2020-03-02,10,12,9,11,7"], "line 3", "different numbers"),
    "nan": ([GOOD[0], "2020-03-03,11,,10,12,200"], "line 3 (2020-03-03), column high", "NaN"),
    "inf": ([GOOD[0], "2020-03-03,11,inf,10,12,200"], "line 3 (2020-03-03), column high", "finite"),
    "zero": (["2020-03-02,0,12,0,11,100"], "line 2 (2020-03-02), column open", "found 0"),
    "negative": (["2020-03-02,10,12,-9,11,100"], "column low", "found -9"),
    "crossed": (["2020-03-02,10,9,12,11,100"], "column high", "high 9 below low 12"),
    "open": (["2020-03-02,12.01,12,9,11,100"], "column open", "[9, 12], found open 12.01"),
    "close": (["2020-03-02,10,12,9,8.99,100"], "column close", "close 8.99"),
    "volume": (["2020-03-02,10,12,9,11,-5"], "column volume", "found -5"),
    "zones": ([GOOD[0], "2020-03-03T05:00:00Z,11,13,10,12,200"], "line 2", "time zone"),
    "closed": (["2020-03-06,1,1,1,1,1", "2020-03-07,1,1,1,1,1"], "line 3 (2020-03-07)", "closed"),
    "typo": (
        [GOOD[0], "2120-03-03,11,13,10,12,200"],
        "line 3 (2120-03-03)",
        "outside what is known",
    ),
    "past": (["0020-03-02,11,13,10,12,200"], "line 2 (0020-03-02)", "correct the date"),
    "date": (["02.03.2020,10,12,9,11,100"], "line 2, column date", "'02.03.2020'"),
    "word": (["2020-03-02,10,12,9,n/a,100"], "line 2, column Close", "'n/a'"),
    "thousands": (['2020-03-02,10,12,9,11,"1,000"'], "line 2, column Volume", "'1,000'"),
    "short": ([GOOD[0], "2020-03-03,11,13"], "line 3", "6 cells"),
    "long": ([GOOD[0] + ",7"], "line 2", "6 cells"),
    "minutes": (["2020-03-02 09:30:00,10,12,9,11,100"], "line 2", "one bar a session"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_refused_with_file_line_column_value_and_remedy(tmp_path, case):
    rows, *expected = BAD[case]
    path = written(tmp_path, rows)
    message = refused(path)
    assert message.startswith(str(path))
    assert "; " in message  # the remedy
    assert not message.endswith(".")
    for words in expected:
        assert words in message


def test_a_rounding_error_outside_the_range_is_no_violation(tmp_path):
    path = written(tmp_path, ["2020-03-02,10,12,9,12.000001,100"])
    assert loaded(path).ohlcv[0, 0, CLOSE] == 12.000001


def test_line_numbers_count_from_one_and_include_blank_lines(tmp_path):
    path = tmp_path / "ABC.csv"
    path.write_text(HEAD + GOOD[0] + "\n\n\n2020-03-03,11,13,10,nan,200\n")
    assert "line 5 (2020-03-03), column close" in refused(path)


def test_a_message_says_how_many_more_places_and_what_else(tmp_path):
    rows = ["2020-03-02,10,12,9,,100", "2020-03-03,11,13,10,,200", "2020-03-04,5,4,6,5,1"]
    message = refused(written(tmp_path, rows))
    assert "(and 1 more such place)" in message
    assert "The file also has: high below low" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        (HEAD, "has a header and no rows"),
        ("Date,Open,High,Low,Close\n2020-03-02,1,1,1,1\n", "expected a column for volume"),
        ("Date,Open,High,Low,Clsoe,Volume\n", "unknown column 'Clsoe'; rename it to \"close\""),
        ("Open,High,Low,Close,Volume\n1,1,1,1,1\n", "expected a column for a date"),
        ("Date,Date,Open,High,Low,Close,Volume\n", "column 'Date' appears twice"),
        ("Date,Time,Open,High,Low,Close,Volume\n", "both mean stamp"),
        ("2020-03-02,1,1,1,1,1\n", "expected column names"),
        ("Date;Open;High;Low;Close;Volume\n", "expected commas between cells"),
        ("Date,Open,High,Low,Close,Volume,Symbol\n2020-03-02,1,1,1,1,1,\n", "expected a symbol"),
    ],
)
def test_a_file_that_is_no_price_table_is_refused(tmp_path, text, words):
    path = tmp_path / "ABC.csv"
    path.write_text(text)
    assert words in refused(path)


def test_symbols_are_matched_without_case(tmp_path):
    rows = [f"{GOOD[0]},abc", f"{GOOD[1]},ABC"]
    bars = loaded(written(tmp_path, rows, HEAD.strip() + ",Symbol\n"))
    assert bars.symbols == ("ABC",)
    assert bars.traded.sum() == 2


def test_text_that_is_not_utf8_is_refused(tmp_path):
    (tmp_path / "ABC.csv").write_bytes(HEAD.encode() + b"\xff\xfe")
    assert "expected UTF-8" in refused(tmp_path / "ABC.csv")


def test_missing_and_foreign_files_are_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "NO.csv")
    assert "no such file or folder; change data.path" in refused(tmp_path / "nowhere")
    assert "holds no file ending in" in refused(tmp_path)
    (tmp_path / "x.json").write_text("{}")
    assert "expected a file ending in" in refused(tmp_path / "x.json")
    (tmp_path / "BAD.zip").write_bytes(b"not a zip")
    assert "cannot be read" in refused(tmp_path / "BAD.zip")
    (tmp_path / "BAD.parquet").write_bytes(b"not parquet")
    assert "cannot be read as Parquet" in refused(tmp_path / "BAD.parquet", source="parquet")


def test_a_row_of_another_exchange_loads_with_calendar_none(tmp_path):
    path = written(tmp_path, ["2020-07-03,10,12,9,11,100", "2020-07-06,10,12,9,11,100"])
    message = refused(path)
    assert "XNYS was closed on 2020-07-03" in message
    assert "data clean" in message  # one row in two: a slip
    assert len(loaded(path, calendar="none").sessions) == 2


def test_many_rows_on_closed_days_are_told_to_be_of_another_exchange(tmp_path):
    # Good Friday, Memorial Day and the day before Independence Day of 2020, all closed.
    days = ("2020-04-10", "2020-05-25", "2020-07-03", "2020-07-06")
    path = written(tmp_path, [f"{day},10,12,9,11,100" for day in days])
    assert 'set data.calendar = "none"' in refused(path)
    assert len(loaded(path, calendar="none").sessions) == 4


def test_bad_events_are_refused(tmp_path):
    head = HEAD.strip() + ",Dividends\n"
    message = refused(written(tmp_path, [GOOD[0] + ",-1"], head))
    assert "column dividend: expected a number >= 0" in message
    head = HEAD.strip() + ",Adj Close\n"
    message = refused(written(tmp_path, [GOOD[0] + ",11", GOOD[1] + ",0"], head))
    assert "line 3 (2020-03-03), column adj close: expected a price above zero" in message


def test_files_must_say_what_their_prices_hold():
    with pytest.raises(ValidationError, match="price_basis"):
        DataSettings(source="csv", path="x.csv")
    with pytest.raises(ValidationError, match="needs path"):
        DataSettings(source="parquet", price_basis="raw")
    with pytest.raises(ValidationError, match="is after end"):
        DataSettings(start=date(2010, 1, 2), end=date(2010, 1, 1))


PRICES = st.integers(1, 10_000_000).map(lambda p: p / 1000)


@given(
    st.lists(
        st.tuples(PRICES, PRICES, PRICES, PRICES, st.integers(1, 10**12)), min_size=1, max_size=20
    )
)
@settings(max_examples=50, deadline=None)
def test_every_valid_bar_survives_the_way_through_a_file(tmp_path_factory, bars):
    days = np.busday_offset("2020-03-02", np.arange(len(bars)))
    cells = [(a, max(a, b, c, d), min(a, b, c, d), d, v) for a, b, c, d, v in bars]
    rows = [",".join([str(day), *map(repr, row)]) for day, row in zip(days, cells, strict=True)]
    path = written(tmp_path_factory.mktemp("any"), rows)
    assert loaded(path).ohlcv[:, 0].tolist() == [list(map(float, row)) for row in cells]


# Real sets


def test_clean_sets_load_strictly(shared_data):
    dow = loaded(shared_data / "dow30-2009-2020", price_basis="split")
    assert dow.ohlcv.shape == (2859, 32, 5)
    assert dow.traded.all()
    assert dow.notes == ()
    etf = loaded(shared_data / "etf-daily-1993-2025", price_basis="split")
    assert etf.traded.sum() == 49_228
    assert str(etf.sessions[etf.traded[:, etf.symbols.index("GLD")]][0]) == "2004-11-18"


def test_total_return_rebuilt_from_factor_files_is_the_vendors(shared_data):
    # Facts: 2016-01-04..2020-05-08 SPY 58.24 %, AAPL 216.63 %, IBM 9.42 %.
    bars = loaded(
        shared_data / "lean-us-equity" / "daily",
        symbols=("SPY", "AAPL", "IBM"),
        start=date(2016, 1, 4),
        end=date(2020, 5, 8),
    )
    for n, percent in enumerate((58.24, 216.63, 9.42)):
        adjusted = adjustment.adjusted_close(
            bars.ohlcv[:, n, CLOSE], bars.split[:, n], bars.dividend[:, n]
        )
        assert 100 * (adjusted[-1] / adjusted[0] - 1) == pytest.approx(percent, abs=0.006)


@pytest.mark.parametrize(
    ("symbol", "day", "split", "adjusted"),
    [
        ("AAPL", "2000-06-21", 2, 10.02),
        ("AAPL", "2005-02-28", 2, 0.80),
        ("AAPL", "2014-06-09", 7, 1.60),
        ("AAPL", "2020-08-31", 4, 3.39),
        ("IBM", "1999-05-27", 2, -1.44),
        ("BAC", "2004-08-30", 2, 0.15),
        ("IWM", "2005-06-09", 2, 1.18),
        ("QQQ", "2000-03-20", 2, -3.66),
        ("BNO", "2013-08-29", 2, -1.50),
        ("EEM", "2005-06-09", 3, 0.52),
        ("EEM", "2008-07-24", 3, -3.81),
        ("AIG", "1998-08-03", 1.5, -1.57),
        ("AIG", "1999-08-02", 1.25, -0.38),
        ("AIG", "2000-07-31", 1.5, 2.48),
        ("AIG", "2009-07-01", 0.05, -20.00),
        ("USO", "2020-04-29", 0.125, 5.63),
    ],
)
def test_listed_splits_leave_the_known_adjusted_return(shared_data, symbol, day, split, adjusted):
    bars = loaded(shared_data / "lean-us-equity" / "daily" / f"{symbol.lower()}.zip")
    t = bars.index_of(np.datetime64(day))
    assert bars.split[t, 0] == pytest.approx(split)
    close = bars.ohlcv[t - 1 : t + 1, 0, CLOSE]
    step = adjustment.implied(close[1], bars.split[t, 0], bars.dividend[t, 0])
    assert 100 * (close[1] / close[0] * step - 1) == pytest.approx(adjusted, abs=0.011)


def test_washington_mutual_ends_at_sixteen_cents(shared_data):
    bars = loaded(
        shared_data / "lean-us-equity" / "daily", symbols=("WM", "SPY"), end=date(2009, 3, 1)
    )
    assert str(bars.ended[0]) == "2008-09-26"
    assert bars.ohlcv[bars.index_of(date(2008, 9, 26)), 0, CLOSE] == 0.16
    assert any("another security" in note for note in bars.notes)


def test_half_adjusted_bars_are_refused(shared_data):
    message = refused(shared_data / "tdqn-10" / "KO_2018-1-1_2020-1-1.csv")
    assert "close is adjusted and open, high, low are not" in message


def test_price_basis_that_the_file_contradicts_is_refused(tmp_path):
    path = tmp_path / "X.csv"
    rows = (
        "2010-01-04,100,101,99,100,5,1",
        "2010-01-05,50,51,49,50,5,2",
        "2010-01-06,50,51,49,50,5,1",
    )
    path.write_text("date,open,high,low,close,volume,split\n" + "\n".join(rows) + "\n")
    wanted = {"source": "csv", "path": str(path)}
    assert load(DataSettings.model_validate(wanted | {"price_basis": "raw"})).split[1, 0] == 2.0
    for basis in ("split", "total"):
        with pytest.raises(DataError, match=r"X\.csv.*jumps by the listed split of 2"):
            load(DataSettings.model_validate(wanted | {"price_basis": basis}))
    # Adjusted prices that still list their split are what vendors send: nothing is wrong with them.
    path.write_text(path.read_text().replace("100,101,99,100", "50,51,49,50"))
    assert load(DataSettings.model_validate(wanted | {"price_basis": "split"})).split[1, 0] == 1.0


def test_total_basis_beside_an_adjusted_close_that_differs_is_refused(tmp_path):
    path = tmp_path / "X.csv"
    rows = ("2010-01-04,100,101,99,100,5,98", "2010-01-05,100,101,99,100,5,100")
    path.write_text("date,open,high,low,close,volume,adj close\n" + "\n".join(rows) + "\n")
    wanted = {"source": "csv", "path": str(path), "price_basis": "total"}
    with pytest.raises(DataError, match="moves apart from the close"):
        load(DataSettings.model_validate(wanted))


ADJUSTED = "Date,Open,High,Low,Close,Volume,Adj Close\n"
DIVIDEND = ("2020-03-02,10,12,9,11,100,9.9", "2020-03-03,11,13,10,12,200,12")


def test_the_close_alone_stands_for_all_four_prices_and_pays_no_dividend(tmp_path):
    path = written(tmp_path, DIVIDEND, ADJUSTED)
    assert loaded(path, price_basis="split").dividend.any()
    bars = loaded(path, price_basis="split", prices="close")
    assert bars.ohlcv[:, 0].tolist() == [[11, 11, 11, 11, 100], [12, 12, 12, 12, 200]]
    assert not bars.dividend.any()


def test_the_adjusted_close_alone_is_a_total_return(tmp_path):
    path = written(tmp_path, DIVIDEND, ADJUSTED)
    bars = loaded(path, price_basis="total", prices="adjusted")
    assert bars.ohlcv[0, 0].tolist() == [9.9, 9.9, 9.9, 9.9, 100]


def test_half_adjusted_bars_are_taken_as_closes(shared_data):
    path = shared_data / "tdqn-10" / "KO_2018-1-1_2020-1-1.csv"
    bars = loaded(path, symbols=("KO",), price_basis="total", prices="close")
    assert (bars.ohlcv[:, 0, :CLOSE] == bars.ohlcv[:, 0, [CLOSE]]).all()
    assert 'read the close alone with data.prices = "close"' in refused(path)


def test_closes_that_cannot_be_what_they_are_called_are_refused(tmp_path):
    path = written(tmp_path, GOOD)
    with pytest.raises(ValidationError, match='"close" knows no splits'):
        loaded(path, prices="close")
    with pytest.raises(ValidationError, match='"adjusted" are total returns'):
        loaded(path, price_basis="split", prices="adjusted")
    with pytest.raises(ValidationError, match="for csv and parquet"):
        DataSettings(prices="close")
    message = refused(path, price_basis="total", prices="adjusted")
    assert "expected a column of adjusted closes, found none" in message
