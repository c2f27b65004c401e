"""DDPG as a learner: repeatable, resumable, and never with settings that cannot work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.ddpg import ACTOR, DDPG, critic_for, means
from engine.errors import SettingsError, TradingError
from tests.off_policy import SETUPS, batch_of, learner


def weights(made: DDPG) -> list[Tensor]:
    nets = (made.net, *made._others().values())
    return [x.clone() for net in nets for x in net.state_dict().values()]


def same(left: DDPG, right: DDPG) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(left), weights(right), strict=True))


@pytest.mark.parametrize("name", ["carry", "window", "stepwise", "portfolio"])
def test_a_seed_repeats_itself_and_another_does_not(name: str) -> None:
    made = [learner(**SETUPS[name], seed=seed) for seed in (0, 0, 1)]
    for each in made:
        for _ in range(2):
            row = each.round()
    assert {"critic_loss", "actor_value", "grad_norm", "replay", "noise"} <= row.keys()
    assert same(made[0], made[1])
    assert not same(made[0], made[2])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ddpg": {"noise": "ou", "memory_start": "stored", "warmup_steps": 60}},
        {"network": {"book_input": "lstm"}, "learning_rate_schedule": "linear"},
    ],
    ids=["carry", "ou-stored", "stepwise"],
)
def test_stopped_and_resumed_equals_never_stopped(tmp_path: Path, options: dict[str, Any]) -> None:
    # R32, through the files a checkpoint keeps
    whole, half = learner(**options), learner(**options)
    for _ in range(2):
        whole.round()
        half.round()
    kept = saved(half, tmp_path)
    again = learner(**options)
    again.net.load_state_dict(half.net.state_dict())
    again.generator.bit_generator.state = half.generator.bit_generator.state
    again.restore(kept)
    for _ in range(2):
        left, right = whole.round(), again.round()
    assert left == right
    assert same(whole, again)


def test_a_schedule_and_a_stage_move_both_step_sizes() -> None:
    made = learner(learning_rate_schedule="linear", updates=4, ddpg={"critic_learning_rate": 3e-3})
    sizes = []
    for rate in (1e-3, 1e-3, 2e-3):  # the stage of the third round doubles it
        made.settings = made.settings.model_copy(update={"learning_rate": rate})
        assert made.round()["learning_rate"] == made.descent.optimiser.param_groups[0]["lr"]
        both = (made.descent, made.critic_descent)
        sizes += [descent.optimiser.param_groups[0]["lr"] for descent in both]
    assert sizes == pytest.approx([1e-3, 3e-3, 7.5e-4, 2.25e-3, 1e-3, 3e-3])


def saved(made: DDPG, folder: Path) -> dict[str, Any]:
    from agents.checkpoint import _write_training, resume_state

    _write_training(folder / "training", made.state())
    return resume_state(folder)


def test_without_a_saved_replay_a_resumed_run_fills_a_new_one_before_it_learns(
    tmp_path: Path,
) -> None:
    options: dict[str, Any] = {"ddpg": {"save_replay": False, "warmup_steps": 80}}
    made, again = learner(**options), learner(**options)
    assert "critic_loss" in [made.round() for _ in range(2)][-1]
    assert "critic_loss" in made.round()
    again.net.load_state_dict(made.net.state_dict())
    again.restore(saved(made, tmp_path))
    assert again.replay.steps == 0
    first, second = again.round(), again.round()
    assert "critic_loss" not in first
    assert "critic_loss" in second
    assert first["noise"] == made.explorer.noise.size(120)  # it goes on fading from where it was


def test_dropout_drops_in_the_actors_update_and_nowhere_else() -> None:
    made = learner(network={"dropout_after": 0.5}, ddpg={"noise_start": 0.0, "noise_end": 0.0})
    batch = batch_of(made)
    assert made.critic.draw_mask(3, np.random.default_rng(0)) is None
    assert torch.equal(made.target(batch), made.target(batch))
    heads = means(made.net, made.unrolled(made.net, batch, ACTOR), batch)
    rows = batch.action.reshape(heads.shape)[:-1]
    assert torch.allclose(torch.tanh(heads)[:-1], rows, atol=1e-4)  # played with nothing dropped
    state = made.generator.bit_generator.state
    made.learn(batch)
    assert made.generator.bit_generator.state != state


def test_a_loss_that_is_not_finite_stops_before_a_weight_changes() -> None:
    made = learner()
    batch = batch_of(made)
    before = weights(made)
    batch.reward[0, 0] = float("nan")
    with pytest.raises(TradingError, match="loss is nan"):
        made.learn(batch)
    assert all(torch.equal(a, b) for a, b in zip(before, weights(made), strict=True))
    assert made.batch_now is batch


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ddpg": {"sequence_steps": 13}}, "expected at most 12, the shortest .*, found 13"),
        ({"ddpg": {"replay_size": 95}}, "room for two episodes of every book, 96 transitions"),
    ],
    ids=["sequence", "replay"],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        learner(**options)


@pytest.mark.parametrize("action", [{"kind": "discrete"}, {"distribution": "beta"}], ids=str)
def test_actions_that_are_no_squashed_mean_are_refused(action: dict[str, Any]) -> None:
    made = learner()
    space = made.info.action.model_copy(update=action)
    info = made.info.model_copy(update={"action": space})
    with pytest.raises(SettingsError, match='"ddpg": expected'):
        DDPG(made.explorer.env, info, made.settings, made.explorer.table.rewards.settings)


def test_the_critic_has_a_memory_as_wide_as_one_lstm() -> None:
    made = learner(network={"critic": "separate", "dropout_after": 0.3})
    assert critic_for(made.net).memory_width == 2 * 8
    assert made.net.memory_width == 2 * 2 * 8
