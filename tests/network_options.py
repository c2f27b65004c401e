"""Every option of the network on its own, and several together; small, so that all can be tried."""

from typing import Any

import numpy as np
import torch

from agents.networks import ActorCritic, Widths
from engine.settings_agent import NetworkSettings

NAMES = ("a", "b", "c", "d")
GROUPS = ({"features": ("d", 0), "widths": (5, 3)}, {"features": ("c",), "widths": (2,)})
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "three layers": {"lstm_layers": 3},
    "no hidden layer in the heads": {"heads": ()},
    "leaky relu": {"activation": "leaky_relu", "leaky_slope": 0.3},
    "norm of outputs": {"layer_norm": "outputs"},
    "norm in the cell": {"layer_norm": "cell"},
    "norm in the cell, two layers": {"layer_norm": "cell", "lstm_layers": 2},
    "dropout inside": {"dropout_inside": 0.4, "lstm_layers": 2},
    "dropout after": {"dropout_after": 0.4},
    "torch's start": {"init": "torch", "forget_bias": 0.5},
    "residual lstm": {"lstm_residual": True},
    "residual lstm, three layers": {"lstm_residual": True, "lstm_layers": 3},
    "residual heads": {"head_residual": True, "heads": (6, 6, 4)},
    "encoder": {"encoder": 5},
    "groups": {"groups": GROUPS},
    "attention": {"attention": 4},
    "separate critic": {"critic": "separate"},
    "no critic gradient": {"critic_gradient": "stop"},
}
ALL: dict[str, Any] = {
    "lstm_layers": 2,
    "heads": (6, 4),
    "activation": "leaky_relu",
    "dropout_inside": 0.3,
    "dropout_after": 0.3,
    "lstm_residual": True,
    "head_residual": True,
    "encoder": 5,
    "groups": GROUPS,
    "attention": 3,
}
COMBINED: dict[str, dict[str, Any]] = {
    "leaky relu, residual heads, encoder, norm of outputs": {
        "activation": "leaky_relu",
        "head_residual": True,
        "heads": (6, 6, 4),
        "encoder": 5,
        "layer_norm": "outputs",
    },
    "all, norm in the cell, separate critic": {**ALL, "layer_norm": "cell", "critic": "separate"},
    "all, norm of outputs, book in the LSTM": {
        **ALL,
        "layer_norm": "outputs",
        "book_input": "lstm",
        "critic_gradient": "stop",
    },
    "separate critic, dropout, book in the LSTM": {
        "critic": "separate",
        "dropout_after": 0.5,
        "book_input": "lstm",
    },
    "attention over residual layers": {"attention": 6, "lstm_residual": True, "lstm_layers": 2},
}
EVERY = {**OPTIONS, **COMBINED}


def make(name: str, rule: str = "carry", hidden: int = 6, seed: int = 7) -> ActorCritic:
    """A small network with an option, four features, two book inputs and three actions."""
    torch.manual_seed(seed)
    settings = {"hidden_size": hidden, "heads": (5,), **EVERY[name]}
    widths = Widths(market=4, book=2, head=3, features=NAMES)
    return ActorCritic(widths, NetworkSettings.model_validate(settings), rule)


def mask_of(net: ActorCritic, rows: int) -> torch.Tensor | None:
    """One mask of dropout for every row, None where the network has no dropout."""
    return net.draw_mask(rows, np.random.default_rng(5))


def noisy_memory(net: ActorCritic, rows: int) -> torch.Tensor:
    """A memory that is not zero anywhere."""
    return 0.5 * torch.randn(rows, net.memory_width, dtype=next(net.parameters()).dtype)


def bar_by_bar(
    net: ActorCritic, rows: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs and last memory of one trunk call a bar."""
    outs = []
    for row in rows:
        out, memory = net.trunk(row[None], memory, mask)
        outs.append(out[0])
    return torch.stack(outs), memory
