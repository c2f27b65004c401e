"""The command line as a person meets it: exit codes, streams, what help imports, name clashes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import VERSION
from engine.cli import run
from engine.errors import UsageError
from engine.ownership import require_own_packages

HEAVY = ("torch", "pandas", "backtrader", "numpy", "alpaca", "exchange_calendars")


def barwise(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    code = "from engine.cli import main; main()"
    command = [sys.executable, "-W", "error::UserWarning", "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)


def hears_ctrl_c() -> None:
    """Run in a child before it starts: a shell's background job would ignore the interrupt."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["data", "--help"], ["train", "--help"]]
)
def test_help_and_version_import_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from engine.cli import run\n"
        f"code = run({arguments!r})\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_version_is_the_one_of_the_package():
    assert barwise("--version").stdout.strip() == f"barwise {VERSION}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["train"],
        ["train", "no-such-settings"],
        ["config", "show", "demo", "--set", "train.gama=0.9"],
        ["config", "show", "demo", "--nonsense"],
        ["data", "check", "no-such-file.csv"],
        ["backtest", "demo", "--checkpoint", "no-such-folder"],
        ["check", "parity", "demo", "--checkpoint", "no-such-folder"],
    ],
)
def test_wrong_use_ends_with_two_and_keeps_stdout_clean(arguments, tmp_path):
    done = (
        barwise(*arguments, "--set", f"runs_dir={tmp_path}")
        if "demo" in arguments
        else barwise(*arguments)
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


def test_failed_run_ends_with_one_and_says_what_to_do(tmp_path):
    bad = tmp_path / "X.csv"
    bad.write_text("date,open,high,low,close,volume\n2010-01-04,1,2,0.5,nan,10\n")
    sets = [
        "--set",
        "data.source=csv",
        "--set",
        f"data.path={bad}",
        "--set",
        "data.price_basis=raw",
    ]
    done = barwise("backtest", "demo", *sets, "--set", f"runs_dir={tmp_path}")
    assert done.returncode == 1, done.stderr
    assert "X.csv" in done.stderr
    assert "line 2" in done.stderr
    assert "barwise data clean" in done.stderr
    assert barwise("data", "check", str(bad)).returncode == 1


def test_folder_that_cannot_be_written_is_an_error_in_words(tmp_path):
    (tmp_path / "file").write_text("")
    done = barwise("backtest", "demo", "--set", f"runs_dir={tmp_path / 'file' / 'runs'}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.endswith("; name a folder that can be written\n")
    assert "Traceback" not in done.stderr


def test_unknown_baseline_fails_before_anything_runs(tmp_path):
    sets = ("--set", f"runs_dir={tmp_path}", "--set", "backtest.baselines=['flt']")
    done = barwise("backtest", "demo", *sets)
    assert done.returncode == 2
    assert 'unknown baseline "flt"' in done.stderr
    assert list(tmp_path.glob("*/*")) == []


def test_json_is_one_object_on_stdout(tmp_path):
    done = barwise("config", "show", "demo", "--json", "--set", "train.gamma=0.91")
    assert json.loads(done.stdout)["train"]["gamma"] == 0.91
    listed = json.loads(barwise("data", "list", "--json").stdout)
    assert [row["symbol"] for row in listed["sample"]] == ["AAPL", "GOOG", "IBM", "MSFT"]
    assert listed["sample"][0]["splits"] == ["2000-06-21", "2005-02-28"]


def test_baseline_backtest_writes_a_run_that_reports_again(tmp_path):
    sets = ["--set", f"runs_dir={tmp_path}", "--set", "split.test.start=2012-01-03"]
    done = barwise("backtest", "demo", "--json", *sets)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    run = Path(result["run"])
    assert Path(result["page"]).is_file()
    for name in ("settings.json", "journal.sqlite", "metrics.json", "equity.csv", "trades.csv"):
        assert (run / name).is_file()
    Path(result["page"]).unlink()
    again = barwise("report", str(run))
    assert again.returncode == 0, again.stderr
    assert "Buy and hold" in again.stdout
    assert Path(result["page"]).is_file()


def test_package_of_somebody_else_in_our_place_is_refused(tmp_path):
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "__init__.py").write_text("NAME = 'another distribution'\n")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from engine.cli import run\n"
        "sys.exit(run(['--version']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "package agents is not barwise's" in done.stderr
    assert "environment of its own" in done.stderr


def test_our_own_packages_carry_the_mark():
    require_own_packages()
    with pytest.raises(UsageError, match="package json"):
        require_own_packages(("json",))


def test_feature_module_beside_the_user_is_found(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def doubled(window):\n    return 2.0 * (window[..., 3, -1] / window[..., 3, -2] - 1.0)\n\n"
        "doubled.lookback = 2\n"
    )
    settings = tmp_path / "mine.toml"
    settings.write_text(
        'runs_dir = "."\n[split]\ntrain = { end = 2007-12-31 }\n'
        "validation = { start = 2008-01-02, end = 2008-12-31 }\ntest = { start = 2012-01-03 }\n"
        '[observation]\nfeatures = ["mine:doubled"]\n'
        "[train]\nupdates = 1\nbooks = 4\nrollout_steps = 16\nepisode_steps = 32\nppo.minibatches = 2\n"
    )
    done = barwise("train", "mine.toml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    checkpoint = json.loads(done.stdout)["checkpoint"]
    again = barwise("backtest", "mine.toml", "--checkpoint", checkpoint, "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


def test_ctrl_c_leaves_a_usable_checkpoint_and_a_readable_folder(tmp_path):
    code = "from engine.cli import main; main()"
    command = [sys.executable, "-c", code, "train", "demo", "--set", f"runs_dir={tmp_path}"]
    sets = ["--set", "train.updates=10_000", "--set", "train.books=8"]
    child = subprocess.Popen(
        [*command, *sets],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=hears_ctrl_c,
    )
    with child:
        logs = tmp_path.glob("*/training/training.jsonl")
        while next(logs, None) is None and child.poll() is None:
            time.sleep(0.1)
            logs = tmp_path.glob("*/training/training.jsonl")
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    assert child.returncode == 1, err
    assert "best checkpoint" in out
    (run,) = tmp_path.glob("demo-*")
    assert f"go on with `barwise train --resume {run}`" in err.replace("\n", "")
    assert (run / "settings.json").is_file()
    sets = ["--set", f"runs_dir={tmp_path}", "--set", "split.test.start=2013-01-02"]
    done = barwise("backtest", "demo", "--checkpoint", str(run / "training" / "best"), *sets)
    assert done.returncode == 0, done.stderr


def test_ctrl_c_before_anything_is_done_is_told(monkeypatch, capsys):
    def interrupted(args):
        raise SystemExit(130)  # what typer makes of it

    monkeypatch.setattr("engine.cli.app", interrupted)
    assert run(["train", "demo"]) == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C\n"


def test_command_that_fails_before_it_writes_leaves_no_folder(tmp_path):
    done = barwise(
        "train", "demo", "--set", f"runs_dir={tmp_path / 'runs'}", "--set", "split.train.start=1990-01-01",
        "--set", "split.train.end=1990-12-31",
    )  # fmt: skip
    assert done.returncode == 1
    assert "split.train" in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def test_backtest_without_a_checkpoint_says_that_nothing_was_learned(tmp_path):
    sets = ["--set", f"runs_dir={tmp_path}", "--set", "split.test.start=2012-06-01"]
    done = barwise("backtest", "demo", *sets)
    assert done.returncode == 0, done.stderr
    assert "No checkpoint was given" in done.stdout
    assert "identical" not in done.stdout


def test_data_commands_and_report_speak_json_too(tmp_path):
    bad = tmp_path / "X.csv"
    row = "2010-01-05,1,2,0.5,1,10"
    bad.write_text(f"date,open,high,low,close,volume\n2010-01-06,1,2,0.5,1,10\n{row}\n{row}\n")
    checked = barwise("data", "check", str(bad), "--json")
    assert checked.returncode == 1
    kinds = {found["kind"] for found in json.loads(checked.stdout)["findings"]}
    assert len(kinds) >= 2  # out of order, and a row that repeats another
    cleaned = barwise("data", "clean", str(bad), "--out", str(tmp_path / "Y.csv"), "--json")
    assert cleaned.returncode == 0, cleaned.stderr
    assert len(json.loads(cleaned.stdout)["repairs"]) >= 1
    again = json.loads(barwise("data", "check", str(tmp_path / "Y.csv"), "--json").stdout)
    assert again["counts"].get("error", 0) == 0
    sets = ["--set", f"runs_dir={tmp_path}", "--set", "split.test.start=2012-06-01"]
    run = json.loads(barwise("backtest", "demo", "--json", *sets).stdout)["run"]
    assert json.loads(barwise("report", run, "--json").stdout)["metrics"]["agent"]
