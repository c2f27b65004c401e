"""The page and the terminal table."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import pytest
from rich.console import Console

from engine.report.folder import RunFolder, stacked
from engine.report.page import render, write_page
from engine.report.shell import LIBRARY
from engine.report.terminal import print_run
from tests import made_up_run
from tests.made_up_run import FOUR_DAYS as DAYS
from tests.made_up_run import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_up_run.write(tmp_path_factory.mktemp("run") / "demo")


@pytest.fixture(scope="module")
def page(folder):
    return write_page(folder).read_text(encoding="utf-8")


# The page --------------------------------------------------------------------------------------


class Seen(HTMLParser):
    """Collects tags with attributes, and the text of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self._inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag == "script" and dict(attrs).get("type") is None
        if self._inside:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.scripts[-1] += data


def test_page_points_nowhere_but_to_the_maker_of_the_charts(page):
    links = [
        attrs.get(key)
        for _, attrs in Seen(page).tags
        for key in ("src", "href", "action", "data", "srcset", "poster")
        if attrs.get(key)
    ]
    assert sorted(set(links)) == ["#numbers", "data:,", "https://www.tradingview.com/"]
    assert "@import" not in page
    assert "url(" not in LIBRARY.parent.parent.joinpath("page.css").read_text()


def test_policy_of_the_page_allows_its_own_scripts_by_hash_and_nothing_else(page):
    seen = Seen(page)
    policy = next(a["content"] for t, a in seen.tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert len(seen.scripts) == 2
    digests = [hashlib.sha256(script.encode()).digest() for script in seen.scripts]
    hashes = [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    assert f"script-src {' '.join(hashes)};" in policy
    assert "script-src 'unsafe-inline'" not in policy


def test_everything_a_person_wrote_is_escaped(tmp_path):
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\u2028"
    bars = stacked(DAYS, [bad], open=1.0, high=1.0, low=1.0, close=1.0, traded=True)
    text = render(
        small(
            tmp_path,
            summary={"title": bad, "agent": bad, "warnings": [bad], "checks": [bad]},
            data={"symbols": [bad], "source": bad, "notes": [bad], "price_basis": bad},
            settings={bad: {bad: bad}},
            versions={bad: bad},
            bars=bars,
            refusals={"session": DAYS[:1], "symbol": [bad], "reason": [bad], "qty": [1.0]},
        ).read()
    )
    seen = Seen(text)
    assert "alert(1)</script>" not in text
    assert not [tag for tag, _ in seen.tags if tag == "img"]
    assert len(seen.scripts) == 2
    data = re.search(r'<script type="application/json" id="run">(.*?)</script>', text, re.S)
    assert json.loads(data.group(1))["prices"][0]["symbol"] == bad


def test_page_shows_warnings_before_any_number_and_keeps_the_disclaimer(page):
    assert page.index("Read this first") < page.index('id="numbers-title"')
    assert "No promise of profit" in page
    assert page.index("No promise of profit") < page.index("Read this first")


def test_every_metric_on_the_page_has_its_definition(page):
    assert "Mean return per bar above the risk-free rate" in page
    assert "sqrt(252)" in page


def test_page_says_what_the_result_proves_and_what_was_tried(page):
    words = re.sub(r"<[^>]+>|\s+", " ", page)
    proof = words[words.index("What it proves") : words.index("Equity, drawdown, exposure")]
    for part in (
        "No evidence of an edge.",
        "Deflated Sharpe ratio 0.",
        "after 15 trials, 0.95 needed",
        "open Memoryless twin not run",
        "15, effective 13.5",
        "Trainings and evaluations: 4.",
        "a value below 0.5 proves nothing. 12 checkpoints, 2008-01-02 to 2009-08-05, 16 blocks.",
        "Autocorrelation, lag 1",
    ):
        assert part in re.sub(r" +", " ", proof), part
    assert words.index("No evidence of an edge: deflated") < words.index("Read this first")


def test_curves_alone_make_a_page(tmp_path):
    equity = {"session": DAYS, "agent": [100.0, 101.0, 99.0, 100.0]}
    RunFolder(tmp_path).write(equity=equity)
    text = write_page(tmp_path).read_text(encoding="utf-8")
    assert "not complete, missing" in text
    assert tmp_path.name in text
    assert "What it proves" not in text


def test_page_of_four_symbols_and_three_years_stays_under_600_kilobytes(page):
    assert len(page.encode()) < 600_000


def test_refusals_that_were_not_recorded_are_not_called_none(tmp_path):
    assert "Not recorded by this run" in render(small(tmp_path).read())
    none = {name: [] for name in ("session", "symbol", "reason", "qty")}
    assert "None was recorded" in render(small(tmp_path, refusals=none).read())


def test_same_folder_gives_the_same_page(folder, page):
    assert render(RunFolder(folder).read()) == page


def test_vendored_charts_are_unchanged_and_their_notice_is_on_the_page(page):
    notice = (LIBRARY.parent / "NOTICE.txt").read_text()
    assert hashlib.sha256(LIBRARY.read_bytes()).hexdigest() in notice
    assert "Apache License" in (LIBRARY.parent / "LICENSE-lightweight-charts.txt").read_text()
    assert "TradingView Lightweight Charts" in page
    assert "Apache License 2.0" in page


# The terminal ----------------------------------------------------------------------------------


def printed(folder):
    console = Console(width=100, file=io.StringIO())
    print_run(folder, console)
    return console.file.getvalue()


def test_terminal_table_fits_a_hundred_columns_and_shows_every_account(folder, page):
    lines = printed(folder).splitlines()
    table = [line for line in lines if not line.startswith("Report: ")]
    assert max(map(len, table)) <= 100
    assert "\u2026" not in "".join(table)
    for name in ("Agent", "Buy and hold", "Flat", "Equal weight, monthly"):
        assert any(line.strip().startswith(name) for line in table)
    assert any("n/a" in line for line in table)
    assert f"Report: {folder / 'report.html'}" in lines


def test_terminal_says_beneath_the_table_what_it_proves(folder):
    text = " ".join(printed(folder).split())
    assert "(DSR), trials 15, effective 13.5; probability of overfitting 0." in text
    assert "No evidence of an edge: deflated Sharpe ratio 0." in text
    assert "memoryless twin not run." in text


def test_terminal_prints_markup_in_names_as_text(tmp_path):
    text = printed(small(tmp_path, summary={"title": "[red]x[/nothing]"}).path)
    assert "[red]x[/nothing]" in text
