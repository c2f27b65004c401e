"""The course of a training: stages, their promotion, and the markets they play on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.augment import Maker, augmented, bootstrapped, walks
from agents.curriculum import Curriculum, learned_with, part_of, stages_of
from agents.env import BookEnv, BookPlan
from agents.panel import Panel
from agents.train import LEARNERS
from engine.bars import CLOSE, Bars
from engine.costs import Costs
from engine.errors import SettingsError
from engine.policy import ActionSpace, Wish
from engine.settings import build
from engine.settings_course import AugmentSettings, StageSettings
from engine.settings_training import TrainSettings
from engine.trader import TraderSpec
from tests.markets import made_up
from tests.small_training import BARS, FEATURES, rows_of, run

STAGES = [
    {"name": "free", "updates": 2, "costs": 0.0, "episode_steps": 8},
    {"promote_at": 0.5, "costs": 0.5},
    {"costs": 1.0},
]


def env_of(stage: StageSettings, bars: Bars = BARS, books: int = 4, **plan: Any) -> BookEnv:
    from engine.observation import Scaler

    costs = part_of(Costs(rate=0.01, slippage_bps=0.0), stage.costs)
    spec = TraderSpec(FEATURES, Scaler.none(2), ("position",), ActionSpace(), costs=costs)
    panel = Panel.of(bars, FEATURES, spec.scaler)
    chosen = {"books": books, "kind": "single", "episode_steps": stage.episode_steps, **plan}
    return BookEnv(panel, spec, BookPlan(**chosen), np.random.default_rng(0))


def course() -> Curriculum:
    settings = TrainSettings.model_validate({"stages": STAGES, "episode_steps": 20})
    return Curriculum(stages_of(settings), env_of)


def test_stages_take_what_they_leave_open_from_the_training() -> None:
    settings = TrainSettings.model_validate({"stages": STAGES, "episode_steps": 20})
    found = stages_of(settings)
    assert [stage.name for stage in found] == ["free", "stage 2", "stage 3"]
    assert [stage.episode_steps for stage in found] == [8, 20, 20]
    assert {stage.market for stage in found} == {"real"}
    assert len(stages_of(TrainSettings())) == 1


def test_a_stage_ends_by_its_updates_or_by_its_score_and_the_last_never() -> None:
    found = course()
    moved = [found.after(1, 9.0), found.after(2, None)]
    assert moved == [False, True]  # a score promotes only where the stage says so
    assert [found.after(3, 0.4), found.after(4, None), found.after(5, 0.5)] == [False, False, True]
    assert found.is_last
    assert not found.after(100, 99.0)


def test_a_new_stage_waits_for_the_end_of_the_episode() -> None:
    found = course()
    env = found.env
    env.reset()
    found.after(2, None)
    assert env.plan.episode_steps == 8
    assert env.venue.costs.rate == 0.0
    env.reset(np.array([True, False, False, False]))  # one book alone does not end the episode
    assert env.plan.episode_steps == 8
    env.reset()
    assert env.plan.episode_steps == 20
    assert env.venue.costs.rate == 0.005
    assert env.trader.spec.costs.rate == 0.005
    assert env.setup == 1


def test_a_restored_course_plays_what_it_played_and_turns_when_it_would_have() -> None:
    found, again = course(), course()
    found.env.reset()
    found.after(2, None)
    again.restore(found.state())
    assert again.env.plan.episode_steps == 8  # the episode under way is of the first stage
    again.env.reset()
    assert again.env.plan.episode_steps == 20
    found.env.reset()
    third = course()
    third.restore(found.state())
    assert third.env.plan.episode_steps == 20


def test_a_part_of_the_costs_is_charged_and_none_is_none() -> None:
    full = Costs(rate=0.01, per_share=0.02, minimum=1.0, slippage_bps=4.0, regulatory=True)
    half, none = part_of(full, 0.5), part_of(full, 0.0)
    assert (half.rate, half.per_share, half.minimum, half.slippage_bps) == (0.005, 0.01, 0.5, 2.0)
    assert half.regulatory
    assert none == Costs(slippage_bps=0.0)
    assert part_of(full, 1.0) is full


def test_a_training_passes_through_its_stages_and_every_line_says_which(tmp_path: Path) -> None:
    scores = iter([0.1, 0.4, 0.6, 0.2])
    settings = {"stages": STAGES, "validate_every": 1, "patience": 1, "updates": 7}
    done = run(
        tmp_path,
        validate=lambda policy: next(scores, 0.0),
        train_settings=settings,
    )
    # free: 2 updates; stage 2 until 0.6 in update 3; patience counts from there: 0.2, then 0.0
    assert [row["stage"] for row in rows_of(tmp_path)] == [1, 1, 2, 3, 3]
    assert done.updates == 5
    assert done.stopped


def test_a_stage_says_what_is_learned_with_and_leaves_the_rest() -> None:
    settings = TrainSettings(learning_rate=1e-3, gamma=0.97)
    assert learned_with(settings, StageSettings()) == settings
    stage = StageSettings(learning_rate=5e-3, entropy_weight=0.2, gamma=0.5)
    found = learned_with(settings, stage)
    assert (found.learning_rate, found.gamma) == (5e-3, 0.5)
    assert (found.ppo.entropy_weight, found.a2c.entropy_weight) == (0.2, 0.2)
    given = {"learning_rate": 1e-3, "gamma": 0.97, "ppo": settings.ppo, "a2c": settings.a2c}
    assert found.model_copy(update=given) == settings


@pytest.mark.parametrize("rule", ["ppo", "a2c"])
def test_a_stage_changes_what_is_learned_with_from_its_first_update_on(
    tmp_path: Path, rule: str
) -> None:
    stages = [{"updates": 2, "learning_rate": 4e-3, "entropy_weight": 0.2}, {}]
    settings = {"algorithm": rule, "stages": stages, "learning_rate_schedule": "linear"}
    run(tmp_path, updates=4, train_settings=settings)
    rows = rows_of(tmp_path)
    # the schedule goes on: 1, 3/4, 1/2, 1/4 of the stage's own
    found = [row["learning_rate"] for row in rows]
    assert found == pytest.approx([4e-3, 3e-3, 5e-4, 2.5e-4])
    assert [row["entropy_weight"] for row in rows] == [0.2, 0.2, 0.005, 0.005]


def test_a_stage_changes_the_discount_a_learner_learns_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[float, float]] = []

    class Watched(LEARNERS["ppo"]):  # type: ignore[misc, name-defined]
        def round(self) -> dict[str, Any]:
            found: dict[str, Any] = super().round()
            seen.append((self.settings.gamma, self.descent.optimiser.param_groups[0]["lr"]))
            return found

    monkeypatch.setitem(LEARNERS, "ppo", Watched)
    stages = [{"updates": 1, "gamma": 0.5}, {"updates": 1, "learning_rate": 2e-3}, {}]
    run(tmp_path, updates=3, train_settings={"stages": stages})
    assert seen == [(0.5, 1e-3), (0.97, 2e-3), (0.97, 1e-3)]


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ({"stages": [{"costs": 0.0}, {}]}, "stage 1 never ends"),
        ({"stages": [{"updates": 1, "cost": 0.0}, {}]}, "unknown key"),
        ({"market": "mix", "starts": "sequential"}, 'starts = "random"'),
        ({"stages": [{"market": "gbm"}], "starts": "sequential"}, 'starts = "random"'),
        ({"stages": [{"learning_rate": 0.0}]}, "greater than 0"),
        ({"stages": [{"gamma": 1.1}]}, "less than or equal to 1"),
        ({"algorithm": "ddpg", "stages": [{"entropy_weight": 0.1}]}, "which ddpg has not"),
        (
            {"ppo": {"entropy_weight_end": 0.0}, "stages": [{"entropy_weight": 0.1}]},
            "use one of the two",
        ),
    ],
)
def test_a_course_that_cannot_be_is_refused(train: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        build({"train": train}, "here")


REAL = made_up(4, sessions=300, symbols=2, gaps=0.02, late=60)


@pytest.mark.parametrize("maker", [bootstrapped, walks])
def test_made_up_markets_are_drawn_from_training_bars_alone(maker: Maker) -> None:
    first, last = 50, 200
    ohlcv = REAL.ohlcv.copy()
    ohlcv[last + 1 :] *= 7.0
    ohlcv[:first] *= 3.0
    other = replace(REAL, ohlcv=ohlcv)
    settings = AugmentSettings(copies=3)
    for joint in (True, False):
        found = augmented(REAL, first, last, settings, joint, 1, maker)
        changed = augmented(other, first, last, settings, joint, 1, maker)
        assert len(found.sessions) == last + 1
        assert found.symbols[:4] == ("S0", "S1", "S0~1", "S1~1")
        assert len(found.symbols) == 2 * (1 + 3)
        assert np.array_equal(found.ohlcv[:, 2:], changed.ohlcv[:, 2:])
        assert np.array_equal(found.ohlcv[:, :2], REAL.ohlcv[: last + 1], equal_nan=True)


def test_random_walks_have_the_drift_and_noise_of_each_symbol_or_those_asked_for() -> None:
    # one symbol five times as wild as the other; 20,000 days: standard errors 1 / 141 and 1 / 200
    rng = np.random.default_rng(0)
    moved = np.exp(np.array([0.01, 0.05]) * rng.normal(size=(300, 2)) + np.array([0.002, 0.0]))
    ohlcv = np.repeat(100.0 * np.cumprod(moved, axis=0)[..., None], 5, axis=-1)
    calm = made_up(0, sessions=300, symbols=2, gaps=0.0, events=0.0, late=0)
    base = replace(calm, ohlcv=ohlcv)
    own, asked = AugmentSettings(), AugmentSettings(mu=0.001, sigma=0.03)
    for settings, mu, sigma in (
        (own, moved[1:].mean(axis=0) - 1.0, np.log(moved[1:]).std(axis=0, ddof=1)),
        (asked, np.full(2, 0.001), np.full(2, 0.03)),
    ):
        close = walks(base, 20_000, settings, np.random.default_rng(1))[:, :, CLOSE]
        steps = np.log(close[1:] / close[:-1])
        assert steps.std(axis=0) == pytest.approx(sigma, rel=0.02)
        assert np.abs(np.exp(steps).mean(axis=0) - 1.0 - mu).max() < 4 * sigma.max() / 141
        assert abs(np.corrcoef(steps.T)[0, 1]) < 4 / 141
        lagged = [np.corrcoef(steps[1:, n], steps[:-1, n])[0, 1] for n in range(2)]
        assert np.abs(lagged).max() < 4 / 141


def test_made_up_days_are_days_that_were() -> None:
    found = augmented(REAL, 0, 299, AugmentSettings(copies=1), joint=False, seed=1)
    real, made = (
        bars.ohlcv[:, n, CLOSE] / bars.ohlcv[:, n, 0] for bars, n in ((REAL, 0), (found, 2))
    )
    assert all(np.isclose(real, ratio, rtol=1e-9).any() for ratio in made)
    again = augmented(REAL, 0, 299, AugmentSettings(copies=1), joint=False, seed=1)
    other = augmented(REAL, 0, 299, AugmentSettings(copies=1), joint=False, seed=2)
    assert again.digest() == found.digest() != other.digest()


@pytest.mark.parametrize("kind", ["single", "portfolio"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_episodes_play_on_made_up_markets_as_often_as_asked(kind: str, share: float) -> None:
    bars = augmented(REAL, 0, 299, AugmentSettings(copies=3), joint=True, seed=0)
    stage = StageSettings(episode_steps=30)
    env = env_of(stage, bars, books=2_000, kind=kind, symbols=2, made_up=share)
    env.reset()
    assert env.shape[1] == (1 if kind == "single" else 2)
    copies = env.symbol[:, 0] // 2
    assert (copies > 0).mean() == pytest.approx(share, abs=0.04)
    if share:
        assert set(copies[copies > 0]) == {1, 2, 3}
    if kind == "portfolio":  # never symbols of two markets in one book
        assert (env.symbol[:, 1] == env.symbol[:, 0] + 1).all()
        assert (env.symbol[:, 0] % 2 == 0).all()
    obs = env.observe()
    result = env.step(obs, Wish(np.ones(obs.fresh.shape), np.zeros(obs.fresh.shape, dtype=bool)))
    assert np.isfinite(result.equity_after).all()


@pytest.mark.parametrize("kind", ["single", "portfolio"])
def test_a_regime_plays_the_calmer_or_the_wilder_half(kind: str) -> None:
    # calm for 170 sessions, five times wilder after
    rng = np.random.default_rng(0)
    size = np.where(np.arange(300) < 170, 0.005, 0.025)[:, None]
    close = 100.0 * np.exp(np.cumsum(size * rng.normal(size=(300, 2)), axis=0))
    base = made_up(0, sessions=300, symbols=2, gaps=0.0, events=0.0, late=0)
    ohlcv = np.repeat(close[..., None], 5, axis=-1)
    bars = replace(base, ohlcv=ohlcv)
    stage = StageSettings(episode_steps=20)
    low, high, every = (
        env_of(stage, bars, kind=kind, regime=regime) for regime in ("low", "high", "all")
    )
    assert low.starts[:, 0].max() < 155
    assert (high.starts[:, 0] > 150).mean() > 0.8
    assert len(low.starts) + len(high.starts) >= len(every.starts)
    assert set(map(tuple, low.starts)) | set(map(tuple, high.starts)) == set(
        map(tuple, every.starts)
    )
