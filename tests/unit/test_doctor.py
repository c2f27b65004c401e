"""`barwise doctor` and its probe, against the loopback exchange and against nothing."""

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from brokers.exchange.exchange import Exchange
from brokers.exchange.faults import Rule
from engine.cli import run
from engine.clock import FakeClock
from engine.errors import UsageError
from engine.run.build import find_settings
from engine.run.paper.doctor import Check, Probing, examine, run_doctor
from engine.run.paper.lock import held
from engine.run.paper.room import LOCK
from engine.settings import Settings
from engine.settings_paper import ExchangeSettings
from tests.small_exchange import EVENING, Client, served, small_exchange

KEYS = ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY")


def settings_for(url: str, folder: Path, symbol: str = "AAA") -> Settings:
    return find_settings(
        None,
        (
            f'paper.trading_url="{url}"',
            f'paper.data_url="{url}"',
            f'data.symbols=["{symbol}"]',
            f'paper.state_dir="{folder / "state"}"',
        ),
    )


def environment(exchange: Exchange) -> dict[str, str]:
    return dict(zip(KEYS, (exchange.key_id, exchange.secret), strict=True))


def looked_at(client: Client, folder: Path, **more: str) -> dict[str, Check]:
    exchange = client.server.exchange
    settings = settings_for(client.server.url, folder)
    found = examine(settings, environment(exchange) | more, folder, exchange.clock)
    return {check.name: check for check in found}


def failed(checks: dict[str, Check]) -> list[str]:
    return [check.name for check in checks.values() if check.state == "fail"]


def test_a_ready_account_has_nothing_that_fails(tmp_path: Path) -> None:
    with served() as client:
        checks = looked_at(client, tmp_path)
    assert failed(checks) == []
    assert checks["account"].found == "ACTIVE, cash 100,000.00, equity 100,000.00"
    assert checks["market data"].found == "AAA to 2024-11-26 from iex"
    assert checks["calendar"].found.endswith("the next on 2024-11-27")
    assert checks["clock"].state == "ok"


@pytest.mark.parametrize(
    ("change", "state", "told"),
    [
        ('paper.allow_feed="sample"', "ok", "AAA on iex"),
        ('data.symbols=["AAA"]', "fail", "trained on sample, the session would trade on alpaca"),
        ("data.symbols=[]", "fail", "expected the symbols to trade, found none"),
        ('venue.fill="next_close"', "fail", "fill at the next open"),
    ],
)
def test_settings_that_a_session_would_refuse_fail_before_it(
    tmp_path: Path, agent: Path, change: str, state: str, told: str
) -> None:
    named = (f'paper.checkpoint="{agent}"', 'data.symbols=["AAA"]', change)
    checks = examine(find_settings(None, named), {}, tmp_path, FakeClock(EVENING))
    (found,) = (check for check in checks if check.name == "settings")
    assert found.state == state
    assert told in found.found


def test_no_keys_say_how_to_add_them_and_the_exit_code_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    assert run(["doctor", "--probe"]) == 1
    shown = capsys.readouterr()
    assert "fail  keys          none found; set APCA_API_KEY_ID" in shown.out
    assert "chmod 600 .env" in shown.out
    assert shown.out.endswith("paper trading cannot work: keys\n")
    assert "not asked anything" in shown.err
    assert list(tmp_path.iterdir()) == []  # looking leaves nothing behind


def test_with_json_there_is_one_object_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    assert run(["doctor", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == ["keys"]
    assert {check["state"] for check in found["checks"]} <= {"ok", "warn", "fail"}


def test_a_key_file_that_others_may_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("APCA_API_KEY_ID=PKCANARY\nAPCA_API_SECRET_KEY=canary\n")
    path.chmod(0o644)
    settings = settings_for("http://127.0.0.1:9", tmp_path)
    found = list(examine(settings, {}, tmp_path, FakeClock(EVENING)))[-1]
    assert (found.name, found.state) == ("keys", "fail")
    assert "chmod 600" in found.found
    assert "canary" not in found.found.lower()


def test_f44_wrong_keys_fail_and_are_not_shown(tmp_path: Path) -> None:
    with served() as client:
        checks = looked_at(client, tmp_path, APCA_API_SECRET_KEY="canary-canary")
        assert len(client.server.faults.log) == 1
    assert failed(checks) == ["clock"]
    assert "401" in checks["clock"].found
    assert "canary" not in str(checks)


def test_an_unreachable_venue_fails_in_few_words(tmp_path: Path) -> None:
    with served() as client:
        settings = settings_for(client.server.url, tmp_path)
        keys = environment(client.server.exchange)
    checks = list(examine(settings, keys, tmp_path, FakeClock(EVENING)))
    assert (checks[-1].name, checks[-1].state) == ("clock", "fail")
    assert "refused" in checks[-1].found


@pytest.mark.parametrize("status", ["INACTIVE", "ONBOARDING", "something new"])
def test_f38_an_account_that_is_not_active_fails(tmp_path: Path, status: str) -> None:
    exchange = small_exchange()
    exchange.switches.account_flags["status"] = status
    with served(exchange=exchange) as client:
        checks = looked_at(client, tmp_path)
    assert failed(checks) == ["account"]
    assert status in checks["account"].found


def test_f24_an_exchange_of_another_time_is_a_warning_on_this_machine_only(
    tmp_path: Path,
) -> None:
    exchange = small_exchange()
    exchange.switches.clock_skew_s = 45.0
    with served(exchange=exchange) as client:
        checks = looked_at(client, tmp_path)
    assert checks["clock"].state == "warn"
    assert checks["clock"].found == "the exchange keeps its own time, 2024-11-26 21:20 UTC"


def test_the_probe_learns_settings_of_the_exchange_and_leaves_no_order(tmp_path: Path) -> None:
    exchange = small_exchange(multiplier=4, shorting=True, easy_to_borrow=False)
    with served(exchange=exchange) as client:
        settings = settings_for(client.server.url, tmp_path)
        found = run_doctor(
            settings, environment(exchange), tmp_path, exchange.clock, Probing.ONE, True
        )
        orders = exchange.dump()["orders"]
    told = json.loads((tmp_path / "state" / "capability.json").read_text())
    assert told == found["probe"]
    assert told["exchange"] == {"multiplier": 4, "shorting": True, "easy_to_borrow": False}
    assert ExchangeSettings(**told["exchange"]).multiplier == 4
    seen = {row["question"]: row["found"] for row in told["findings"]}
    assert seen["status after a cancel"] == "canceled"
    assert seen["frames of the stream"] == "binary"
    assert seen["events of that order"].endswith("canceled (canceled)")
    assert seen["answer to a wrong key"].startswith("401")
    assert [order["status"] for order in orders] == ["canceled"]
    assert exchange.secret not in json.dumps(told)


def test_the_further_orders_learn_more_and_leave_one_until_the_close(tmp_path: Path) -> None:
    exchange = small_exchange(fractional_types="market", day_end="canceled")
    clock = exchange.clock
    assert isinstance(clock, FakeClock)

    def asked() -> dict[str, object]:
        return run_doctor(settings, keys, tmp_path, clock, Probing.ORDERS, True)["probe"]

    with served(exchange=exchange) as client:
        settings, keys = settings_for(client.server.url, tmp_path), environment(exchange)
        first = asked()
        resting = [x for x in exchange.dump()["orders"] if x["status"] not in ("canceled",)]
        clock.advance(timedelta(days=1))
        second = asked()
    assert [x["client_order_id"] for x in resting] == ["doctor-overnight-20241126212000"]
    learned = {"multiplier": 2, "shorting": False, "easy_to_borrow": True}
    assert first["exchange"] == learned | {"fractional_types": "market"}
    assert second["exchange"] == first["exchange"] | {"day_end": "canceled"}


@pytest.mark.parametrize("action", ["accept_then_504", "accept_then_reset", "html200"])
def test_an_order_of_the_probe_whose_answer_was_lost_is_canceled_too(
    tmp_path: Path, action: str
) -> None:
    exchange = small_exchange()
    rule = Rule(action=action, method="POST", path="/v2/orders")
    with served(rule, exchange=exchange) as client:
        settings = settings_for(client.server.url, tmp_path)
        run_doctor(settings, environment(exchange), tmp_path, exchange.clock, Probing.ONE, True)
        assert [x["status"] for x in exchange.dump()["orders"]] == ["canceled"]


def test_the_probe_orders_nothing_cheap_enough_to_be_sold_to_it(tmp_path: Path) -> None:
    exchange = small_exchange()
    with served(exchange=exchange) as client:
        settings = settings_for(client.server.url, tmp_path, symbol="CCC")  # two dollars
        with pytest.raises(UsageError, match="at least 5 dollars"):
            run_doctor(settings, environment(exchange), tmp_path, exchange.clock, Probing.ONE)
        assert exchange.dump()["orders"] == []


def test_the_probe_keeps_away_from_an_account_at_work(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    exchange = small_exchange()
    with served(exchange=exchange) as client, held(tmp_path / "state" / LOCK):
        settings = settings_for(client.server.url, tmp_path)
        with pytest.raises(UsageError, match="only runner"):
            run_doctor(settings, environment(exchange), tmp_path, exchange.clock, Probing.ONE)
        assert exchange.dump()["orders"] == []


def test_f59_doctor_and_probe_log_no_key_at_debug(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "requests", "alpaca", "websockets", "websockets.client"):
        caplog.set_level(logging.DEBUG, logger=name)
    exchange = small_exchange(datetime(2024, 11, 26, 22, tzinfo=UTC))
    with served(exchange=exchange) as client:
        settings = settings_for(client.server.url, tmp_path)
        run_doctor(settings, environment(exchange), tmp_path, exchange.clock, Probing.ORDERS)
    shown = caplog.text + "".join(capsys.readouterr())
    assert "connectionpool" in caplog.text  # the libraries did log
    written = "".join(x.read_text() for x in tmp_path.rglob("*") if x.is_file())
    for secret in (exchange.key_id, exchange.secret):
        assert secret not in shown
        assert secret not in written
