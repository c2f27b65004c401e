"""Repairs: each one listed, the result loads strictly, the original stays, nothing is guessed."""

import csv
import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.check import check_files
from engine.data.clean import clean_file
from engine.errors import DataError, UsageError
from engine.sources import DataSettings, load

HEAD = "Date,Open,High,Low,Close,Volume\n"
GOOD = [
    "2020-03-02,10.0,12.0,9.0,11.0,100.0",
    "2020-03-03,11.0,13.0,10.0,12.0,200.0",
    "2020-03-04,12.0,14.0,11.0,13.0,300.0",
]


def written(folder, rows, name="ABC.csv", head=HEAD):
    path = folder / name
    path.write_text(head + "\n".join(rows) + "\n")
    return path


def cleaned(folder, rows, head=HEAD, **more):
    path = written(folder, rows, head=head)
    before = path.read_bytes()
    repairs = clean_file(path, folder / "out.csv", **more)
    assert path.read_bytes() == before
    with (folder / "out.csv").open() as file:
        return repairs, list(csv.reader(file))


def test_a_good_file_is_copied_without_a_repair(tmp_path):
    repairs, rows = cleaned(tmp_path, GOOD)
    assert repairs == []
    assert [",".join(row) for row in rows[1:]] == GOOD


def test_rows_are_sorted_and_each_move_is_listed(tmp_path):
    repairs, rows = cleaned(tmp_path, [GOOD[2], GOOD[0], GOOD[1]])
    assert [row[0] for row in rows[1:]] == ["2020-03-02", "2020-03-03", "2020-03-04"]
    assert [(r.kind, r.row, r.day) for r in repairs] == [("sorted", 3, "2020-03-02")]


def test_identical_copies_are_dropped(tmp_path):
    repairs, rows = cleaned(tmp_path, [GOOD[0], GOOD[1], GOOD[0]])
    assert len(rows) == 3
    assert {(r.kind, r.row) for r in repairs} == {("sorted", 4), ("duplicate", 4)}


def test_of_two_rows_that_disagree_the_one_with_volume_stays(tmp_path):
    repairs, rows = cleaned(tmp_path, [GOOD[0].replace("100.0", "0.0"), *GOOD])
    assert rows[1][-1] == "100.0"
    assert [(r.kind, r.row) for r in repairs] == [("conflict", 2)]


def test_two_rows_with_volume_that_disagree_are_left_to_the_user(tmp_path):
    with pytest.raises(DataError, match="different numbers"):
        cleaned(tmp_path, [GOOD[0].replace("100.0", "7.0"), *GOOD])
    assert not (tmp_path / "out.csv").exists()


def test_rows_without_prices_and_on_closed_days_are_dropped_with_what_they_held(tmp_path):
    rows = [f"{row},0" for row in GOOD]
    rows += ["2020-03-05,,,,,0,0.25", "2020-03-07,10,12,9,11,100,0"]
    repairs, out = cleaned(tmp_path, rows, HEAD.strip() + ",Dividends\n")
    assert len(out) == 4
    assert [(r.kind, r.day) for r in repairs] == [
        ("nan", "2020-03-05"),
        ("closed_day", "2020-03-07"),
    ]
    assert "its dividend 0.25 went with it" in repairs[0].message


def test_broken_lines_are_dropped(tmp_path):
    rows = [GOOD[0], "2020-03-03,11", "soon,1,1,1,1,1", "2020-03-05,x,1,1,1,1", GOOD[2]]
    repairs, out = cleaned(tmp_path, rows)
    assert [row[0] for row in out[1:]] == ["2020-03-02", "2020-03-04"]
    assert {(r.kind, r.row) for r in repairs} == {("dropped", 3), ("unreadable", 4), ("nan", 5)}


def test_clamping_happens_only_on_request(tmp_path):
    rows = [*GOOD, "2020-03-05,20.0,14.0,11.0,13.0,300.0"]
    rows += [f"2020-04-{d:02},10,12,9,11,1" for d in (1, 2, 3, 6, 7, 8, 9)]
    days = np.busday_offset("2020-04-13", np.arange(60))
    rows += [f"{d},10,12,9,11,1" for d in days if str(d) not in ("2020-05-25", "2020-07-03")]
    with pytest.raises(DataError, match="open 20"):
        cleaned(tmp_path, rows)
    repairs, out = cleaned(tmp_path, rows, clamp=True)
    assert [(r.kind, r.row) for r in repairs] == [("clamped", 5)]
    assert out[4][1:5] == ["20.0", "20.0", "11.0", "13.0"]


def test_what_no_repair_may_decide_is_refused_and_nothing_written(tmp_path):
    for bad in (
        "2020-03-05,-1,14,-2,13,300",
        "2020-03-05,12,14,11,13,-300",
        "2202-03-05,12,14,11,13,300",
    ):
        with pytest.raises(DataError, match="line 5"):
            cleaned(tmp_path, [*GOOD, bad])
        assert not (tmp_path / "out.csv").exists()


def test_nothing_is_overwritten(tmp_path):
    path = written(tmp_path, GOOD)
    with pytest.raises(UsageError, match="nothing is overwritten"):
        clean_file(path, path)
    with pytest.raises(UsageError, match="name ending in"):
        clean_file(path, tmp_path / "out.parquet")


def test_a_copy_for_a_folder_that_is_not_there_is_wrong_use(tmp_path):
    with pytest.raises(UsageError, match=r"no folder .*nowhere"):
        clean_file(written(tmp_path, GOOD), tmp_path / "nowhere" / "out.csv")


def test_a_long_file_stays_long(tmp_path):
    rows = [f"{row},{symbol}" for symbol in ("B", "A") for row in GOOD]
    _, out = cleaned(tmp_path, rows, HEAD.strip() + ",Symbol\n")
    assert out[0][0] == "Symbol"
    assert [row[0] for row in out[1:]] == ["B"] * 3 + ["A"] * 3


def test_a_file_of_another_exchange_keeps_its_days(tmp_path):
    days = np.busday_offset("2019-01-01", np.arange(260))
    repairs, out = cleaned(tmp_path, [f"{d},10,12,9,11,100" for d in days])
    assert repairs == []
    assert len(out) == 261


ROW = st.tuples(st.integers(0, 6), st.sampled_from(["10,12,9,11,100", "10,12,9,11,0", ",,,,0"]))


@given(st.lists(ROW, min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_what_was_cleaned_loads_strictly_and_needs_no_second_cleaning(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    days = np.arange("2020-03-05", "2020-03-12", dtype="datetime64[D]")  # a weekend inside
    path = written(folder, [f"{days[i]},{cells}" for i, cells in rows])
    try:
        clean_file(path, folder / "once.csv")
    except DataError as error:
        assert "no row" in str(error)  # noqa: PT017
        return
    source = DataSettings(
        source="csv", path=str(folder / "once.csv"), price_basis="raw", zero_volume="traded"
    )
    assert load(source).traded.any()
    assert clean_file(folder / "once.csv", folder / "twice.csv") == []
    assert (folder / "once.csv").read_bytes() == (folder / "twice.csv").read_bytes()


def test_intraday_spy_comes_out_with_every_distinct_minute(shared_data, tmp_path):
    path = shared_data / "intraday-1min-2019" / "SPY.csv"
    repairs = clean_file(path, tmp_path / "SPY.csv")
    dropped = [r for r in repairs if r.kind != "sorted"]
    kinds = [r.kind for r in dropped]
    assert (kinds.count("duplicate"), kinds.count("conflict"), kinds.count("nan")) == (5071, 3, 1)
    assert len((tmp_path / "SPY.csv").read_text().splitlines()) == 1 + 8360
    left = {f.kind for f in check_files([tmp_path / "SPY.csv"]) if f.severity == "error"}
    assert left == set()


def test_wiki_ko_comes_out_loadable(shared_data, tmp_path):
    repairs = clean_file(shared_data / "wiki-raw-and-adjusted" / "KO.csv", tmp_path / "KO.csv")
    assert [(r.kind, r.day) for r in repairs] == [("nan", "2001-09-12")]
    assert "dividend 0.18" in repairs[0].message
    bars = load(DataSettings(source="csv", path=str(tmp_path / "KO.csv"), price_basis="raw"))
    assert bars.traded.sum() == 5440
    assert (bars.split != 1).sum() == 2


def test_half_adjusted_bars_are_not_clamped_away(shared_data, tmp_path):
    path = shared_data / "tdqn-10" / "KO_2018-1-1_2020-1-1.csv"
    with pytest.raises(DataError, match="adjusted in part, not dirty"):
        clean_file(path, tmp_path / "KO.csv", clamp=True)


def test_compressed_files_are_read(tmp_path):
    with gzip.open(tmp_path / "ABC.csv.gz", "wt") as file:
        file.write(HEAD + "\n".join(GOOD) + "\n")
    assert clean_file(tmp_path / "ABC.csv.gz", tmp_path / "out.csv") == []
