"""The table of answers to an order: accepted, refused, in doubt, denied, and nothing else."""

from datetime import date

import numpy as np
import pytest

from brokers.alpaca.answers import is_missing, judge_order, may_repeat, unanswered
from brokers.alpaca.records import Accepted, Denied, InDoubt, Intent, Refused
from brokers.alpaca.transport import NoReply, Reply, read_json
from engine.errors import TradingHalted, VenueUnavailable
from tests.alpaca_bodies import ORDER, spoiled

INTENT = Intent("barwise-1", date(2026, 3, 11), "AAPL", 10.0)


def reply(status: int, text: str = "") -> Reply:
    return Reply(status, read_json(text), text, {})


def refusal(code: object, message: str = "no") -> str:
    import json

    return json.dumps({"code": code, "message": message})


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (403, refusal(40310000, "insufficient buying power")),
        (422, refusal(42210000, 'asset "X" is not tradable')),
        (422, refusal(40010001, "qty must be > 0")),
        (404, refusal(40410000, "not found")),
        (400, refusal("40010000", "bad")),
    ],
)
def test_a_refusal_with_a_code_is_definite_and_keeps_its_words(status: int, text: str) -> None:
    answer = judge_order(reply(status, text), INTENT)
    assert isinstance(answer, Refused)
    assert answer.status == status
    assert answer.code == int(read_json(text)["code"])
    assert answer.message == read_json(text)["message"]


@pytest.mark.parametrize(
    ("status", "text"),
    [(401, ""), (401, refusal(40110000)), (401, "<html>"), (403, '{"message":"forbidden."}')],
)
def test_credentials_and_entitlement_are_denied(status: int, text: str) -> None:
    answer = judge_order(reply(status, text), INTENT)
    assert isinstance(answer, Denied)
    assert answer.status == status


@pytest.mark.parametrize("status", [100, 300, 301, 302, 307, 308, 402, 405, 408, 409, 410, 425])
@pytest.mark.parametrize("text", ["", "<html>", refusal(40310000), refusal(50010000)])
def test_m5_every_status_not_in_the_table_leaves_doubt(status: int, text: str) -> None:
    assert isinstance(judge_order(reply(status, text), INTENT), InDoubt)


@pytest.mark.parametrize("status", [429, 500, 501, 502, 503, 504, 520, 599])
@pytest.mark.parametrize("text", ["", "<html>", refusal(42910000), refusal(50010000)])
def test_f14_f15_a_full_or_failing_venue_leaves_doubt(status: int, text: str) -> None:
    assert isinstance(judge_order(reply(status, text), INTENT), InDoubt)


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize("text", ["", "<html>", "{}", "[]", '{"message": "no"}', refusal(None)])
def test_a_refusal_without_a_code_leaves_doubt(status: int, text: str) -> None:
    assert isinstance(judge_order(reply(status, text), INTENT), InDoubt)


def test_f19_a_known_client_order_id_is_no_refusal() -> None:
    text = refusal(40010001, "client_order_id must be unique")
    assert isinstance(judge_order(reply(422, text), INTENT), InDoubt)


def test_no_answer_leaves_doubt() -> None:
    assert judge_order(NoReply("ReadTimeout"), INTENT) == InDoubt("ReadTimeout")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_order_id": "barwise-2"},
        {"symbol": "MSFT"},
        {"side": "sell"},
        {"qty": "9"},
        {"qty": None},
        {"id": None},
        {"status": None},
    ],
)
def test_a_success_about_another_order_leaves_doubt(changes: dict) -> None:
    import json

    assert isinstance(judge_order(reply(200, json.dumps(ORDER)), INTENT), Accepted)
    other = json.dumps(ORDER | changes)
    assert isinstance(judge_order(reply(200, other), INTENT), InDoubt)


def test_a_success_is_compared_with_what_was_sent_not_with_what_was_wanted() -> None:
    import json

    wanted = Intent("barwise-1", date(2026, 3, 11), "AAPL", 0.1 + 0.2)
    text = json.dumps(ORDER | {"qty": "0.3", "filled_qty": "0"})
    assert isinstance(judge_order(reply(201, text), wanted), Accepted)


def test_f17_no_spoiled_success_is_taken_for_another_order_or_for_a_no() -> None:
    rng = np.random.default_rng(17)
    accepted = 0
    for _ in range(2_000):
        answer = judge_order(reply(200, spoiled(ORDER, rng)), INTENT)
        assert isinstance(answer, Accepted | InDoubt)
        if isinstance(answer, Accepted):
            found = answer.order
            accepted += 1
            assert (found.client_order_id, found.symbol, found.qty) == ("barwise-1", "AAPL", 10.0)
    assert accepted > 200


def test_only_the_venue_itself_can_say_that_something_is_missing() -> None:
    assert is_missing(reply(404, refusal(40410000)))
    for text in ("", "<html>404", '{"message": "not found"}', "null"):
        assert not is_missing(reply(404, text))
    assert not is_missing(reply(422, refusal(40410000)))


@pytest.mark.parametrize(
    ("status", "again"),
    [(408, True), (429, True), (500, True), (504, True), (200, True), (301, False), (401, False),
     (403, False), (404, False), (422, False)],
)  # fmt: skip
def test_a_question_is_repeated_only_where_that_may_help(status: int, again: bool) -> None:
    assert may_repeat(reply(status)) is again


def test_a_question_denied_halts_and_any_other_failure_waits() -> None:
    assert isinstance(unanswered(reply(401), "GET /account"), TradingHalted)
    assert isinstance(unanswered(reply(403, refusal(42210000)), "GET /x"), TradingHalted)
    assert isinstance(unanswered(reply(500), "GET /account"), VenueUnavailable)
    assert isinstance(unanswered(NoReply("reset"), "GET /account"), VenueUnavailable)
    assert "GET /account: reset" in str(unanswered(NoReply("reset"), "GET /account"))


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", '{"a": Infinity}', "[" * 10**5, "9" * 5_000, "<p>"]
)
def test_a_body_that_is_no_plain_json_says_nothing(text: str) -> None:
    assert read_json(text) is None
