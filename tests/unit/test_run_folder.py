"""The run folder: written whole, read back exactly, refused when broken."""

import numpy as np
import pytest

from engine.errors import DataError
from engine.files import atomic
from engine.report.folder import RunFolder, stacked
from tests.made_up_run import FOUR_DAYS as DAYS
from tests.made_up_run import small


def test_tables_come_back_exactly_as_they_were_written(tmp_path):
    equity = {"session": DAYS, "agent": np.array([0.1 + 0.2, 1 / 3, 1e-300, 5e20])}
    bars = stacked(
        DAYS, ["A", "B"], open=np.pi, high=4.0, low=np.nan, close=3.5, traded=[True, False]
    )
    run = small(tmp_path, equity=equity, bars=bars).read()
    assert (run.equity["agent"] == equity["agent"]).all()
    assert (run.equity["session"] == DAYS).all()
    assert run.bars["symbol"].tolist() == ["A", "B"] * 4
    assert run.bars["traded"].tolist() == [True, False] * 4
    assert np.isnan(run.bars["low"]).all()
    assert (run.bars["open"] == np.pi).all()


def test_text_with_commas_quotes_and_lines_survives(tmp_path):
    reason = 'more than "allowed", by far\nand twice'
    refusals = {"session": DAYS[:1], "symbol": ["A,B"], "reason": [reason], "qty": [3.0]}
    run = small(tmp_path, refusals=refusals).read()
    assert (run.refusals["reason"][0], run.refusals["symbol"][0]) == (reason, "A,B")


def test_column_named_like_a_flag_is_a_number_in_a_wide_table(tmp_path):
    exposure = {"session": DAYS, "gross": [0.5] * 4, "net": [0.5] * 4, "keep": [0.25] * 4}
    assert small(tmp_path, exposure=exposure).read().exposure["keep"].tolist() == [0.25] * 4


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "equity.csv"
    target.write_text("old")

    def write_half():
        with atomic(target) as file:
            file.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("equity.csv", "old")]


def test_unknown_part_missing_column_and_unequal_lengths_are_refused(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(DataError, match="no part named 'equityy'"):
        folder.write(equityy={})
    with pytest.raises(DataError, match="missing: agent"):
        folder.write(equity={"session": DAYS})
    with pytest.raises(DataError, match="of one length"):
        folder.write(equity={"session": DAYS, "agent": [1.0]})
    with pytest.raises(DataError, match=r"metrics\.json: cannot be written"):
        folder.write(metrics={"sharpe": float("nan")})


def test_broken_files_are_refused_with_file_and_place(tmp_path):
    folder = small(tmp_path)
    (tmp_path / "equity.csv").write_text("session,agent\n2020-01-30,1\n2020-01-31\n")
    with pytest.raises(DataError, match=r"equity\.csv, row 3"):
        folder.read()
    (tmp_path / "equity.csv").write_text("session,agent\n2020-01-30,one\n")
    with pytest.raises(DataError, match=r"equity\.csv, column agent"):
        folder.read()
    (tmp_path / "equity.csv").write_text("session\n")
    with pytest.raises(DataError, match="column agent is missing"):
        folder.read()
    (tmp_path / "equity.csv").write_text("session,agent\n2020-01-30,1\n")
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(DataError, match=r"metrics\.json: cannot be read as JSON"):
        folder.read()


def test_folder_without_equity_is_not_a_run_folder(tmp_path):
    with pytest.raises(DataError, match=r"not a run folder, equity\.csv is missing"):
        RunFolder(tmp_path).read()
