"""Our agent on the protocol of the TDQN paper: ten instruments, every seed, beside the published table.

    python -m tests.benchmarks.tdqn --data FOLDER [--seeds 5] [--out FILE] [TICKER ...]
    python -m tests.benchmarks.tdqn --table           what has been found so far

FOLDER holds the authors' files (`tests.ten_instruments`). Protocol and agent are configs/tdqn.toml: one
agent an instrument (`--pooled`: one of all ten, which then trades each alone), trained and chosen as
`barwise train` does, tested once as `barwise backtest` does.
As in the paper the first 30 bars of the test are only watched: the first decision is made after the
30th and fills at the close of the 31st, and the 30 returns before it are zeros that count.

Every test that ends is one line of `--out`, so that runs that were stopped go on where they were; a
line counts only for the settings that it was made with. Run folders and the trial ledger lie beside
it. `--validate` trains and scores on validation alone, looks at no test and adds no line; `--set` is
that of `barwise`.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from agents.machine import keep_pages
from engine import measures
from engine.account import PERIODS
from engine.bars import Bars
from engine.report.folder import RunFolder
from engine.run.build import ROOT, bars_of, dates
from engine.run.evaluation import evaluate
from engine.run.training.folder import TRAINING
from engine.run.training.resuming import PARTS
from engine.run.training.run import train_run
from engine.run.training.seeds import seeded
from engine.settings import Settings, load
from tests.benchmarks.harness import say
from tests.benchmarks.tdqn_table import Result, table
from tests.ten_instruments import TICKERS, has_files, one_file

OUT = Path("runs/tdqn.jsonl")
WATCHED = 30  # bars of the test before the first decision


@dataclass(frozen=True)
class Place:
    """Where things are: the authors' files, our run folders; and what is asked for."""

    data: Path
    runs: Path
    overrides: tuple[str, ...] = ()
    pooled: bool = False  # one agent of all ten, instead of one each
    validate: bool = False  # look at no test


def settings_of(place: Place, path: Path, seed: int) -> Settings:
    """Return the settings of one training."""
    own = (f'data.path="{path}"', f'runs_dir="{place.runs}"', *place.overrides)
    return seeded(load(ROOT / "configs" / "tdqn.toml", own), seed)


def digest(settings: Settings) -> str:
    """Return a short name of everything that moves a result but for the seed and the instrument.

    Defaults are left out, so that a setting that is added later changes nothing.
    """
    parts = set(PARTS) - {"data"}
    tree = settings.model_dump(mode="json", include=parts, exclude_defaults=True)
    tree["train"].pop("seed", None)
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()[:8]


def watched(settings: Settings, bars: Bars) -> Settings:
    """Return the settings whose test opens with the first decision, 30 bars after the stated start."""
    first, _ = dates(bars, settings, "test")
    start = bars.sessions[first + WATCHED].item()
    later = settings.split.test.model_copy(update={"start": start})
    split = settings.split.model_copy(update={"test": later})
    backtest = settings.backtest.model_copy(update={"baselines": ()})
    return settings.model_copy(update={"split": split, "backtest": backtest})


def sharpe_of(equity: np.ndarray) -> float:
    """Return the Sharpe ratio of the table: 30 returns of zero, then those of a curve. Shapes: (T+1,)."""
    returns = np.concatenate((np.zeros(WATCHED), measures.returns_of(equity)))
    return float(measures.sharpe(returns, PERIODS))


def looked_at(
    settings: Settings, bars: Bars, checkpoint: Path | None, folder: Path
) -> dict[str, float]:
    """Look at the test once, into a run folder; return Sharpe ratio, dollars won and what was done.

    Without a checkpoint `backtest.strategy` is tested.
    """
    evaluate(watched(settings, bars), bars, checkpoint, RunFolder(folder))
    run = RunFolder(folder).read()
    equity = run.equity["agent"]
    return {
        "sharpe": sharpe_of(equity),
        "profit": float(equity[-1] - equity[0]),
        "trades": len(run.trades["qty"]),
        "long": float((run.exposure["net"] > 0).mean()),
    }


def trained(place: Place, path: Path, name: str, seed: int) -> tuple[Path, float]:
    """Train one agent, or find the one that a stopped run had finished; return checkpoint and score."""
    settings = settings_of(place, path, seed)
    run = place.runs / digest(settings) / name / f"seed-{seed}"
    summary = run / TRAINING / "summary.json"
    if not summary.is_file():
        shutil.rmtree(run, ignore_errors=True)  # of a run that was stopped
        run.mkdir(parents=True)
        train_run(settings, run, show=lambda done, line: None)
    said = json.loads(summary.read_text(encoding="utf-8"))
    return Path(said["checkpoint"]), said["validation_score"]


def learned(place: Place, ticker: str, seed: int) -> Result:
    """Train one agent, unless it is the one of all ten and there already, and look at its test once."""
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        files = {name: one_file(place.data, name, Path(folder)) for name in TICKERS}
        source, name = (Path(folder), "ten") if place.pooled else (files[ticker], ticker)
        checkpoint, score = trained(place, source, name, seed)
        found: dict[str, float] = {}
        settings = settings_of(place, files[ticker], seed)
        if not place.validate:
            test = checkpoint.parents[1] / f"test-{ticker}"
            found = looked_at(settings, bars_of(settings), checkpoint, test)
    spent = time.process_time() - began
    return Result(ticker, seed, score, **found, seconds=spent, digest=named(place))


def found(out: Path) -> list[Result]:
    """Return every result a file holds; none where there is no file."""
    if not out.exists():
        return []
    lines = out.read_text(encoding="utf-8").splitlines()
    return [Result(**json.loads(line)) for line in lines if line]


def named(place: Place) -> str:
    """Return the digest that lines of `--out` carry."""
    return digest(settings_of(place, Path("any.csv"), 0)) + "-ten" * place.pooled


def current(place: Place, out: Path) -> list[Result]:
    """Return the results made with the settings of now."""
    return [result for result in found(out) if result.digest == named(place)]


def run_all(place: Place, asked: argparse.Namespace) -> None:
    """Train and test what `--out` does not hold yet, on one thread."""
    torch.set_num_threads(1)
    keep_pages()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(asked.seeds):
        for ticker in asked.tickers or TICKERS:
            done = {(result.ticker, result.seed) for result in current(place, asked.out)}
            if (ticker, seed) in done:
                continue
            result = learned(place, ticker, seed)
            say(result.line())
            if not place.validate:
                with asked.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(result)) + "\n")


def main(words: list[str] | None = None) -> None:
    """Run what is left, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.tdqn")
    parser.add_argument("tickers", nargs="*", metavar="TICKER", help=f"{', '.join(TICKERS)}; all")
    parser.add_argument("--data", type=Path, help="folder of the authors' files")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each (default 5)")
    parser.add_argument("--out", type=Path, default=OUT, help=f"finished tests (default {OUT})")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="own")
    parser.add_argument("--pooled", action="store_true", help="one agent of all ten a seed")
    parser.add_argument("--validate", action="store_true", help="look at validation alone")
    parser.add_argument("--table", action="store_true", help="run nothing, print what there is")
    asked = parser.parse_args(words)
    if unknown := set(asked.tickers) - set(TICKERS):
        parser.error(f"unknown instrument {min(unknown)}; choose from {', '.join(TICKERS)}")
    if not asked.table and not has_files(asked.data):
        parser.error(f"--data: expected the folder of the authors' files, found {asked.data}")
    runs = asked.out.with_suffix("")
    place = Place(asked.data or Path(), runs, tuple(asked.own), asked.pooled, asked.validate)
    if not asked.table:
        run_all(place, asked)
    if not asked.validate:
        sys.stdout.write(table(current(place, asked.out), asked.seeds) + "\n")


if __name__ == "__main__":
    main()
