"""The benchmark on the ten instruments: its count of the watched bars, its table, its resuming."""

import argparse
import json
from pathlib import Path

import pytest

from engine.run.build import bars_of
from tests.benchmarks.tdqn import Place, current, looked_at, run_all, settings_of
from tests.benchmarks.tdqn_table import Result, table
from tests.ten_instruments import PUBLISHED, TICKERS, one_file

TRADING = (
    "train.gamma=0.9",
    "train.ppo.entropy_weight=0.02",
    "train.learning_rate=0.002",
    "train.updates=96",
    "train.validate_every=96",
    "train.watch_training=false",
    'observation.features=["log_return", "momentum(5)", "momentum(20)", "momentum(60)", '
    '"realised_vol(20)", "rsi(14)", "drawdown(60)"]',
)  # the second agent of TDQN.md


def test_an_agent_that_buys_and_holds_gets_the_number_of_the_table(shared_data, tmp_path):
    place = Place(shared_data / "tdqn-10", tmp_path, ('backtest.strategy="buy_and_hold"',))
    settings = settings_of(place, one_file(place.data, "KO", tmp_path), seed=0)
    found = looked_at(settings, bars_of(settings), None, tmp_path / "test")
    assert round(found["sharpe"], 3) == PUBLISHED["KO"].buy_and_hold
    assert round(found["profit"]) == 33_829
    assert found["trades"] == 1


def made_up(seeds):
    """Every instrument scores 0, 1, 2, ... by seed."""
    return [
        Result(ticker, seed, 0.0, seed, 0.0, 3, 0.5) for ticker in TICKERS for seed in range(seeds)
    ]


def test_the_table_shows_every_seed_and_the_mean_of_those_in_the_middle():
    lines = table(made_up(5), 5).splitlines()
    ko = next(line for line in lines if line.startswith("| KO"))
    assert "| 1.068 | 2.000 | 0.000, 1.000, 2.000, 3.000, 4.000 | 50% |" in ko
    # means of the published columns over the ten, by hand from the paper's table
    assert "| mean of ten | 0.461 | -0.301 | -0.262 | -0.346 | 0.491 | 2.000 |" in "\n".join(lines)
    assert "interquartile mean of 5 seeds 2.000" in lines[-1]


def test_a_table_with_missing_runs_says_how_many_there_are():
    text = table(made_up(2)[:7], 2)
    assert "7 of 20 runs" in text
    assert "mean of ten" not in text


def test_runs_that_were_stopped_go_on_where_they_were(shared_data, tmp_path: Path, capsys):
    small = ("train.updates=1", "train.books=4", "agent.network.hidden_size=4")
    out = tmp_path / "found.jsonl"
    place = Place(shared_data / "tdqn-10", tmp_path / "runs", small)
    asked = argparse.Namespace(out=out, seeds=1, tickers=["KO"])
    for _ in range(2):
        run_all(place, asked)
    (row,) = (json.loads(line) for line in out.read_text().splitlines())
    assert (row["ticker"], row["seed"]) == ("KO", 0)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_an_agent_that_only_holds_is_not_above_holding():
    held = [
        Result(t, seed, 0.0, PUBLISHED[t].buy_and_hold + 4e-4) for t in TICKERS for seed in (0, 1)
    ]
    assert "Above buy and hold on 0 of ten" in table(held, 2)


@pytest.mark.parametrize("pooled", [False, True])
def test_the_document_shows_the_results_that_are_kept(tmp_path, pooled):
    folder = Path(__file__).parent
    text = (folder / "TDQN.md").read_text(encoding="utf-8")
    place = Place(tmp_path, tmp_path, TRADING if pooled else (), pooled)
    assert table(current(place, folder / "tdqn.jsonl"), 5) in text
