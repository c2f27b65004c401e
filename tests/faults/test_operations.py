"""Operation: keys that must not show, costs that cannot be, the kill switch at every moment."""

import json
import traceback

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from brokers.alpaca.keys import KEY_ID, SECRET, Keys
from brokers.exchange.faults import Rule
from engine.cli import run
from engine.costs import Costs
from engine.journal import Journal
from engine.run.paper.room import LOCK
from engine.settings import Settings
from tests.fault_account import account, leaks
from tests.paper_account import START

STORM = (
    dict(action="status", status=401, path="/v2/account"),
    dict(action="status", status=403, path="/v2/orders", method="POST"),
    dict(action="status", status=500, path="/v2/positions", times=4, body="<html>500</html>"),
    dict(action="mutate", path="/v2/clock", times=0, seed=5),
    dict(action="accept_then_reset", path="/v2/orders", method="POST"),
    dict(action="redirect", path="/v2/account", to="http://127.0.0.1:9/steal", times=0),
    dict(action="html200", path="/v2/stocks/bars", times=0),
)


def echo(keys):
    """What a careless venue could answer: the request's own headers, keys and all."""
    return {"message": f"bad headers: {keys.key_id} {keys.secret}", "code": 40110000}


@pytest.fixture
def commands(tmp_path, agent, monkeypatch):
    """An account that is lived by `barwise paper ...` alone, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    with account(tmp_path / "unused", agent) as acc:
        monkeypatch.setenv(KEY_ID, acc.exchange.key_id)
        monkeypatch.setenv(SECRET, acc.exchange.secret)
        paper = {
            "checkpoint": str(agent), "allow_feed": "sample", "trading_url": acc.server.url,
            "data_url": acc.server.url,
        }  # fmt: skip
        lines = [f"{key} = {json.dumps(value)}" for key, value in paper.items()]
        symbols = json.dumps(list(acc.settings.data.symbols))
        (tmp_path / "p.toml").write_text(
            f"[data]\nsymbols = {symbols}\n\n[paper]\n" + "\n".join(lines)
        )
        # A virtual clock asked over HTTP would wait in real time.
        monkeypatch.setattr("engine.run.paper.commands.clock_of", lambda *_: acc.clock)
        yield acc


@pytest.mark.parametrize("fault", range(len(STORM) + 1))
def test_f59_no_command_shows_a_key_whatever_goes_wrong(commands, capfd, tmp_path, fault):
    acc, keys = commands, Keys(commands.exchange.key_id, commands.exchange.secret)
    rule = STORM[fault] if fault < len(STORM) else None
    if rule is None:
        rule = dict(action="status", status=401, path=".*", body=echo(keys), times=0)
    acc.faults.add(Rule.model_validate({"method": "GET"} | rule))
    for command in ("once", "status", "reconcile", "once"):
        run(["paper", command, "p.toml", "--json"])
    told = capfd.readouterr()
    assert leaks(keys, tmp_path, [told.out, told.err]) == []
    written = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"journal.sqlite", "paper.log", LOCK} <= written


def test_f59_an_error_nobody_foresaw_shows_no_key_in_its_traceback(tmp_path, agent, monkeypatch):
    with account(tmp_path, agent) as acc:
        keys = Keys(acc.exchange.key_id, acc.exchange.secret)

        def fails(*_, **__):
            raise RuntimeError("unforeseen")

        monkeypatch.setattr(
            acc.room.gateway._trading._way, "get_connection_with_tls_context", fails
        )
        with pytest.raises(RuntimeError) as caught:
            acc.look()
        shown = "".join(traceback.format_exception(caught.value))
        assert "unforeseen" in shown
        shown += repr(acc.room) + repr(vars(acc.room)) + repr(keys)
        assert leaks(keys, tmp_path, [shown]) == []


def test_f59_the_search_for_keys_finds_one_that_is_planted(tmp_path):
    keys = Keys("PKSIM0123456789ABCDE", "s" * 20 + "S" * 20)
    (tmp_path / "log").write_text(f"sent with {keys.secret[:30]}")
    assert leaks(keys, tmp_path, []) == ["log"]
    assert leaks(keys, tmp_path / "empty", [f"id {keys.key_id}"])


NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, -1, 1e9, "1%", "free", None, [], {}, True, -0.0, "0.001"]),
)
NAMES = st.sampled_from([*Costs.model_fields, "commision", "fee"])


@settings(max_examples=300, deadline=None)
@given(tree=st.dictionaries(NAMES, NUMBERS, max_size=4))
def test_f60_costs_that_cannot_be_are_refused_and_all_others_are_never_a_gain(tree):
    try:
        costs = Settings.model_validate({"costs": tree}).costs
    except ValidationError as error:
        refused = str(error)
    else:
        require_no_gain(costs)
        assert set(tree) <= set(Costs.model_fields)
        return
    assert "costs" in refused


def require_no_gain(costs):
    """Whoever trades pays, or pays nothing."""
    qty, price = np.array([[100.0, -100.0, 0.0]]), np.full((1, 3), 50.0)
    fee = costs.fee(qty, price, np.array(["2024-03-04"], dtype="datetime64[D]"))
    assert (fee >= 0.0).all()
    assert fee[0, 2] == 0.0
    slipped = costs.slipped(price, qty)
    assert slipped[0, 0] >= 50.0 >= slipped[0, 1] > 0.0


@pytest.mark.parametrize(
    "change", ["costs.rate=-0.001", "costs.per_order=nan", "costs.slippage_bps=inf",
               "costs.commission=1", "costs.minimum='one'"]
)  # fmt: skip
def test_f60_paper_does_not_start_with_costs_that_cannot_be(commands, capfd, change):
    assert run(["paper", "once", "p.toml", "--set", change]) == 2
    assert "costs" in capfd.readouterr().err
    assert commands.faults.log == []


BOUNDARIES = ("begun", "opened", "bars", "decision", "intent", "order", "ended")


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_f62_no_order_is_sent_once_the_kill_switch_is_on(tmp_path, agent, monkeypatch, boundary):
    # The switch is pressed when the first commit of a kind is durable.
    with account(tmp_path, agent) as acc:
        real = Journal.commit

        def commit(journal):
            kinds = {row["kind"] for row in journal._waiting}
            real(journal)
            if boundary in kinds and not acc.room.kill_file.exists():
                acc.room.kill_file.write_text("pressed")
                acc.pressed = len(acc.posts)

        monkeypatch.setattr(Journal, "commit", commit)
        acc.look()
        monkeypatch.undo()
        assert len(acc.posts) == acc.pressed
        found = acc.look()
        assert found.state == "halted"
        assert "KILL" in found.message
        assert len(acc.posts) == acc.pressed
        acc.resume()  # takes the file away
        acc.look()
        assert len(acc.orders) == 3
        assert len(acc.posts) == len(set(acc.posts))


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("phase", ["before", "after"])
def test_f62_pressed_while_an_order_is_on_its_way_none_follows(tmp_path, agent, nth, phase):
    with account(tmp_path, agent) as acc:
        press = acc.room.kill_file.write_text
        acc.faults.on("POST", "/v2/orders", nth, phase, lambda _: press("pressed"))
        found = acc.look()
        assert len(acc.posts) == nth
        assert found.state == ("halted" if nth < 3 else "waiting")


def test_f62_an_order_at_the_venue_may_be_canceled_while_the_switch_is_on(commands):
    acc = commands
    assert run(["paper", "once", "p.toml"]) == 0
    sent = len(acc.posts)
    assert run(["paper", "halt", "p.toml", "--reason", "enough", "--cancel"]) == 0
    assert {x["status"] for x in acc.orders} == {"canceled"}
    acc.open_plus(START)
    assert run(["paper", "once", "p.toml"]) == 1
    assert len(acc.posts) == sent


def test_f62_orders_are_canceled_though_the_agent_is_gone(commands):
    assert run(["paper", "once", "p.toml"]) == 0
    assert commands.posts
    gone = ["--set", 'paper.checkpoint="gone"', "--set", "data.symbols=[]"]
    assert run(["paper", "halt", "p.toml", "--cancel", *gone]) == 0
    assert {x["status"] for x in commands.orders} == {"canceled"}
