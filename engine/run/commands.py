"""What each command does, from settings to result; `engine.cli` only parses words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import UsageError
from engine.report.folder import RunFolder
from engine.report.retraining import is_retraining
from engine.report.walk import is_walk
from engine.run.build import bars_of, find_settings, run_folder, settings_for
from engine.run.check.findings import refresh
from engine.run.console import echo, say
from engine.run.evaluation import evaluate
from engine.run.training.folder import TRAINING, seed_folders
from engine.settings import Settings
from engine.settings_text import as_toml

REHEARSED = 20  # sessions of the demo
Result = dict[str, Any]


def run_demo(overrides: tuple[str, ...], as_json: bool) -> Result:
    """Train on the bundled prices, backtest the best checkpoint on untouched years, report.

    At last the first sessions of those years are rehearsed as paper trading.
    """
    settings = find_settings("demo", overrides)
    say("barwise demo: real prices of 2000-2013, no network, no account, paper trading only")
    with run_folder(settings) as folder:
        trained = _train(settings, folder)
        if trained["interrupted"]:
            return trained
        checkpoint = Path(trained["checkpoint"])
        tested = _backtest(settings, checkpoint, folder, as_json)
        if tested.get("interrupted"):
            return trained | tested
        return trained | tested | _rehearse(settings, checkpoint, folder, as_json)


def run_train(
    config: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
    seeds: int | None = None,
    resume: Path | None = None,
) -> Result:
    """Train an agent, or one for each of several seeds; print where the best checkpoint is."""
    settings = settings_for("train", config, resume, overrides)
    with run_folder(settings, resume) as folder:
        begun = len(seed_folders(folder))
        if resume and seeds and seeds < begun:
            raise UsageError(
                f"--seeds {seeds}: {folder} has {begun} seeds already; ask for as many or more"
            )
        if (seeds or begun) > 1:
            return _train_seeds(settings, folder, seeds or begun, resume is not None, as_json)
        trained = _train(settings, folder, resume is not None)
    if not as_json:
        score = trained["validation_score"]
        told = "not validated yet" if score is None else f"validation score {score:.3f}"
        echo(f"best checkpoint {trained['checkpoint']} ({told})")
        for text in trained["warnings"]:
            echo(f"! {text}")
    return trained


def run_backtest(
    config: str, checkpoint: Path | None, overrides: tuple[str, ...], as_json: bool
) -> Result:
    """Backtest on the test dates, write the run folder and the page, print the table."""
    settings = find_settings(config, overrides)
    with run_folder(settings) as folder:
        return _backtest(settings, checkpoint, folder, as_json)


def run_report(folder: Path, as_json: bool) -> Result:
    """Write the page of a run folder again, with the checks that were run since."""
    require_tested(folder)
    if is_walk(folder):
        from engine.run.walkforward.commands import show_walk
        from engine.run.walkforward.evidence import refresh_checks

        refresh_checks(folder)
        return show_walk(folder, as_json)
    if is_retraining(folder):
        from engine.run.retrain.commands import refresh_checks as refresh_result
        from engine.run.retrain.commands import show_retraining

        refresh_result(folder)
        return show_retraining(folder, as_json)
    refresh(folder)
    return _show(folder, as_json)


def require_tested(folder: Path) -> None:
    """Raise a UsageError where a folder is none, or holds a training that nothing has tested."""
    if not folder.is_dir():
        raise UsageError(f"report {folder}: no such folder; name the run folder of a command")
    best = folder / TRAINING / "best"
    several = bool(seed_folders(folder)) and not is_walk(folder) and not is_retraining(folder)
    if (several or best.is_dir()) and not (folder / "equity.csv").is_file():
        named = folder / "seed-..." / TRAINING / "best" if several else best
        raise UsageError(
            f"report {folder}: holds a training and no test; `barwise backtest CONFIG --checkpoint "
            f"{named}` tests it and writes a page, `barwise compare` sets trainings side by side"
        )


def show_config(config: str, overrides: tuple[str, ...], as_json: bool) -> Result:
    """Print the merged settings."""
    settings = find_settings(config, overrides)
    if not as_json:
        echo(as_toml(settings).rstrip())
    return settings.model_dump(mode="json")


def _train(settings: Settings, folder: Path, resume: bool = False) -> Result:
    from engine.run.training.run import train_run

    say(f"run folder {folder}")
    trained = train_run(settings, folder, resume)
    return _stopped(trained, folder) if trained["interrupted"] else trained


def _train_seeds(
    settings: Settings, folder: Path, seeds: int, resume: bool, as_json: bool
) -> Result:
    from engine.run.training.seeds import table_of, train_seeds

    say(f"run folder {folder}")
    summary = train_seeds(settings, folder, seeds, resume)
    if not as_json:
        for line in table_of(summary):
            echo(line)
    failed = summary["interrupted"] or any(row["error"] for row in summary["seeds"])
    return _stopped(summary, folder) if failed else summary


def _stopped(found: Result, folder: Path) -> Result:
    say(f"not at its end; go on with `barwise train --resume {folder}`")
    return found | {"exit_code": 1}


def _backtest(settings: Settings, checkpoint: Path | None, folder: Path, as_json: bool) -> Result:
    bars = bars_of(settings)
    found = evaluate(settings, bars, checkpoint, RunFolder(folder))
    if found.get("interrupted"):
        say(f"stopped after {found['bars']:,} bars; what was done is in {folder}")
    return found | _show(folder, as_json) if found["bars"] else found


def _rehearse(settings: Settings, checkpoint: Path, folder: Path, as_json: bool) -> Result:
    from engine.run.rehearse.commands import lines, play_of, rehearse_into

    say(
        f"rehearsing {REHEARSED} sessions as paper trading, over HTTP to an exchange of this process"
    )
    whole = play_of(settings, bars_of(settings), checkpoint, None, None)
    play = replace(whole, last=min(whole.last, whole.first + REHEARSED - 1))
    told = rehearse_into(folder / "rehearsal", play)
    if not as_json:
        first, *_, last = lines(told)
        echo(f"{first}; {last}")
    return {"exit_code": told.pop("exit_code"), "rehearsal": told}


def _show(folder: Path, as_json: bool) -> Result:
    from engine.report.page import write_page
    from engine.report.terminal import print_run

    page = write_page(folder)
    if not as_json:
        print_run(folder)
    run = RunFolder(folder).read()
    return {"run": str(folder), "page": str(page), "metrics": run.metrics, "summary": run.summary}
