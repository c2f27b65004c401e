"""The placebo check: markets without an edge are what they say, and a planted one is found.

Twenty seeds of all of it: PLACEBO.md, made by `barwise check placebo tests/learning/placebo.toml`.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.bars import CLOSE, HIGH, LOW, OPEN, VOLUME, Bars
from engine.costs import Costs
from engine.errors import CheckError, CheckpointError, UsageError
from engine.features import FeatureSet
from engine.observation import Scaler
from engine.policy import ActionSpace
from engine.report.folder import RunFolder
from engine.run.build import bars_of
from engine.run.check.placebo import Row, run_check, table_of, verdict
from engine.run.check.placebo_commands import ASKED, run_placebo
from engine.run.check.placebo_markets import MARKETS, PRICE, placebo
from engine.run.check.placebo_plan import CONTROL, TWIN, Placebo, chosen_markets
from engine.run.check.placebo_score import excess_returns, optimum
from engine.run.replay import replay
from engine.run.training.executor import Inline
from engine.settings import build
from engine.settings_placebo import PlaceboSettings
from engine.trader import Trader, TraderSpec
from engine.trials import Ledger
from engine.venue import SimVenue
from tests.learning import peek
from tests.markets import made_up
from tests.policies import Constant

TREE: dict[str, Any] = {
    "name": "tiny",
    "data": {"symbols": ["AAPL", "IBM"], "end": "2006-12-31"},
    "split": {
        "train": {"end": "2003-12-31"},
        "validation": {"start": "2004-01-02", "end": "2004-12-31"},
        "test": {"start": "2005-01-03"},
    },
    "observation": {"features": ["log_return"]},
    "agent": {"burn_in": 8, "network": {"hidden_size": 8, "heads": [8]}},
    "limits": {"allow_short": True},
    "costs": {"rate": 0.0005, "slippage_bps": 2.0},
    "train": {
        "books": 16,
        "rollout_steps": 32,
        "episode_steps": 32,
        "learning_rate": 1e-2,
        "ppo": {"entropy_weight": 0.003},
    },
    "placebo": {"updates": 2, "control_updates": 2},
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep runs and their ledger in a folder of the test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def base() -> Bars:
    return bars_of(build(TREE, ""))


def drawn(base: Bars, name: str, seed: int = 0) -> Bars:
    return placebo(base, name, PlaceboSettings(), seed, np.datetime64("2005-01-03"))


def returns(bars: Bars) -> np.ndarray:
    return np.diff(np.log(bars.ohlcv[..., CLOSE]), axis=0)


@pytest.mark.parametrize("name", sorted(MARKETS))
def test_placebo_bars_fit_together_and_differ_by_seed(base: Bars, name: str) -> None:
    bars = drawn(base, name)
    prices = bars.ohlcv[..., :VOLUME]
    assert (prices[..., HIGH] >= np.maximum(prices[..., OPEN], prices[..., CLOSE])).all()
    assert (prices[..., LOW] <= np.minimum(prices[..., OPEN], prices[..., CLOSE])).all()
    before = bars.index_of(np.datetime64("2005-01-03")) - 1
    assert prices[before, :, CLOSE] == pytest.approx(PRICE)
    assert set(bars.sessions) <= set(base.sessions)
    assert bars.digest() == drawn(base, name).digest()
    assert bars.digest() != drawn(base, name, 1).digest()


def test_shuffled_days_are_the_real_ones_in_another_order(base: Bars) -> None:
    real, made = drawn(base, "Q1", 0), drawn(base, "Q1", 1)
    assert np.sort(returns(real), axis=0)[50:-50] == pytest.approx(
        np.sort(returns(made), axis=0)[50:-50], abs=2e-3
    )  # all but the one day before the first return
    assert abs(np.corrcoef(returns(made)[1:, 0], returns(made)[:-1, 0])[0, 1]) < 0.08
    apart = [np.corrcoef(returns(bars).T)[0, 1] for bars in (real, made)]
    assert apart[0] == pytest.approx(apart[1], abs=0.01)  # symbols still move together


def test_flipped_days_keep_the_size_of_moves_and_lose_their_sign(base: Bars) -> None:
    one, two = drawn(base, "Q4", 0), drawn(base, "Q4", 1)
    assert np.abs(returns(one)) == pytest.approx(np.abs(returns(two)), abs=1e-12)
    same = np.sign(returns(one)[:, 0]) == np.sign(returns(two)[:, 0])
    assert 0.4 < same.mean() < 0.6
    spread = [np.log(bars.ohlcv[..., HIGH] / bars.ohlcv[..., LOW]) for bars in (one, two)]
    assert spread[0] == pytest.approx(spread[1], abs=1e-12)  # a mirrored bar is as tall


def test_random_walk_has_the_noise_of_each_symbol(base: Bars) -> None:
    wild, made = drawn(base, "Q1"), drawn(base, "Q3")
    assert returns(made).std(axis=0) == pytest.approx(returns(wild).std(axis=0), rel=0.06)


def test_holding_what_one_holds_is_no_skill() -> None:
    bars = made_up(4, sessions=300, symbols=2, gaps=0.0, late=0)
    spec = TraderSpec(
        features=FeatureSet(("log_return",)),
        scaler=Scaler.none(1),
        book_inputs=(),
        action=ActionSpace(kind="continuous", band=0.0),
        costs=Costs(rate=0.0, slippage_bps=0.0, regulatory=False),
        allocation=0.5,
    )
    venue = SimVenue(1e8, (1, 2), spec.costs, spec.venue)
    record = replay(Trader(spec, Constant(0.6), 2), venue, bars, 10, 299)
    own = np.diff(record.arrays()["equity"]) / record.arrays()["equity"][:-1]
    excess = excess_returns(record, bars)
    assert len(excess) == 289
    # The exposure is 0 on the first bar only, then 0.3 a symbol: what is left is the day of the
    # first fill (bought at the open, marked at the close) and the fading share of that first bar.
    assert np.abs(excess[60:]).mean() < 0.1 * np.abs(own[60:]).mean()
    assert np.abs(excess.mean()) < 0.2 * own.std()


def test_optimum_of_the_control_is_half_of_what_a_right_day_pays() -> None:
    # 2 % on every other day, and a side of 0.07 % every other day
    assert optimum(build(TREE, "")) == pytest.approx((0.02 - 0.0007) / 2)


def made(name: str, mean: float, low: float, passed: bool | None, words: str = "") -> Row:
    return Row(name, mean, low, mean + 1.0, 100.0, 0.5, 0.1, passed, words)


def test_verdict_names_what_is_broken_and_what_proves_nothing() -> None:
    settings = build(TREE, "")
    quiet = [made(name, -0.1, -0.4, True) for name in ("Q1", "Q3", "Q4")]
    found = made(CONTROL, 0.97, 0.95, True, "found, 97% of the optimum (asked 90%)")
    holds, text = verdict([*quiet, made("Q2", 0.9, 0.2, None), found], settings, 20)
    assert holds
    assert text.startswith("no edge in Q1, Q3, Q4; Q5 found, 97%")
    holds, text = verdict([made("Q1", 0.9, 0.2, False), *quiet[1:]], settings, 20)
    assert not holds
    assert "AN EDGE WHERE THERE IS NONE: Q1: the pipeline is broken;" in text
    lost = made(CONTROL, 0.1, 0.0, False, "NOT FOUND: silence elsewhere proves nothing")
    assert not verdict([*quiet, lost], settings, 20)[0]
    assert "silence elsewhere" in verdict([*quiet, lost], settings, 20)[1]
    assert any(line.startswith("Q5") for line in table_of([found]))


def test_markets_are_chosen_by_name() -> None:
    assert chosen_markets("q1, Q5") == ("Q1", "Q5")
    assert chosen_markets(None) == ("Q1", "Q2", "Q3", "Q4", "Q5", "Q6")
    with pytest.raises(UsageError, match="--only Q9"):
        chosen_markets("Q1,Q9")


def planned(folder: Path, seeds: int, only: tuple[str, ...], **parts: Any) -> Placebo:
    settings = build(TREE | parts, "")
    return Placebo(settings, bars_of(settings), folder, seeds, only)


def test_planted_leak_is_flagged_as_an_edge_where_there_is_none(tmp_path: Path) -> None:
    seen = {"features": ["tests.learning.peek:tomorrow"], "book": []}
    plan = planned(tmp_path / "run", 2, ("Q1",), observation=seen, placebo={"updates": 8})
    peek.show([bars_of(case.job.settings) for case in plan.cases("Q1")])
    rows = run_check(plan, Inline(), False)
    assert rows is not None
    assert rows[0].low > 1.0  # a yearly Sharpe ratio
    assert rows[0].fills > 20
    holds, text = verdict(rows, plan.settings, 2)
    assert not holds
    assert text.startswith("AN EDGE WHERE THERE IS NONE: Q1: the pipeline is broken, or it is luck")


def test_check_is_resumed_counted_and_leaves_the_same_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned(tmp_path / "run", 2, ("Q4", "Q6"))
    config = tmp_path / "tiny.json"
    config.write_text(plan.settings.model_dump_json())
    told = run_placebo(str(config), ("train.workers=1",), 2, "Q4,Q6", None, as_json=False)
    folder = Path(told["run"])
    assert told["exit_code"] == (0 if told["holds"] else 1)
    assert [row["market"] for row in told["rows"]] == ["Q4", "Q6"]
    assert "loses about its costs" in capsys.readouterr().out.replace("DOES NOT lose", "loses")
    with Ledger(plan.settings.ledger) as ledger:
        trials = ledger.trials()
        assert ledger.checks() == []  # two seeds cannot tell an edge from luck
        assert [trial.plan.purpose for trial in trials].count("test") == 2
        assert len({trial.plan.data for trial in trials}) == 2  # a market a seed, none the real one
        assert plan.bars.digest() not in {trial.plan.data for trial in trials}
    kept = (folder / "summary.json").read_bytes()
    scores = {path: path.read_bytes() for path in folder.rglob("score.json")}
    assert len(scores) == 4
    shutil.rmtree(folder / "Q4" / "seed-1" / "training")  # as if killed
    (folder / "Q4" / "seed-1" / "score.json").unlink()
    again = run_placebo(None, (), None, None, folder, as_json=True)
    assert again["rows"] == told["rows"]
    assert (folder / "summary.json").read_bytes() == kept
    assert {path: path.read_bytes() for path in folder.rglob("score.json")} == scores


def test_check_is_not_resumed_with_other_settings(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    settings = planned(folder, 2, ("Q4",)).settings
    RunFolder(folder).write(settings=settings.model_dump(mode="json"))
    with pytest.raises(UsageError, match="expected a run that `barwise check placebo` began"):
        run_placebo(None, (), None, None, folder, as_json=True)
    (folder / ASKED).write_text("{}")
    for key, told in (("costs.rate=0.05", "costs.rate"), ("placebo.updates=7", "placebo.updates")):
        with pytest.raises(CheckpointError, match=rf"{told} was .*start a new run"):
            run_placebo(None, (key,), None, None, folder, as_json=True)


def test_failed_training_is_told(tmp_path: Path) -> None:
    late = {**TREE["split"], "train": {"end": "1999-01-04"}}
    plan = planned(tmp_path / "run", 2, ("Q1",), split=late)
    with pytest.raises(CheckError, match=r"2 trainings failed.*split\.train"):
        run_check(plan, Inline(), False)


def test_agent_without_memory_gets_a_control_that_needs_none(tmp_path: Path) -> None:
    agent = TREE["agent"] | {"memory": "window(1)"}
    alone = planned(tmp_path / "run", 2, (CONTROL,), agent=agent)
    assert alone.trained == (CONTROL,)
    assert alone.cases(CONTROL)[0].job.settings.data.synthetic.k == 1
    plan = planned(tmp_path / "other", 2, (CONTROL,))
    assert plan.trained == (CONTROL, TWIN)
    twin = plan.cases(TWIN)[0].job.settings
    assert twin.agent.memory == "window(1)"
    assert twin.data == plan.cases(CONTROL)[0].job.settings.data
    assert not twin.limits.allow_short
