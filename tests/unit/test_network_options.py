"""Every option of the network keeps the identities: bar by bar, alone, padded, and without a future."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from agents.attention import Attention
from agents.causality import future_gradient
from agents.networks import ActorCritic, Widths, advance, outputs
from engine.settings_agent import NetworkSettings
from tests.network_options import ALL, EVERY, bar_by_bar, make, mask_of, noisy_memory

RULES = ["carry", "window(5)"]
every_option = pytest.mark.parametrize("name", EVERY)
every_rule = pytest.mark.parametrize("rule", RULES)


def tolerance(net: ActorCritic) -> float:
    """1e-6; norms divide by spreads below 1, which scales rounding up (1e-12 in double precision)."""
    return 3e-6 if net.network.layer_norm == "cell" else 1e-6


@every_option
@every_rule
@torch.no_grad()
def test_step_by_step_equals_whole_sequence(name: str, rule: str) -> None:
    # R16; from a memory that is not zero, with dropout where the option has it
    net = make(name, rule)
    rows, memory, mask = torch.randn(1000, 2, net.inputs), noisy_memory(net, 2), mask_of(net, 2)
    rows = rows[: 1000 if rule == "carry" else 100]  # nothing is carried further than the window
    whole, end = net.trunk(rows, memory, mask)
    stepped, stepped_end = bar_by_bar(net, rows, memory, mask)
    assert (whole - stepped).abs().max() <= tolerance(net)
    assert (end - stepped_end).abs().max() <= tolerance(net)
    assert (net.held(end, mask) - whole[-1]).abs().max() <= tolerance(net)
    zeroed = net.trunk(rows[1:3], net.start(2), mask)[0]  # P1: it would be caught
    assert (whole[1:3] - zeroed).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["norm in the cell, two layers", "attention", *list(EVERY)[-5:]])
@torch.no_grad()
def test_step_by_step_equals_whole_sequence_in_double_precision(name: str) -> None:
    net = make(name).double()
    rows, memory = torch.randn(300, 2, net.inputs).double(), noisy_memory(net, 2)
    assert (net.trunk(rows, memory)[0] - bar_by_bar(net, rows, memory)[0]).abs().max() <= 1e-12


@pytest.mark.parametrize(("gain", "dies_out"), [(0.1, True), (1.0, False)])
@torch.no_grad()
def test_rounding_dies_out_in_the_normed_cell_as_it_starts(gain: float, dies_out: bool) -> None:
    # At a gain of 1, as norms usually start, a small difference grows into another memory.
    net = make("norm in the cell", hidden=64)
    assert (net.lstm.layers[0].norm_output.weight == 0.1).all()
    nn.init.constant_(net.lstm.layers[0].norm_output.weight, gain)
    rows, memory = torch.randn(300, 1, net.inputs), noisy_memory(net, 1)
    found = net.trunk(rows, memory)[1] - net.trunk(rows, memory + 1e-5)[1]
    assert (found.abs().max() < 1e-5) == dies_out


@every_option
@every_rule
@torch.no_grad()
def test_an_episode_in_company_behind_another_equals_the_episode_alone(
    name: str, rule: str
) -> None:
    # R1, R2; P2 (no reset) would be caught
    net = make(name, rule)
    before, episode = torch.randn(6, 3, net.inputs), torch.randn(7, 3, net.inputs)
    mask = mask_of(net, 3)
    alone, _ = net.trunk(episode[:, 1:2], net.start(1), None if mask is None else mask[1:2])
    _, memory = net.trunk(before, noisy_memory(net, 3), mask)
    reset = torch.where(torch.tensor([False, True, False])[:, None], net.start(3), memory)
    company, _ = net.trunk(episode, reset, mask)
    forgotten, _ = net.trunk(episode, memory, mask)
    assert (company[:, 1:2] - alone).abs().max() <= tolerance(net)
    assert (forgotten[:, 1:2] - alone).abs().max() > 1e-3
    other = before.clone()
    other[-1] += 1.0
    shifted = torch.where(
        torch.tensor([False, True, False])[:, None],
        net.start(3),
        net.trunk(other, memory, mask)[1],
    )
    assert torch.equal(net.trunk(episode, shifted, mask)[0][:, 1], company[:, 1])


def in_life(
    net: ActorCritic, market: Tensor, fresh: Tensor, memory: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Oracle: bar by bar, memory kept where the bar is not fresh, as the Trader does."""
    outs = []
    for row, new in zip(market, fresh, strict=True):
        stepped = net.trunk(row[None], memory, mask)[1]
        memory = torch.where(new[:, None], stepped, memory)
        outs.append(net.held(memory, mask))
    return torch.stack(outs), memory


@every_option
@every_rule
@torch.no_grad()
def test_gaps_in_a_sequence_equal_skipped_bars_in_life(name: str, rule: str) -> None:
    net = make(name, rule)
    market, memory, mask = torch.randn(20, 4, net.inputs), noisy_memory(net, 4), mask_of(net, 4)
    memory[3] = 0.0
    fresh = torch.rand(20, 4) > 0.3
    fresh[:, 0], fresh[:, 1], fresh[:10, 2:] = True, False, False
    rows = torch.zeros_like(market)
    for r in range(4):
        rows[: int(fresh[:, r].sum()), r] = market[fresh[:, r], r]
    expected, end = in_life(net, market, fresh, memory, mask)
    out = outputs(net, rows, fresh.long().cumsum(0), memory, mask)
    after = advance(net, rows, fresh.long().sum(0), memory, mask)
    assert (out - expected).abs().max() <= tolerance(net)
    assert (after - end).abs().max() <= tolerance(net)


def scored(
    net: ActorCritic, rows: Tensor, memory: Tensor, mask: Tensor | None, counts: Tensor
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Outputs, last memory and the gradients of a loss over the real bars, by `counts`."""
    net.zero_grad()
    out, end = net.trunk(rows, memory, mask, counts)
    book = torch.ones(*out.shape[:2], 2)
    head, value = net.heads(out, book)
    real = torch.arange(len(rows))[:, None] < counts
    loss = torch.where(real, head.square().sum(-1) + value.square(), 0.0).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    found = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    return out.detach(), end.detach(), found


@every_option
@every_rule
def test_padding_changes_no_output_no_memory_and_no_gradient(name: str, rule: str) -> None:
    # R11, R12: three sequences of 6, 3 and 1 bars; the padding is filled with 1e3, then with 0
    net = make(name, rule)
    rows, memory, mask = torch.randn(6, 3, net.inputs), noisy_memory(net, 3), mask_of(net, 3)
    counts = torch.tensor([6, 3, 1])
    real = torch.arange(6)[:, None] < counts
    filled = [torch.where(real[..., None], rows, x) for x in (1e3, 0.0)]
    out, end, gradients = scored(net, filled[0], memory, mask, counts)
    other, other_end, other_gradients = scored(net, filled[1], memory, mask, counts)
    assert torch.equal(out[real], other[real])
    assert torch.equal(end, other_end)
    pairs = zip(gradients, other_gradients, strict=True)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
    for r, count in enumerate(counts.tolist()):
        own = None if mask is None else mask[r : r + 1]
        alone, alone_end = net.trunk(rows[:count, r : r + 1], memory[r : r + 1], own)
        assert (out[:count, r] - alone[:, 0]).abs().max() <= tolerance(net)
        assert (end[r] - alone_end[0]).abs().max() <= tolerance(net)


def everything(net: ActorCritic, mask: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """Policy head and value of every bar, from a memory that is not zero."""
    memory = noisy_memory(net, 2)

    def of(rows: Tensor) -> Tensor:
        head, value = net.heads(net.trunk(rows, memory, mask)[0], torch.ones(len(rows), 2, 2))
        return torch.cat([head, value[..., None]], -1)

    return of


@every_option
@every_rule
def test_no_option_reads_the_future(name: str, rule: str) -> None:
    # R14, exactly zero
    net = make(name, rule)
    with torch.no_grad():
        net.actor[-1].weight.mul_(100.0)
    assert future_gradient(everything(net, mask_of(net, 2)), torch.randn(7, 2, net.inputs)) == 0.0


class OverAllTime(nn.Module):
    """Planted P15: attention over the whole sequence, no mask."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.score = attention.score

    def forward(self, history: Tensor, steps: int) -> Tensor:
        now = history[-steps:, :, :-1]
        scores = torch.einsum("srh,trh->srt", self.score(now), now)
        return torch.cat([now, torch.einsum("srt,trh->srh", scores.softmax(-1), now)], -1)


class BothWays(nn.LSTM):
    """Planted: the backward half of a bidirectional LSTM beside the forward one, in H numbers."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.both = nn.LSTM(inputs, hidden // 2, bidirectional=True)

    def forward(self, rows: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple]:  # type: ignore[override,type-arg]
        return self.both(rows)[0], state


def test_attention_over_all_time_without_a_mask_is_caught() -> None:
    net = make("attention")
    assert isinstance(net.policy_trunk.attention, Attention)
    net.policy_trunk.attention = OverAllTime(net.policy_trunk.attention)  # type: ignore[assignment]
    assert future_gradient(everything(net), torch.randn(7, 2, net.inputs)) > 0.0


def test_a_bidirectional_lstm_is_caught() -> None:
    net = make("plain")
    net.policy_trunk.lstm = BothWays(net.inputs, 6)
    assert future_gradient(everything(net), torch.randn(7, 2, net.inputs)) > 0.0


@every_option
def test_every_weight_learns_from_policy_and_critic_together(name: str) -> None:
    net = make(name)
    out, _ = net.trunk(torch.randn(9, 3, net.inputs), noisy_memory(net, 3), mask_of(net, 3))
    head, value = net.heads(out, torch.randn(9, 3, 2))
    (head.square().sum() + value.square().sum()).backward()  # type: ignore[no-untyped-call]
    silent = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


@pytest.mark.parametrize("name", ["plain", "three layers", "norm of outputs", "dropout after"])
def test_torchs_lstm_runs_a_whole_sequence_in_one_call(name: str) -> None:
    net, calls = make(name), []
    net.lstm.register_forward_hook(lambda *_: calls.append(1))
    net.trunk(torch.randn(50, 2, net.inputs), net.start(2), mask_of(net, 2))
    assert isinstance(net.lstm, nn.LSTM)
    assert calls == [1]


@pytest.mark.parametrize("hidden", [1, 7, 129])
@pytest.mark.parametrize("layers", [1, 4])
def test_any_width_and_any_number_of_layers(hidden: int, layers: int) -> None:
    norm = "cell" if hidden > 1 else "none"
    settings = {**ALL, "hidden_size": hidden, "layer_norm": norm, "lstm_layers": max(layers, 2)}
    settings |= {"groups": (), "heads": (3, hidden, 2)}
    for market, book in ((1, 0), (9, 3)):
        net = ActorCritic(Widths(market, book, 2), NetworkSettings.model_validate(settings))
        out, memory = net.trunk(torch.randn(3, 2, market), net.start(2))
        head, value = net.heads(out, torch.randn(3, 2, book))
        assert out.shape == (3, 2, net.out_width)
        assert memory.shape == (2, net.memory_width)
        assert head.shape == (3, 2, 2)
        assert value.shape == (3, 2)
