"""Runs side by side: shared sessions, differences said first, intervals, and folders that are none."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from engine.account import Account
from engine.cli import run as barwise
from engine.errors import DataError, UsageError
from engine.measures import returns_of
from engine.metrics import summarise
from engine.paired import EQUAL, apart
from engine.report.compare import PAPER, Entry, compared, setting_rows
from engine.report.compare_page import (
    compare_cautions,
    metric_rows,
    pair_rows,
    print_compare,
    render,
    sentence,
)
from engine.report.compare_read import read_entry
from engine.report.folder import RunFolder
from tests import made_up_run, made_up_walk

DAYS = made_up_run.sessions(60)
SETTINGS: dict[str, Any] = {
    "name": "x",
    "costs": {"rate": 0.001, "slippage_bps": 2.0},
    "venue": {"fill": "open", "account": "margin"},
    "sizing": {"flip": "two_orders"},
    "limits": {},
    "backtest": {"cash": 100.0},
}
DATA = {"digest": "ab" * 32, "symbols": ["A"], "price_basis": "raw", "source": "made up"}


def curve(seed: int, count: int = 60) -> np.ndarray:
    steps = 0.01 * np.random.default_rng(seed).standard_normal(count)
    return np.asarray(100.0 * np.cumprod(1 + steps))


def backtest(
    path: Path, equity: np.ndarray, days: np.ndarray = DAYS, **parts: dict[str, Any]
) -> Path:
    """Write a run of one curve; `parts` replace."""
    metrics = summarise(days, Account(equity), {"buy_and_hold": Account(equity[::-1])})
    content = {"settings": SETTINGS, "data": DATA, "metrics": metrics, "summary": {"agent": "a"}}
    equities = {"session": days, "agent": equity}
    RunFolder(path).write(equity=equities, **{**content, **parts})
    return path


def paper(path: Path, days: np.ndarray, equity: np.ndarray) -> Path:
    """Write what `barwise paper export` writes."""
    path.mkdir()
    with (path / "equity.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("session", "equity", "venue_equity", "caught_up", "at"))
        writer.writerows((day, value, "", "", "") for day, value in zip(days, equity, strict=True))
    return path


def texts(folders: list[Path]) -> str:
    found = compare_cautions(compared([read_entry(folder) for folder in folders]))
    return " | ".join(caution.text for caution in found)


# Shared sessions ---------------------------------------------------------------------------------


def test_curves_are_cut_to_the_shared_sessions_and_start_at_a_hundred(tmp_path: Path) -> None:
    first = backtest(tmp_path / "a", curve(1))
    second = backtest(tmp_path / "b", curve(2, 50), DAYS[10:])
    found = compared([read_entry(first), read_entry(second)])
    assert (found.sessions == DAYS[10:]).all()
    assert found.curves[0] == pytest.approx(100 * curve(1)[10:] / curve(1)[10])
    assert found.curves[1][0] == 100.0
    assert found.metrics[0]["total_return"] == pytest.approx(curve(1)[-1] / curve(1)[10] - 1)


def test_pairs_are_compared_with_the_first_by_blocks_of_days(tmp_path: Path) -> None:
    folders = [backtest(tmp_path / str(n), curve(n)) for n in (1, 2, 3)]
    found = compared([read_entry(folder) for folder in folders])
    assert [(pair["run"], pair["against"]) for pair in found.pairs] == [("2", "1"), ("3", "1")]
    expected = apart(returns_of(curve(2)), returns_of(curve(1)), 252)
    told = found.pairs[0]["over_dates"]
    assert told.sharpe == pytest.approx(expected.sharpe)
    assert told.interval == pytest.approx(expected.interval)
    ours, theirs = (each["sharpe"] for each in found.metrics[:2])
    assert told.sharpe == pytest.approx(theirs - ours)
    assert found.pairs[0]["verdict"] == EQUAL
    assert f"Sharpe ratio {expected.sharpe:+.2f}" in sentence(found.pairs[0])
    assert pair_rows(found)[0][1] == f"{expected.sharpe:+.2f}"


def test_numbers_on_page_and_terminal_are_those_of_the_runs(tmp_path: Path) -> None:
    folders = [backtest(tmp_path / str(n), curve(n)) for n in (1, 2)]
    found = compared([read_entry(folder) for folder in folders])
    rows = {row["name"]: row["cells"] for row in metric_rows(found)}
    own = [RunFolder(folder).part("metrics")["agent"] for folder in folders]
    assert rows["Total return"] == [f"{100 * each['total_return']:.1f}\u00a0%" for each in own]
    assert rows["Sharpe ratio"] == [f"{each['sharpe']:.2f}" for each in own]
    assert rows["Turnover"] == ["n/a", "n/a"]
    page = re.sub(r"<[^>]+>", " ", render(found))
    console = Console(width=100, file=io.StringIO())
    print_compare(found, tmp_path / "compare.html", console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    for cell in rows["Sharpe ratio"]:
        assert cell in page
        assert cell in printed
    assert max(map(len, printed.splitlines()[:-1])) <= 100
    data = json.loads(re.search(r'id="run">(.*?)</script>', render(found), re.S).group(1))  # type: ignore[union-attr]
    assert data["curves"][1]["equity"] == pytest.approx(found.curves[1], abs=0.006)


# What differs ------------------------------------------------------------------------------------


def test_runs_made_alike_have_no_difference(tmp_path: Path) -> None:
    folders = [backtest(tmp_path / str(n), curve(n)) for n in (1, 2)]
    found = compared([read_entry(folder) for folder in folders])
    assert found.differences == ()
    assert compare_cautions(found) == []
    assert "Same data, dates, costs, fills and limits" in render(found)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"data": DATA | {"digest": "cd" * 32}}, "different data. 1: ababababababab"),
        ({"data": DATA | {"price_basis": "total"}}, "different prices. 1: raw; 2: total"),
        (
            {"settings": SETTINGS | {"costs": {"rate": 0.0, "slippage_bps": 2.0}}},
            "different costs. 1: rate 0.001; 2: rate 0.0",
        ),
        (
            {"settings": SETTINGS | {"venue": {"fill": "same_close", "account": "margin"}}},
            "different fill rule. 1: open; 2: same_close",
        ),
        (
            {"settings": SETTINGS | {"backtest": {"cash": 5.0}}},
            "different capital. 1: 100.0; 2: 5.0",
        ),
    ],
)
def test_what_makes_runs_incomparable_is_said_loudly(
    tmp_path: Path, parts: dict[str, Any], told: str
) -> None:
    first = backtest(tmp_path / "1", curve(1))
    second = backtest(tmp_path / "2", curve(2), **parts)
    found = compare_cautions(compared([read_entry(first), read_entry(second)]))
    assert found[0].grave
    assert told in " | ".join(caution.text for caution in found)
    assert "Not comparable as they stand" in found[0].text


def test_other_dates_are_said_though_only_the_shared_ones_are_measured(tmp_path: Path) -> None:
    first = backtest(tmp_path / "1", curve(1))
    second = backtest(tmp_path / "2", curve(2, 50), DAYS[10:])
    assert f"different dates. 1: {DAYS[0]} to {DAYS[-1]}; 2: {DAYS[10]}" in texts([first, second])


def test_every_setting_that_differs_is_listed_and_names_are_not(tmp_path: Path) -> None:
    other = SETTINGS | {"name": "y", "costs": {"rate": 0.002, "slippage_bps": 2.0}}
    folders = [
        backtest(tmp_path / "1", curve(1)),
        backtest(tmp_path / "2", curve(2), settings=other),
    ]
    assert setting_rows([read_entry(folder) for folder in folders]) == [
        ("costs.rate", "0.001", "0.002")
    ]


def test_same_curve_in_two_folders_is_called_identical(tmp_path: Path) -> None:
    folders = [backtest(tmp_path / str(n), curve(1)) for n in (1, 2)]
    assert "2 and 1 are identical on these sessions" in texts(folders)


# Kinds of runs -----------------------------------------------------------------------------------


def test_walk_forward_stands_with_its_median_seed_and_its_interval(tmp_path: Path) -> None:
    walk = made_up_walk.write(tmp_path / "walk")
    entry = read_entry(walk)
    summary = RunFolder(walk).part("summary")
    median = summary["median_seed"]["agent"]
    own = RunFolder(walk / "stitched" / f"seed-{median}").part("equity")
    assert (entry.equity == own["agent"]).all()
    assert entry.about == f"median seed {median} of 4"
    other = made_up_walk.write(tmp_path / "other")
    found = compared([entry, read_entry(other)])
    assert found.pairs[0]["over_seeds"].difference == 0.0
    row = next(r for r in metric_rows(found) if r["name"] == "Sharpe ratio over seeds")
    low, high = summary["accounts"]["agent"]["sharpe"]["interval"]
    assert f"({low:.2f} to {high:.2f})" in row["cells"][0]


def test_paper_export_is_compared_and_what_is_not_known_of_it_is_said(tmp_path: Path) -> None:
    live = paper(tmp_path / "paper", DAYS[5:40], curve(3, 35))
    entry = read_entry(live)
    assert entry.kind == PAPER
    told = texts([backtest(tmp_path / "1", curve(1)), live])
    assert "Perhaps not comparable: of paper, data, symbols, prices, costs, fill rule, " in told
    assert "different kind of record. 1: simulated test; paper: paper account" in told


def test_run_that_never_moved_says_so_and_not_what_its_seeds_lack(tmp_path: Path) -> None:
    entries = [
        Entry(
            **{
                **vars(read_entry(backtest(tmp_path / name, curve(1)))),
                "by_seed": {0: None, 1: None},
            }
        )
        for name in ("a", "b")
    ]
    still = Entry(**{**vars(entries[1]), "equity": np.full(60, 5.0)})
    pair = compared([entries[0], still]).pairs[0]
    assert sentence(pair) == "b against a: cannot be told, the returns do not vary."


# Bad inputs --------------------------------------------------------------------------------------


def test_one_run_and_the_same_run_twice_are_refused(tmp_path: Path) -> None:
    entry = read_entry(backtest(tmp_path / "a", curve(1)))
    with pytest.raises(UsageError, match="two runs or more"):
        compared([entry])
    (tmp_path / "b").mkdir()
    again = read_entry(tmp_path / "b" / ".." / "a")
    with pytest.raises(UsageError, match="named twice"):
        compared([entry, again])


def test_runs_without_shared_sessions_are_refused_with_their_dates(tmp_path: Path) -> None:
    first = backtest(tmp_path / "a", curve(1, 30), DAYS[:30])
    second = backtest(tmp_path / "b", curve(2, 30), DAYS[30:])
    with pytest.raises(DataError, match=r"share 0 sessions.*a: 2010-01-04 to .*; b: "):
        compared([read_entry(first), read_entry(second)])


def test_run_that_has_not_ended_is_refused(tmp_path: Path) -> None:
    folder = backtest(tmp_path / "a", curve(1))
    (folder / "summary.json").unlink()
    with pytest.raises(DataError, match="has not ended, missing: summary"):
        read_entry(folder)
    walk = tmp_path / "walk"
    walk.mkdir()
    (walk / "windows.csv").write_text("window\n1\n")
    with pytest.raises(DataError, match=r"has not ended, summary\.json is missing"):
        read_entry(walk)


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder"):
        read_entry(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is no run"):
        read_entry(tmp_path)
    live = paper(tmp_path / "paper", DAYS[[1, 0]], curve(1, 2))
    with pytest.raises(DataError, match="sessions in order"):
        read_entry(live)


def test_equity_at_zero_is_refused(tmp_path: Path) -> None:
    entry = read_entry(backtest(tmp_path / "a", curve(1)))
    ruined = Entry(**{**vars(entry), "path": tmp_path, "equity": np.zeros(60)})
    with pytest.raises(DataError, match="the equity is 0"):
        compared([entry, ruined])


# The command -------------------------------------------------------------------------------------


def test_command_writes_the_page_and_answers_in_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [backtest(tmp_path / place / "run", curve(n)) for n, place in ((1, "a"), (2, "b"))]
    page = tmp_path / "out" / "compare.html"
    assert barwise(["compare", *map(str, folders), "--out", str(page), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["page"] == str(page)
    assert [each["run"] for each in told["runs"]] == ["a/run", "b/run"]  # told apart by their place
    assert told["bars"] == 59
    assert "runs compared" in page.read_text(encoding="utf-8")
    assert barwise(["compare", *map(str, folders), "--out", str(tmp_path)]) == 2
    assert "found a folder" in capsys.readouterr().err
