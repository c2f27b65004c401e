"""Two of us: on one host the lock decides, on two hosts the client order ids do."""

import json
import signal
import socket
import subprocess
import sys

import pytest

from brokers.alpaca.gateway import Gateway
from brokers.alpaca.keys import Keys
from engine.errors import UsageError
from engine.journal import Journal
from engine.run.paper import look
from engine.run.paper.cycle import LEASE, run_cycle
from engine.run.paper.lock import held
from engine.run.paper.room import JOURNAL, LOCK
from tests.fault_account import account
from tests.paper_account import START

# Every racer waits until all of them stand at the gate, tries once, and stays until all have tried.
RACE = """
import os, random, sys
from pathlib import Path
from engine.errors import UsageError
from engine.run.paper.lock import held

path, racers = Path(sys.argv[1]), int(sys.argv[2])

def race(gate, tried, done, seed):
    os.read(gate, 1)
    for _ in range(random.Random(seed).randrange(2000)):
        pass
    try:
        with held(path):
            os.write(tried, b"1")
            os.read(done, 1)
    except UsageError as error:
        assert "process" in str(error)
        os.write(tried, b"0")

for seed in map(int, sys.argv[3:]):
    (gate, opens), (result, tried), (done, ends) = os.pipe(), os.pipe(), os.pipe()
    children = []
    for n in range(racers):
        children.append(os.fork())
        if not children[-1]:
            os.close(opens)
            os.close(ends)
            race(gate, tried, done, 1000 * seed + n)
            os._exit(0)
    os.close(opens)
    answers = b"".join(os.read(result, 1) for _ in range(racers))
    os.close(ends)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    print(answers.count(b"1"), len(answers))
"""


def test_f46_of_twenty_processes_that_race_one_wins_every_time(tmp_path):
    seeds = [str(seed) for seed in range(10)]
    run = [sys.executable, "-c", RACE, str(tmp_path / "lock"), "20", *seeds]
    told = subprocess.run(run, capture_output=True, text=True, timeout=60, check=True).stdout
    assert told.split("\n")[:-1] == ["1 20"] * len(seeds)


def test_f46_a_second_runner_asks_nothing_and_sends_nothing(tmp_path, agent):
    with account(tmp_path, agent) as acc, held(tmp_path / LOCK):
        found = acc.look()
        assert found.state == "retry"
        assert "the only runner of this account" in found.message
        assert acc.faults.log == []


def test_f48_the_lock_of_a_killed_process_is_free_at_once(tmp_path):
    holds = (
        "import sys; from pathlib import Path; from engine.run.paper.lock import held\n"
        "with held(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    path = tmp_path / LOCK
    with subprocess.Popen(
        [sys.executable, "-c", holds, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match=f"found process {holder.pid} at work"), held(path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    with held(path):
        pass


POINTS = ("preflight", "reconcile", "require_calendar", "fetch_bars", "decide", "intents_of")


@pytest.fixture
def two(tmp_path, agent):
    """One account and two hosts that trade it, each with a journal of its own."""
    with account(tmp_path / "here", agent) as acc:
        keys = Keys(acc.exchange.key_id, acc.exchange.secret)
        with Gateway(acc.settings.paper, keys, acc.clock) as gateway:
            yield acc, acc.another(tmp_path / "there", gateway=gateway)


@pytest.mark.parametrize("point", POINTS)
def test_f47_two_hosts_that_decide_at_once_send_every_order_once(two, monkeypatch, point):
    # The other host lives its whole look in the midst of ours.
    acc, there = two
    real, looks = getattr(look, point), []

    def interrupted(*args):
        if not looks:
            looks.append(None)
            looks.append(run_cycle(there))
        return real(*args)

    monkeypatch.setattr(look, point, interrupted)
    found = acc.look()
    assert looks[1].state == "waiting"
    assert len(acc.orders) > 1
    assert len({x["symbol"] for x in acc.orders}) == len(acc.orders)
    assert found.state in ("waiting", "halted", "retry")
    if point in ("preflight",):
        assert found.state != "waiting"  # the other's orders were there to be seen
    acc.require_sound()


def test_f47_the_host_that_comes_later_sees_orders_it_does_not_know_and_stops(two):
    acc, there = two
    later = acc.settings.paper.schedule.model_copy(update={"decide_after_close": 240})
    paper = acc.settings.paper.model_copy(update={"schedule": later})
    there.settings = acc.settings.model_copy(update={"paper": paper})
    assert run_cycle(there).state == "waiting"  # nothing is due there yet
    acc.decided()
    sent = len(acc.posts)
    found = run_cycle(there)
    assert found.state == "halted"
    assert "is not ours" in found.message
    acc.open_plus(START)
    acc.look()
    assert run_cycle(there).state == "halted"
    assert len(acc.posts) == sent


def test_f47_a_host_that_knows_the_account_stops_at_the_others_next_orders(two):
    acc, there = two
    acc.decided()
    with Journal(there.folder / JOURNAL, durable=False) as journal:  # an exact copy, from here on
        for entry in acc.entries():
            journal.append(entry.kind, entry.session, entry.body)
    acc.open_plus(START)
    acc.look()
    run_cycle(there)
    acc.close_plus(START)
    acc.look()
    sent = len(acc.posts)
    found = run_cycle(there)
    assert found.state == "halted"
    assert "the venue has this order of ours, the journal does not" in found.message
    assert len(acc.posts) == sent
    acc.require_sound()


def test_f47_a_lease_that_another_host_left_behind_is_waited_for(tmp_path, agent, monkeypatch):
    with account(tmp_path, agent) as acc:
        acc.spoil("status", "/v2/account", status=503, times=4)
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
        assert acc.look().state == "retry"  # begun, never ended
        monkeypatch.undo()
        asked = len(acc.faults.log)
        found = acc.look()
        assert found.state == "retry"
        assert "found elsewhere at work" in found.message
        assert len(acc.faults.log) == asked
        acc.clock.sleep(LEASE.total_seconds())
        acc.decided()
        assert json.dumps([x.kind for x in acc.entries()]).count("decision") == 1
