"""An order whose answer is lost, late, absurd or a refusal: it is looked up, and sent once more at most.

Whole trials over HTTP, judged by the same invariants as after a kill (`tests.kill_oracle`).
"""

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from brokers.exchange.faults import Rule
from tests.kill_oracle import violations
from tests.kill_trials import LOOKUP, ORDERS, Scenario, Trial, scenario_of
from tests.paper_account import sample_bars, staged

HASTY = 0.5  # seconds of real time until an answer counts as lost


def scenario(*rules: Rule, **more) -> Scenario:
    """Four symbols, one decision, whole fills; `rules` are what goes wrong."""
    plain = scenario_of(3, partial=0.0, decisions=1)
    return replace(plain, rules=rules, **more)


def spoilt(action: str, **more) -> Rule:
    return Rule(action=action, method="POST", path=ORDERS, **more)


def posts(trial: Trial) -> Counter[str]:
    return Counter(sent.cid for sent in trial.sent)


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize(
    ("action", "patience"),
    [
        ("accept_then_hang", HASTY),
        ("accept_then_504", None),
        ("accept_then_reset", None),
        ("empty200", None),
        ("truncate", None),
    ],
)
def test_f10_an_order_that_was_accepted_without_an_answer_is_adopted(
    lived, undisturbed, action, patience, nth
):
    trial = lived(scenario(spoilt(action, nth=nth), read_timeout_s=patience))
    assert violations(trial, undisturbed(scenario())) == []
    assert set(posts(trial).values()) == {1}


@pytest.mark.parametrize(("action", "patience"), [("drop", None), ("reset", None), ("hang", HASTY)])
def test_f11_an_order_that_never_arrived_is_sent_once_more_with_its_id(
    lived, undisturbed, action, patience
):
    trial = lived(scenario(spoilt(action), read_timeout_s=patience))
    assert violations(trial, undisturbed(scenario())) == []
    assert sorted(posts(trial).values())[-2:] == [1, 2]


def test_f11_an_order_that_never_arrives_in_its_window_is_missed_and_never_sent_later(lived):
    whole = scenario()
    first, last = whole.looks[0], whole.looks[-1]
    late = last - timedelta(minutes=15 + 3)  # three minutes before the open: too late to send
    trial = lived(scenario(spoilt("reset", times=0), looks=(first, late, last)))
    assert violations(trial) == []
    assert trial.books["orders"] == []
    intents = [body["client_order_id"] for _, body in trial.rows("intent")]
    assert [body["cid"] for _, body in trial.rows("missed")] == intents
    assert len(intents) > 1


def test_f12_an_order_that_arrives_after_its_look_up_is_found_by_the_next(lived, undisturbed):
    trial = lived(scenario(spoilt("hold_until_next"), read_timeout_s=HASTY))
    assert violations(trial, undisturbed(scenario())) == []
    assert set(posts(trial).values()) == {1}


@pytest.mark.parametrize("lookups", [6, 9])
def test_f12_an_order_that_shows_only_after_its_repetition_was_refused_is_adopted(
    lived, undisturbed, lookups
):
    # It arrived late and cannot be seen: all look-ups say 404, the second POST says "not unique".
    def hide(exchange, label):
        symbol = next(x for x in exchange.bars.symbols if x in wanted)
        exchange.hide_order(f"{label}-{scenario().start:%Y%m%d}-{symbol}-1-1", lookups)

    whole = undisturbed(scenario())
    wanted = [order["symbol"] for order in whole.books["orders"]]
    trial = lived(scenario(spoilt("hold_until_next"), arrange=hide, read_timeout_s=HASTY))
    assert violations(trial, whole) == []
    assert sorted(posts(trial).values())[-2:] == [1, 2]
    assert [x.status for x in trial.log if x.method == "POST"].count(422) == 1


@pytest.mark.parametrize("times", [1, 2, 3])
def test_f14_a_429_leaves_the_order_in_doubt_and_every_repetition_has_its_id(
    lived, undisturbed, times
):
    trial = lived(scenario(spoilt("status", status=429, times=times)))
    assert violations(trial, undisturbed(scenario())) == []
    assert max(posts(trial).values()) == times + 1
    assert len(posts(trial)) == len(trial.books["orders"])


@pytest.mark.parametrize(
    ("status", "nth", "times"),
    [(500, 1, 1), (502, 5, 2), (503, 20, 5), (504, 24, 7), (503, 1, 20), (500, 23, 50)],
)
def test_f15_bursts_of_server_errors_end_in_the_same_orders(lived, undisturbed, status, nth, times):
    burst = Rule(
        action="status",
        status=status,
        body="<html>busy</html>",
        path="/v2/.*",
        nth=nth,
        times=times,
    )
    plain = scenario()
    more = tuple(plain.looks[0] + timedelta(minutes=10 * n) for n in range(1, 6))
    looks = (plain.looks[0], *more, *plain.looks[1:])
    trial = lived(replace(plain, rules=(burst,), looks=looks))
    assert violations(trial, undisturbed(plain)) == []
    assert {result["state"] for result in trial.results} <= {"retry", "waiting", "closed"}


def test_f15_an_order_in_doubt_that_cannot_be_looked_up_either_waits_for_the_next_look(
    lived, undisturbed
):
    unseen = Rule(action="status", status=503, method="GET", path=LOOKUP, times=9)
    trial = lived(scenario(spoilt("accept_then_504"), unseen))
    assert violations(trial, undisturbed(scenario())) == []
    assert set(posts(trial).values()) == {1}
    assert "retry" in [result["state"] for result in trial.results]


@pytest.mark.parametrize("more", [0, 1])
def test_f19_an_id_that_is_taken_is_adopted_if_it_is_our_order_and_halts_if_not(
    tmp_path, agent, more
):
    with staged(tmp_path, agent, sample_bars()) as stage:

        def take(seen):
            request = json.loads(seen.body)
            stage.exchange.submit(request | {"qty": str(int(request["qty"]) + more)})

        stage.faults.on("POST", ORDERS, 1, "before", take)
        result = stage.look()
        sent = [seen.cid for seen in stage.faults.log if seen.method == "POST"]
        orders = stage.exchange.dump()["orders"]
        assert not stage.faults.errors
    if more:
        assert result.state == "halted"
        assert "somebody else uses it" in result.message
        assert len(sent) == len(orders) == 1
    else:
        assert result.state == "waiting"
        assert sorted(sent) == sorted(order["client_order_id"] for order in orders)
        assert len(set(sent)) == len(sent) > 1
