"""A paper account beside the backtest of its own bars: equal, or told where it is not."""

import json
from datetime import date
from itertools import pairwise

import pytest

from engine import clock as time
from engine.cli import run
from engine.journal import Journal
from engine.run.paper.against import replays, told
from engine.run.paper.compare import life_of
from engine.run.paper.lived import lived, record_of
from engine.run.paper.room import CALENDAR, JOURNAL
from engine.settings_paper import ExchangeSettings
from tests.paper_account import sample_bars, staged

BEGIN = date(2009, 12, 31)
MODELLED, REAL = 2.0, 14.0  # half spreads, bps


def live(folder, agent, sessions, exchange, missed=None):
    """Live through sessions, one evening and morning slept through; return settings and news."""
    found = [x.item() for x in time.sessions(CALENDAR, BEGIN, date(2012, 12, 31))[:sessions]]
    with staged(folder, agent, sample_bars(), exchange_settings=exchange) as stage:
        news = [stage.look().news]
        for before, day in pairwise(found):
            looks = [(stage.open_plus, 15)]  # leftovers are canceled in any case
            looks = [(stage.open_plus, -30), *looks] if before != missed else looks
            looks = [*looks, (stage.close_plus, 20)] if day != missed else looks
            for wait, minutes in looks:
                wait(day, minutes)
                news.append(stage.look().news)
        return stage.settings, news


@pytest.fixture(scope="module")
def partly(tmp_path_factory, agent):
    """Return an account with partial fills at the modelled prices, and one night slept through."""
    folder = tmp_path_factory.mktemp("partly")
    exchange = ExchangeSettings(partial_fills=0.5, seed=1, spread_bps=MODELLED)
    settings, _ = live(folder, agent, 9, exchange, missed=date(2010, 1, 7))
    return folder, settings


def test_missing_fills_and_a_missed_night_are_the_whole_difference(partly):
    folder, settings = partly
    found, plain = told(life_of(folder), settings)
    agreed, counts = found["agreement"], found["counts"]
    assert agreed["explained"]["actions"] == [36, 36]  # 9 sessions, 4 symbols
    same, of = agreed["explained"]["orders"]
    assert same == of > 10
    assert agreed["plain"]["orders"][0] < agreed["plain"]["orders"][1]
    assert found["tracking"]["explained"] == pytest.approx(0.0, abs=1e-12)
    assert found["tracking"]["error"] > 0.001
    assert found["gap"]["all"]["mean"] == pytest.approx(0.0, abs=1e-9)
    assert plain is not None
    assert counts["decisions made"] == 8
    assert counts["sessions whose orders were never sent"] == 1
    assert counts["decisions missed, memory caught up"] == 1
    assert counts["filled in part"] > 3
    assert counts["sent twice"] == counts["reconciliation differences"] == counts["halts"] == 0
    over = counts["filled whole"] + counts["filled in part"] + counts["ended unfilled"]
    waiting = sum(bool(x) for x in life_of(folder).decided[-1].body["orders"])
    assert counts["orders sent"] == over + waiting


def test_record_of_a_journal_holds_the_books_of_every_decision(partly):
    folder, settings = partly
    life = life_of(folder)
    record = record_of(life)
    _, explained = replays(life, settings)
    ours, theirs = record.arrays(), explained.arrays()
    for name in ("equity", "qty", "mark", "cash", "filled", "fee"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-6), name


def test_account_of_an_agent_that_is_gone_has_its_gap_and_says_why_not_the_rest(partly, tmp_path):
    folder, settings = partly
    gone = settings.paper.model_copy(update={"checkpoint": "champion"})
    registry = settings.registry.model_copy(update={"dir": str(tmp_path / "none")})
    without = settings.model_copy(update={"paper": gone, "registry": registry})
    found, plain = told(life_of(folder), without)
    assert plain is None
    assert found["agreement"] is found["tracking"] is None
    assert str(tmp_path / "none") in found["why"]["agreement"]
    assert found["gap"]["all"]["fills"] > 10


def test_command_writes_a_page_with_the_numbers(partly, tmp_path, capsys):
    _, settings = partly
    config = tmp_path / "settings.json"
    tree = settings.model_dump(mode="json", exclude_unset=True)
    tree["paper"].pop("trading_url")
    tree["paper"].pop("data_url")
    config.write_text(json.dumps(tree))
    assert run(["paper", "compare", str(config), "--out", str(tmp_path / "page")]) == 0
    shown = capsys.readouterr().out
    assert "Decisions agree, explained" in shown
    assert "100" in shown
    page = (tmp_path / "page" / "report.html").read_text()
    assert "Paper against backtest" in page
    assert "paper trading report" in page
    assert "n/a: " not in shown.split("Tracking error")[0] or "ten sessions" in shown
    assert run(["report", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page" / "report.html").read_text() == page


def test_fills_dearer_than_modelled_are_measured_and_warned_of(tmp_path, agent):
    # Half a spread of 14 bps where 2 are modelled: a buyer pays 1.0014 / 1.0002, 12.0 bps more.
    exchange = ExchangeSettings(partial_fills=0.0, spread_bps=REAL)
    settings, news = live(tmp_path, agent, 13, exchange)
    found, _ = told(life_of(tmp_path), settings)
    assert found["gap"]["all"]["mean"] == pytest.approx(12.0, abs=0.01)
    assert found["gap"]["interval"]["low"] == pytest.approx(12.0, abs=0.02)
    assert found["drift"]["warned"] >= 2
    last = found["drift"]["last"]
    assert "fills cost 12.0 bps more than modelled" in last["warnings"][-1]
    assert any("drift: fills cost" in text for text in news)
    with Journal(tmp_path / JOURNAL) as journal:
        entries = list(journal.entries())
    assert not [entry for entry in entries if entry.kind == "halted"]  # it only warns
    early = lived(entries[: [x.kind for x in entries].index("closed")])
    assert early.decided[-1].body["drift"]["why"]["gap"].startswith("fills of 10 sessions")
