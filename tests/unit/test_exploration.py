"""Exploration: how large noise is and how it fades; and that the replay holds what was played."""

from typing import Any

import numpy as np
import pytest
import torch

from agents.evaluate import play
from agents.exploration import Noise, faded
from agents.export import StepGraph
from engine.policy import decode
from engine.settings_learners import DDPGSettings
from engine.step import StepPolicy
from tests.off_policy import BOOKS, BURN_IN, EPISODE, SETUPS, learner


def drawn(kind: str, bars: int = 400, **settings: Any) -> np.ndarray:
    made = DDPGSettings(noise=kind, noise_start=0.2, noise_end=0.2, **settings)  # type: ignore[arg-type]
    noise = Noise(made, (500, 1), np.random.default_rng(0))
    return np.stack([noise.draw(0) for _ in range(bars)])[..., 0]


@pytest.mark.parametrize("kind", ["gaussian", "ou"])
def test_size_is_the_deviation_of_both_kinds_from_the_first_bar_on(kind: str) -> None:
    found = drawn(kind)  # 500 books: standard error of a deviation is 0.2 / sqrt(1000) = 0.0063
    assert found[0].std() == pytest.approx(0.2, abs=0.025)
    assert found[200:].std() == pytest.approx(0.2, abs=0.005)


def test_ornstein_uhlenbeck_noise_leans_for_a_while_and_gaussian_noise_does_not() -> None:
    for kind, expected in (("gaussian", 0.0), ("ou", 0.85)):  # 1 - theta
        found = drawn(kind)
        left, right = found[:-1].reshape(-1), found[1:].reshape(-1)
        assert np.corrcoef(left, right)[0, 1] == pytest.approx(expected, abs=0.01)


def test_noise_fades_in_a_straight_line_and_stays_at_its_end() -> None:
    assert [faded(n, 0.3, 0.1, 100) for n in (0, 50, 100, 500)] == pytest.approx(
        [0.3, 0.2, 0.1, 0.1]
    )


def test_the_first_actions_are_drawn_evenly_and_the_later_ones_are_the_actors() -> None:
    made = learner(ddpg={"warmup_steps": 20 * BOOKS, "noise_start": 0.0, "noise_end": 0.0})
    made.explorer.play(20)
    noted = made.replay.ring["noted"]
    random = made.replay.ring["action"][noted]
    assert np.abs(random).max() <= 1.0
    assert random.std() == pytest.approx(3.0**-0.5, abs=0.1)
    with torch.no_grad():
        list(made.net.actor.parameters())[-1].fill_(50.0)
    made.explorer.play(5)
    assert made.replay.ring["action"][made.replay.ring["noted"]][20:].min() > 0.9


@pytest.mark.parametrize("name", ["carry", "gaps", "portfolio", "stepwise"])
def test_the_replay_holds_what_the_environment_showed_did_and_paid(name: str) -> None:
    # R29: every column beside the bar it belongs to; noted at the environment's own door.
    made = learner(**SETUPS[name])
    env, step, seen = made.explorer.env, made.explorer.env.step, []

    def noted(obs: Any, wish: Any) -> Any:
        ready = obs.fresh & (env.trader.warm > BURN_IN)
        result = step(obs, wish)
        book, sleeve = env.venue.book, env.venue.book.equity()[:, None] * env.spec.allocation
        seen.append((obs, wish.exposure, result, ready, book.value() / sleeve))
        return result

    env.step = noted  # type: ignore[method-assign]
    made.explorer.play(3 * EPISODE + 5)
    ring, replay = made.replay.ring, made.replay
    bars = np.flatnonzero(ring["noted"][: replay.head])
    assert len(bars) == len(seen) == 3 * EPISODE + 5
    assert np.diff(bars).tolist().count(1) == len(seen) - 4  # an episode is followed by a new one
    for bar, (obs, wish, result, ready, held) in zip(bars, seen, strict=True):
        assert np.array_equal(ring["rows"][bar][..., : obs.market.shape[-1]], obs.market)
        assert np.array_equal(ring["book"][bar], obs.book)
        assert np.array_equal(ring["fresh"][bar], obs.fresh)
        assert np.array_equal(ring["ready"][bar], ready)
        exposure = decode(ring["action"][bar], env.spec.action, allow_short=True).exposure
        assert np.array_equal(exposure, wish)
        growth = result.equity_after / result.equity_before
        assert ring["reward"][bar] == pytest.approx(100.0 * np.log(growth), abs=1e-5)
        assert np.array_equal(ring["terminated"][bar], result.terminated)
        # what the action led to stands right behind it
        shown = np.clip(held, -1.0, 1.0)  # at most a full sleeve
        assert ring["book"][bar + 1][..., 0] == pytest.approx(shown, abs=1e-6)
        assert not np.allclose(ring["book"][bar][..., 0], shown, atol=1e-6)


@pytest.mark.parametrize("name", ["carry", "window"])
def test_without_noise_the_explorer_plays_as_the_deployed_step_does(name: str) -> None:
    quiet = {"noise_start": 0.0, "noise_end": 0.0, **SETUPS[name].get("ddpg", {})}
    made = learner(**{**SETUPS[name], "ddpg": quiet})
    made.explorer.play(7)
    made.explorer.play(EPISODE - 7)
    actions = made.replay.ring["action"][made.replay.ring["noted"]]
    other = learner(**{**SETUPS[name], "ddpg": quiet})
    info = other_info(other)
    env = other.explorer.env
    env.generator = np.random.default_rng(0)
    env.trader.policy = StepPolicy(StepGraph(made.net).as_bytes(), info)
    wishes: list[np.ndarray] = []
    env.trader.observer = lambda decision: wishes.append(decision.wish.exposure)
    play(env, EPISODE)
    assert np.abs(np.stack(wishes) - actions).max() <= 1e-4  # wishes are rounded to 1e-4
    assert actions.std() > 0.1


def other_info(made: Any) -> Any:
    return made.info.model_copy(update={"memory_width": made.net.memory_width})
