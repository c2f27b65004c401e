"""Headerless zips with factor and map files beside them, written by hand."""

import zipfile
from datetime import date

import numpy as np
import pytest

from engine.bars import CLOSE
from engine.data import tables
from engine.data.check import check_files
from engine.errors import DataError
from engine.sources import DataSettings, load

DAYS = np.busday_offset("2020-03-02", np.arange(8))


def zipped(folder, closes, name="abc.zip", days=DAYS):
    """A daily zip: integers x 10,000, open, high and low around the close."""
    lines = [
        f"{str(d).replace('-', '')} 00:00,{c * 10_000:.0f},{c * 10_100:.0f},{c * 9_900:.0f},"
        f"{c * 10_000:.0f},1000"
        for d, c in zip(days, closes, strict=True)
    ]
    path = folder / "daily" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("abc.csv", "\n".join(lines))
    return path


def beside(folder, kind, text, name="abc.csv"):
    path = folder / kind / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def loaded(path, **more):
    return load(DataSettings(source="csv", path=str(path), price_basis="raw", **more))


def test_prices_are_read_in_dollars_and_the_name_is_the_symbol(tmp_path):
    bars = loaded(zipped(tmp_path, [10.5] * 8))
    assert bars.symbols == ("ABC",)
    assert bars.ohlcv[0, 0].tolist() == pytest.approx([10.5, 10.605, 10.395, 10.5, 1000])
    assert (bars.split == 1).all()


def test_a_change_of_the_split_factor_is_a_split_on_the_next_bar(tmp_path):
    # Through Wednesday 4 March a share counts half: 2:1 before the open of Thursday.
    path = zipped(tmp_path, [100, 100, 100, 50, 50, 50, 50, 50])
    beside(tmp_path, "factor_files", "20200101,1,0.5,1\n20200304,1,0.5,100\n20501231,1,1,0\n")
    bars = loaded(path)
    assert bars.split[:, 0].tolist() == [1, 1, 1, 2, 1, 1, 1, 1]
    assert bars.notes == ()


def test_a_rounded_factor_is_the_simple_ratio_it_means(tmp_path):
    path = zipped(tmp_path, [100, 100, 100, 25, 25, 25, 25, 25])
    beside(tmp_path, "factor_files", "20200304,1,0.2496,100\n20501231,1,1,0\n")
    assert loaded(path).split[3, 0] == 4.0  # 1 / 0.2496 = 4.006


def test_a_change_of_the_price_factor_is_a_dividend_of_the_same_total_return(tmp_path):
    path = zipped(tmp_path, [100] * 8)
    beside(tmp_path, "factor_files", "20200304,0.98,1,100\n20501231,1,1,0\n")
    dividend = loaded(path).dividend[:, 0]
    assert (dividend > 0).tolist() == [False] * 3 + [True] + [False] * 4
    # Adjusted, the holder has 1 / 0.98: cash of 100 (1 / 0.98 - 1) reinvested at a close of 100.
    assert dividend[3] == pytest.approx(100 * (1 / 0.98 - 1))


def test_bars_before_the_map_file_begins_belong_to_another_security(tmp_path):
    path = zipped(tmp_path, [9, 9, 9, 50, 50, 50, 50, 50])
    beside(tmp_path, "map_files", "20200305,abc,Q\n20501231,abc,Q\n")
    beside(tmp_path, "factor_files", "20200305,0.5,0.5,1\n20200309,0.5,0.5,50\n20501231,1,1,0\n")
    bars = loaded(path)
    assert "bars before 2020-03-05 belong to another security" in bars.notes[0]
    assert np.flatnonzero(bars.split[:, 0] != 1).tolist() == [6]  # none at the change of owner
    found = check_files([path])
    assert [f.days for f in found if f.kind == "other_security"] == [("2020-03-05",)]
    assert "unlisted_split" not in {f.kind for f in found}


def test_an_earlier_holder_of_the_ticker_has_its_own_files(tmp_path):
    path = zipped(tmp_path, [8, 8, 16, 16, 50, 50, 50, 50])
    beside(tmp_path, "map_files", "20200306,abc\n20501231,abc\n")
    beside(tmp_path, "map_files", "20200101,abc\n20200305,abc\n", name="abc.1.csv")
    beside(tmp_path, "factor_files", "20200303,1,2,8\n20501231,1,1,0\n", name="abc.1.csv")
    bars = loaded(path)
    assert bars.split[:, 0].tolist() == [1, 1, 0.5, 1, 1, 1, 1, 1]


def test_a_ticker_that_changed_hands_is_followed_through_the_dates(tmp_path):
    # The security was old until Tuesday, abc from Wednesday on.
    path = zipped(tmp_path, [10] * 8)
    beside(tmp_path, "map_files", "20200101,old,Q\n20200303,old,Q\n20501231,abc,Q\n")
    found = [f for f in check_files([path]) if f.kind == "other_security"]
    assert [f.days for f in found] == [("2020-03-04",)]


def test_with_split_adjusted_prices_factor_files_are_left_alone(tmp_path):
    path = zipped(tmp_path, [100] * 8)
    beside(tmp_path, "factor_files", "20200304,1,0.5,100\n20501231,1,1,0\n")
    split = load(DataSettings(source="csv", path=str(path), price_basis="split"))
    assert (split.split == 1).all()


@pytest.mark.parametrize("text", ["date,price\nsoon,1\n", "20200304,x,1,1\n", "20200304,1\n"])
def test_a_broken_factor_file_is_named(tmp_path, text):
    path = zipped(tmp_path, [100] * 8)
    beside(tmp_path, "factor_files", text)
    with pytest.raises(DataError, match=r"factor_files.abc\.csv: expected"):
        loaded(path)
    (found,) = [f for f in check_files([path]) if f.severity == "error"]
    assert found.kind == "unreadable"


def test_minute_stamps_are_milliseconds_of_the_day_in_the_file_name(tmp_path):
    path = tmp_path / "minute" / "xyz" / "20200302_trade.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.csv", "34200000,100000,110000,90000,105000,7\n34260000,1,1,1,1,1")
    (table,) = tables.read(path, tables.symbol_of(path))
    assert table.symbol == "XYZ"
    assert [str(s) for s in table.stamps] == ["2020-03-02T09:30:00", "2020-03-02T09:31:00"]
    assert table.ohlcv[0].tolist() == [10.0, 11.0, 9.0, 10.5, 7.0]


def test_quotes_are_two_tables_bid_and_ask(tmp_path):
    path = tmp_path / "minute" / "xyz" / "20200302_quote.zip"
    path.parent.mkdir(parents=True)
    cells = "34200000," + ",".join(str(p * 10_000) for p in (10, 11, 9, 10))
    cells += ",5," + ",".join(str(p * 10_000) for p in (12, 13, 11, 12)) + ",6"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.csv", cells)
    bid, ask = tables.read(path, tables.symbol_of(path))
    assert (bid.symbol, ask.symbol) == ("XYZ bid", "XYZ ask")
    assert bid.ohlcv[0].tolist() == [10, 11, 9, 10, 5]
    assert ask.ohlcv[0, CLOSE] == 12


def test_a_zip_of_two_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    with pytest.raises(DataError, match="expected one file in the zip, found 2"):
        loaded(tmp_path / "two.zip", start=date(2020, 1, 1))
