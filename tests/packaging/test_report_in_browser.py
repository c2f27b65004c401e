"""Open the report in headless Chromium: charts drawn, no complaint, no request to outside."""

import json

import pytest

from engine.report.compare import compared
from engine.report.compare_page import write_compare
from engine.report.compare_read import read_entry
from engine.report.page import write_page
from engine.report.retraining_page import write_retraining_page
from engine.report.walk_page import write_walk_page
from tests import made_up_retraining, made_up_run, made_up_walk
from tests.made_up_paper import TOLD
from tests.packaging import browser

pytestmark = pytest.mark.skipif(browser.find() is None, reason="no Chromium is installed")

PAINTED = """[...document.querySelectorAll(".chart")].map((chart) =>
  Math.max(0, ...[...chart.querySelectorAll("canvas")].map((canvas) => {
    if (!canvas.width || !canvas.height) return 0;
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let painted = 0;
    for (let i = 3; i < pixels.length; i += 4) painted += pixels[i] > 0;
    return painted;
  })))"""
OVERHANG = "document.documentElement.scrollWidth - window.innerWidth"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_page(made_up_run.write(tmp_path_factory.mktemp("run") / "demo"))


@pytest.fixture
def tab(tmp_path):
    with browser.page(tmp_path / "profile") as page:
        yield page


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_page_draws_every_chart_without_complaint_request_or_sideways_scroll(
    tab, report, width, dark
):
    tab.open(report.as_uri(), width=width, dark=dark)
    painted = tab.value(PAINTED)
    assert len(painted) == 4
    assert min(painted) > 1000, painted
    assert tab.complaints() == []
    assert set(tab.requests()) == {report.as_uri()}
    assert tab.value(OVERHANG) <= 0
    ground = tab.value("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(14, 17, 22)") == dark


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    """The page of a walk-forward, one that compares it with two of its seeds, a retraining's."""
    walk = made_up_walk.write(tmp_path_factory.mktemp("walk") / "run")
    runs = [walk, *(walk / "stitched" / f"seed-{seed}" for seed in (0, 3))]
    for place in runs[1:]:
        for name in ("settings", "data"):
            (place / f"{name}.json").write_bytes((walk / f"{name}.json").read_bytes())
        (place / "summary.json").write_text("{}")
    comparison = compared([read_entry(run) for run in runs])
    retraining = made_up_retraining.write(tmp_path_factory.mktemp("retraining") / "run")
    pages = write_walk_page(walk), write_compare(comparison, walk / "compare.html")
    return *pages, write_retraining_page(retraining)


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_pages_of_several_runs_draw_every_chart_and_fit(tab, others, width, dark):
    for page, charts in zip(others, (3, 2, 2), strict=True):
        tab.open(page.as_uri(), width=width, dark=dark)
        painted = tab.value(PAINTED)
        assert len(painted) == charts
        assert min(painted) > 1000, painted
        assert tab.value(OVERHANG) <= 0
    assert tab.complaints() == []
    assert set(tab.requests()) == {page.as_uri() for page in others}


def test_one_entry_of_the_legend_hides_all_seeds(tab, others):
    tab.open(others[0].as_uri())
    names = tab.value("[...document.querySelectorAll('#curves button')].map(b => b.textContent)")
    assert names[-1] == "Agent, every seed"
    assert not any(name.startswith("Seed ") for name in names)
    tab.value("document.querySelector('#curves button:last-child').click()")
    assert tab.value("document.querySelector('#curves button:last-child').ariaPressed") == "false"
    assert tab.complaints() == []


@pytest.mark.parametrize(("width", "dark"), [(1280, True), (390, False)])
def test_page_of_a_paper_account_draws_its_gaps_and_does_not_scroll_sideways(
    tab, tmp_path, width, dark
):
    folder = made_up_run.write(tmp_path / "paper", count=120)
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"paper": TOLD}))
    tab.open(write_page(folder).as_uri(), width=width, dark=dark)
    assert tab.complaints() == []
    assert tab.value(OVERHANG) <= 0
    heights = (
        "[...document.querySelectorAll('.gaps rect')].map(x => x.getBoundingClientRect().height)"
    )
    assert tab.value(heights) == pytest.approx([27.25, 109.0, 54.5], abs=1.0)  # of 109 pixels


def test_controls_answer_to_the_keyboard_alone(tab, report):
    tab.open(report.as_uri())
    tab.value("document.querySelector('#curves button').focus()")
    press(tab, "Enter", "\r")
    assert tab.value("document.querySelector('#curves button').ariaPressed") == "false"
    tab.value("document.querySelector('.metrics summary').focus()")
    press(tab, "Enter", "\r")
    assert tab.value("document.querySelector('.metrics details').open") is True
    tab.value("document.querySelector('#symbol').focus()")
    press(tab, "ArrowDown")
    assert tab.value("document.querySelector('#symbol').value") != "AAPL"
    press(tab, "Tab")
    assert tab.value("document.activeElement.tagName") == "BUTTON"
    assert min(tab.value(PAINTED)) > 1000
    assert tab.complaints() == []


def test_request_to_outside_would_be_noticed(tab, report, tmp_path):
    text = report.read_text(encoding="utf-8")
    planted = tmp_path / "planted.html"
    planted.write_text(
        text.replace("</main>", '<img src="http://127.0.0.1:9/x.png"></main>'), encoding="utf-8"
    )
    tab.open(planted.as_uri())
    assert any("Content Security Policy" in text for text in tab.complaints())


def press(tab, key, text=""):
    """Press and release one key."""
    codes = {"Enter": 13, "Tab": 9, "ArrowDown": 40}
    common = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
    tab.ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
    tab.ask("Input.dispatchKeyEvent", type="keyUp", **common)
