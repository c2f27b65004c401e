"""Small layers the networks are made of: linear maps, activations, heads; and how they start.

Orthogonal first weights and zero biases are the usual start for recurrent PPO (Andrychowicz et al.,
arXiv:2006.05990); a forget bias of 1 keeps early memory alive (Jozefowicz et al., 2015).
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from engine.settings_agent import NetworkSettings


def activation(network: NetworkSettings) -> nn.Module:
    """Return the activation the settings ask for."""
    leaky = network.activation == "leaky_relu"
    return nn.LeakyReLU(network.leaky_slope) if leaky else nn.ReLU()


def gain_of(network: NetworkSettings) -> float:
    """Return the orthogonal gain that keeps the variance through the activation."""
    slope = network.leaky_slope if network.activation == "leaky_relu" else 0.0
    return math.sqrt(2.0 / (1.0 + slope**2))


def linear(
    inputs: int, outputs: int, gain: float, network: NetworkSettings, bias: bool = True
) -> nn.Linear:
    """Return a linear layer with the start the settings ask for."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    if network.init == "orthogonal":
        nn.init.orthogonal_(layer.weight, gain)
        if bias:
            nn.init.zeros_(layer.bias)
    return layer


def layered(inputs: int, widths: tuple[int, ...], network: NetworkSettings) -> list[nn.Module]:
    """Return linear layers of these widths, an activation after each."""
    found: list[nn.Module] = []
    for width in widths:
        found += [linear(inputs, width, gain_of(network), network), activation(network)]
        inputs = width
    return found


def head(inputs: int, outputs: int, gain: float, network: NetworkSettings) -> nn.Sequential:
    """Return the layers of a head; its last one is linear.

    A small `gain` of the last layer: the first policy is close to uniform, whatever it is told.
    """
    if network.head_residual:
        ends = (inputs, *network.heads)
        hidden: list[nn.Module] = [
            Block(before, after, network) for before, after in pairwise(ends)
        ]
    else:
        hidden = layered(inputs, network.heads, network)
    last = network.heads[-1] if network.heads else inputs
    return nn.Sequential(*hidden, linear(last, outputs, gain, network))


def way_around(inputs: int, outputs: int, network: NetworkSettings) -> nn.Module:
    """Return the residual path: the input itself, or a linear map where widths differ.

    Source: He et al., arXiv:1512.03385, eq. 1 and 2.
    """
    if inputs == outputs:
        return nn.Identity()
    return linear(inputs, outputs, 1.0, network, bias=False)


class Block(nn.Module):
    """A layer of a head with a way around it: the input plus what the layer makes of it."""

    def __init__(self, inputs: int, outputs: int, network: NetworkSettings) -> None:
        super().__init__()
        self.linear = linear(inputs, outputs, gain_of(network), network)
        self.activation = activation(network)
        self.around = way_around(inputs, outputs, network)

    def forward(self, x: Tensor) -> Tensor:
        """Return one bar's or many bars' numbers, (..., inputs) to (..., outputs)."""
        around: Tensor = self.around(x)
        return around + self.activation(self.linear(x))


def start_lstm(lstm: nn.LSTM, network: NetworkSettings) -> None:
    """Give the layers of an LSTM their first weights; the forget gates start at `forget_bias`."""
    for name, weight in lstm.named_parameters():
        if network.init == "orthogonal":
            (nn.init.orthogonal_ if name.startswith("weight") else nn.init.zeros_)(weight)
        if name.startswith("bias"):
            forget = network.forget_bias if name.startswith("bias_ih") else 0.0
            with torch.no_grad():
                weight[lstm.hidden_size : 2 * lstm.hidden_size] = forget
