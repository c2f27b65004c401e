"""Bars within the day, against the hours of the exchange."""

import numpy as np

from engine.data.check import check_files
from engine.data.intraday import to_daily
from engine.data.tables import read

HEAD = "Datetime,Open,High,Low,Close,Volume\n"


def minutes(day, first="09:30", count=390):
    start = np.datetime64(f"{day}T{first}")
    stamps = start + np.arange(count).astype("timedelta64[m]")
    return [f"{str(s).replace('T', ' ')}:00,10,10.5,9.5,10,100" for s in stamps]


def written(folder, rows):
    path = folder / "ABC.csv"
    path.write_text(HEAD + "\n".join(rows) + "\n")
    return path


def kinds(path, *severity):
    return {f.kind: f for f in check_files([path]) if f.severity in (severity or ("warning",))}


def test_a_whole_session_of_minutes_is_clean(tmp_path):
    path = written(tmp_path, minutes("2020-03-02") + minutes("2020-03-03"))
    assert kinds(path, "warning", "error") == {}
    assert kinds(path, "info")["intraday"].message == "bars of 1 minute, 780 rows: not daily bars"


def test_bars_before_the_open_and_from_the_close_on_are_outside(tmp_path):
    path = written(tmp_path, minutes("2020-03-02", "09:28", 395))  # 09:28, 09:29; 16:00 to 16:02
    found = kinds(path)["outside_hours"]
    assert found.count == 5
    assert "3 after the close" in found.message


def test_an_early_close_comes_from_the_calendar(tmp_path):
    path = written(tmp_path, minutes("2019-12-24", count=211))  # the last one is stamped 13:00
    assert kinds(path)["outside_hours"].days == ("2019-12-24 13:00:00",)


def test_sessions_that_stop_or_start_on_the_way_are_named(tmp_path):
    rows = minutes("2020-03-02", "11:00", 300) + minutes("2020-03-03", count=90)
    found = kinds(written(tmp_path, rows))
    assert found["late_start"].days == ("2020-03-02 11:00:00",)
    assert found["truncated_day"].days == ("2020-03-03 10:59:00",)


def test_absent_minutes_are_counted(tmp_path):
    rows = minutes("2020-03-02")
    del rows[100:107]
    assert kinds(written(tmp_path, rows), "info")["absent_bars"].message.startswith("7 bars absent")


def test_hourly_bars_with_their_left_edge_before_the_open_are_inside(tmp_path):
    rows = [f"2020-03-{d:02} {h:02}:00:00,10,11,9,10,5" for d in (2, 3) for h in range(9, 16)]
    assert kinds(written(tmp_path, rows)) == {}


def test_sessions_are_made_of_their_regular_minutes(tmp_path):
    rows = minutes("2020-03-02", "09:29", 392)  # one minute too early, one too late
    rows[0] = "2020-03-02 09:29:00,99,99,99,99,9"
    rows[1] = "2020-03-02 09:30:00,11,12,11,11.5,100"
    rows[390] = "2020-03-02 15:59:00,9,9,8,8.5,100"
    (table,) = read(written(tmp_path, rows))
    days, ohlcv = to_daily(table)
    assert [str(d) for d in days] == ["2020-03-02"]
    assert ohlcv.tolist() == [[11, 12, 8, 8.5, 39_000]]


def test_hourly_bars_of_a_vendor_add_up_to_its_daily_bars(shared_data):
    folder = shared_data / "lean-us-equity"
    for name in ("ibm", "spy"):
        (daily,) = read(folder / "daily" / f"{name}.zip")
        (hourly,) = read(folder / "hour" / f"{name}.zip")
        # On early closes the vendor counts hours after the close; compare the other days.
        days, ohlcv = to_daily(hourly)
        assert (days == daily.days).all()
        same = (ohlcv == daily.ohlcv).all(axis=1)
        assert same.mean() > 0.99
        assert same[days >= np.datetime64("2009-01-01")].all()
