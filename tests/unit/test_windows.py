"""Walk-forward windows: what their boundaries keep apart, and that no tested bar is lost or doubled."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DataError
from engine.settings_walkforward import WalkForwardSettings
from engine.windows import (
    Purge,
    Reach,
    Window,
    distance,
    first_touched,
    plan_windows,
    require_apart,
    require_untouched,
    shared,
)

REACH = Reach(lookback=60, burn_in=64)


@st.composite
def walks(draw: st.DrawFn) -> tuple[WalkForwardSettings, Reach, tuple[Window, ...], int]:
    """Any walk that fits: its settings, its reach, its windows, and the last bar there is."""
    plan = WalkForwardSettings(
        scheme=draw(st.sampled_from(["rolling", "expanding"])),
        purge=draw(st.sampled_from(["label", "strict"])),
        train_sessions=draw(st.integers(2, 60)),
        validation_sessions=draw(st.integers(2, 30)),
        test_sessions=draw(st.integers(1, 40)),
        gap_sessions=draw(st.integers(0, 5)),
    )
    reach = Reach(draw(st.integers(1, 20)), draw(st.integers(0, 20)))
    gap = distance(reach, plan.purge) - 1 + plan.gap_sessions
    first = draw(st.integers(0, 30))
    before = plan.train_sessions + plan.validation_sessions + 2 * gap
    last = first + before + draw(st.integers(0, 150))
    return plan, reach, plan_windows(plan, reach, first, last), last


def used(window: Window, reach: Reach) -> list[set[int]]:
    """The bars each segment touches: from where its first decision reads to its last bar."""
    parts = (window.train, window.validation, window.test)
    return [
        set(range(part.first - reach.burn_in - reach.lookback + 1, part.last + 1)) for part in parts
    ]


@given(walks())
@settings(max_examples=60, deadline=None)
def test_w1_strict_windows_touch_no_bar_twice(walk: Any) -> None:
    plan, reach, windows, _ = walk
    for window in windows if plan.purge == "strict" else ():
        train, validation, test = used(window, reach)
        assert not train & validation
        assert not validation & test
        assert not train & test


@given(walks())
@settings(max_examples=60, deadline=None)
def test_label_windows_learn_score_and_choose_on_no_bar_of_the_next_segment(walk: Any) -> None:
    plan, _, windows, _ = walk
    for window in windows:
        assert window.train.last < window.validation.first - plan.gap_sessions
        assert window.validation.last < window.test.first - plan.gap_sessions
        assert len(window.validation) == plan.validation_sessions
        lengths = {"rolling": [plan.train_sessions], "expanding": range(plan.train_sessions, 999)}
        assert len(window.train) in lengths[plan.scheme]


@given(walks())
@settings(max_examples=60, deadline=None)
def test_w7_tested_bars_follow_one_another_none_twice_none_missing(walk: Any) -> None:
    _, _, windows, last = walk
    tested = [bar for w in windows for bar in range(w.test.first, w.test.last + 1)]
    assert tested == list(range(windows[0].test.first, last + 1))
    assert [w.number for w in windows] == list(range(1, len(windows) + 1))


@given(walks())
@settings(max_examples=60, deadline=None)
def test_w8_only_the_last_segment_may_be_short_and_it_says_so(walk: Any) -> None:
    plan, _, windows, _ = walk
    assert all(len(w.test) == plan.test_sessions and not w.short for w in windows[:-1])
    assert windows[-1].short == (len(windows[-1].test) < plan.test_sessions)


def test_expanding_windows_keep_their_first_bar_and_rolling_ones_move_it() -> None:
    plan = {"train_sessions": 10, "validation_sessions": 4, "test_sessions": 3}
    for scheme, starts in (("expanding", [5, 5, 5]), ("rolling", [5, 8, 11])):
        asked = WalkForwardSettings.model_validate(plan | {"scheme": scheme})
        windows = plan_windows(asked, REACH, first=5, last=26)
        assert [w.train.first for w in windows] == starts
        assert [w.train.last for w in windows] == [14, 17, 20]
        assert [w.validation.first for w in windows] == [15, 18, 21]
        assert [(w.test.first, w.test.last) for w in windows] == [(19, 21), (22, 24), (25, 26)]
        assert [w.short for w in windows] == [False, False, True]


def test_a_first_tested_bar_moves_training_with_it() -> None:
    asked = WalkForwardSettings(train_sessions=10, validation_sessions=4, test_sessions=50)
    (window,) = plan_windows(asked, REACH, first=0, last=60, test_first=40)
    assert (window.train.first, window.train.last) == (0, 35)  # expanding: all there is
    assert window.test.first == 40
    assert window.short


def test_w2_strict_boundary_accepts_bar_1124_and_refuses_1123_naming_bar_1000() -> None:
    require_apart(999, 1124, REACH, "strict")
    assert list(shared(999, 1123, REACH)) == [1000]
    with pytest.raises(DataError, match=r"must be on bar 1124 or later, found 1123.* bar 1000:"):
        require_apart(999, 1123, REACH, "strict")


def test_label_boundary_is_the_bar_after_the_last_reward() -> None:
    require_apart(999, 1001, REACH, "label")
    with pytest.raises(DataError, match=r"bar 1001 or later, found 1000.* bar 1000:"):
        require_apart(999, 1000, REACH, "label")


@pytest.mark.parametrize(("last", "fits"), [(14, True), (13, False)])
def test_windows_that_do_not_fit_are_refused(last: int, fits: bool) -> None:
    asked = WalkForwardSettings(train_sessions=10, validation_sessions=4, test_sessions=5)
    if fits:
        assert len(plan_windows(asked, REACH, 0, last)) == 1
        return
    with pytest.raises(
        DataError, match=r"14 sessions are needed .* found 14 before it and 0 to test"
    ):
        plan_windows(asked, REACH, 0, last)


def test_strict_windows_of_a_symbol_with_missing_bars_are_refused_by_name() -> None:
    purge: Purge = "strict"
    reach = Reach(lookback=3, burn_in=2)
    asked = WalkForwardSettings(
        train_sessions=10, validation_sessions=4, test_sessions=5, purge=purge
    )
    windows = plan_windows(asked, reach, 0, 29)
    traded = np.ones((30, 2), dtype=bool)
    require_untouched(windows, reach, traded, ("AAA", "BBB"))
    assert windows[0].validation.first == 14  # reads bars 10 to 14
    traded[13, 1] = False
    with pytest.raises(DataError, match=r"BBB has bars missing, .* bar 14 reads back to bar 9"):
        require_untouched(windows, reach, traded, ("AAA", "BBB"))


def test_rows_of_a_symbol_are_counted_over_its_traded_bars() -> None:
    traded = np.array([True, True, False, True, False, True])
    assert first_touched(traded, at=5, rows=3) == 1  # bars 5, 3, 1
    assert first_touched(traded, at=4, rows=2) == 1  # bars 3, 1
    assert first_touched(traded, at=5, rows=9) == 0
    assert first_touched(~traded, at=0, rows=1) == 0


@pytest.mark.parametrize(
    ("tree", "told"),
    [
        ({"test_start": "2010-01-04", "end": "2009-01-05"}, "in this order"),
        ({"cost_bps": [5, 5]}, "differ"),
        ({"cost_bps": [-1]}, "greater than or equal to 0"),
        ({"scheme": "anchored"}, "rolling"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tree: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        WalkForwardSettings.model_validate(tree)
