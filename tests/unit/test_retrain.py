"""A retraining of two tiny challengers: what judges it, what a kill leaves, who is promoted and who not."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from engine.bars import Bars
from engine.checkpoint import POLICY, RECORD, digest_of, read
from engine.cli import run
from engine.clock import FakeClock, last_closed, now
from engine.errors import CheckpointError, DataError, UsageError
from engine.promotion import Rule, Verdict
from engine.registry import Registry
from engine.report.folder import RunFolder
from engine.report.retraining import RESULT
from engine.run import data_commands
from engine.run.check import commands as check_commands
from engine.run.paper.lock import held
from engine.run.retrain import judge as retrain_judge
from engine.run.retrain import run as stages
from engine.run.retrain.commands import keep_to_budget, refresh, run_retrain
from engine.run.retrain.plan import best_of, plan
from engine.run.retrain.registry_commands import promote, rollback
from engine.run.retrain.report import lines, print_retraining
from engine.run.retrain.run import retrain
from engine.run.training import run as training
from engine.run.training.executor import Inline, Job
from engine.settings import Settings, build
from engine.sources import DataSettings, load
from engine.trials import Ledger, Plan
from tests.registries import LINEAGE, sibling

TREE: dict[str, Any] = {
    "name": "tiny",
    "data": {"symbols": ["AAPL", "IBM"], "end": "2002-03-13"},
    "retrain": {
        "held_back": 45,
        "validation_sessions": 60,
        "train_sessions": 300,
        "seeds": 2,
        "nice": 0,
        "lock_minutes": 1,
        "promotion": {"sessions": 20, "checks": []},
    },
    "observation": {"features": ["log_return", "momentum(20)"]},
    "agent": {"burn_in": 8, "network": {"hidden_size": 8, "heads": [8]}},
    "backtest": {"baselines": ["flat", "buy_and_hold"]},
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
NOW = datetime(2026, 1, 3, tzinfo=UTC)
YES = Verdict((Rule("sessions", True, "all that was asked for"),))


class Killed(BaseException):
    """The end of a process, as far as its files can tell."""


class Dies:
    """An executor that is killed in the middle of a training."""

    def __init__(self, updates: int) -> None:
        self.left = updates

    def run(self, jobs: Sequence[Job], tick: Callable[[], None], resume: bool = False) -> bool:
        def count() -> None:
            self.left -= 1
            if not self.left:
                raise Killed

        return Inline().run(jobs, count, resume)


def made(**asked: Any) -> Settings:
    return build(TREE | {"retrain": TREE["retrain"] | asked}, "")


def go(folder: Path, resume: bool = False, settings: Settings | None = None, executor: Any = None):
    return retrain(settings or made(), folder, executor or Inline(), FakeClock(NOW), resume)


@cache
def read_once(data: str) -> Bars:
    """Bars by their settings: reading a file takes longer than all that is done with them here."""
    return load(DataSettings.model_validate_json(data))


def quick(patch: pytest.MonkeyPatch) -> None:
    for module in (stages, training, check_commands):
        patch.setattr(module, "bars_of", lambda asked: read_once(asked.data.model_dump_json()))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a registry, a ledger and an account of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # a command sets it for good
    quick(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a retraining that nothing disturbed, in a world of its own."""
    world = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        quick(patch)
        go(world / "run")
    return world / "run"


@pytest.fixture
def trained(whole: Path, tmp_path: Path) -> Path:
    """A copy whose challengers are trained and nothing else is done."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    (folder / RESULT).unlink()
    shutil.rmtree(folder / "judged", ignore_errors=True)
    return folder


@pytest.fixture
def yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules that everybody passes."""
    monkeypatch.setattr(retrain_judge, "decide", lambda *_: YES)


def registry() -> Registry:
    return Registry(Path("registry"))


def told_by(folder: Path) -> dict[str, Any]:
    return json.loads((folder / RESULT).read_text())


def without_date(source: Path, folder: Path) -> Path:
    """A checkpoint that does not say until when it was chosen, as older ones do not."""
    shutil.copytree(source, folder)
    record = json.loads((folder / RECORD).read_text())
    del record["trained_on"]["chosen_until"]
    record["digest"] = digest_of(record)
    (folder / RECORD).write_text(json.dumps(record))
    return folder


def test_dates_are_cut_back_from_the_newest_session_without_a_gap(tmp_path: Path) -> None:
    bars = read_once(made().data.model_dump_json())
    work = plan(made(), bars, tmp_path)
    newest = len(bars.sessions) - 1
    assert (work.held_back.first, work.held_back.last) == (newest - 44, newest)
    assert (len(work.validation), work.validation.last) == (60, work.held_back.first - 1)
    assert (len(work.train), work.train.last) == (300, work.validation.first - 1)
    with pytest.raises(DataError, match="sessions up to 2002-03-13"):
        plan(made(train_sessions=500), bars, tmp_path)


def test_refit_is_the_same_training_moved_to_the_newest_session(tmp_path: Path) -> None:
    bars = read_once(made().data.model_dump_json())
    work = plan(made(), bars, tmp_path)
    moved = work.refit(0).settings.split
    newest = bars.sessions[-1].item()
    assert moved.validation.end == newest
    assert bars.index_of(moved.train.start) == work.train.first + 45
    growing = plan(made(train_sessions=None), bars, tmp_path)
    assert bars.index_of(growing.refit(0).settings.split.train.start) == 0


def test_challengers_have_seen_nothing_of_what_judges_them(whole: Path) -> None:
    found = told_by(whole)
    held = found["segments"]["held_back"]
    assert found["judged"] == {**held, "sessions": 45}
    for row in found["challengers"]:
        known = read(Path(row["checkpoint"])).trained_on
        assert str(known.end) == found["segments"]["train"]["end"]
        assert str(known.chosen_until) == found["segments"]["validation"]["end"] < held["start"]
        assert known.digest == found["data"]


def test_challenger_is_picked_by_validation_alone(whole: Path) -> None:
    found = told_by(whole)
    scores = {row["seed"]: row["validation_score"] for row in found["challengers"]}
    assert found["picked"] == max(scores, key=scores.get)


def test_judgement_is_one_trial_with_a_look_an_account(whole: Path) -> None:
    with Ledger(whole.parent / "runs" / "trials.sqlite") as ledger:
        *trainings, judged = ledger.trials()
    assert [trial.plan.purpose for trial in trainings] == ["validate", "validate"]
    assert (judged.plan.purpose, judged.status, len(judged.looks)) == ("test", "done", 2)
    assert judged.plan.segments["test"] == tuple(told_by(whole)["segments"]["held_back"].values())
    assert told_by(whole)["looks"] == 1


def test_terminal_tells_every_account_and_every_rule(whole: Path) -> None:
    console = Console(width=100, record=True, file=StringIO())
    print_retraining(told_by(whole), whole, console)
    text = " ".join(console.export_text().split())
    for words in ("Challenger, seed 0", "Buy and hold", "cash: Sharpe ratio", "Look number 1"):
        assert words in text
    assert "there is still no champion" in text


def test_killed_run_goes_on_with_what_is_missing_and_says_the_same(
    whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Killed):
        go(folder, executor=Dies(6))  # in the second of two challengers of four updates
    assert not (folder / RESULT).exists()
    assert registry().champion() is None
    found = go(folder, resume=True)
    expected = json.loads((whole / RESULT).read_text().replace(str(whole), str(folder)))
    assert found == expected
    best = "training/best/policy.onnx"
    for seed in ("seed-0", "seed-1"):
        assert (folder / seed / best).read_bytes() == (whole / seed / best).read_bytes()


def test_resume_with_other_rules_is_refused(trained: Path) -> None:
    with pytest.raises(CheckpointError, match=r"retrain\.held_back was 45, found 40"):
        go(trained, True, made(held_back=40))


def test_resume_may_ask_for_another_budget(trained: Path, yes: None) -> None:
    assert go(trained, True, made(nice=0, lock_minutes=1.0))["promote"]


def test_result_that_cannot_be_read_is_no_champion_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / RESULT).write_text("{")
    with pytest.raises(DataError, match="take it away and judge again with `barwise retrain"):
        promote(str(tmp_path), "by hand", made(), True)


@pytest.mark.parametrize(
    ("account", "why"),
    [
        ({"observation": {"features": ["log_return"]}}, "observation.features: the settings say"),
        ({"data": {"symbols": ["AAPL", "MSFT"]}}, "expected an agent that learned from AAPL, MSFT"),
        (
            {"paper": {"checkpoint": "champion", "feed": "iex"}},
            "was trained on sample, the session",
        ),
        ({"agent": {"burn_in": 9}}, "agent.burn_in: the settings say 9"),
    ],
)
def test_agent_that_the_account_would_decline_is_promoted_only_if_a_person_insists(
    whole: Path, account: dict[str, Any], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = build({"data": {"symbols": ["AAPL", "IBM"]}} | account, "")
    agent = str(best_of_seed(whole, 0))
    with pytest.raises(UsageError, match="would decline it: ") as told:
        promote(agent, "by hand", settings, True)
    assert why in str(told.value)
    assert registry().champion() is None
    promote(agent, "by hand", settings, True, anyway=True)
    assert registry().champion() is not None
    assert "! promoted all the same: " in capsys.readouterr().err


def test_agent_is_promoted_where_nothing_is_known_of_an_account(whole: Path) -> None:
    promote(str(best_of_seed(whole, 0)), "by hand", build({}, ""), True)
    knows_no_more = build({"data": {"symbols": ["MSFT", "AAPL"]}}, "")
    promote(str(best_of_seed(whole, 1)), "of the same symbols", knows_no_more, True)
    assert len(registry().history()) == 4


def test_run_that_another_command_began_is_not_resumed(tmp_path: Path) -> None:
    RunFolder(tmp_path).write(settings=made().model_dump(mode="json"))
    with pytest.raises(UsageError, match="expected a run that `barwise retrain` began"):
        go(tmp_path, resume=True)


def test_first_champion_is_promoted_by_the_rules_with_its_lineage(trained: Path, yes: None) -> None:
    found = go(trained, resume=True)
    champion = registry().champion()
    row = found["challengers"][found["picked"]]
    assert found["promoted"] == champion.id == row["digest"][:12]
    added, promoted = registry().history()
    assert promoted.body["by"] == "rules"
    assert promoted.body["reason"] == "all that was asked for"
    assert added.body["scores"]["validation"] == row["validation_score"]
    assert (added.body["seeds"], added.body["scored"], added.body["parent"]) == (2, True, None)
    assert added.body["data"] == found["data"]
    assert go(trained, resume=True) == found  # said and done: nothing happens twice
    assert len(registry().history()) == 2


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (stages, "judge"),
        pytest.param(retrain_judge, "_checks", marks=pytest.mark.very_slow),
        pytest.param(stages, "write_json", marks=pytest.mark.very_slow),
        (Registry, "add"),
        pytest.param(stages, "account_at_rest", marks=pytest.mark.very_slow),
        pytest.param(Registry, "promote", marks=pytest.mark.very_slow),
        (Registry, "_write"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_kill_at_any_step_leaves_the_champion_and_a_run_that_goes_on(
    trained: Path, whole: Path, yes: None, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    first = registry().add(without_date(best_of_seed(whole, 0), Path("old")), LINEAGE)
    registry().promote(first, "by hand", "person")
    monkeypatch.setattr(retrain_judge, "common", lambda work, champion: (work.held_back.first, ""))

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(where, name, die)
        with pytest.raises(Killed):
            go(trained, resume=True)
    assert registry().champion().id == first
    registry().verify()
    found = go(trained, resume=True)
    assert registry().champion().id == found["promoted"] != first
    assert [event.kind for event in registry().history()].count("promoted") == 2


def best_of_seed(folder: Path, seed: int) -> Path:
    return best_of(Job(made(), folder / f"seed-{seed}"))


def test_kill_behind_the_promotion_is_known_when_the_run_goes_on(
    trained: Path, yes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def second(path: Path, content: Any) -> None:
        written.append(path)
        if len(written) == 2:
            raise Killed
        path.write_text(json.dumps(content))

    with monkeypatch.context() as patch:
        patch.setattr(stages, "write_json", second)
        with pytest.raises(Killed):
            go(trained, resume=True)
    champion = registry().champion()
    assert told_by(trained)["promoted"] is None
    assert go(trained, resume=True)["promoted"] == champion.id
    assert len(registry().history()) == 2


def test_verdict_about_another_champion_promotes_nobody(
    trained: Path, whole: Path, yes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rest(*_: Any) -> Any:  # while it waits for the account, a person is quicker
        other = registry().add(without_date(best_of_seed(whole, 0), Path("other")), LINEAGE)
        registry().promote(other, "quicker", "person")
        return held(Path("lock"))

    monkeypatch.setattr(stages, "account_at_rest", rest)
    found = go(trained, resume=True)
    assert found["promoted"] is None
    assert "meanwhile: the verdict is about another one" in lines(found)[-1]
    assert registry().history()[-1].body["reason"] == "quicker"


def test_challenger_that_a_person_rolled_back_is_not_promoted_by_rules(
    trained: Path, whole: Path, yes: None
) -> None:
    seeds = {row["seed"] for row in told_by(whole)["challengers"]} - {told_by(whole)["picked"]}
    kept = registry().add(best_of_seed(whole, seeds.pop()), LINEAGE)
    registry().promote(kept, "first", "person")
    picked = registry().add(best_of_seed(whole, told_by(whole)["picked"]), LINEAGE)
    registry().promote(picked, "a try", "person")
    registry().rollback("it was worse")
    found = go(trained, resume=True)
    assert found["promoted"] is None
    assert "rolled back by a person, and only a person promotes it again" in lines(found)[-1]
    assert registry().champion().id == kept


def test_champion_that_has_seen_the_sessions_is_not_compared_and_no_look_is_spent(
    trained: Path, yes: None
) -> None:
    found = go(trained, True, made())  # promoted: it has seen nothing of the held-back sessions
    again = trained.with_name("again")
    shutil.copytree(trained, again)
    (again / RESULT).unlink()
    champion = registry().champion()
    record = json.loads((champion.folder / RECORD).read_text())
    record["trained_on"]["chosen_until"] = "2002-02-20"
    record["digest"] = digest_of(record)
    late = Path("late")
    shutil.copytree(champion.folder, late)
    (late / RECORD).unlink()
    (late / RECORD).write_text(json.dumps(record))
    registry().promote(registry().add(late, LINEAGE), "by hand", "person")
    with Ledger(Path("runs/trials.sqlite")) as ledger:
        before = len(ledger.trials())
    found = go(again, resume=True)
    assert found["judged"] is None
    # 2002-02-21 to 2002-03-13 are 15 sessions, and the first one only marks the start.
    assert found["reason"] == "14 sessions that neither was trained or chosen on, 20 needed"
    assert registry().champion().id == found["champion"]
    with Ledger(Path("runs/trials.sqlite")) as ledger:
        assert len(ledger.trials()) == before


def test_champion_that_does_not_say_what_it_has_seen_is_not_compared(
    trained: Path, whole: Path
) -> None:
    old = registry().add(without_date(best_of_seed(whole, 0), Path("old")), LINEAGE)
    registry().promote(old, "by hand", "person")
    found = go(trained, resume=True)
    assert "does not say on which sessions it was chosen" in lines(found)[-1]
    assert registry().champion().id == old


def test_every_further_judgement_of_the_same_sessions_is_a_further_look(
    trained: Path, whole: Path
) -> None:
    again = trained.with_name("again")
    shutil.copytree(trained, again)
    assert go(trained, resume=True)["looks"] == 1
    second = go(again, resume=True)
    assert second["looks"] == 2
    gap = next(rule["gap"] for rule in second["rules"] if rule["name"] == "flat")
    assert gap["confidence"] == pytest.approx(0.975)
    (again / RESULT).unlink()  # killed before its verdict was written: the same look again
    assert go(again, resume=True)["looks"] == 2


def test_test_of_an_agent_of_the_line_is_a_look_and_one_of_another_agent_is_not(
    trained: Path, whole: Path
) -> None:
    own, stranger = read(best_of_seed(whole, 0)).sha256[POLICY], "e" * 64
    other = registry().add(sibling(best_of_seed(whole, 1), Path("other"), 9), LINEAGE)
    kept = read(registry().folder(other)).sha256[POLICY]
    held = told_by(whole)["segments"]["held_back"]
    tested = [
        (own, held["start"], held["start"]),  # one shared session is enough
        (kept, "2001-01-02", held["end"]),
        (kept, held["end"], "2002-12-31"),
        (own, "2001-01-02", told_by(whole)["segments"]["validation"]["end"]),  # no session shared
        (own, "2002-03-14", "2002-12-31"),  # nor here, after the newest
        (stranger, held["start"], held["end"]),
        (None, held["start"], held["end"]),  # a baseline
    ]
    with Ledger(Path("runs/trials.sqlite")) as ledger:
        for checkpoint, first, last in tested:
            spans = {"test": (first, last)}
            asked = Plan("test", "d", "s", "c", spans, 0, {}, "somewhere", checkpoint)
            with ledger.trial(asked) as trial:
                trial.look(np.array([1.0, 1.1, 1.0]), np.arange(3), 0.0, Path("returns.npy"))
    found = go(trained, resume=True)
    assert found["looked_before"] == {"judgements": 0, "tests": 3}
    assert found["looks"] == 4
    gap = next(rule["gap"] for rule in found["rules"] if rule["name"] == "flat")
    assert gap["confidence"] == pytest.approx(1 - 0.05 / 4)


def test_agent_that_an_earlier_retraining_trained_is_of_the_line(
    trained: Path, whole: Path
) -> None:
    again = trained.with_name("again")
    shutil.copytree(trained, again)
    go(trained, resume=True)
    held = tuple(told_by(whole)["segments"]["held_back"].values())
    with Ledger(Path("runs/trials.sqlite")) as ledger:
        for chosen, tested in (("a" * 64, None), (None, "a" * 64)):
            # Such a training was entered by the first retraining, the test by a person since.
            folder = "../run/seed-7" if chosen else "elsewhere"
            purpose = "validate" if chosen else "test"
            spans = {"test": held}
            asked = Plan(purpose, "d", "s", "c", spans, 0, {}, folder, tested)
            with ledger.trial(asked) as trial:
                trial.chosen = chosen
                trial.look(np.array([1.0, 1.1, 1.0]), np.arange(3), 0.0, Path("returns.npy"))
    assert go(again, resume=True)["looked_before"] == {"judgements": 1, "tests": 1}


def test_champion_is_judged_on_the_same_bars_fills_and_costs(trained: Path, whole: Path) -> None:
    # The champion is the picked challenger itself: both accounts are the same to the cent.
    picked = told_by(whole)["picked"]
    name = registry().add(best_of_seed(whole, picked), LINEAGE)
    registry().promote(name, "by hand", "person")
    found = go(trained, resume=True)
    assert found["accounts"]["champion"] == found["accounts"]["challenger"]
    gap = next(rule["gap"] for rule in found["rules"] if rule["name"] == "champion")
    assert (gap["difference"], gap["least"]) == (0.0, 0.0)
    assert not found["promote"]


def test_refit_is_promoted_as_unscored_behind_the_challenger_that_was_scored(
    trained: Path, yes: None
) -> None:
    settings = json.loads((trained / "settings.json").read_text())
    settings["retrain"]["refit"] = True
    (trained / "settings.json").write_text(json.dumps(settings))
    found = go(trained, True, made(refit=True))
    scored, refit, promoted = registry().history()
    assert (scored.body["scored"], refit.body["scored"]) == (True, False)
    assert refit.body["parent"] == scored.body["id"]
    assert found["promoted"] == promoted.body["id"] == refit.body["id"]
    assert not found["scored"]
    assert "not scored" in lines(found)[-1]
    known = read(registry().champion().folder).trained_on
    assert str(known.chosen_until) == found["segments"]["held_back"]["end"]


@pytest.mark.parametrize(
    "data",
    [
        {"source": "csv", "path": "gone.csv", "price_basis": "raw", "symbols": []},
        {"source": "alpaca", "cache": "empty"},
    ],
    ids=lambda data: data["source"],
)
def test_data_that_cannot_be_had_leaves_everything_as_it_was(
    whole: Path, data: dict[str, Any]
) -> None:
    name = registry().add(best_of_seed(whole, 0), LINEAGE)
    registry().promote(name, "by hand", "person")
    before = (Path("registry") / "history.jsonl").read_bytes()
    tree = json.dumps(TREE | {"data": TREE["data"] | data})
    Path("bad.json").write_text(tree)
    with pytest.raises((DataError, UsageError), match=r"gone\.csv|no bars of AAPL, IBM yet"):
        run_retrain("bad.json", (), None, False)
    assert (Path("registry") / "history.jsonl").read_bytes() == before
    assert not list(Path("runs").glob("tiny-*"))
    assert not Path("runs/trials.sqlite").exists()


def test_promotion_waits_for_a_paper_session_and_then_says_so(trained: Path, yes: None) -> None:
    Path("paper").mkdir()
    clock = FakeClock(NOW)
    with held(Path("paper/lock")), pytest.raises(UsageError, match="at work for 1 minutes"):
        retrain(made(), trained, Inline(), clock, True)
    assert (clock.now() - NOW).total_seconds() == pytest.approx(60, abs=2)
    assert registry().champion() is None
    assert go(trained, resume=True)["promoted"]  # the account is at rest: the verdict still holds


def test_person_promotes_runs_checkpoints_and_ids_and_goes_back(
    whole: Path, tmp_path: Path
) -> None:
    settings = made()
    picked = told_by(whole)["picked"]
    first = promote(str(whole), "good enough", settings, True)["champion"]
    assert first == read(best_of_seed(whole, picked)).digest[:12]
    other = promote(str(whole / f"seed-{1 - picked}"), "the other", settings, True)["champion"]
    assert [event.body.get("by") for event in registry().history()[1::2]] == ["person", "person"]
    assert registry().history()[2].body["parent"] == first
    assert rollback("worse", settings, True)["champion"] == first
    assert promote(other[:6], "after all", settings, True)["champion"] == other
    with pytest.raises(UsageError, match="found 0 of 2"):
        promote("nobody", "", settings, True)
    with pytest.raises(UsageError, match="expected a checkpoint"):
        promote(str(tmp_path), "", settings, True)


def test_two_retrainings_of_one_registry_do_not_run_at_once(tmp_path: Path) -> None:
    Path("tiny.json").write_text(json.dumps(TREE))
    Path("registry").mkdir()
    with held(Path("registry/.retraining")), pytest.raises(UsageError, match="another retraining"):
        run_retrain("tiny.json", (), None, False)


def test_required_checks_are_run_on_the_picked_challenger_and_entered(trained: Path) -> None:
    settings = json.loads((trained / "settings.json").read_text())
    settings["retrain"]["promotion"]["checks"] = ["lookahead", "parity"]
    (trained / "settings.json").write_text(json.dumps(settings))
    asked = {**TREE["retrain"]["promotion"], "checks": ["lookahead", "parity"]}
    found = go(trained, True, made(promotion=asked))
    assert found["checks"] == {"lookahead": True, "parity": True}
    with Ledger(Path("runs/trials.sqlite")) as ledger:
        assert sorted(check.name for check in ledger.checks()) == ["lookahead", "parity"]


def test_returns_of_every_account_are_kept_beside_the_verdict(whole: Path) -> None:
    found = told_by(whole)
    text = (whole / "judged" / "equity.csv").read_text().splitlines()
    assert text[0].split(",") == ["session", *found["accounts"]]
    assert len(text) == 1 + 45
    kept = sorted(path.name for path in (whole / "judged" / "returns").iterdir())
    assert kept == ["seed-0.npy", "seed-1.npy"]
    assert np.load(whole / "judged" / "returns" / "seed-0.npy").shape == (44,)


def test_commands_leave_with_the_code_that_they_mean(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["registry", "list"]) == 0
    assert "no champion yet in registry" in capsys.readouterr().out
    proof, show = ["registry", "verify"], ["registry", "show"]
    for wrong in (["rollback"], ["promote", "nobody"], ["retrain"], show, proof):
        assert run(wrong) == 2
    assert "expected a champion to go back to, found no champion at all" in capsys.readouterr().err
    assert not Path("registry").exists() or not any(Path("registry").glob("history*"))


@pytest.mark.parametrize("error", [None, "SPY: the vendor sent a low above the high"])
def test_downloaded_bars_are_brought_up_to_the_newest_closed_session_or_nothing_is_trained(
    monkeypatch: pytest.MonkeyPatch, error: str | None
) -> None:
    asked: list[Any] = []

    def fetch(symbols: list[str], first: date, last: date, *rest: Any) -> dict[str, Any]:
        asked.extend((symbols, first, last))
        return {"symbols": [{"symbol": "SPY", "error": error}]}

    monkeypatch.setattr(data_commands, "fetch_data", fetch)
    data = {"source": "alpaca", "symbols": ["SPY"], "start": "2024-01-02", "cache": "cache"}
    settings = build(TREE | {"data": data}, "")
    if error is None:
        refresh(settings)
        closed = last_closed(now(), "XNYS").item()
        assert asked == [["SPY"], date(2024, 1, 2), closed]
        ended = settings.data.model_copy(update={"end": date(2024, 6, 28)})
        refresh(settings.model_copy(update={"data": ended}))
        assert asked[-1] == date(2024, 6, 28)
    else:
        with pytest.raises(DataError, match="no new bars of SPY; nothing was trained or changed"):
            refresh(settings)


def test_retraining_steps_back_behind_other_processes_and_never_forward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken: list[int] = []
    monkeypatch.setattr("os.setpriority", lambda which, who, nice: taken.append(nice))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    for already, expected in ((0, 10), (15, 15)):
        monkeypatch.setattr("os.getpriority", lambda which, who, found=already: found)
        keep_to_budget(made(nice=10, threads=2))
        assert taken[-1] == expected
    assert os.environ["OMP_NUM_THREADS"] == "2"


class Fails:
    """An executor whose trainings end with an error."""

    def run(self, jobs: Sequence[Job], tick: Callable[[], None], resume: bool = False) -> bool:
        for job in jobs:
            RunFolder(job.folder / "training").write(summary={"error": "no feature row exists"})
        return False


def test_challenger_that_failed_is_told_and_the_others_are_judged(trained: Path) -> None:
    shutil.rmtree(trained / "seed-1")
    found = go(trained, True, executor=Fails())
    assert found["picked"] == 0
    assert found["challengers"][1]["validation_score"] is None
    assert "! seed-1: no feature row exists" in lines(found)
    assert list(found["accounts"]) == ["challenger", "flat", "buy_and_hold"]


def test_retraining_without_any_challenger_changes_nothing_and_can_go_on(
    trained: Path, whole: Path
) -> None:
    for seed in ("seed-0", "seed-1"):
        shutil.rmtree(trained / seed)
    told = go(trained, True, executor=Fails())
    assert told == {"failed": [f"{seed}: no feature row exists" for seed in ("seed-0", "seed-1")]}
    assert registry().history() == []
    assert not (trained / RESULT).exists()
    for seed in ("seed-0", "seed-1"):
        shutil.rmtree(trained / seed)
        shutil.copytree(whole / seed, trained / seed)
    assert go(trained, resume=True)["picked"] == told_by(whole)["picked"]
