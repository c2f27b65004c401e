"""The page of a walk-forward: its numbers are those of its files, its pictures the median seed's."""

import json
import re

import numpy as np
import pytest

from engine.across_seeds import interquartile_mean
from engine.errors import DataError
from engine.report.folder import RunFolder, write_json
from engine.report.formats import shown
from engine.report.walk import is_walk, read_walk
from engine.report.walk_cautions import of_summary, walk_cautions
from engine.report.walk_page import PAGE, render, write_walk_page
from engine.report.walk_sections import seed_rows, strip, sweep, window_rows
from tests import made_up_walk


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_up_walk.write(tmp_path_factory.mktemp("walk") / "run")


@pytest.fixture(scope="module")
def walk(folder):
    return read_walk(folder)


@pytest.fixture(scope="module")
def words(walk):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", render(walk)))


def texts(found):
    return " | ".join(caution.text for caution in found)


# Numbers ---------------------------------------------------------------------------------------


def test_every_seeds_numbers_are_those_of_its_own_metrics(walk, folder):
    rows = seed_rows(walk)
    for seed, row in zip(made_up_walk.SEEDS, rows, strict=False):
        own = RunFolder(folder / "stitched" / f"seed-{seed}").part("metrics")["agent"]
        twin = RunFolder(folder / "twin" / f"seed-{seed}").part("metrics")["agent"]
        assert row[0].split()[0] == str(seed)
        assert row[1] == shown(own["total_return"], "percent")
        assert row[3] == shown(own["sharpe"], "ratio")
        assert row[-1] == shown(twin["sharpe"], "ratio")
    ratios = [float(row[3]) for row in rows[:4]]
    # Of four, the lowest and the highest are dropped.
    assert float(rows[4][3]) == pytest.approx(np.mean(sorted(ratios)[1:3]), abs=0.011)


def test_pictures_show_the_median_seed_and_say_so(walk, folder, words):
    ratios = {
        seed: RunFolder(folder / "stitched" / f"seed-{seed}").part("metrics")["agent"]["sharpe"]
        for seed in made_up_walk.SEEDS
    }
    median = sorted(ratios, key=ratios.get)[1]  # of four the lower of the middle two
    assert walk.median == median
    assert (walk.equity["agent"] == walk.curves["agent"][median]).all()
    assert f"Returns by month of seed {median}, the median" in words
    assert [row[0] for row in seed_rows(walk)].count(f"{median} (median)") == 1


def test_chart_has_every_seed_the_middle_and_the_rivals(walk):
    text = render(walk)
    data = json.loads(re.search(r'id="run">(.*?)</script>', text, re.S).group(1))
    curves = {curve["name"]: curve for curve in data["curves"]}
    for seed in made_up_walk.SEEDS:
        drawn = curves[f"Seed {seed}"]
        assert drawn["group"] == "Agent, every seed"
        assert drawn["equity"] == pytest.approx(walk.curves["agent"][seed], abs=0.006)
    middle = curves["Agent, mean of the middle half"]["equity"]
    last = [curve[-1] for curve in walk.curves["agent"].values()]
    assert middle[-1] == pytest.approx(interquartile_mean(np.array(last)), abs=0.006)
    assert {"Buy and hold", "Flat"} < set(curves)
    assert any(name.startswith("Twin, no memory, median seed") for name in curves)


def test_windows_show_dates_choice_and_return_and_mark_the_short_one(walk):
    first, second, last = window_rows(walk)
    assert first[0] == "1"
    tested, trained, validated = first[1], first[-2], first[-1]
    dates = [f"2011-0{n}-01 to 2011-0{n}-02" for n in (1, 2, 3)]
    assert [trained, validated, tested] == dates
    # Interquartile means of 1 2 3 4 and of 10 20 30 40 %; the benchmark's 5 and 10 %.
    assert first[-3] == "2.50"
    assert first[2] == "25.0\u00a0%"
    assert (first[-4], second[-4]) == ("5.0\u00a0%", "10.0\u00a0%")
    assert second[0] == "2 (short)"
    assert last[0] == "IQM"


def test_sweep_has_a_column_for_each_cost_and_a_row_for_each_account(walk):
    table = sweep(walk, "sharpe")
    assert table["heads"] == ["Account", "0 bp", "10 bp"]
    assert [row[0] for row in table["rows"]] == ["Agent", "Twin, no memory", "Buy and hold", "Flat"]


def test_strip_spans_all_seeds(walk):
    found = strip(walk)
    places = [float(dot["at"]) for row in found["rows"] for dot in row["dots"]]
    assert (min(places), max(places)) == (0.0, 100.0)
    assert len(found["rows"][0]["dots"]) == 4
    assert found["rows"][-1]["dots"] == []  # cash has no Sharpe ratio


def test_page_tells_evidence_trials_checks_purge_and_the_twin(words):
    for part in (
        "No evidence of an edge",
        "40, effective 12.5",
        "after 40 trials, 0.95 needed",
        "Memoryless twin no evidence that memory helps",
        "passed Look-ahead 200 dates",
        "label: nothing scored is learned from",
        "The agent against its twin: no evidence that memory helps",
        "Flat n/a",
        "cannot be told: no Sharpe",
        "never the best seed",
    ):
        assert part in words, part


def test_same_folder_gives_the_same_page_and_report_is_where_it_says(folder, walk):
    assert write_walk_page(folder).read_text(encoding="utf-8") == render(walk)
    assert (folder / PAGE).is_file()


def test_walk_without_twin_baselines_or_sweep_has_a_page_without_them(walk):
    accounts = {"agent": walk.summary["accounts"]["agent"]}
    bare = changed(walk, accounts=accounts, twin={}, rivals=[], costs_swept=[])
    bare["window_returns"] = {"agent": bare["window_returns"]["agent"]}
    bare["by_window"] = [{**row, "twin": None, "baselines": {}} for row in bare["by_window"]]
    bare["median_seed"] = {"agent": walk.median}
    alone = {"session": walk.equity["session"], "agent": walk.equity["agent"]}
    curves = {"agent": walk.curves["agent"]}
    page = render(replaced(walk, summary=bare, curves=curves, equity=alone))
    assert "What costs leave of it" not in page
    assert "Twin" not in page.split("<script")[0].replace("Memoryless twin", "")


# Warnings --------------------------------------------------------------------------------------


def changed(walk, **parts):
    return walk.summary | parts


def test_warnings_of_a_made_up_walk(walk):
    found = walk_cautions(walk)
    told = texts(found)
    for part in (
        "4 seeds: too few",
        "last window tests 60",
        "survivorship",
        "a list without dates",
    ):
        assert part in told
    assert found[0].grave


def test_edge_that_ten_basis_points_take_away_is_said(walk):
    def row(account, bps, sharpe, returned):
        return {"account": account, "bps": bps} | {
            "sharpe": {"mean": sharpe}, "total_return": {"mean": returned}
        }  # fmt: skip

    rival = [row("buy_and_hold", bps, 0.5, 0.2) for bps in (0.0, 5.0, 10.0)]
    agent = [row("agent", bps, ratio, gain) for bps, ratio, gain in
             ((0.0, 0.8, 0.3), (5.0, 0.6, 0.1), (10.0, 0.4, 0.05))]  # fmt: skip
    told = texts(of_summary(changed(walk, costs_swept=rival + agent)))
    assert "The edge is gone at 10 basis points a side: at 0 the agent has a Sharpe ratio above "
    assert "above buy and hold, there it has not" in told
    assert "a profit" not in told
    loses = [*agent[:2], row("agent", 10.0, 0.4, -0.1)]
    assert "and a profit, there" in texts(of_summary(changed(walk, costs_swept=rival + loses)))
    stays = [*agent[:2], row("agent", 10.0, 0.6, 0.1)]
    assert "edge is gone" not in texts(of_summary(changed(walk, costs_swept=rival + stays)))


def test_few_trips_and_seeds_that_never_trade_are_said(walk):
    agent = walk.summary["accounts"]["agent"]
    few = agent | {
        "trades": {"mean": 12.0},
        "fills": {"mean": 61.0},
        "turnover": {"mean": 1.0, "by_seed": [0.0, 2.0, 2.0, 1]},
    }
    told = texts(of_summary(changed(walk, accounts=walk.summary["accounts"] | {"agent": few})))
    assert "orders were filled, 12 round trips were closed (interquartile means over seeds)" in told
    assert "never traded in 1 of 4 seeds" in told
    older = {key: value for key, value in few.items() if key != "fills"}
    told = texts(of_summary(changed(walk, accounts=walk.summary["accounts"] | {"agent": older})))
    assert "Only 12 round trips were closed (interquartile means over seeds): too few" in told


def test_agent_in_disguise_is_counted_over_seeds(walk, folder, tmp_path):
    agent = walk.summary["accounts"]["agent"]
    near = agent | {"correlation": {"by_seed": [0.99, 0.5, 0.985, 0.98]}}
    summary = changed(walk, accounts=walk.summary["accounts"] | {"agent": near})
    told = texts(walk_cautions(replaced(walk, summary=summary)))
    assert "In 2 of 4 seeds the agent moves with its benchmark" in told
    same = walk.curves | {"agent": walk.curves["agent"] | {0: walk.equity["buy_and_hold"]}}
    told = texts(walk_cautions(replaced(walk, summary=summary, curves=same)))
    assert "In 1 of 4 seeds the agent is identical to Buy and hold" in told


def test_one_symbol_that_made_the_profit_is_named_over_all_seeds(walk, folder):
    gains = {"AAPL": 900.0, "GOOG": 50.0, "IBM": 25.0, "MSFT": 25.0}
    assert "AAPL made 90% of the profit" in texts(walk_cautions(replaced(walk, profits=gains)))
    # Over the real ones: they add up to the mean profit of the seeds.
    ends = [curve[-1] - curve[0] for curve in walk.curves["agent"].values()]
    assert sum(walk.profits.values()) == pytest.approx(np.mean(ends))


def replaced(walk, **parts):
    return type(walk)(**{**vars(walk), **parts})


# Folders ---------------------------------------------------------------------------------------


def test_walk_that_has_not_ended_says_how_to_go_on(folder, tmp_path):
    (tmp_path / "windows.csv").write_bytes((folder / "windows.csv").read_bytes())
    assert is_walk(tmp_path)
    with pytest.raises(DataError, match=r"has not ended.*--resume"):
        read_walk(tmp_path)
    write_json(tmp_path / "summary.json", {"name": "old"})
    with pytest.raises(DataError, match="older version"):
        read_walk(tmp_path)


def test_page_without_evidence_says_that_nothing_is_proven(walk):
    told = texts(walk_cautions(replaced(walk, evidence={})))
    assert "evidence.json is missing" in told
    assert "What it proves" not in render(replaced(walk, evidence={}))
