"""The run folder, the page and the terminal table."""

import base64
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from engine.account import Account
from engine.errors import DataError
from engine.metrics import summarise
from engine.report.cautions import cautions
from engine.report.charts import chart_data
from engine.report.folder import RunFolder, atomic, stacked
from engine.report.formats import plain_name, shown
from engine.report.page import LIBRARY, render, write_page
from engine.report.sections import action_mix, metric_rows, monthly, trip_rows
from engine.report.terminal import print_run
from tests import made_up_run

DAYS = np.array(["2020-01-30", "2020-01-31", "2020-02-28", "2021-01-04"], dtype="datetime64[D]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_up_run.write(tmp_path_factory.mktemp("run") / "demo")


@pytest.fixture(scope="module")
def page(folder):
    return write_page(folder).read_text(encoding="utf-8")


def small(path, agent=(100.0, 110.0, 99.0, 108.9), **parts):
    """Write a run of four sessions; `parts` replace or add."""
    rival = np.array([100.0, 101.0, 102.0, 103.02])
    agent = np.array(agent)
    found = summarise(DAYS, Account(agent), {"buy_and_hold": Account(rival)})
    equity = {"session": DAYS, "agent": agent, "buy_and_hold": rival}
    RunFolder(path).write(**{"metrics": found, "equity": equity, "summary": {"name": "x"}, **parts})
    return RunFolder(path)


# The folder ------------------------------------------------------------------------------------


def test_tables_come_back_exactly_as_they_were_written(tmp_path):
    equity = {"session": DAYS, "agent": np.array([0.1 + 0.2, 1 / 3, 1e-300, 5e20])}
    bars = stacked(
        DAYS, ["A", "B"], open=np.pi, high=4.0, low=np.nan, close=3.5, traded=[True, False]
    )
    run = small(tmp_path, equity=equity, bars=bars).read()
    assert (run.equity["agent"] == equity["agent"]).all()
    assert (run.equity["session"] == DAYS).all()
    assert run.bars["symbol"].tolist() == ["A", "B"] * 4
    assert run.bars["traded"].tolist() == [True, False] * 4
    assert np.isnan(run.bars["low"]).all()
    assert (run.bars["open"] == np.pi).all()


def test_text_with_commas_quotes_and_lines_survives(tmp_path):
    reason = 'more than "allowed", by far\nand twice'
    refusals = {"session": DAYS[:1], "symbol": ["A,B"], "reason": [reason], "qty": [3.0]}
    run = small(tmp_path, refusals=refusals).read()
    assert (run.refusals["reason"][0], run.refusals["symbol"][0]) == (reason, "A,B")


def test_column_named_like_a_flag_is_a_number_in_a_wide_table(tmp_path):
    exposure = {"session": DAYS, "gross": [0.5] * 4, "net": [0.5] * 4, "keep": [0.25] * 4}
    assert small(tmp_path, exposure=exposure).read().exposure["keep"].tolist() == [0.25] * 4


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "equity.csv"
    target.write_text("old")

    def write_half():
        with atomic(target) as file:
            file.write("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("equity.csv", "old")]


def test_unknown_part_missing_column_and_unequal_lengths_are_refused(tmp_path):
    folder = RunFolder(tmp_path)
    with pytest.raises(DataError, match="no part named 'equityy'"):
        folder.write(equityy={})
    with pytest.raises(DataError, match="missing: agent"):
        folder.write(equity={"session": DAYS})
    with pytest.raises(DataError, match="of one length"):
        folder.write(equity={"session": DAYS, "agent": [1.0]})
    with pytest.raises(DataError, match=r"metrics\.json: cannot be written"):
        folder.write(metrics={"sharpe": float("nan")})


def test_broken_files_are_refused_with_file_and_place(tmp_path):
    folder = small(tmp_path)
    (tmp_path / "equity.csv").write_text("session,agent\n2020-01-30,1\n2020-01-31\n")
    with pytest.raises(DataError, match=r"equity\.csv, row 3"):
        folder.read()
    (tmp_path / "equity.csv").write_text("session,agent\n2020-01-30,one\n")
    with pytest.raises(DataError, match=r"equity\.csv, column agent"):
        folder.read()
    (tmp_path / "equity.csv").write_text("session\n")
    with pytest.raises(DataError, match="column agent is missing"):
        folder.read()
    (tmp_path / "equity.csv").write_text("session,agent\n2020-01-30,1\n")
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(DataError, match=r"metrics\.json: cannot be read as JSON"):
        folder.read()


def test_folder_without_equity_is_not_a_run_folder(tmp_path):
    with pytest.raises(DataError, match=r"not a run folder, equity\.csv is missing"):
        RunFolder(tmp_path).read()


# Cautions --------------------------------------------------------------------------------------


def texts(run):
    return " | ".join(caution.text for caution in cautions(run))


def test_fills_at_the_observed_close_and_adjusted_prices_are_grave_and_first(tmp_path):
    run = small(
        tmp_path, settings={"venue": {"fill": "same_close"}}, data={"price_basis": "total"}
    ).read()
    first, second = cautions(run)[:2]
    assert first.grave
    assert "very close the decision was made on" in first.text
    assert second.grave
    assert "total-return" in second.text


def test_curve_equal_to_a_baseline_is_named(tmp_path):
    run = small(tmp_path, agent=(100.0, 101.0, 102.0, 103.02)).read()
    assert "identical to: Buy and hold" in texts(run)


def test_interrupted_run_says_what_is_missing(tmp_path):
    assert "not complete, missing: settings, versions" in texts(small(tmp_path).read())


def test_made_up_run_is_warned_of_its_refusals_its_length_and_its_one_seed(folder):
    found = texts(RunFolder(folder).read())
    for part in ("refused or cut", "bars are too few", "one run of one seed"):
        assert part in found


def test_warning_of_the_run_is_shown_once_and_first(tmp_path):
    warnings = ["GOOG was delisted", "GOOG was delisted"]
    found = cautions(small(tmp_path, summary={"warnings": warnings}).read())
    assert found[0].text == "GOOG was delisted"
    assert sum(caution.text == "GOOG was delisted" for caution in found) == 1


# Sections --------------------------------------------------------------------------------------


def test_monthly_returns_compound_inside_the_month_and_the_year(tmp_path):
    found = monthly(small(tmp_path).read())
    first, second = found["rows"]
    assert (first["year"], second["year"]) == ("2020", "2021")
    assert first["months"][0] == pytest.approx(0.10)  # 100 -> 110, the start lies in January
    assert first["months"][1] == pytest.approx(-0.10)  # 110 -> 99
    assert first["months"][2] is None
    assert first["total"] == pytest.approx(-0.01)
    assert first["rival"] == pytest.approx(0.02)
    assert second["months"][0] == pytest.approx(0.10)


def test_months_multiply_to_the_total_return(folder):
    run = RunFolder(folder).read()
    rows = monthly(run)["rows"]
    product = np.prod([1 + value for row in rows for value in row["months"] if value is not None])
    assert product - 1 == pytest.approx(run.metrics["agent"]["total_return"], rel=1e-12)


def test_number_that_cannot_be_computed_is_shown_as_such_with_its_reason(tmp_path):
    run = small(tmp_path, agent=(100.0, 100.0, 100.0, 100.0)).read()
    row = metric_rows(run, ("sharpe",))[0]
    assert row["cells"][0] == "n/a"
    assert row["reasons"] == ["the returns do not vary"]


def test_round_trips_of_the_page_are_those_of_the_metrics(folder):
    run = RunFolder(folder).read()
    assert len(trip_rows(run)) == run.metrics["agent"]["trades"]


def test_action_mix_counts_keep_before_exposure(tmp_path):
    actions = {
        "session": DAYS,
        "symbol": ["A"] * 4,
        "exposure": [1.0, 1.0, 0.0, -1.0],
        "keep": [False, True, False, False],
        "target": [0.0] * 4,
        "reasons": [""] * 4,
    }
    mix = action_mix(small(tmp_path, actions=actions).read())
    assert dict(zip(mix["kinds"], mix["shares"]["All"], strict=True)) == {
        "short": 0.25,
        "flat": 0.25,
        "long": 0.25,
        "keep": 0.25,
    }
    assert mix["entropy"] == pytest.approx(2.0)
    assert mix["changed"] == 1.0


def test_long_histories_are_drawn_as_closes(monkeypatch, folder):
    run = RunFolder(folder).read()
    assert "open" in chart_data(run)["prices"][0]
    monkeypatch.setattr("engine.report.charts.MAX_CANDLES", 100)
    assert "open" not in chart_data(run)["prices"][0]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "percent", "n/a"),
        (0.1234, "percent", "12.3\u00a0%"),
        (-0.00001, "percent", "0.0\u00a0%"),
        (0.01234, "small percent", "1.23\u00a0%"),
        (12345.678, "money", "12,346"),
        (3.456, "money", "3.46"),
        (4.56, "yearly", "4.6x"),
        (12.0, "bars", "12"),
        (1.239, "ratio", "1.24"),
    ],
)
def test_numbers_are_shown_with_their_unit(value, unit, text):
    assert shown(value, unit) == text


def test_names_of_baselines_become_words():
    assert plain_name("buy_and_hold") == "Buy and hold"
    assert plain_name("AAPL only") == "AAPL only"


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


def test_curves_alone_make_a_page(tmp_path):
    equity = {"session": DAYS, "agent": [100.0, 101.0, 99.0, 100.0]}
    RunFolder(tmp_path).write(equity=equity)
    text = write_page(tmp_path).read_text(encoding="utf-8")
    assert "not complete, missing" in text
    assert tmp_path.name in text


def test_page_of_four_symbols_and_three_years_stays_under_600_kilobytes(page):
    assert len(page.encode()) < 600_000


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


def test_terminal_prints_markup_in_names_as_text(tmp_path):
    text = printed(small(tmp_path, summary={"title": "[red]x[/nothing]"}).path)
    assert "[red]x[/nothing]" in text
