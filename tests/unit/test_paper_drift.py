"""What a decision writes down of drift, from a journal made by hand; and what a person reads of it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from engine.bars import OPEN
from engine.costs import Costs
from engine.drift import Distribution, DriftSettings
from engine.journal import Journal
from engine.run.paper.arrays import pack
from engine.run.paper.drift import NONE_RECORDED, gaps_of, said, watch
from tests.paper_account import sample_bars

SYMBOLS, WINDOW, AGENT = 4, 20, "a" * 64
RULES = DriftSettings(window=WINDOW)
COSTS = Costs(slippage_bps=2.0)


@pytest.fixture(scope="module")
def bars():
    whole = sample_bars()
    return whole.between(whole.sessions[2500], whole.sessions[2500 + 2 * WINDOW])


@pytest.fixture(scope="module")
def trained():
    rows = np.random.default_rng(0).standard_normal((400, SYMBOLS, 2))
    known = Distribution.of(rows, np.ones((400, SYMBOLS), dtype=bool), WINDOW)
    assert known is not None
    return known


def info(known, symbols, digest=AGENT):
    about = SimpleNamespace(symbols=symbols)
    return SimpleNamespace(
        distribution=known, digest=digest, features=("mood", "weather"), trained_on=about
    )


def body(market, bars, at, extra_bps=0.0, digest=AGENT):
    """Return a decision that saw `market` (N, 2) and bought ten of the first symbol that day."""
    qty, price = np.zeros(SYMBOLS), [None] * SYMBOLS
    qty[0] = 10.0
    price[0] = float(bars.ohlcv[at, 0, OPEN] * (1 + (2.0 + extra_bps) * 1e-4))
    return {
        "seen_market": pack(market.astype(np.float32)),
        "filled": qty.tolist(),
        "price": price,
        "checkpoint": digest,
    }


def watched(folder, bars, known, rows, extra_bps=0.0, digests=None, rules=RULES):
    """Return what the last of many decisions finds; all but the last are in a journal."""
    symbols = bars.symbols
    bodies = [
        (str(bars.sessions[t]), body(row, bars, t, extra_bps, (digests or [AGENT] * len(rows))[t]))
        for t, row in enumerate(rows)
    ]
    with Journal(folder / "journal.sqlite") as journal:
        for session, each in bodies[:-1]:
            journal.append("decision", session, each)
        journal.commit()
        return watch(journal, bodies[-1:], info(known, symbols), bars, COSTS, rules)


def clean(count=2 * WINDOW, seed=1):
    return np.random.default_rng(seed).standard_normal((count, SYMBOLS, 2))


def test_clean_inputs_and_modelled_fills_warn_of_nothing(tmp_path, bars, trained):
    found = watched(tmp_path, bars, trained, clean())
    assert found["warnings"] == []
    assert found["why"] == {}
    assert set(found["features"]) == {"mood", "weather"}
    assert found["gap"]["mean"] == pytest.approx(0.0, abs=1e-6)
    assert found["gap"]["fills"] == WINDOW
    assert said(found)["warns"] == "of nothing"


@pytest.mark.parametrize("plant", [lambda x: 5.0 * x, lambda x: x + 1.5])
def test_one_feature_scaled_or_shifted_is_named_within_a_window(tmp_path, bars, trained, plant):
    rows = clean()
    rows[WINDOW:, :, 1] = plant(rows[WINDOW:, :, 1])
    found = watched(tmp_path, bars, trained, rows)
    assert found["warnings"][-1] == (
        f"weather left what the training showed over any {WINDOW} sessions"
    )
    index, limit = found["features"]["weather"]
    assert index > limit
    assert said(found)["features that left the training"] == "1 of 2"
    assert said(found)["warns"].endswith("(nothing is stopped by that)")


def test_session_beyond_anything_in_training_is_told_at_once(tmp_path, bars, trained):
    rows = clean(3)
    rows[-1] = 9.0
    found = watched(tmp_path, bars, trained, rows)
    assert found["outside"] == 1.0
    assert found["warnings"][0].startswith("100% of the inputs of this session are beyond")
    assert found["why"]["features"] == f"{WINDOW} sessions are compared, 3 are there"


def test_fills_dearer_than_the_setting_allows_are_warned_of_and_cheaper_ones_not(
    tmp_path, bars, trained
):
    dear = watched(tmp_path, bars, trained, clean(), extra_bps=8.0)
    assert dear["gap"]["mean"] == pytest.approx(8.0 / 1.0002, abs=1e-6)
    assert dear["warnings"][0].startswith("fills cost 8.0 bps more than modelled")
    rules = RULES.model_copy(update={"fill_gap_bps": 10.0})
    for name, extra, chosen in (("allowed", 8.0, rules), ("cheap", -8.0, RULES)):
        (tmp_path / name).mkdir()
        assert not watched(tmp_path / name, bars, trained, clean(), extra, None, chosen)["warnings"]


def test_checkpoint_without_a_distribution_says_so_and_still_judges_fills(tmp_path, bars):
    found = watched(tmp_path, bars, None, clean())
    assert found["why"] == {"outside": NONE_RECORDED, "features": NONE_RECORDED}
    assert found["gap"] is not None
    assert NONE_RECORDED in said(found)["inputs beyond it"]
    assert said(None) == {"found": "nothing recorded yet"}


def test_decisions_of_the_agent_before_are_not_mixed_with_those_of_this_one(
    tmp_path, bars, trained
):
    digests = ["b" * 64] * WINDOW + [AGENT] * 5
    found = watched(tmp_path, bars, trained, clean(WINDOW + 5), digests=digests)
    assert found["why"]["features"] == f"{WINDOW} sessions are compared, 5 are there"


def test_rows_without_features_are_no_inputs(tmp_path, bars, trained):
    rows = clean(2)
    rows[-1] = 0.0
    found = watched(tmp_path, bars, trained, rows)
    assert found["outside"] is None
    assert found["why"]["outside"] == "no symbol had features"


def test_sales_below_the_model_are_dear_and_fills_of_unknown_bars_are_left_out(bars):
    price = float(bars.ohlcv[1, 1, OPEN])
    sold = {"filled": [0, -5.0, 0, 0], "price": [None, price * (1 - 7e-4), None, None]}
    unknown = {"filled": [1.0, 0, 0, 0], "price": [10.0, None, None, None]}
    bodies = [(str(bars.sessions[1]), sold), ("1999-01-04", unknown)]
    sessions, columns, gaps = gaps_of(bodies, bars, COSTS)
    assert (str(sessions[0]), columns.tolist()) == (str(bars.sessions[1]), [1])
    assert gaps == pytest.approx([5.001], abs=1e-3)  # 1 - .9993 / .9998, in bps


def test_untraded_symbol_has_no_modelled_price(bars):
    ohlcv = bars.ohlcv.copy()
    ohlcv[1, 0] = np.nan
    gone = replace(bars, ohlcv=ohlcv)
    bought = {"filled": [5.0, 0, 0, 0], "price": [10.0, None, None, None]}
    assert len(gaps_of([(str(bars.sessions[1]), bought)], gone, COSTS)[0]) == 0
