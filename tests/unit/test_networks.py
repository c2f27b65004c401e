"""The network: the guide's form, bar by bar = whole sequence, resets, gaps, no future."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from agents.cells import run
from agents.guide import TradingLSTMActorCritic
from agents.networks import ActorCritic, Widths, advance, outputs
from engine.settings_agent import NetworkSettings

RULES = ["carry", "window(4)", "window(1)"]


def make(
    rule: str = "carry",
    layers: int = 1,
    book: int = 2,
    book_input: str = "heads",
    hidden: int = 16,
) -> ActorCritic:
    torch.manual_seed(7)
    settings = NetworkSettings.model_validate(
        {"hidden_size": hidden, "lstm_layers": layers, "heads": (8,), "book_input": book_input}
    )
    return ActorCritic(Widths(market=3, book=book, head=3), settings, rule)


def noisy_memory(net: ActorCritic, rows: int) -> torch.Tensor:
    return 0.5 * torch.randn(rows, net.memory_width)


def test_the_guides_example_call_works_as_printed() -> None:
    seq_len = 10
    input_size = 5
    batch_size = 2
    model = TradingLSTMActorCritic(
        input_size=input_size, hidden_size=128, lstm_layers=1, fc_hidden_size=64, action_dim=3
    )
    obs = torch.randn(batch_size, seq_len, input_size)
    policy_logits, value, new_hidden = model(obs)
    assert policy_logits.shape == (batch_size, 3)
    assert value.shape == (batch_size, 1)
    assert [tuple(x.shape) for x in new_hidden] == [(1, 2, 128), (1, 2, 128)]


def test_the_guides_form_carries_on_from_the_state_it_returned() -> None:
    model = TradingLSTMActorCritic(5, 16, 2, 8, 3)
    obs = torch.randn(2, 10, 5)
    whole, _, end = model(obs)
    _, _, middle = model(obs[:, :6])
    rest, _, rest_end = model(obs[:, 6:], middle)
    assert torch.allclose(whole, rest, atol=1e-6)
    assert torch.allclose(end[1], rest_end[1], atol=1e-6)


def test_lstm_cell_gives_the_numbers_worked_out_by_hand() -> None:
    # facts V3: gate order i, f, g, o; one unit; float64
    net = ActorCritic(
        Widths(1, 0, 1), NetworkSettings(hidden_size=1, heads=(), book_input="heads")
    ).double()
    weights = {
        "weight_ih_l0": [[0.5], [-0.25], [0.75], [1.0]],
        "weight_hh_l0": [[0.1], [0.2], [-0.3], [0.4]],
        "bias_ih_l0": [0.0, 1.0, 0.0, -0.5],
        "bias_hh_l0": [0.0] * 4,
    }
    net.lstm.load_state_dict({k: torch.tensor(v).double() for k, v in weights.items()})
    rows = torch.tensor([1.0, -1.0, 2.0]).double().reshape(3, 1, 1)
    with torch.no_grad():
        out, memory = net.trunk(rows, net.start(1))
        fresh, after = net.trunk(rows[2:], net.start(1))
    expected = [0.234024167, 0.010192766, 0.491242569]
    assert out.flatten().tolist() == pytest.approx(expected, abs=1e-9)
    assert memory.flatten().tolist() == pytest.approx([0.491242569, 0.693784325], abs=1e-9)
    assert after.flatten().tolist() == pytest.approx([0.473788115, 0.661716396], abs=1e-9)
    assert fresh.flatten().tolist() == pytest.approx([0.473788115], abs=1e-9)


def bar_by_bar(net: ActorCritic, rows: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
    outs = []
    for row in rows:
        out, memory = net.trunk(row[None], memory)
        outs.append(out[0])
    return torch.stack(outs)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layers", [1, 2])
def test_step_by_step_equals_whole_sequence_over_1000_bars(rule: str, layers: int) -> None:
    net = make(rule, layers)
    rows, memory = torch.randn(1000, 3, 3), noisy_memory(make(rule, layers), 3)
    with torch.no_grad():
        whole, end = net.trunk(rows, memory)
        stepped = bar_by_bar(net, rows, memory)
        half = net.trunk(rows[:499], memory)[1]
        resumed, resumed_end = net.trunk(rows[499:], half)
    assert (whole - stepped).abs().max() <= 1e-6
    assert (whole[499:] - resumed).abs().max() <= 1e-6
    assert (end - resumed_end).abs().max() <= 1e-6


def test_step_by_step_equals_whole_sequence_in_double_precision() -> None:
    net = make(layers=2).double()
    rows, memory = torch.randn(1000, 2, 3).double(), noisy_memory(net, 2).double()
    with torch.no_grad():
        assert (net.trunk(rows, memory)[0] - bar_by_bar(net, rows, memory)).abs().max() <= 1e-12


def test_a_step_that_forgets_to_carry_is_caught() -> None:
    # planted bug P1: the same comparison, memory zeroed on every bar
    net = make()
    rows, memory = torch.randn(50, 3, 3), noisy_memory(net, 3)
    with torch.no_grad():
        whole, _ = net.trunk(rows, memory)
        forgetful = torch.stack([net.trunk(row[None], net.start(3))[0][0] for row in rows])
    assert (whole - forgetful).abs().max() > 1e-3


def test_save_restore_and_go_on_is_going_on_bitwise() -> None:
    net = make(layers=2)
    rows, memory = torch.randn(100, 3, 3), noisy_memory(net, 3)
    with torch.no_grad():
        for row in rows[:50]:
            _, memory = net.trunk(row[None], memory)
        saved = torch.from_numpy(memory.numpy().copy())
        assert torch.equal(bar_by_bar(net, rows[50:], memory), bar_by_bar(net, rows[50:], saved))


def test_what_comes_after_a_reset_does_not_depend_on_what_came_before() -> None:
    # R1 and R2: an episode alone equals the same episode behind another one, exactly
    net = make()
    first, second = torch.randn(5, 1, 3), torch.randn(6, 1, 3)
    with torch.no_grad():
        alone, _ = net.trunk(second, net.start(1))
        net.trunk(first, noisy_memory(net, 1))
        behind, _ = net.trunk(second, net.start(1))
        no_reset, _ = net.trunk(second, net.trunk(first, noisy_memory(net, 1))[1])  # planted P2
        late = torch.cat([first[-1:], second[:-1]])
        shifted, _ = net.trunk(late, net.start(1))  # planted P3: reset one step off
    assert torch.equal(alone, behind)
    assert (alone - no_reset).abs().max() > 1e-3
    assert (alone - shifted).abs().max() > 1e-3


@pytest.mark.parametrize("rule", ["carry", "window(4)"])
def test_now_ignores_later_and_sees_as_far_back_as_its_memory(rule: str) -> None:
    # R14 and R15 by autograd; row 4 of 8
    net = make(rule)
    rows = torch.randn(8, 2, 3, requires_grad=True)
    net.trunk(rows, noisy_memory(net, 2))[0][4].sum().backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    reach = rows.grad.abs().sum(dim=(1, 2))
    assert (reach[5:] == 0).all()
    sees = reach[:5] > 0
    assert sees.tolist() == ([True] * 5 if rule == "carry" else [False] + [True] * 4)


def test_a_network_that_reads_the_future_would_be_caught() -> None:
    # planted P15: attention over time without a mask
    rows = torch.randn(8, 2, 3, requires_grad=True)
    weights = torch.softmax(rows.sum(-1), dim=0)
    mixed = torch.einsum("sr,srf->rf", weights, rows)
    mixed.sum().backward()  # type: ignore[no-untyped-call]
    assert rows.grad is not None
    assert (rows.grad[5:].abs() > 0).any()


def test_window_memory_is_the_last_rows_and_forgets_all_before() -> None:
    net = make("window(4)")
    rows = torch.randn(9, 2, 3)
    with torch.no_grad():
        _, memory = net.trunk(rows, noisy_memory(net, 2))
        other = net.trunk(rows[5:], noisy_memory(net, 2))
    assert torch.equal(memory, rows[5:].transpose(0, 1).reshape(2, -1))
    assert torch.equal(memory, other[1])


def in_life(
    net: ActorCritic, market: torch.Tensor, fresh: torch.Tensor, memory: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Oracle: bar by bar, memory kept where the bar is not fresh, as the Trader does."""
    outs = []
    for row, new in zip(market, fresh, strict=True):
        stepped = net.trunk(row[None], memory)[1]
        memory = torch.where(new[:, None], stepped, memory)
        outs.append(net.held(memory))
    return torch.stack(outs), memory


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("layers", [1, 2])
def test_gaps_in_a_sequence_equal_skipped_bars_in_life(rule: str, layers: int) -> None:
    net = make(rule, layers)
    market, memory = torch.randn(40, 5, 3), noisy_memory(net, 5)
    fresh = torch.rand(40, 5) > 0.3
    fresh[:, 0], fresh[:, 1], fresh[:20, 2] = True, False, False
    rows = torch.zeros(40, 5, 3)
    for r in range(5):
        rows[: int(fresh[:, r].sum()), r] = market[fresh[:, r], r]
    with torch.no_grad():
        expected, end = in_life(net, market, fresh, memory)
        out = outputs(net, rows, fresh.long().cumsum(0), memory)
        after = advance(net, rows, fresh.long().sum(0), memory)
    assert (out - expected).abs().max() <= 1e-6
    assert (after - end).abs().max() <= 1e-6


def test_gradients_with_gaps_equal_those_of_the_gap_free_sequence() -> None:
    net = make()
    rows, memory = torch.randn(6, 1, 3), noisy_memory(net, 1)
    seen = torch.tensor([1, 1, 2, 3, 3, 4, 5, 6])[:, None]
    outputs(net, rows, seen, memory)[[0, 2, 3, 5, 6, 7]].sum().backward()
    gaps = [p.grad.clone() for p in net.lstm.parameters() if p.grad is not None]
    net.zero_grad()
    net.trunk(rows, memory)[0].sum().backward()  # type: ignore[no-untyped-call]
    plain = [p.grad for p in net.lstm.parameters() if p.grad is not None]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gaps, plain, strict=True))


@pytest.mark.parametrize("book_input", ["heads", "lstm"])
def test_book_changes_memory_only_when_the_lstm_sees_it(book_input: str) -> None:
    net = make(book_input=book_input)
    market, memory = torch.randn(4, 3), noisy_memory(net, 4)
    with torch.no_grad():
        _, flat = net.step(market, torch.zeros(4, 2), memory)
        _, held = net.step(market, torch.ones(4, 2), memory)
    assert torch.equal(flat, held) == (book_input == "heads")


def test_heads_see_the_book_by_default() -> None:
    net = make()
    out = torch.randn(4, 16)
    head, value = net.heads(out, torch.zeros(4, 2))
    other_head, other_value = net.heads(out, torch.ones(4, 2))
    assert head.shape == (4, 3)
    assert value.shape == (4,)
    assert not torch.equal(head, other_head)
    assert not torch.equal(value, other_value)


def test_first_policy_is_close_to_uniform() -> None:
    net = make(hidden=64)
    head, _ = net.heads(torch.randn(100, 64), torch.randn(100, 2))
    assert (torch.softmax(head, -1) - 1 / 3).abs().max() < 0.05


def test_forget_gate_starts_open() -> None:
    net = make(layers=2)
    for layer in range(2):
        bias = getattr(net.lstm, f"bias_ih_l{layer}") + getattr(net.lstm, f"bias_hh_l{layer}")
        assert bias[16:32].tolist() == [1.0] * 16
        assert bias[:16].abs().sum() + bias[32:].abs().sum() == 0


def test_every_weight_gets_a_gradient() -> None:
    net = make(layers=2)
    head, value = net.heads(
        net.trunk(torch.randn(5, 2, 3), noisy_memory(net, 2))[0], torch.randn(5, 2, 2)
    )
    (head.sum() + value.sum()).backward()
    assert all(p.grad is not None for p in net.parameters())
    assert not any(isinstance(m, nn.Dropout) for m in net.modules())


@pytest.mark.parametrize("layers", [1, 2])
def test_columns_of_unequal_length_run_as_torchs_packed_sequence_does(layers: int) -> None:
    torch.manual_seed(8)
    lstm = nn.LSTM(3, 5, layers).double()
    rows = torch.randn(13, 6, 3, dtype=torch.float64, requires_grad=True)
    state = (torch.randn(layers, 6, 5).double(), torch.randn(layers, 6, 5).double())
    counts = torch.tensor([13, 1, 8, 7, 12, 8])
    packed = pack_padded_sequence(rows, counts, enforce_sorted=False)
    out, ends = lstm(packed, state)
    expected = (pad_packed_sequence(out, total_length=13)[0], *ends)
    out, ends = run(lstm, rows, state, None, counts)
    found = (out, *ends)
    weights = [torch.randn_like(x) for x in found]
    of = [rows, *lstm.parameters()]
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    pairs = [sum((w * x).sum() for w, x in zip(weights, y, strict=True)) for y in (found, expected)]
    gradients = [torch.autograd.grad(total, of) for total in pairs]
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-12)
