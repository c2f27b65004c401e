"""The same seed twice is the same journal, byte by byte, also where orders were in doubt."""

import sqlite3
from contextlib import closing
from datetime import date

from brokers.exchange.faults import Rule
from engine.run.paper.room import JOURNAL
from engine.settings_paper import ExchangeSettings
from tests.kill_trials import ORDERS
from tests.paper_account import sample_bars, staged

SESSIONS = (date(2010, 1, 4), date(2010, 1, 5), date(2010, 1, 6))


def entries(folder, agent, seed):
    """Live three sessions with partial fills and lost answers; return every row of the journal."""
    settings = ExchangeSettings(seed=seed, partial_fills=1.0, spread_bps=2.0)
    with staged(folder, agent, sample_bars(), exchange_settings=settings) as stage:
        for action, nth in (("accept_then_504", 1), ("reset", 3), ("html200", 5)):
            stage.faults.add(Rule(action=action, method="POST", path=ORDERS, nth=nth))
        stage.faults.add(Rule(action="drop", method="GET", path="/v2/positions", nth=3))
        stage.look()
        for session in SESSIONS:
            stage.session(session)
    with closing(sqlite3.connect(folder / JOURNAL)) as file:
        return file.execute("SELECT * FROM entries ORDER BY id").fetchall()


def test_the_same_seed_writes_the_same_journal_byte_by_byte(tmp_path, agent):
    folders = [tmp_path / name for name in ("first", "again", "other")]
    first, again, other = (
        entries(folder, agent, seed) for folder, seed in zip(folders, (7, 7, 8), strict=True)
    )
    kinds = {row[2] for row in first}
    assert {"opened", "bars", "decision", "intent", "order", "fill", "closed"} <= kinds
    assert first == again
    assert first != other
