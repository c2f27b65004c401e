"""Positions that were there before the agent: adopted when asked, never sold for want of bars."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from engine.run.paper.cycle import run_cycle
from tests.paper_account import sample_bars, staged


def test_adopted_position_without_enough_bars_halts_instead_of_being_sold(tmp_path, agent):
    bars = sample_bars()
    start = date(2010, 1, 4)
    late = bars.sessions < np.datetime64(start - timedelta(days=3))  # AAPL is listed after these
    ohlcv, traded = bars.ohlcv.copy(), bars.traded.copy()
    ohlcv[late, 0], traded[late, 0] = np.nan, False
    short = replace(bars, ohlcv=ohlcv, traded=traded)
    with staged(tmp_path / "account", agent, short, start, adopt=True) as stage:
        stage.open_plus(start)
        stage.exchange.external_fill("AAPL", 5)
        stage.close_plus(start)
        result = run_cycle(stage.room)
        assert result.state == "halted", result.message
        assert "adopted position" in result.message
        assert stage.exchange.dump()["qty"] == {"AAPL": 5.0}


def test_position_is_not_adopted_unasked(tmp_path, agent):
    bars = sample_bars()
    with staged(tmp_path / "account", agent, bars) as stage:
        stage.open_plus(date(2010, 1, 4))
        stage.exchange.external_fill("AAPL", 5)
        stage.close_plus(date(2010, 1, 4))
        result = run_cycle(stage.room)
        assert result.state == "halted"
        assert "paper.adopt = true" in result.message
