"""One replay of many books: each pays its own costs and does what it would do alone, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.bars import Bars
from engine.costs import Costs
from engine.run import relay as room
from engine.run.backtest import new_venue
from engine.run.record import SEEN, Recorder
from engine.run.relay import Turn, relay, relay_at_costs
from engine.settings import Settings, build
from engine.step import StepPolicy
from tests.paper_account import sample_bars

SWEPT = tuple(Costs(rate=bps * 1e-4, slippage_bps=2.0) for bps in (0, 5, 10, 25, 300))


@pytest.fixture(scope="module")
def bars() -> Bars:
    return sample_bars()


@pytest.fixture(scope="module")
def turns(agent: Path, bars: Bars) -> list[Turn]:
    """The same agent twice: its memory starts anew in between, the books go on."""
    last = len(bars.sessions) - 1
    return [Turn(agent, last - 160, last - 71), Turn(agent, last - 70, last)]


def settings_at(costs: Costs, cash: str = "margin") -> Settings:
    """Settings under which only the costs differ; a cash account refuses what it cannot pay."""
    return build({"costs": costs.model_dump(), "venue": {"account": cash}}, "")


def alone(costs: Costs, account: str, turns: list[Turn], bars: Bars) -> Recorder:
    settings = settings_at(costs, account)
    return relay(settings, bars, turns, new_venue(settings, bars))


@pytest.mark.parametrize("account", ["margin", "cash"])
def test_every_book_does_what_it_does_alone(turns: list[Turn], bars: Bars, account: str) -> None:
    together = relay_at_costs(settings_at(SWEPT[0], account), bars, turns, SWEPT)
    for costs, one in zip(SWEPT, together, strict=True):
        apart = alone(costs, account, turns, bars)
        assert one.sessions == apart.sessions
        expected = apart.arrays()
        assert one.arrays().keys() == expected.keys() - set(SEEN)
        for name, found in one.arrays().items():
            assert np.array_equal(found, expected[name], equal_nan=True), (costs, name)
            rows = np.stack([row[name] for row in one.rows])
            assert np.array_equal(rows, expected[name], equal_nan=True), (costs, name)
        one.rows[-1]["fee"] = (
            one.rows[-1]["fee"] + 1.0
        )  # rows are the record once they are asked for
        assert (one.arrays()["fee"][-1] == expected["fee"][-1] + 1.0).all()
    fees = [one.arrays()["fee"][:-1].sum() for one in together]
    assert fees[0] == 0.0
    assert (np.diff(fees) > 0).all()  # they traded, and paid their own


def test_books_that_share_a_venue_but_not_its_costs_part_ways(
    turns: list[Turn], bars: Bars
) -> None:
    # Control: were the costs of the first book everyone's, nothing above would tell.
    free, dear = relay_at_costs(settings_at(SWEPT[0]), bars, turns, (SWEPT[0], SWEPT[-1]))
    assert free.arrays()["equity"][-1] > dear.arrays()["equity"][-1]
    assert not np.array_equal(free.arrays()["qty"], dear.arrays()["qty"])


def test_network_whose_rows_lean_on_one_another_is_played_book_by_book(
    turns: list[Turn], bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, widest = StepPolicy.run, [0]

    def leaning(self: StepPolicy, *inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        head, memory = run(self, *inputs)
        widest[0] = max(widest[0], len(head) if playing else 0)
        return head + np.float32(1e-7) * len(head), memory  # what more rows may do to the last bit

    playing, probe = False, room._rows_stand_alone

    def probed(*asked: Any) -> bool:
        nonlocal playing
        found = probe(*asked)
        playing = not found
        return found

    monkeypatch.setattr(StepPolicy, "run", leaning)
    monkeypatch.setattr(room, "_rows_stand_alone", probed)
    together = relay_at_costs(settings_at(SWEPT[0]), bars, turns, SWEPT[:2])
    assert widest[0] == 1
    for costs, one in zip(SWEPT, together, strict=False):
        expected = alone(costs, "margin", turns, bars).arrays()
        assert np.array_equal(one.arrays()["equity"], expected["equity"])
