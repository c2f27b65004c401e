"""Torch trains and nothing else: whoever decides with a checkpoint never loads it."""

import json
import os
import subprocess
import sys
from datetime import date

import pytest

from brokers.alpaca.keys import KEY_ID, SECRET
from tests.paper_account import sample_bars, staged

SETTINGS = """
[data]
source = "sample"
symbols = ["AAPL", "IBM"]

[split]
train = { end = 2007-12-31 }
validation = { start = 2008-01-02, end = 2009-12-31 }
test = { start = 2010-01-04, end = 2010-02-16 }
"""
WATCH = (
    "import json, sys\n"
    "from engine.cli import run\n"
    "codes = [run(command) for command in json.loads(sys.argv[1])]\n"
    "loaded = [name for name in ('torch', 'onnxruntime', 'alpaca') if name in sys.modules]\n"
    "sys.stderr.write('\\n' + json.dumps([codes, loaded]))\n"
)


def watched(commands, folder, **env):
    """Run commands in one new process; return their exit codes and what was loaded in the end."""
    done = subprocess.run(
        [sys.executable, "-c", WATCH, json.dumps(commands)],
        capture_output=True, text=True, cwd=folder, env={**os.environ, **env}, timeout=120,
    )  # fmt: skip
    return json.loads(done.stderr.splitlines()[-1]), done.stderr


def test_backtest_paper_once_and_paper_status_load_no_torch(tmp_path, agent):
    bars = sample_bars().select(("AAPL", "IBM"))
    with staged(tmp_path / "unused", agent, bars, start=date(2010, 1, 4)) as stage:
        hosts = {"trading_url": stage.server.url, "data_url": stage.server.url}
        paper = {"checkpoint": str(agent), "allow_feed": "sample", **hosts}
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in paper.items())
        (tmp_path / "s.toml").write_text(f"{SETTINGS}\n[paper]\n{lines}\n")
        commands = [
            ["backtest", "s.toml", "--checkpoint", str(agent)],
            ["paper", "once", "s.toml"],
            ["paper", "status", "s.toml"],
        ]
        keys = {KEY_ID: stage.exchange.key_id, SECRET: stage.exchange.secret}
        found, said = watched(commands, tmp_path, **keys)
        assert found == [[0, 0, 0], ["onnxruntime", "alpaca"]], said
        assert stage.exchange.dump()["orders"]  # it has decided


@pytest.mark.parametrize("library", ["alpaca", "pandas", "onnxruntime"])
def test_status_module_waits_for_libraries_it_may_not_need(library):
    code = f"import sys, engine.run.paper.status; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
