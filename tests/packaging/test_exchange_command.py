"""`barwise exchange` as a person meets it: what it says, whom it serves, how it ends."""

import json
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
import requests

from engine.cli import run
from tests.packaging.test_cli import hears_ctrl_c

CODE = "from engine.cli import main; main()"


@contextmanager
def running(*arguments):
    """Run the command until the end of the block; give what it said first, line by line."""
    command = [sys.executable, "-c", CODE, "exchange", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdout=pipe, stderr=pipe, text=True, preexec_fn=hears_ctrl_c
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def session_of(told):
    session = requests.Session()
    session.trust_env = False
    session.headers["APCA-API-KEY-ID"] = told["key_id"]
    session.headers["APCA-API-SECRET-KEY"] = told["secret"]
    return session


def test_a_day_is_traded_and_the_command_stops_cleanly(tmp_path):
    script = tmp_path / "faults.toml"
    script.write_text('[[rule]]\naction = "status"\npath = "/v2/clock"\nstatus = 503\n')
    options = ("--json", "--from", "2012-06-01", "--faults", str(script))
    with running(*options, "--set", "exchange.partial_fills=0.0") as process:
        told = json.loads(process.stdout.readline())
        assert (told["from"], told["now"]) == ("2012-06-01", "2012-05-31T20:20:00+00:00")
        with session_of(told) as session:
            url = told["url"]
            assert session.get(f"{url}/v2/clock").status_code == 503
            assert session.get(f"{url}/v2/clock").json()["is_open"] is False
            order = {"symbol": "IBM", "qty": "2", "side": "buy", "type": "market"}
            order = session.post(f"{url}/v2/orders", json={**order, "time_in_force": "day"}).json()
            moved = session.post(
                f"{url}/exchange/clock",
                data='{"next": "close", "minutes": 20}',
                headers={"X-Exchange-Token": told["token"]},
            )
            assert moved.json() == {"now": "2012-06-01T20:20:00+00:00"}
            filled = session.get(f"{url}/v2/orders/{order['id']}").json()
            assert (filled["status"], filled["filled_qty"]) == ("filled", "2")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "exchange stopped\n")


def test_it_says_how_to_get_in_and_how_to_move_the_clock():
    with running("--speed", "60") as process:
        lines = [process.stdout.readline() for _ in range(9)]
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "exchange stopped\n")
    text = "".join(lines)
    for word in ("http://127.0.0.1:", "PKSIM", "secret", "curl -H 'X-Exchange-Token", "60 times"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--from", "tomorrow"], "expected a date"),
        (["--from", "2030-01-01"], "the bars end on 2013-03-01"),
        (["--speed", "-1"], "expected 0 or more"),
        (["--faults", "no-such-file.toml"], "no-such-file.toml"),
        (["no-such-settings"], "no settings file no-such-settings"),
    ],
)
def test_wrong_use_ends_with_two_and_one_line(arguments, word, capsys):
    assert run(["exchange", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert word in said.err
    assert said.err.count("\n") == 1
