"""Memory in recurrent DDPG: built as in life, without gradient, by each network for itself."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.ddpg import ACTOR, CRITIC, DDPG, means
from agents.explorer import one_bar, remembered
from agents.networks import ActorCritic, outputs
from agents.replay import Batch
from tests.off_policy import BOOKS, BURN_IN, EPISODE, SETUPS, batch_of, learner, losses


@pytest.mark.parametrize("setup", SETUPS.values(), ids=SETUPS)
def test_a_sampled_sequence_remembers_what_a_deployed_agent_would(setup: dict[str, Any]) -> None:
    # Oracle: the step of life, from zero over the burn-in rows, carried bar by bar where fresh.
    made = learner(**setup)
    batch = batch_of(made, played=3 * EPISODE, sequences=40)
    ring, net, symbols = made.replay.ring, made.net, made.explorer.env.shape[1]
    with torch.no_grad():
        heads = means(net, made.unrolled(net, batch, ACTOR), batch)
        worst, first = 0.0, int(ring["noted"].argmax())
        memory, outs = net.start(BOOKS * symbols), {}
        for bar in range(made.replay.head):
            if bar == ring["origin"][bar]:
                memory = net.start(BOOKS * symbols)
            row, book = (torch.from_numpy(ring[n][bar]).flatten(0, 1) for n in ("rows", "book"))
            fresh = torch.from_numpy(ring["fresh"][bar]).flatten()
            out, memory = one_bar(net, row, fresh, memory)
            outs[bar] = net.policy(out, book)[:, 0].reshape(BOOKS, symbols)
        for at, (bar, book) in enumerate(batch.tags):
            for step in range(made.steps + 1):
                own = heads[step].reshape(-1, symbols)[at]
                worst = max(worst, float((own - outs[bar + step][book]).abs().max()))
    assert first == BURN_IN
    assert worst <= 1e-5
    assert float(heads.std()) > 0.01


def gradient_before(made: DDPG, batch: Batch, unrolled: Callable[..., Tensor]) -> float:
    """The largest gradient of either loss with respect to the bars before the sequences."""
    batch = replace(
        batch,
        before=batch.before.clone().requires_grad_(),
        rows=batch.rows.clone().requires_grad_(),
        memory=tuple(x.clone().requires_grad_() for x in batch.memory),
    )
    made.unrolled = unrolled  # type: ignore[method-assign]
    error, gain = losses(made, batch)
    (error - gain).backward()  # type: ignore[no-untyped-call]
    assert batch.rows.grad is not None
    assert (batch.rows.grad[:-1].abs().amax(dim=(1, 2)) > 0).all()  # all the way to index 0
    found = [x.grad for x in (batch.before, *batch.memory) if x.grad is not None]
    return max((float(x.abs().max()) for x in found), default=0.0)


@pytest.mark.parametrize("start", ["exact", "stored", "zero"])
def test_no_gradient_reaches_the_bars_that_build_a_memory(start: str) -> None:
    # R26
    made = learner(ddpg={"memory_start": start, "burn_in_steps": 4})
    batch = batch_of(made)
    assert len(batch.before) >= 4
    assert gradient_before(made, batch, made.unrolled) == 0.0


def test_gradients_through_the_burn_in_would_be_caught() -> None:
    # P12: the sequence run as one with the bars before it
    made = learner(ddpg={"memory_start": "zero", "burn_in_steps": 4})
    starts = made_starts(made)
    batch = made.replay.sample(starts[starts[:, 0] % 18 > 9][:8], made.steps, 4)
    assert (batch.count == 4).all()

    def through(net: ActorCritic, batch: Batch, which: int) -> Tensor:
        rows = torch.cat([batch.before, batch.rows])
        return net.trunk(rows, net.start(rows.shape[1]))[0][4:]

    assert gradient_before(made, batch, through) > 1e-8


def made_starts(made: DDPG) -> np.ndarray:
    made.explorer.play(3 * EPISODE)
    return made.replay.starts(made.steps, made._depth())


@pytest.mark.parametrize("start", ["zero", "stored"])
def test_error_of_the_memory_falls_with_the_length_of_the_burn_in(start: str) -> None:
    # R26: against the true memory of the weights of now, which are not those that played
    errors = []
    for bars in (0, 2, 4, 8):
        made = learner(ddpg={"memory_start": start, "burn_in_steps": bars})
        made_starts(made)
        with torch.no_grad():
            for weight in made.net.parameters():
                weight += 0.1 * torch.randn(
                    weight.shape, generator=torch.Generator().manual_seed(1)
                )
        late = np.array(
            [[bar, b] for b in range(BOOKS) for bar in (13, 31, 49)]
        )  # 8 into an episode
        batch = made.replay.sample(late, made.steps, bars)
        exact = made.replay.sample(late, made.steps, None)
        noted = ACTOR if start == "stored" else None
        off = remembered(made.net, batch, noted) - remembered(made.net, exact)
        errors.append(float(off.abs().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]


def test_memory_noted_in_play_is_that_of_the_weights_that_played() -> None:
    made = learner(ddpg={"memory_start": "stored", "burn_in_steps": 0})
    batch = batch_of(made)
    exact = made.replay.sample(batch.tags, made.steps, None)
    for which, net in ((ACTOR, made.net), (CRITIC, made.critic)):
        assert torch.allclose(batch.memory[which], remembered(net, exact), atol=1e-5)
        assert batch.memory[which].abs().max() > 0.01


def test_the_target_unrolls_its_own_memory_and_the_online_one_would_be_caught() -> None:
    # R27, P11: after one update the two differ
    made = learner(ddpg={"tau": 0.1, "critic_learning_rate": 0.05}, learning_rate=0.05)
    batch = batch_of(made)
    made.learn(batch)
    with torch.no_grad():
        own = made.unrolled(made.target_critic, batch, CRITIC)
        memory = remembered(made.target_critic, batch)
        assert torch.equal(own, outputs(made.target_critic, batch.rows, batch.seen, memory))
        right = made.target(batch)
        online = {id(made.target_net): made.net, id(made.target_critic): made.critic}

        def borrowed(net: ActorCritic, batch: Batch, which: int) -> Tensor:
            memory = remembered(online[id(net)], batch)
            return outputs(net, batch.rows, batch.seen, memory)

        made.unrolled = borrowed  # type: ignore[method-assign]
        assert float((made.target(batch) - right).abs().max()) > 1e-4
