"""Learning in bfloat16: close to float32, and never in what is saved, deployed or decided."""

from typing import Any

import numpy as np
import pytest
import torch

from agents.machine import lowered, slow_precision
from agents.networks import ActorCritic, advance, outputs
from agents.onednn import affine
from tests.network_options import EVERY, make, mask_of
from tests.off_policy import learner as off_policy
from tests.rollouts import ON_POLICY, STEPS, Parts, differences

LOW = "bfloat16"


def low(net: ActorCritic) -> ActorCritic:
    net.precision = LOW
    return net


@pytest.mark.parametrize("rule", ["carry", "window(3)"])
@pytest.mark.parametrize("name", EVERY)
def test_every_network_runs_sequences_in_bfloat16_and_answers_in_float32(name: str, rule: str):
    net = make(name, rule)
    rows = torch.randn(9, 4, net.inputs)
    mask, start = mask_of(net, 4), net.start(4)
    book, count = torch.randn(9, 4, 2), torch.tensor([9, 0, 3, 9])
    found = []
    for net.precision in ("float32", LOW):
        net.zero_grad(set_to_none=True)
        out = outputs(net, rows, None, start, mask)
        head, value = net.heads(out, book)
        (head.sum() + value.sum()).backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        memory = advance(net, rows, count, start)
        found.append([x.detach() for x in (out.float(), head, value, memory, gradient)])
    for a, b in zip(*found, strict=True):
        assert b.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0) > 0.98
    for a, b in zip(found[0][:4], found[1][:4], strict=True):
        # 8 bits of a mantissa, and what recurrence makes of their rounding
        assert float((a - b).norm()) <= 0.05 * float(a.norm())
    assert not torch.equal(found[0][0], found[1][0])


def test_one_step_of_life_is_float32_whatever_the_training_was() -> None:
    net = make("plain")
    row, book, memory = torch.randn(4, 4), torch.randn(4, 2), 0.3 * torch.randn(4, net.memory_width)
    exact = net.step(row, book, memory)
    net.precision = LOW
    for a, b in zip(exact, net.step(row, book, memory), strict=True):
        assert torch.equal(a, b)
    assert ActorCritic(*net.shape).precision == "float32"  # what the step is exported from


@pytest.mark.parametrize("rule", ON_POLICY)
@pytest.mark.parametrize(
    "setup",
    [
        {},
        {"book_input": "lstm"},
        {"gaps": 0.15},
        {"head_residual": True},
        {"critic": "separate", "dropout_after": 0.3},
    ],
)
def test_update_in_bfloat16_sees_what_was_played_in_bfloat16(rule: str, setup: dict[str, Any]):
    parts = Parts(**setup)
    with torch.no_grad():
        parts.net.actor[-1].weight.div_(100.0)  # a head as it is, not the test bench's
    rollout = low(parts.net) and parts.collector.collect(STEPS)
    ratio, value = differences(parts, rollout, rule)
    # Rounded in different batches; measured up to 5e-5 and 1.7e-3.
    assert ratio < 5e-4
    assert value < 1e-2


@pytest.mark.parametrize("rule", ON_POLICY)
def test_training_in_bfloat16_keeps_weights_and_moments_in_float32(rule: str):
    weights = []
    for precision in ("float32", LOW, LOW):
        learner = Parts().learner(rule, precision=precision)
        learner.round()
        state = learner.descent.optimiser.state_dict()["state"]
        kept = [*learner.net.state_dict().values()]
        kept += [x for moments in state.values() for x in moments.values()]
        assert all(x.dtype == torch.float32 for x in kept)
        weights.append(torch.cat([p.detach().flatten() for p in learner.net.parameters()]))
    assert torch.equal(weights[1], weights[2])
    assert not torch.equal(weights[0], weights[1])


def test_ddpg_learns_in_bfloat16_and_keeps_its_networks_in_float32() -> None:
    made = off_policy(precision=LOW)
    nets = (made.net, made.critic, made.target_net, made.target_critic)
    assert [net.precision for net in nets] == [LOW] * 4
    before = [p.detach().clone() for p in made.critic.parameters()]
    for _ in range(8):
        row = made.round()
    assert np.isfinite(row["critic_loss"])
    after = list(made.critic.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert all(p.dtype == torch.float32 for net in nets for p in net.parameters())


def test_affine_map_in_bfloat16_rounds_what_it_reads_and_writes() -> None:
    # 1 + 2^-9 is no bfloat16 (7 bits after the point): it is read as 1
    x, weight, bias = torch.tensor([[1.0 + 2.0**-9]]), torch.tensor([[3.0]]), torch.tensor([-4.0])
    assert affine(x, weight, bias, precision=LOW).tolist() == [[-1.0]]
    assert affine(x, weight, bias, True, LOW).tolist() == [[0.0]]
    assert affine(x, weight, bias).tolist() == [[-1.0 + 3.0 * 2.0**-9]]


def test_float32_leaves_products_alone() -> None:
    with lowered("float32", torch.device("cpu")):
        assert not torch.is_autocast_enabled("cpu")
    with lowered(LOW, torch.device("cpu")):
        assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("has", [True, False])
def test_processor_without_fast_bfloat16_is_told_of(monkeypatch: pytest.MonkeyPatch, has: bool):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    told = slow_precision(LOW, "cpu")
    assert slow_precision("float32", "cpu") is None
    if has:
        assert told is None
    else:
        assert told is not None
        assert 'train.precision = "bfloat16"' in told
        assert 'use "float32"' in told
