"""Parity to the end: the live loop against the loopback exchange is the backtest, bit for bit."""

from datetime import date

import numpy as np
import pytest

from engine import clock as time
from engine.bars import Bars
from engine.journal import Journal
from engine.run.backtest import through_backtrader
from engine.run.paper.decide import unpack
from engine.run.paper.room import CALENDAR, JOURNAL
from engine.run.record import Recorder
from engine.trader import Trader
from engine.venue import SimVenue
from tests.paper_account import Stage, sample_bars, staged

BEGIN = date(2009, 12, 31)
SESSIONS = 30


@pytest.fixture(scope="module")
def bars() -> Bars:
    return sample_bars()


def days(count: int) -> list[date]:
    found = time.sessions(CALENDAR, BEGIN, date(2012, 12, 31))
    return [day.item() for day in found[:count]]


def backtest(stage: Stage, bars: Bars, last: date) -> Recorder:
    policy = stage.room.policy()
    spec = stage.room.spec(policy.info)
    trader = Trader(spec, policy, len(bars.symbols))
    venue = SimVenue(100_000.0, (1, len(bars.symbols)), spec.costs, spec.venue)
    return through_backtrader(bars, trader, venue, bars.index_of(BEGIN), bars.index_of(last))


def test_paper_sessions_equal_the_backtest_bit_for_bit(tmp_path, bars, agent):
    with staged(tmp_path, agent, bars) as stage:
        stage.look()
        for session in days(SESSIONS)[1:]:
            results = stage.session(session)
            assert {result.state for result in results} <= {"closed", "waiting"}
        expected = backtest(stage, bars, days(SESSIONS)[-1])
        cash = stage.exchange.dump()["cash"]
    with Journal(tmp_path / JOURNAL) as journal:
        decisions = list(journal.entries("decision"))
    assert len(decisions) == len(expected.rows) == SESSIONS
    assert sum((row["filled"] != 0).sum() for row in expected.rows) > SESSIONS
    for entry, row in zip(decisions, expected.rows, strict=True):
        body = entry.body
        assert body["orders"] == row["order_qty"].tolist()
        assert body["filled"] == row["filled"].tolist()
        assert body["equity"] == float(row["equity"])
        assert (unpack(body["memory"])[0] == row["memory"]).all()
        assert (unpack(body["seen_market"]) == row["market"]).all()
        assert (unpack(body["seen_book"]) == row["book"]).all()
    # What the exchange holds in cash is ours before the modelled commissions, to the cent.
    fees = np.sum([row["fee"].sum() for row in expected.rows])
    assert cash == pytest.approx(float(expected.rows[-1]["cash"]) + fees, abs=0.005)
