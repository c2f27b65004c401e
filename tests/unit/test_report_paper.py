"""The paper part of a page: every number as given, n/a with its reason where there is none."""

import copy
import json

import numpy as np
import pytest

from engine.report import paper
from engine.report.page import write_page
from tests import made_up_run
from tests.made_up_paper import TOLD

WHY = "no agent is here that could decide again"


@pytest.fixture
def unknown():
    """A comparison of which nothing could be told."""
    why = {"agreement": WHY, "tracking": WHY, "gap": "nothing has filled yet"}
    none = {"last": None, "sessions": 0, "warned": 0, "newest": []}
    parts = {"agreement": None, "tracking": None, "gap": None, "drift": none, "why": why}
    return copy.deepcopy(TOLD) | parts


def plain(found):
    """Return what was found with ordinary spaces, lists for tuples."""
    return json.loads(json.dumps(found).replace("\\u00a0", " "))


def test_numbers_stand_as_they_were_given_with_their_units():
    rows = {name: (value, text) for name, value, text in plain(paper.content(TOLD))["rows"]}
    assert rows["Decisions agree"] == ("96.15 %", "150 of 156 wishes, first apart on 2010-01-12")
    assert rows["Orders agree"][0] == "99.99 %"  # 29,999 of 30,000 are not all of them
    assert rows["Decisions agree, explained"][0] == "100 %"
    assert rows["Fill gap, mean"] == ("+1.2 bps", "30 fills; 95 %: +0.5 bps to +2.0 bps")
    assert rows["Tracking error, a year"][0] == "1.230 %"
    assert rows["Equity at the end, apart"] == ("-$391", "at most 0.37 % apart")
    assert rows["Equity at the end, explained"][0] == "$0"


def test_bars_of_the_gaps_scale_to_the_highest_and_tell_their_side():
    bars = paper.content(TOLD)["bars"]
    assert [(bar["x"], bar["height"], bar["side"]) for bar in bars] == [
        (0, 25.0, "cheap"),
        (1, 100.0, "even"),
        (2, 50.0, "dear"),
    ]


def test_features_that_drifted_come_first_and_symbols_without_fills_are_not_zero():
    found = plain(paper.content(TOLD))
    assert [row[0] for row in found["features"]] == ["<b>mood</b>", "log_return"]
    assert found["features"][0][3] == "drifted"
    assert found["symbols"][1] == ["GOOG", "84.62 %", "0", *["n/a"] * 5]
    assert found["drift"][0][:2] == ["Features that left the training", "1 of 2"]


def test_what_cannot_be_told_is_not_available_with_its_reason(unknown):
    found = paper.content(unknown)
    assert [card["value"] for card in found["cards"][:3]] == ["n/a"] * 3
    assert ("Decisions agree", "n/a", WHY) in found["rows"]
    assert ("Fill gap", "n/a", "nothing has filled yet") in found["rows"]
    assert ("Tracking error, a year", "n/a", WHY) in found["rows"]
    assert found["drift"][0][1] == "n/a"
    assert found["bars"] == found["features"] == []
    assert WHY in paper.verdict(unknown)
    assert any(WHY in line for line in paper.lines(unknown))


def test_terminal_tells_numbers_counts_agents_and_warnings():
    text = "\n".join(plain(list(paper.lines(TOLD))))
    for part in ("96.15 %", "orders sent 31", "ba9876543210 from 2010-02-01 on, promoted"):
        assert part in text
    assert "sent twice" not in text  # what never happened is left out
    assert "! drift: 2010-02-26: inputs" in text


def test_run_that_is_no_paper_account_has_no_such_part():
    assert paper.content(None) == {}


@pytest.mark.parametrize("which", ["known", "unknown"])
def test_page_shows_the_part_escaped_and_names_itself_a_paper_report(tmp_path, unknown, which):
    told = TOLD if which == "known" else unknown
    curve = np.array([100.0, 110.0, 99.0, 108.9])
    folder = made_up_run.small(tmp_path, curve, summary={"name": "x", "paper": told})
    text = write_page(folder.path).read_text(encoding="utf-8")
    assert "paper trading report" in text
    assert "Paper against backtest" in text
    assert paper.ADVICE in text
    assert "<b>mood</b>" not in text
    assert ("&lt;b&gt;mood" in text) == (which == "known")
    assert (WHY in text) == (which == "unknown")
