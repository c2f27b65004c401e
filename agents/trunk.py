"""The trunk: one bar's inputs encoded, the LSTM, and what is made of its last outputs.

Memory comes in and goes out flat, (R, M), zero at the start: (h, c) of every layer and, where more than h
is looked back on, the last K outputs with a mark beside each. `agents.networks` holds the trunks.

Shape letters: S steps, R rows, I inputs, H width of the LSTM, M memory.
"""

import torch
from torch import Tensor, nn

from agents import cells, history
from agents.attention import Attention
from agents.encoder import Encoder
from engine.settings_agent import NetworkSettings


class Trunk(nn.Module):
    """Encoder, LSTM, normalisation and attention, as the settings ask for them."""

    def __init__(
        self, inputs: int, market: int, names: tuple[str, ...], network: NetworkSettings
    ) -> None:
        super().__init__()
        self.network = network
        self.layers, self.hidden = network.lstm_layers, network.hidden_size
        self.encoder = Encoder(inputs, market, names, network)
        self.lstm = cells.lstm_of(self.encoder.width, network)
        normed = network.layer_norm == "outputs"
        self.norm = nn.LayerNorm(self.hidden) if normed else nn.Identity()
        last = network.attention
        self.attention = Attention(self.hidden, last, network) if last else None
        # A way around the last layer makes its output more than h: then it must be kept as well.
        self.kept = network.attention or int(network.lstm_residual)
        self.out_width = 2 * self.hidden if self.attention else self.hidden
        self.state_width = 2 * self.layers * self.hidden
        self.memory_width = self.state_width + self.kept * (self.hidden + 1)

    def start(self) -> None:
        """Give the LSTM its first weights."""
        cells.start(self.lstm, self.network)

    def forward(
        self, rows: Tensor, memory: Tensor, mask: Tensor | None, counts: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Run over consecutive rows.

        Shapes: rows (S, R, I), memory (R, M) before them, mask of what is dropped between layers,
        counts (R,) real rows of each column; out (S, R, out_width), memory after the real rows.
        """
        state = self.unpack(memory)
        outs, state = cells.run(self.lstm, self.encoder(rows), state, mask, counts)
        outs = self.norm(outs)
        if not self.kept:
            return outs, self.pack(state)
        marked = torch.cat([outs, torch.ones_like(outs[..., :1])], -1)
        past = history.joined(memory[:, self.state_width :], marked)
        after = torch.cat([self.pack(state), history.last(past, self.kept, counts)], -1)
        return self._seen(past, len(outs)), after

    def held(self, memory: Tensor) -> Tensor:
        """Return the output (R, out_width) that was current when `memory` was made."""
        if not self.kept:
            out: Tensor = self.norm(self.unpack(memory)[0][-1])
            return out
        rows = memory[:, self.state_width :].reshape(-1, self.kept, self.hidden + 1)
        return self._seen(rows.transpose(0, 1), 1)[0]

    def pack(self, state: tuple[Tensor, Tensor]) -> Tensor:
        """Return (h, c), each (layers, R, H), as one flat state (R, 2 x layers x H)."""
        return torch.cat(state).transpose(0, 1).reshape(-1, self.state_width)

    def unpack(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (h, c) at the beginning of a memory."""
        both = memory[:, : self.state_width].reshape(-1, 2 * self.layers, self.hidden)
        both = both.transpose(0, 1)
        return both[: self.layers].contiguous(), both[self.layers :].contiguous()

    def _seen(self, past: Tensor, steps: int) -> Tensor:
        # (L, R, H + 1), outputs with their marks, to what the heads see of the last steps.
        return past[-steps:, :, :-1] if self.attention is None else self.attention(past, steps)
