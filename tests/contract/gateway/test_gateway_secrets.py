"""A canary key goes through a whole process at full verbosity and is seen by the venue only."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.alpaca_bodies import ACCOUNT
from tests.wire_server import Say, WireServer

ROOT = Path(__file__).resolve().parents[3]
CANARY_ID, CANARY = "PKCANARY0123456789AB", "canary/0123456789+abcdefghijklmnopqrstuv"
PROGRAM = """
import faulthandler, logging, os, sys, threading
faulthandler.enable()
logging.basicConfig(level=logging.DEBUG)
from datetime import date
from brokers.alpaca.gateway import Gateway
from brokers.alpaca.keys import require_keys
from brokers.alpaca.records import Intent
from engine.clock import FakeClock, SystemClock
from engine.settings_paper import PaperSettings
url = sys.argv[1]
paper = PaperSettings(trading_url=url, data_url=url)
keys = require_keys(os.environ)
clock = FakeClock(SystemClock().now())
gateway = Gateway(paper, keys, clock)
print(keys, gateway, vars(gateway), vars(gateway._trading), vars(gateway._trading._sdk))
print(gateway.account())
intent = Intent("barwise-1", date(2026, 3, 11), "AAPL", 1.0)
for _ in range(4):
    print(gateway.post(intent))
thread = threading.Thread(target=gateway.account)
thread.start()
thread.join()
gateway.account()
"""


def test_f59_no_output_of_a_whole_process_at_debug_holds_a_key(wire: WireServer) -> None:
    echo = {"message": f"no {CANARY_ID} {CANARY}", "code": 40310000}
    wire.say(
        Say(200, ACCOUNT), Say(403, echo), Say(500, echo), Say(act=wire.reset),
        Say(302, headers={"Location": f"http://{CANARY}/"}), Say(401, echo),
    )  # fmt: skip
    keys = {"APCA_API_KEY_ID": CANARY_ID, "APCA_API_SECRET_KEY": CANARY}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", PROGRAM, wire.url],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | keys,
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 1
    assert "engine.errors.TradingHalted" in done.stderr  # the uncaught error, in full
    assert "Exception in thread" in done.stderr
    assert "DEBUG:urllib3" in done.stderr
    assert {x.headers["APCA-API-SECRET-KEY"] for x in wire.seen} == {CANARY}
    assert "canary" not in shown.lower()
    assert len(wire.seen) == 7


@pytest.mark.parametrize("package", ["engine", "brokers", "strategies", "agents"])
def test_one_module_imports_the_sdk_and_none_can_ask_for_live(package: str) -> None:
    importing = set()
    for path in (ROOT / package).rglob("*.py"):
        text = path.read_text()
        if re.search(r"^\s*(import|from) alpaca\b", text, re.MULTILINE):
            importing.add(path.relative_to(ROOT).as_posix())
        assert "paper=False" not in text
        assert "TRADING_LIVE" not in text
    assert importing <= {"brokers/alpaca/sdk.py"}
