"""A walk-forward of two windows: its record, its files, its twin, and what a kill leaves of it."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from rich.console import Console

from engine.across_seeds import interquartile_mean
from engine.bars import Bars
from engine.errors import CheckpointError, DataError, SettingsError, UsageError
from engine.measures import returns_of, sharpe
from engine.report.folder import RunFolder
from engine.report.walk_page import PAGE, write_walk_page
from engine.run.backtest import new_venue, through_backtrader
from engine.run.build import bars_of
from engine.run.check.findings import enter
from engine.run.commands import run_report
from engine.run.compare_commands import run_compare
from engine.run.compare_training import training_entry
from engine.run.evaluation import deployed
from engine.run.relay import relay
from engine.run.training.executor import Inline, Job, outcome
from engine.run.walkforward.compare import across
from engine.run.walkforward.evidence import write_evidence
from engine.run.walkforward.plan import AGENT, TWIN, WalkForward, plan
from engine.run.walkforward.report import print_walk
from engine.run.walkforward.run import WINDOWS, walk_forward
from engine.run.walkforward.stitch import turns_of
from engine.settings import Settings, build
from engine.trader import Trader
from engine.trials import Ledger

TREE: dict[str, Any] = {
    "name": "tiny",
    "data": {"symbols": ["AAPL", "IBM"], "end": "2002-12-31"},
    "walkforward": {
        "train_sessions": 400,
        "validation_sessions": 60,
        "test_sessions": 30,
        "end": "2002-03-13",
        "seeds": 1,
        "cost_bps": [0, 25],
    },
    "observation": {"features": ["log_return", "momentum(20)"]},
    "agent": {"burn_in": 8, "network": {"hidden_size": 8, "heads": [8]}},
    "backtest": {"baselines": ["flat", "buy_and_hold", "random"]},
    "train": {
        "updates": 4,
        "books": 4,
        "rollout_steps": 20,
        "episode_steps": 32,
        "validate_every": 2,
        "ppo": {"minibatches": 2},
        "watch_training": False,
    },
}
TIMED = ("training.jsonl", "training/summary.json")  # speeds, and paths of the machine
# What the trials prove counts every other run on these bars, the killed one too: the numbers of
# evidence.json are meant to differ. Only the page reads it; `same_page` compares that on its own.
COUNTED = "evidence.json"


class Killed(BaseException):
    """The end of a process, as far as its files can tell."""


class Dies:
    """An executor that is killed in the middle of a training: nothing is cleaned up after it."""

    def __init__(self, updates: int) -> None:
        self.left, self.jobs = updates, list[Job]()

    def run(self, jobs: Sequence[Job], tick: Callable[[], None], resume: bool = False) -> bool:
        self.jobs = list(jobs)

        def count() -> None:
            self.left -= 1
            if not self.left:
                raise Killed

        return Inline().run(jobs, count, resume)


class Noted(Inline):
    """The executor in this process; it keeps what it was given."""

    def __init__(self) -> None:
        self.jobs = list[Job]()

    def run(self, jobs: Sequence[Job], tick: Callable[[], None], resume: bool = False) -> bool:
        self.jobs = list(jobs)
        return super().run(jobs, tick, resume)


def made(**walkforward: Any) -> Settings:
    return build(TREE | {"walkforward": TREE["walkforward"] | walkforward}, "")


@pytest.fixture(scope="module", autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the trial ledger, which lies in the folder of runs, out of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("elsewhere"))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A walk-forward that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    summary = walk_forward(made(), folder, Inline())
    assert summary == json.loads((folder / "summary.json").read_text())
    return folder


@pytest.fixture(scope="module")
def bars() -> Bars:
    return bars_of(made())


@pytest.fixture(scope="module")
def walk(whole: Path, bars: Bars) -> WalkForward:
    return plan(made(), bars, whole)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not str(path).endswith((*TIMED, COUNTED))
    }


def same_page(folder: Path, whole: Path) -> bool:
    """Return whether both folders make the same page after the same trials, byte for byte."""
    counted, other = ((place / COUNTED).read_bytes() for place in (folder, whole))
    assert set(json.loads(counted)) == set(json.loads(other))
    (folder / COUNTED).write_bytes(other)
    pages = [write_walk_page(place).read_bytes() for place in (folder, whole)]
    (folder / COUNTED).write_bytes(counted)
    for place in (folder, whole):
        (place / PAGE).unlink()
    return pages[0] == pages[1]


def test_windows_are_written_by_date_and_the_short_one_is_marked(whole: Path) -> None:
    rows = table(whole / "windows.csv")
    assert [row["window"] for row in rows] == ["1", "2"]
    assert [row["short"] for row in rows] == ["0", "1"]
    assert rows[0]["train_start"] == rows[1]["train_start"]  # expanding
    assert rows[0]["test_end"] < rows[1]["test_start"]
    assert rows[1]["test_end"] == "2002-03-13"
    for row in rows:
        days = [
            row[f"{name}_{end}"]
            for name in ("train", "validation", "test")
            for end in ("start", "end")
        ]
        assert days == sorted(set(days))


def test_stitched_record_holds_every_tested_bar_once(walk: WalkForward, bars: Bars) -> None:
    days = RunFolder(walk.record(AGENT, 0)).read().equity["session"]
    tested = bars.sessions[walk.tested.first : walk.tested.last + 1]
    assert (days == tested).all()
    assert len(walk.windows) == 2


def test_books_go_on_across_the_boundary_and_memory_starts_from_its_burn_in(
    walk: WalkForward, bars: Bars
) -> None:
    settings = walk.settings_of(AGENT, 0)
    record = relay(settings, bars, turns_of(walk, AGENT, 0), new_venue(settings, bars))
    at = walk.windows[1].test.first - walk.tested.first
    before, after = record.rows[at - 1], record.rows[at]
    assert record.sessions[at] == bars.sessions[walk.windows[1].test.first]
    # What was held, and what was ordered on the last bar of the first window, are there on the next.
    kept = before["qty"] * bars.split[walk.windows[1].test.first]
    assert kept.any()
    assert (after["qty"] == kept + after["filled"]).all()
    fills = np.nansum(after["filled"] * after["price"]) + after["fee"].sum()
    assert after["cash"] == pytest.approx(before["cash"] - fills)
    # The memory is what the second checkpoint makes of the bars before, from zero: live windows,
    # Backtrader, and a book of its own.
    first = walk.windows[1].test.first
    alone = through_backtrader(
        bars, trader(walk, 1, bars), new_venue(settings, bars), first, first + 1
    )
    assert np.array_equal(alone.rows[0]["memory"], after["memory"])


def test_first_window_is_what_backtrader_makes_of_its_checkpoint(
    walk: WalkForward, bars: Bars
) -> None:
    settings, span = walk.settings_of(AGENT, 0), walk.windows[0].test
    record = relay(settings, bars, turns_of(walk, AGENT, 0), new_venue(settings, bars)).arrays()
    venue = new_venue(settings, bars)
    alone = through_backtrader(bars, trader(walk, 0, bars), venue, span.first, span.last).arrays()
    for name in ("memory", "exposure", "order_qty", "filled", "qty", "cash", "equity"):
        assert np.array_equal(record[name][: len(span)], alone[name]), name


def test_w6_bars_after_the_validation_dates_change_neither_checkpoint_nor_score(
    walk: WalkForward, bars: Bars, tmp_path: Path
) -> None:
    part = walk.part(walk.windows[0], AGENT, 0)
    end = {"end": str(bars.sessions[part.window.validation.last])}
    tree = part.job.settings.model_dump(mode="json")
    blind = Job(build(tree | {"data": tree["data"] | end}, ""), tmp_path)
    assert not Inline().run([blind], lambda: None)
    for name in ("best/weights.safetensors", "best/policy.onnx", "last/weights.safetensors"):
        here, there = (job.folder / "training" / name for job in (blind, part.job))
        assert here.read_bytes() == there.read_bytes(), name
    scores = [outcome(job) or {} for job in (blind, part.job)]
    assert scores[0]["validation_score"] == scores[1]["validation_score"]


def test_twin_is_the_same_agent_and_budget_without_a_memory(walk: WalkForward, whole: Path) -> None:
    agent, twin = (walk.part(walk.windows[0], kind, 0).job.settings for kind in (AGENT, TWIN))
    left, right = agent.model_dump(), twin.model_dump()
    assert left["agent"].pop("memory") == "carry"
    assert right["agent"].pop("memory") == "window(1)"
    assert left == right
    pair = json.loads((whole / "summary.json").read_text())["twin"]
    assert pair["weights"][AGENT] == pair["weights"][TWIN] > 0
    assert pair["steps"] == {AGENT: 2 * 4 * 4 * 20, TWIN: 2 * 4 * 4 * 20}
    assert pair["verdict"] is None  # one seed says nothing
    assert "at least 2 runs" in pair["why"]


def test_window_returns_multiply_to_the_return_of_the_record(whole: Path) -> None:
    rows = [row for row in table(whole / "trainings.csv") if row["kind"] == AGENT]
    total = json.loads((whole / "stitched/seed-0/metrics.json").read_text())["agent"][
        "total_return"
    ]
    growth = np.prod([1.0 + float(row["test_return"]) for row in rows])
    assert [row["window"] for row in rows] == ["1", "2"]
    assert growth - 1.0 == pytest.approx(total)


def test_summary_tells_every_window_as_the_tables_do(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    trainings = {(r["kind"], r["window"]): r for r in table(whole / "trainings.csv")}
    equity = RunFolder(whole / "stitched/seed-0").part("equity")
    rows = summary["by_window"]
    for row, dates in zip(rows, table(whole / "windows.csv"), strict=True):
        assert str(row["window"]) == dates["window"]
        assert row["test_end"] == dates["test_end"]
        assert row["short"] == bool(int(dates["short"]))
        for kind in (AGENT, TWIN):
            known = trainings[kind, dates["window"]]
            assert row[kind]["returned"]["mean"] == float(known["test_return"])
            assert row[kind]["validation"]["mean"] == float(known["validation_score"])
    held = equity["buy_and_hold"]
    growth = np.prod([1.0 + row["baselines"]["buy_and_hold"] for row in rows])
    assert growth == pytest.approx(held[-1] / held[0])
    mean = np.mean([row[AGENT]["returned"]["mean"] for row in rows])
    assert summary["window_returns"][AGENT]["mean"] == pytest.approx(
        mean
    )  # of two, none is dropped
    assert summary["median_seed"] == {AGENT: 0, TWIN: 0}


def test_baselines_that_cannot_be_compared_say_why(whole: Path) -> None:
    found = {
        row["account"]: row for row in json.loads((whole / "summary.json").read_text())["rivals"]
    }
    assert list(found) == ["flat", "buy_and_hold", "random"]
    assert found["flat"]["why"] == "the returns do not vary"
    assert "at least 2 runs" in found["buy_and_hold"]["why"]
    assert all(row["verdict"] is None for row in found.values())


def test_trainings_are_compared_on_the_dates_they_were_chosen_on(
    whole: Path, bars: Bars, walk: WalkForward, tmp_path: Path
) -> None:
    part = walk.part(walk.windows[0], AGENT, 0)
    entry = training_entry(part.job.folder.parent)  # one seed, as a run of several lies there
    span = walk.windows[0].validation
    assert (entry.sessions == bars.sessions[span.first : span.last + 1]).all()
    returns = returns_of(entry.equity)
    score = (outcome(part.job) or {})["validation_score"]
    if returns.std():
        assert sharpe(returns, 252) == pytest.approx(score)
    folders = [part.job.folder, walk.part(walk.windows[0], TWIN, 0).job.folder]
    told = run_compare(folders, tmp_path / "compare.html", as_json=True)
    assert [run["kind"] for run in told["runs"]] == ["validation", "validation"]
    assert "was chosen on these very sessions" in (tmp_path / "compare.html").read_text()
    (tmp_path / "training").mkdir()
    with pytest.raises(DataError, match="has not ended"):
        training_entry(tmp_path)


def test_costs_are_swept_over_the_same_checkpoints_for_agent_twin_and_baselines(
    whole: Path,
) -> None:
    rows = table(whole / "costs.csv")
    accounts = ("agent", "twin", "flat", "buy_and_hold", "random")
    assert [(row["account"], row["bps"]) for row in rows if row["account"] != "twin"] == [
        (name, bps) for bps in ("0.0", "25.0") for name in accounts if name != "twin"
    ]
    held = {row["bps"]: row for row in rows if row["account"] == "buy_and_hold"}
    # Commission of 25 basis points on what was bought; slippage stays as it is.
    paid = float(held["25.0"]["total_costs"]) - float(held["0.0"]["total_costs"])
    assert paid == pytest.approx(0.0025 * 100_000, rel=0.02)
    assert float(held["0.0"]["total_costs"]) > 0


def test_nothing_is_chosen_among_seeds(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    only = summary["accounts"][AGENT]["total_return"]
    assert only["mean"] == only["by_seed"][0]
    assert only["interval"] is None
    assert any("1 seed: too few to compare" in text for text in summary["warnings"])
    assert any("last window tests" in text for text in summary["warnings"])


def test_numbers_over_seeds_are_interquartile_means_and_a_missing_one_leaves_none() -> None:
    values = [3.0, 0.0, 1.0, 100.0]
    found = across(values)
    assert found["mean"] == interquartile_mean(np.array(values)) == 2.0  # of 1 and 3
    assert found["interval"][0] < 2.0 < found["interval"][1]
    assert across(values[::-1])["interval"] == found["interval"]
    assert across([1.0, None])["mean"] is None
    assert "missing" in across([1.0, None])["why"]


def test_run_that_another_command_began_is_not_resumed(tmp_path: Path) -> None:
    RunFolder(tmp_path).write(settings=made().model_dump(mode="json"))
    with pytest.raises(UsageError, match="expected a run that `barwise walkforward` began"):
        walk_forward(made(), tmp_path, Inline(), resume=True)


def test_every_training_and_every_test_is_one_trial(tmp_path: Path) -> None:
    settings = build(TREE | {"trials_path": str(tmp_path / "trials.sqlite")}, "")
    with pytest.raises(Killed):
        walk_forward(settings, tmp_path / "run", Dies(7))
    walk_forward(settings, tmp_path / "run", Inline(), resume=True)
    with Ledger(settings.ledger) as ledger:
        found = [(trial.plan.purpose, trial.status) for trial in ledger.trials()]
    # The one that was killed counts, and its second half is a trial of its own.
    trained = [("validate", "done"), ("validate", "failed"), *[("validate", "done")] * 3]
    assert found == [*trained, ("test", "done"), ("test", "done")]


@pytest.mark.parametrize("updates", [2, 7])
def test_killed_and_resumed_gives_the_files_of_an_undisturbed_run(
    whole: Path, tmp_path: Path, updates: int
) -> None:
    with pytest.raises(Killed):
        walk_forward(made(), tmp_path, Dies(updates))
    again = Noted()
    walk_forward(made(), tmp_path, again, resume=True)
    assert len(again.jobs) == 4 - updates // 4
    assert files(tmp_path) == files(whole)
    assert same_page(tmp_path, whole)


def test_evidence_counts_the_trials_of_the_ledger_and_is_the_same_while_they_are(
    walk: WalkForward, whole: Path
) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    write_evidence(walk, summary)
    first = (whole / COUNTED).read_bytes()
    found = json.loads(first)
    with Ledger(walk.settings.ledger) as ledger:
        trials = ledger.trials(walk.bars.digest())
        assert found["trials"]["rows"] == len(trials)
        assert found["trials"]["counted"] == sum(max(len(trial.looks), 1) for trial in trials)
        write_evidence(walk, summary)
        assert (whole / COUNTED).read_bytes() == first
        with ledger.trial(trials[0].plan):
            pass
    write_evidence(walk, summary)
    assert json.loads((whole / COUNTED).read_bytes())["trials"]["rows"] == len(trials) + 1


@pytest.mark.parametrize(("seeds", "passed"), [(9, False), (10, True)])
def test_twin_that_is_beaten_over_too_few_seeds_is_no_evidence(
    walk: WalkForward, whole: Path, seeds: int, passed: bool
) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    kept = (whole / COUNTED).read_bytes()
    summary |= {"seeds": list(range(seeds)), "twin": {"verdict": "beats its twin", "why": ""}}
    found = json.loads(write_evidence(walk, summary).read_text())
    (whole / COUNTED).write_bytes(kept)
    gate = next(gate for gate in found["gates"] if gate["name"] == "Memoryless twin")
    assert gate["passed"] is passed
    assert ("over 9 seeds: too few to compare" in gate["text"]) is not passed


def test_a_checkpoint_says_nothing_of_the_process_that_wrote_it(walk: WalkForward) -> None:
    # What the exporter notes depends on what the process exported before.
    model = onnx.load(walk.part(walk.windows[0], AGENT, 0).checkpoint / "policy.onnx")
    assert not any(part.metadata_props for part in (model, model.graph, *model.graph.node))


def test_killed_while_testing_trains_nothing_again(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for name in ("summary.json", "seeds.csv", "twin/seed-0/summary.json", "twin/seed-0/equity.csv"):
        (folder / name).unlink()
    again = Noted()
    walk_forward(made(), folder, again, resume=True)
    assert again.jobs == []
    assert files(folder) == files(whole)


def test_report_writes_the_page_again_with_the_checks_that_were_run_since(
    whole: Path, bars: Bars, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    before = json.loads((folder / COUNTED).read_text())
    assert all(check["passed"] is None for check in before["checks"])
    chosen = folder / "windows/01/agent/seed-0/training/best"
    enter(made(), bars, "memory", False, "actions depend on the burn-in", chosen)
    enter(made(), bars, "placebo", True, "no edge on any of them")
    page = Path(run_report(folder, as_json=True)["page"]).read_text()
    after = json.loads((folder / COUNTED).read_text())
    told = {check["name"]: check for check in after.pop("checks")}
    assert {name: before[name] for name in after} == after
    assert told["Placebo markets"]["passed"]
    assert told["Memory and burn-in"]["passed"] is False
    assert "Run on 1 of 2 checkpoints" in told["Memory and burn-in"]["text"]
    assert told["Parity"]["passed"] is None
    assert "no edge on any of them" in page


def test_a_complete_run_is_shown_again_without_another_look(whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    assert walk_forward(made(), whole, Noted(), resume=True)["name"] == "tiny"
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_a_run_is_resumed_with_its_own_settings_and_bars_only(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"walkforward\.seeds was 1, found 2"):
        walk_forward(made(seeds=2), whole, Inline(), resume=True)
    longer = build(TREE | {"train": TREE["train"] | {"updates": 8}}, "")
    with pytest.raises(CheckpointError, match=r"train\.updates was 4, found 8"):
        walk_forward(longer, whole, Inline(), resume=True)
    for name in ("settings.json", "data.json", WINDOWS):
        shutil.copy(whole / name, tmp_path / name)
    (tmp_path / "data.json").write_text('{"digest": "another"}')
    with pytest.raises(DataError, match="expected the bars this run was begun with"):
        walk_forward(made(), tmp_path, Inline(), resume=True)


def test_a_training_that_fails_leaves_the_others_and_no_result(tmp_path: Path) -> None:
    tree = TREE | {"train": TREE["train"] | {"episode_steps": 390}}  # no room after the lookback
    settings = build(tree | {"walkforward": TREE["walkforward"] | {"twin": False}}, "")
    found = walk_forward(settings, tmp_path, Inline())
    assert found["failed"][0].startswith("window 1, agent, seed 0: no episode of 390 steps")
    assert not (tmp_path / "summary.json").exists()


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"agent": {"memory": "window(1)"}}, "walkforward.twin: the twin is the agent"),
        ({"split": {"test": {"start": "2002-01-02"}}}, r"expected no \[split\]"),
        ({"backtest": {"baselines": ["hold"]}}, 'unknown baseline "hold"'),
    ],
)
def test_settings_that_make_no_walk_are_refused_before_any_work(
    tree: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=told):
        walk_forward(build(TREE | tree, ""), tmp_path, Inline())
    assert list(tmp_path.iterdir()) == []


def test_tables_name_every_account_and_what_was_kept_apart(whole: Path) -> None:
    console = Console(width=100, file=StringIO())
    print_walk(whole, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "2 windows, 1 seeds" not in text
    for told in (
        "Agent",
        "Twin, no memory",
        "Buy and hold",
        "25 bp",
        "Purge label:",
        "cannot be told",
    ):
        assert told in text
    assert max(map(len, text.splitlines()[:-1])) <= 100


def trader(walk: WalkForward, window: int, bars: Bars) -> Trader:
    checkpoint = walk.part(walk.windows[window], AGENT, 0).checkpoint
    spec, policy = deployed(walk.settings_of(AGENT, 0), checkpoint, bars)
    return Trader(spec, policy, len(bars.symbols))
