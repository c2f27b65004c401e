"""Recurrent DDPG: targets, memories and gradients are what the definition says; bugs are caught."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.ddpg import (
    CRITIC,
    DDPG,
    book_value,
    soft_update,
    td_target,
)
from agents.explorer import remembered
from agents.networks import ActorCritic, outputs
from agents.replay import Batch
from tests.off_policy import EPISODE, batch_of, learner, losses

TENSORS = [name for name in Batch.__dataclass_fields__ if name not in ("seen", "memory", "tags")]


def test_target_of_a_truncated_step_bootstraps_and_only_ruin_does_not() -> None:
    # V11
    reward, after = torch.ones(3), torch.full((3,), 10.0)
    running, truncated, ruined = False, False, True
    found = td_target(reward, after, torch.tensor([running, truncated, ruined]), 0.9)
    assert found.tolist() == [10.0, 10.0, 1.0]


def test_the_last_step_of_an_episode_is_valued_by_its_own_final_observation() -> None:
    made = learner()
    batch_of(made)
    ring = made.replay.ring
    last = int(np.flatnonzero(ring["noted"][: made.replay.head][:20])[EPISODE - 1])
    assert not ring["noted"][last + 1]  # the final observation, and then another episode
    batch = made.replay.sample(np.array([[last - 3, 0]]), 4, None)
    rows, book = ring["rows"][: last + 2, 0, 0], ring["book"][last + 1, 0, 0]
    with torch.no_grad():
        values = []
        for net, beside in ((made.target_net, []), (made.target_critic, [0.0])):
            out = net.trunk(torch.from_numpy(rows)[:, None], net.start(1))[0][-1]
            seen = torch.tensor([[*book, *beside]])
            values.append((net, out, seen))
        (actor, out, seen), (critic, late, beside_it) = values
        beside_it[0, -1] = torch.tanh(actor.policy(out, seen))[0, 0]
        after = critic.value(late, beside_it)[0]
    expected = ring["reward"][last, 0] + made.settings.gamma * after.item()
    assert made.target(batch)[-1, 0].item() == pytest.approx(expected, abs=1e-5)
    ruined = replace(batch, terminated=torch.ones_like(batch.terminated))
    assert torch.equal(made.target(ruined), batch.reward)


def test_soft_update_moves_each_weight_its_share_of_the_way() -> None:
    # V9
    made = learner()
    with torch.no_grad():
        for online, late in zip(made.net.parameters(), made.target_net.parameters(), strict=True):
            online.fill_(1.0)
            late.fill_(0.0)
    for expected in (0.005, 0.009975):
        soft_update(made.target_net, made.net, 0.005)
        for late in made.target_net.parameters():
            assert late.numpy() == pytest.approx(expected, abs=1e-8)


def test_a_target_changes_by_its_soft_update_and_by_nothing_else() -> None:
    # R27: exactly theta' = tau theta + (1 - tau) theta'; no gradient reaches a target
    made = learner(ddpg={"tau": 0.1})
    before = {n: copy.deepcopy(net.state_dict()) for n, net in made._others().items()}
    made.learn(batch_of(made))
    for late, online in (("target_net", made.net), ("target_critic", made.critic)):
        net = made._others()[late]
        for name, now in online.named_parameters():
            expected = 0.1 * now.detach() + (1.0 - 0.1) * before[late][name]
            assert torch.equal(net.state_dict()[name], expected)
        assert all(x.grad is None and not x.requires_grad for x in net.parameters())


def test_the_critic_sees_the_action_and_its_gradient_reaches_its_own_lstm_alone() -> None:
    made = learner(network={"critic": "shared", "critic_gradient": "stop"})
    batch = batch_of(made)
    error, _ = losses(made, batch)
    error.backward()  # type: ignore[no-untyped-call]
    reached = {n for n, x in made.critic.named_parameters() if x.grad is not None and x.grad.any()}
    assert any("lstm" in name for name in reached)
    assert not any(x.grad is not None for x in made.net.parameters())
    out = made.unrolled(made.critic, batch, CRITIC)
    other = replace(batch, action=-batch.action)
    assert not torch.allclose(
        book_value(made.critic, out, batch, batch.action),
        book_value(made.critic, out, other, other.action),
    )


def test_the_actor_climbs_what_the_critic_says_and_leaves_the_critic_alone() -> None:
    made = learner(ddpg={"critic_learning_rate": 1e-12, "tau": 1e-12}, scale=1.0)
    batch = batch_of(made)
    before = losses(made, batch)[1].item()
    critic = copy.deepcopy(made.critic.state_dict())
    for _ in range(30):
        made.learn(batch)
    assert losses(made, batch)[1].item() > before + 1e-3
    assert all(torch.allclose(x, critic[n], atol=1e-9) for n, x in made.critic.state_dict().items())


def test_a_sequence_gives_alone_what_it_gives_in_company() -> None:
    # Burn-ins of different lengths stand side by side: padding changes nothing, whatever it holds.
    made = learner(gaps=0.3)
    batch = batch_of(made, sequences=12)
    assert len(set(batch.count.tolist())) > 3
    padded = torch.arange(len(batch.before))[:, None] >= batch.count
    assert padded.any()
    wild = replace(batch, before=torch.where(padded[..., None], 1e6, batch.before))
    with torch.no_grad():
        together = made.target(batch)
        assert torch.equal(made.target(wild), together)
        for at in range(12):
            alone = made.replay.sample(batch.tags[at : at + 1], made.steps, made._depth())
            assert torch.allclose(made.target(alone)[:, 0], together[:, at], atol=1e-5)


def after_learning(made: DDPG, batch: Batch) -> list[Tensor]:
    other = copy.deepcopy(made)
    other.learn(batch)
    return [x for net in (other.net, other.critic) for x in net.state_dict().values()]


def test_bars_without_an_action_and_ruined_books_change_no_weight() -> None:
    made = learner(kind="portfolio", gaps=0.3)
    batch = batch_of(made)
    assert not batch.ready.all()
    batch.alive[-1, ::2] = False
    expected = after_learning(made, batch)
    other = replace(
        batch,
        action=torch.where(batch.ready, batch.action, 0.77),
        reward=torch.where(batch.alive, batch.reward, 1e6),
    )
    found = after_learning(made, other)
    assert all(torch.equal(left, right) for left, right in zip(expected, found, strict=True))
    moved = replace(batch, action=torch.where(batch.ready, 0.77, batch.action))
    found = after_learning(made, moved)
    assert not all(torch.equal(left, right) for left, right in zip(expected, found, strict=True))


def test_both_losses_have_the_gradients_that_finite_differences_have() -> None:
    # R33, in float64
    made = learner()
    batch = batch_of(made, sequences=3)
    wide = {n: x.double() for n in TENSORS if (x := getattr(batch, n)).dtype == torch.float32}
    batch = replace(batch, **wide)
    for net in (made.net, *made._others().values()):
        net.double()
    for which, net in ((0, made.critic), (1, made.net)):
        weight = next(x for n, x in net.named_parameters() if "weight_hh" in n)
        (gradient,) = torch.autograd.grad(losses(made, batch)[which], weight)
        way = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)).double()
        ends = []
        for sign in (1.0, -1.0):
            with torch.no_grad():
                weight += sign * 1e-5 * way
            ends.append(truncated_loss(made, batch, which))
            with torch.no_grad():
                weight -= sign * 1e-5 * way
        slope = (ends[0] - ends[1]) / 2e-5
        assert slope == pytest.approx(float((gradient * way).sum()), rel=1e-5)


def truncated_loss(made: DDPG, batch: Batch, which: int) -> float:
    # A memory built without gradient must stand still while a weight is moved.
    frozen: dict[str, Tensor] = made.__dict__.setdefault("frozen", {})

    def still(net: ActorCritic, batch: Batch, _: int) -> Tensor:
        return outputs(net, batch.rows, batch.seen, frozen[str(id(net))])

    if not frozen:
        for net in (made.net, *made._others().values()):
            frozen[str(id(net))] = remembered(net, batch)
    made.unrolled = still  # type: ignore[method-assign]
    return losses(made, batch)[which].item()
