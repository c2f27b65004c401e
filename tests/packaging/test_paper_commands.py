"""`barwise paper ...` as a user meets it: real commands, a real exchange, one account."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from brokers.alpaca.keys import KEY_ID, SECRET
from engine.cli import run
from engine.run.paper import commands
from engine.run.schedule import loop as schedule_loop
from engine.run.schedule.timetable import Schedule
from tests.paper_account import Stage, sample_bars, staged

FIRST = date(2010, 1, 4)
Barwise = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def stage(tmp_path: Path, agent: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.chdir(tmp_path)
    with staged(tmp_path / "unused", agent, sample_bars()) as made:
        # The exchange's clock stands still, so a wait of the commands would be one in real time.
        monkeypatch.setattr(commands, "clock_of", lambda settings, keys: made.clock)
        monkeypatch.setenv(KEY_ID, made.exchange.key_id)
        monkeypatch.setenv(SECRET, made.exchange.secret)
        paper = {
            "checkpoint": str(agent),
            "allow_feed": "sample",
            "trading_url": made.server.url,
            "data_url": made.server.url,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in paper.items()]
        symbols = json.dumps(list(made.settings.data.symbols))
        text = f"[data]\nsymbols = {symbols}\n\n[paper]\n" + "\n".join(lines)
        (tmp_path / "p.toml").write_text(text)
        yield made


@pytest.fixture
def barwise(stage: Stage, capsys: pytest.CaptureFixture[str]) -> Barwise:
    def call(command: str, *options: str) -> tuple[int, dict[str, Any]]:
        code = run(["paper", command, "p.toml", *options, "--json"])
        told = capsys.readouterr()
        assert stage.exchange.secret not in told.out + told.err
        return code, json.loads(told.out) if told.out.strip() else {"error": told.err}

    return call


def test_session_is_decided_filled_shown_and_exported(stage, barwise, tmp_path):
    code, told = barwise("once")
    assert (code, told["state"], told["session"]) == (0, "waiting", "2009-12-31")
    sent = len(stage.exchange.dump()["orders"])
    assert sent > 0
    assert barwise("once")[1]["state"] == "waiting"  # again: nothing is sent twice
    assert len(stage.exchange.dump()["orders"]) == sent
    stage.open_plus(FIRST)
    code, told = barwise("once")
    assert (code, told["state"]) == (0, "closed")
    assert "bought" in told["news"]
    code, told = barwise("status")
    assert code == 0
    assert told["positions"] == stage.exchange.dump()["qty"]
    assert told["memory_age"].startswith("0 sessions")
    assert barwise("reconcile") == (0, {"differences": []})
    assert barwise("export", "--out", "tables")[1]["rows"]["fills"] == sent
    with (tmp_path / "tables" / "fills.csv").open() as handle:
        bought = {row["symbol"]: float(row["qty"]) for row in csv.DictReader(handle)}
    assert bought == stage.exchange.dump()["qty"]


def test_halt_stops_orders_until_a_person_resumes(stage, barwise):
    barwise("halt", "--reason", "a look by eye")
    code, told = barwise("once")
    assert (code, told["state"]) == (1, "halted")
    assert "KILL" in told["message"]
    assert stage.exchange.dump()["orders"] == []
    assert barwise("status")[0] == 1
    assert barwise("resume", "--reason", "looked")[0] == 0
    assert barwise("once")[1]["state"] == "waiting"
    assert stage.exchange.dump()["orders"]


def test_hand_made_trade_halts_and_rebase_goes_on_from_what_is_held(stage, barwise):
    barwise("once")
    stage.open_plus(FIRST)
    barwise("once")
    stage.exchange.external_fill("AAPL", 3)
    stage.close_plus(FIRST)
    code, told = barwise("once")
    assert (code, told["state"]) == (1, "halted")
    assert "AAPL: ours" in told["message"]
    assert barwise("reconcile")[0] == 1
    assert barwise("resume", "--reason", "it was me")[0] == 0
    assert barwise("once")[1]["state"] == "halted"  # looking away mends nothing
    assert barwise("resume", "--reason", "it was me", "--rebase")[0] == 0
    assert barwise("once")[1]["state"] == "waiting"
    assert barwise("status")[1]["positions"] == stage.exchange.dump()["qty"]


def test_past_session_cannot_be_asked_for(stage, barwise):
    code, told = barwise("once", "--session", "2009-12-30")
    assert code == 2
    assert "2009-12-31" in told["error"]


def test_missing_keys_account_and_checkpoint_each_say_what_to_do(barwise, monkeypatch):
    code, told = barwise("status")
    assert code == 2
    assert "barwise paper once" in told["error"]
    code, told = barwise("once", "--checkpoint", "nowhere")
    assert code == 2
    assert "nowhere" in told["error"]
    code, told = barwise("once", "--set", "paper.trading_url=https://api.alpaca.markets")
    assert code == 2
    assert "paper only" in told["error"]
    monkeypatch.delenv(KEY_ID)
    monkeypatch.delenv(SECRET)
    code, told = barwise("once")
    assert code == 2
    assert "chmod 600 .env" in told["error"]


@pytest.mark.parametrize("weekly", [False, True])
def test_runner_starts_a_retraining_every_week_where_it_is_asked_to(
    stage: Stage, barwise: Barwise, monkeypatch: pytest.MonkeyPatch, weekly: bool
) -> None:
    seen: list[dict[str, str]] = []

    def turn(schedule: Schedule) -> None:
        schedule.turn()
        seen.append({name: f"{at:%F %R}" for name, at in schedule.next_times().items()})

    monkeypatch.setattr(schedule_loop, "run", turn)
    code, told = barwise("run", "--set", f"retrain.schedule.weekly={json.dumps(weekly)}")
    assert (code, told) == (0, {"stopped": True})
    # The exchange stands at New Year's Eve, a Thursday: Saturday, 06:00 in New York.
    assert seen[0].get("retraining") == ("2010-01-02 11:00" if weekly else None)
    assert Path("paper/retraining.settings.json").exists() is weekly
    assert barwise("status")[1]["retraining"] is None  # none has been started yet
