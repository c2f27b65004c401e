"""The budget: never more requests in a minute than allowed, and a stop when the venue says so."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.alpaca.budget import LONGEST_WAIT_S, Budget, asked_wait
from engine.clock import FakeClock

START = datetime(2026, 3, 11, 21, 0, tzinfo=UTC)


def waited(clock: FakeClock) -> float:
    return (clock.now() - START).total_seconds()


@given(st.integers(10, 300), st.lists(st.floats(0, 20), max_size=300))
def test_no_sixty_seconds_hold_more_requests_than_the_limit(
    limit: int, pauses: list[float]
) -> None:
    clock = FakeClock(START)
    budget = Budget(limit, clock)
    sent = []
    for pause in [*pauses, *[0.0] * limit]:
        clock.sleep(pause)
        budget.spend()
        sent.append(clock.now())
    for n, at in enumerate(sent[limit:]):
        # a microsecond is what a datetime can hold
        assert at - sent[n] >= timedelta(seconds=60) - timedelta(milliseconds=1)


def test_an_ordinary_burst_does_not_wait() -> None:
    clock = FakeClock(START)
    budget = Budget(150, clock)
    for _ in range(30):  # a fifth of a minute's requests
        budget.spend()
    assert waited(clock) == 0.0
    budget.spend()
    assert waited(clock) == pytest.approx(0.5)  # 120 a minute come back evenly


def test_few_requests_left_at_the_venue_stop_us_until_its_reset() -> None:
    clock = FakeClock(START)
    budget = Budget(150, clock)
    reset = str(int(START.timestamp()) + 40)
    budget.learn(200, {"X-RateLimit-Remaining": "5", "X-RateLimit-Reset": reset})
    budget.spend()
    assert waited(clock) == 0.0
    budget.learn(200, {"X-RateLimit-Remaining": "4", "X-RateLimit-Reset": reset})
    budget.spend()
    assert waited(clock) == 40.0


def test_a_429_stops_every_request_that_follows() -> None:
    clock = FakeClock(START)
    budget = Budget(150, clock)
    budget.learn(429, {"Retry-After": "7"})
    budget.spend()
    assert waited(clock) == 7.0
    budget.spend()
    assert waited(clock) == 7.0


@pytest.mark.parametrize(
    "headers",
    [{"X-RateLimit-Reset": str(int(START.timestamp()) + 10**6)}, {"Retry-After": "9" * 15}],
)
def test_a_wait_out_of_all_proportion_is_cut_to_a_minute_once(headers: dict[str, str]) -> None:
    # The venue counts by the minute; its clock, or ours, is wrong.
    clock = FakeClock(START)
    budget = Budget(150, clock)
    budget.learn(429, headers)
    budget.spend()
    budget.spend()
    assert waited(clock) == LONGEST_WAIT_S


def test_a_clock_that_steps_back_does_not_prolong_a_wait_beyond_a_minute() -> None:
    clock = FakeClock(START)
    budget = Budget(150, clock)
    budget.learn(429, {"Retry-After": "60"})
    clock._at -= timedelta(hours=5)
    before = clock.now()
    budget.spend()
    assert (clock.now() - before).total_seconds() == LONGEST_WAIT_S


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "12"}, 12.0),
        ({"Retry-After": "Wed, 11 Mar 2026 21:00:30 GMT"}, 30.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "Wed, 11 Mar 2026 21:00:30"}, None),  # no zone
        ({"Retry-After": "9" * 400}, None),
        ({"X-RateLimit-Reset": str(int(START.timestamp()) + 9)}, 9.0),
        ({"Retry-After": "3", "X-RateLimit-Reset": "9999999999"}, 3.0),
        ({"X-RateLimit-Reset": "²"}, None),
    ],
)
def test_what_an_answer_asks_us_to_wait_is_read_or_ignored(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert asked_wait(headers, START) == seconds
