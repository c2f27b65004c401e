"""The network's parts against numbers worked out by hand and an independent NumPy oracle."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from agents.attention import Attention
from agents.cells import LayerNormLSTM, Stack
from agents.encoder import Encoder
from agents.layers import Block, gain_of, head
from agents.networks import ActorCritic, Widths
from engine.settings_agent import NetworkSettings
from tests.network_options import make, noisy_memory

# facts V3: gate order i, f, g, o; one unit
W_X, W_H, BIAS = [0.5, -0.25, 0.75, 1.0], [0.1, 0.2, -0.3, 0.4], [0.0, 1.0, 0.0, -0.5]


def weights_of(module: nn.Module) -> dict[str, np.ndarray]:
    return {name: x.detach().double().numpy() for name, x in module.named_parameters()}


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def normed(x: np.ndarray, gain: np.ndarray, bias: np.ndarray | float = 0.0) -> np.ndarray:
    spread = np.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
    return (x - x.mean()) / spread * gain + bias


def normed_cell(rows: np.ndarray, w: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Oracle of one sequence (S, I) from zero: outputs (S, H) and the last c, one bar at a time."""
    width = w["norm_cell.weight"].size
    h, c, outs = np.zeros(width), np.zeros(width), []
    for x in rows:
        gates = normed(w["from_input.weight"] @ x, w["norm_input.weight"], w["norm_input.bias"])
        gates = gates + normed(w["from_output.weight"] @ h, w["norm_output.weight"])
        i, f, g, o = gates.reshape(4, width)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        inner = normed(c, w["norm_cell.weight"], w["norm_cell.bias"])
        h = sigmoid(o) * np.tanh(inner)
        outs.append(h)
    return np.array(outs), c


def shaken(module: nn.Module) -> nn.Module:
    """The module in double precision with every weight moved, so that no gain is 1 and no bias 0."""
    torch.manual_seed(2)
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return module.double()


@torch.no_grad()
def test_normed_cell_equals_its_formula() -> None:
    cell = shaken(LayerNormLSTM(3, 5))
    rows, zero = torch.randn(20, 2, 3).double(), torch.zeros(1, 2, 5).double()
    out, (h, c) = cell(rows, (zero, zero), None)
    for r in range(2):
        expected, last = normed_cell(rows[:, r].numpy(), weights_of(cell))
        assert np.abs(out[:, r].numpy() - expected).max() < 1e-12
        assert np.abs(c[0, r].numpy() - last).max() < 1e-12
    assert torch.equal(h[0], out[-1])


@torch.no_grad()
def test_normed_cell_without_its_norms_is_the_lstm_worked_out_by_hand() -> None:
    # facts V3, the bias put where that of the first norm would be
    cell = LayerNormLSTM(1, 1).double()
    cell.from_input.weight.copy_(torch.tensor(W_X)[:, None])
    cell.from_output.weight.copy_(torch.tensor(W_H)[:, None])
    cell.norm_input = Plus(torch.tensor(BIAS).double())  # type: ignore[assignment]
    cell.norm_output = cell.norm_cell = nn.Identity()  # type: ignore[assignment]
    rows, zero = torch.tensor([1.0, -1.0, 2.0]).double()[:, None, None], torch.zeros(1, 1, 1)
    out, (_, c) = cell(rows, (zero.double(), zero.double()), None)
    expected = [0.234024167, 0.010192766, 0.491242569]
    assert out.flatten().tolist() == pytest.approx(expected, abs=1e-9)
    assert c.item() == pytest.approx(0.693784325, abs=1e-9)


class Plus(nn.Module):
    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self.bias = nn.Parameter(bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


def plain_lstm(rows: np.ndarray, w: dict[str, np.ndarray], prefix: str) -> np.ndarray:
    """Oracle of torch's LSTM layer over one sequence (S, I) from zero."""
    width = w[f"{prefix}weight_hh_l0"].shape[1]
    h, c, outs = np.zeros(width), np.zeros(width), []
    bias = w[f"{prefix}bias_ih_l0"] + w[f"{prefix}bias_hh_l0"]
    for x in rows:
        gates = w[f"{prefix}weight_ih_l0"] @ x + w[f"{prefix}weight_hh_l0"] @ h + bias
        i, f, g, o = gates.reshape(4, width)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outs.append(h)
    return np.array(outs)


@torch.no_grad()
def test_residual_layers_with_dropout_between_them_equal_their_formula() -> None:
    # x1 = lstm0(x) + W x (widths differ); x2 = lstm1(mask x1) + x1
    settings = {"hidden_size": 4, "lstm_layers": 2, "lstm_residual": True, "dropout_inside": 0.5}
    stack = shaken(Stack(3, NetworkSettings.model_validate(settings)))
    rows, zero = torch.randn(10, 1, 3).double(), torch.zeros(2, 1, 4).double()
    mask = torch.tensor([[0.0, 2.0, 2.0, 0.0]]).double()
    out, _ = stack(rows, (zero, zero), mask, None)
    w, x = weights_of(stack), rows[:, 0].numpy()
    first = plain_lstm(x, w, "layers.0.") + x @ w["around.0.weight"].T
    second = plain_lstm(first * mask.numpy(), w, "layers.1.") + first
    assert np.abs(out[:, 0].numpy() - second).max() < 1e-12
    undropped = plain_lstm(first, w, "layers.1.") + first
    assert np.abs(undropped - second).max() > 1e-2


def test_residual_block_worked_out_by_hand() -> None:
    # x = (1, -2): W x + b = (-1, 3.5); leaky with slope 0.1: (-0.1, 3.5); plus x: (0.9, 1.5)
    settings = NetworkSettings(activation="leaky_relu", leaky_slope=0.1)
    block = Block(2, 2, settings)
    with torch.no_grad():
        block.linear.weight.copy_(torch.tensor([[1.0, 1.0], [0.0, -1.5]]))
        block.linear.bias.copy_(torch.tensor([0.0, 0.5]))
        assert block(torch.tensor([1.0, -2.0])).tolist() == pytest.approx([0.9, 1.5])
    relu = Block(2, 2, NetworkSettings())
    relu.linear = block.linear
    with torch.no_grad():
        assert relu(torch.tensor([1.0, -2.0])).tolist() == pytest.approx([1.0, 1.5])


def test_residual_block_between_widths_that_differ_has_a_linear_way_around() -> None:
    block = Block(2, 3, NetworkSettings())
    with torch.no_grad():
        block.linear.weight.zero_()
        x = torch.randn(5, 2)
        assert torch.allclose(block(x), x @ block.around.weight.T)


def test_heads_have_the_activation_and_widths_asked_for() -> None:
    layers = head(7, 3, 0.01, NetworkSettings(heads=(128, 64), activation="leaky_relu"))
    assert [tuple(x.weight.shape) for x in layers[::2]] == [(128, 7), (64, 128), (3, 64)]
    assert [type(x) for x in layers[1::2]] == [nn.LeakyReLU, nn.LeakyReLU]
    assert layers[1].negative_slope == 0.01
    assert isinstance(head(7, 3, 0.01, NetworkSettings())[1], nn.ReLU)


def attention_of(weight: list[list[float]], size: int) -> Attention:
    attention = Attention(len(weight), size, NetworkSettings())
    with torch.no_grad():
        attention.score.weight.copy_(torch.tensor(weight))
    return attention


def test_attention_worked_out_by_hand() -> None:
    # H = 1, W = 2: outputs 1, -1, 0.5; scores 2 x 0.5 x h = 1, -1, 0.5
    # the 9 is a fourth, older one and out of reach; the last column marks what was seen
    past = torch.tensor([[9.0, 1.0], [1.0, 1.0], [-1.0, 1.0], [0.5, 1.0]])[:, None]
    with torch.no_grad():
        found = attention_of([[2.0]], 3)(past, 1)
    e = [math.exp(1.0), math.exp(-1.0), math.exp(0.5)]
    context = (e[0] - e[1] + 0.5 * e[2]) / sum(e)
    assert found.flatten().tolist() == pytest.approx([0.5, context], abs=1e-6)


def test_attention_gives_what_was_never_seen_no_weight() -> None:
    past = torch.tensor([[1e6, 0.0], [-1.0, 1.0], [0.5, 1.0]])[:, None]
    attention = attention_of([[2.0]], 3)
    with torch.no_grad():
        assert torch.allclose(attention(past, 1), attention(past[1:], 1))
        nothing = attention(past * 0, 1)
    assert nothing.tolist() == [[[0.0, 0.0]]]


@torch.no_grad()
def test_attention_over_a_long_sequence_is_that_over_its_parts() -> None:
    # looked from in blocks of 128 bars; the parts cut across them
    attention = Attention(4, 5, NetworkSettings()).double()
    past = torch.randn(405, 2, 5).double()
    whole = attention(past, 400)
    parts = [attention(past[at : at + 105], 100) for at in range(0, 400, 100)]
    assert (whole - torch.cat(parts)).abs().max() < 1e-12


@torch.no_grad()
def test_attention_of_early_bars_is_over_the_bars_there_were() -> None:
    # oracle: torch's LSTM, then each bar's softmax over at most the last 4 outputs, by a plain loop
    net = make("attention").double()
    rows = torch.randn(10, 2, net.inputs).double()
    out, _ = net.trunk(rows, net.start(2))
    hidden, _ = net.lstm(rows)
    score = net.policy_trunk.attention.score.weight  # type: ignore[union-attr]
    for t in range(10):
        seen = hidden[max(t - 3, 0) : t + 1]
        scores = torch.einsum("krh,hi,ri->kr", seen, score, hidden[t]) / math.sqrt(6)
        context = (scores.softmax(0)[..., None] * seen).sum(0)
        assert (out[t] - torch.cat([hidden[t], context], -1)).abs().max() < 1e-12


@torch.no_grad()
def test_attention_from_zero_memory_would_be_wrong_without_marks() -> None:
    # planted: zeros of a fresh memory counted as outputs
    net = make("attention")
    rows, fresh = torch.randn(2, 1, net.inputs), net.start(1)
    marked = fresh.clone()
    width = net.policy_trunk.state_width
    marked[:, width + 6 :: 7] = 1.0
    assert (net.trunk(rows, fresh)[0] - net.trunk(rows, marked)[0]).abs().max() > 1e-3


def test_groups_read_their_own_features_by_name_or_place() -> None:
    groups = ({"features": ("d", 0), "widths": (5, 3)}, {"features": ("c",), "widths": (2,)})
    torch.manual_seed(0)
    settings = NetworkSettings.model_validate({"groups": groups, "activation": "leaky_relu"})
    encoder = Encoder(6, 4, ("a", "b", "c", "d"), settings)  # two book inputs behind four features
    assert encoder.width == 3 + 2 + 3
    x = torch.randn(6, requires_grad=True)
    reads = []
    for part in (slice(0, 3), slice(3, 5), slice(5, 8)):
        (gradient,) = torch.autograd.grad(encoder(x)[part].sum(), x)
        reads.append(gradient.nonzero().flatten().tolist())
    assert reads == [[0, 3], [2], [1, 4, 5]]
    with torch.no_grad():
        first = encoder.groups[0](x[[3, 0]])
        assert torch.equal(encoder(x), torch.cat([first, encoder.groups[1](x[[2]]), x[[1, 4, 5]]]))


def test_encoder_is_one_linear_map_of_a_bar() -> None:
    encoder = Encoder(3, 3, (), NetworkSettings(encoder=7))
    x = torch.randn(5, 4, 3)
    with torch.no_grad():
        assert encoder.linear is not None
        assert torch.allclose(encoder(x), x @ encoder.linear.weight.T + encoder.linear.bias)
        assert encoder(x).shape == (5, 4, 7)


@torch.no_grad()
def test_norm_of_outputs_is_its_formula_over_the_outputs_of_the_plain_lstm() -> None:
    # the gain and bias of a trained one, and what the memory holds: h as it was, not the normed one
    plain, net = make("plain"), make("norm of outputs")
    net.lstm.load_state_dict(plain.lstm.state_dict())
    norm = net.policy_trunk.norm
    norm.weight.copy_(torch.linspace(0.5, 2.0, 6))
    norm.bias.copy_(torch.linspace(-1.0, 1.0, 6))
    rows = torch.randn(9, 3, 4, generator=torch.Generator().manual_seed(1))
    expected, kept = plain.trunk(rows, plain.start(3))
    found, memory = net.trunk(rows, net.start(3))
    gain, bias = (x.double().numpy() for x in (norm.weight, norm.bias))
    for bar in range(9):
        for row in range(3):
            oracle = normed(expected[bar, row].double().numpy(), gain, bias)
            assert found[bar, row].numpy() == pytest.approx(oracle, abs=1e-5)
    assert torch.equal(memory, kept)


def test_orthogonal_start_and_torchs_start() -> None:
    net = make("plain", hidden=16)
    weight = net.lstm.weight_hh_l0  # (64, 16): orthonormal columns
    assert torch.allclose(weight.T @ weight, torch.eye(16), atol=1e-5)
    first = net.actor[0].weight
    assert torch.allclose(first @ first.T, 2.0 * torch.eye(5), atol=1e-5)
    torchs = make("torch's start", hidden=16)
    weight = torchs.lstm.weight_hh_l0
    assert not torch.allclose(weight.T @ weight, torch.eye(16), atol=0.1)
    assert weight.abs().max() <= 1 / math.sqrt(16)
    assert torchs.lstm.bias_ih_l0[:16].any()


@pytest.mark.parametrize("init", ["orthogonal", "torch"])
@pytest.mark.parametrize(("norm", "residual"), [("none", False), ("none", True), ("cell", False)])
def test_forget_gates_start_as_set(init: str, norm: str, residual: bool) -> None:
    settings = {"hidden_size": 4, "lstm_layers": 2, "init": init, "forget_bias": 2.5}
    settings |= {"layer_norm": norm, "lstm_residual": residual}
    net = ActorCritic(Widths(3, 0, 1), NetworkSettings.model_validate(settings))
    found = [
        module.norm_input.bias[4:8] for module in net.modules() if isinstance(module, LayerNormLSTM)
    ]
    for module in net.modules():
        if isinstance(module, nn.LSTM):
            for layer in range(module.num_layers):
                biases = [getattr(module, f"bias_{part}_l{layer}")[4:8] for part in ("ih", "hh")]
                found.append(sum(biases))
    assert len(found) == 2
    assert all(bias.tolist() == [2.5] * 4 for bias in found)


def test_gain_of_the_start_follows_the_slope() -> None:
    assert gain_of(NetworkSettings()) == math.sqrt(2)
    leaky = NetworkSettings(activation="leaky_relu", leaky_slope=0.5)
    assert gain_of(leaky) == pytest.approx(nn.init.calculate_gain("leaky_relu", 0.5))


def reached(net: ActorCritic, what: str) -> set[str]:
    """The parts of a network that the gradient of its policy or its value reaches."""
    net.zero_grad()
    out, _ = net.trunk(torch.randn(4, 2, net.inputs), noisy_memory(net, 2))
    head_out, value = net.heads(out, torch.ones(4, 2, 2))
    (head_out if what == "policy" else value).square().sum().backward()  # type: ignore[no-untyped-call]
    return {
        n.split(".")[0] for n, p in net.named_parameters() if p.grad is not None and p.grad.any()
    }


@pytest.mark.parametrize(
    ("name", "policy", "value"),
    [
        ("plain", {"policy_trunk", "actor"}, {"policy_trunk", "critic"}),
        ("dropout after", {"policy_trunk", "actor"}, {"policy_trunk", "critic"}),
        ("no critic gradient", {"policy_trunk", "actor"}, {"critic"}),
        ("separate critic", {"policy_trunk", "actor"}, {"critic_trunk", "critic"}),
    ],
)
def test_the_critics_error_trains_what_the_settings_say(
    name: str, policy: set[str], value: set[str]
) -> None:
    assert reached(make(name), "policy") == policy
    assert reached(make(name), "value") == value


@torch.no_grad()
def test_a_stopped_gradient_changes_no_value() -> None:
    full, stopped = make("plain"), make("no critic gradient")
    rows, book = torch.randn(4, 2, 4), torch.randn(4, 2, 2)
    found = [net.heads(net.trunk(rows, net.start(2))[0], book) for net in (full, stopped)]
    # One product for both heads, or two: the last bits may differ.
    assert all(torch.allclose(a, b, rtol=0.0, atol=1e-6) for a, b in zip(*found, strict=True))
