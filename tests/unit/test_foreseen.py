"""Books that share a memory computed ahead do what each does alone on its own, bar by bar."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from agents import export
from agents.checkpoint import Writer
from engine import foreseen
from engine.bars import Bars
from engine.costs import Costs, CostsByBook
from engine.foreseen import ForeseenPolicy, foresee
from engine.observation import market_part
from engine.run import replay as room
from engine.run.record import SEEN
from engine.run.replay import replay
from engine.step import StepPolicy
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue
from tests.markets import made_up
from tests.policies import Follower
from tests.rollouts import Parts

COSTS = tuple(Costs(rate=bps * 1e-4, slippage_bps=2.0) for bps in (0, 10, 200))
FIRST, LAST = 100, 259


@cache
def bars() -> Bars:
    """Symbols that miss sessions, list late (one after the first decision), split and pay."""
    return made_up(21, sessions=260, gaps=0.08, late=60)


@cache
def deployed(**options: str) -> tuple[StepPolicy, TraderSpec]:
    parts = Parts(action="continuous", shorts=False, **options)  # type: ignore[arg-type]
    spec = replace(parts.spec, allocation=1.0 / 3)
    return StepPolicy(Writer(parts.net).graph(), parts.info), spec


def together(policy: StepPolicy, spec: TraderSpec) -> list[dict[str, np.ndarray]]:
    rules = CostsByBook(COSTS)
    trader = Trader(spec, policy, 3, len(COSTS), rules)
    record = replay(trader, SimVenue(1e5, (len(COSTS), 3), rules), bars(), FIRST, LAST)
    assert trader.policy is policy
    return [one.arrays() for one in record.apart()]


def alone(policy: StepPolicy, spec: TraderSpec, costs: Costs) -> dict[str, np.ndarray]:
    trader = Trader(replace(spec, costs=costs), policy, 3)
    return replay(trader, SimVenue(1e5, (1, 3), costs), bars(), FIRST, LAST).arrays()


def asked(policy: StepPolicy, spec: TraderSpec) -> ForeseenPolicy | None:
    rows, fresh = spec.features.history(bars())
    return foresee(policy, market_part(rows, spec.scaler), fresh, 3)


@pytest.mark.parametrize("written", ["shortened", "as the exporter wrote it"])
def test_every_book_does_what_it_does_alone_through_gaps_and_late_listings(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, spec = deployed()
    if written != "shortened":  # as checkpoints of before have it
        monkeypatch.setattr(export, "is_plain", lambda net: False)
        policy, spec = deployed.__wrapped__()
    used: list[ForeseenPolicy | None] = []

    def noted(*what: object) -> ForeseenPolicy | None:
        used.append(foresee(*what))  # type: ignore[arg-type]
        return used[-1]

    monkeypatch.setattr(room, "foresee", noted)
    monkeypatch.setattr(foreseen, "ROWS", 100)  # several runs of the LSTM, one after the other
    books = together(policy, spec)
    assert [type(found) for found in used] == [ForeseenPolicy]
    for costs, found in zip(COSTS, books, strict=True):
        expected = alone(policy, spec, costs)
        assert found.keys() == expected.keys() - set(SEEN)
        for name, values in found.items():
            assert np.array_equal(values, expected[name], equal_nan=True), (costs, name)
    assert (books[0]["filled"] != 0).sum() > 20
    assert not np.array_equal(books[0]["qty"], books[-1]["qty"])


def test_memory_one_row_late_is_seen_in_what_books_do(monkeypatch: pytest.MonkeyPatch) -> None:
    # planted, behind the check of bits, which would refuse it
    def late(trunk: object, rows: np.ndarray, hidden: int) -> np.ndarray:
        return np.roll(outputs(trunk, rows, hidden), 1, axis=0)

    policy, spec = deployed()
    good, outputs = together(policy, spec), foreseen._outputs
    monkeypatch.setattr(foreseen, "_outputs", late)
    monkeypatch.setattr(foreseen, "_same_bits", lambda *what: True)
    assert not np.array_equal(together(policy, spec)[0]["qty"], good[0]["qty"])


@pytest.mark.parametrize("change", [lambda x: np.nextafter(x, np.float32(2)), lambda x: x * np.nan])
def test_outputs_of_other_bits_or_none_are_not_used(
    change: Callable[[np.ndarray], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, spec = deployed()
    assert asked(policy, spec) is not None
    outputs = foreseen._outputs
    monkeypatch.setattr(foreseen, "_outputs", lambda *what: change(outputs(*what)))
    assert asked(policy, spec) is None


@pytest.mark.parametrize("options", [{"book_input": "lstm"}, {"memory": "window(2)"}])
def test_memory_that_is_not_one_lstm_over_bars_alone_is_not_foreseen(
    options: dict[str, str],
) -> None:
    assert asked(*deployed(**options)) is None


def test_nothing_is_foreseen_where_it_would_be_too_much_to_keep_or_there_is_no_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy, spec = deployed()
    rows, fresh = spec.features.history(bars())
    assert foresee(Follower(), market_part(rows, spec.scaler), fresh, 3) is None
    assert foresee(policy, market_part(rows, spec.scaler), np.zeros_like(fresh), 3) is None
    monkeypatch.setattr(foreseen, "MOST_NUMBERS", 1_000)
    assert asked(policy, spec) is None
