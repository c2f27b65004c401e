"""LSTM layers: torch's own, one with layer normalisation inside, and stacks with more between them.

All take rows (S, R, I), a state (h, c) of (layers, R, H) each and perhaps `counts` (R,) from 1 to S:
how many rows of a column are real. What follows them is padding: it changes no state, no other output
and no gradient; the outputs at padded places mean nothing.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from agents.layers import start_lstm, way_around
from engine.settings_agent import NetworkSettings

State = tuple[Tensor, Tensor]


def lstm_of(inputs: int, network: NetworkSettings) -> nn.Module:
    """Return the LSTM the settings ask for: torch's own in one piece wherever that can be."""
    if network.layer_norm == "cell" or network.lstm_residual or network.dropout_inside:
        return Stack(inputs, network)
    return nn.LSTM(inputs, network.hidden_size, network.lstm_layers)


def run(
    lstm: nn.Module, rows: Tensor, state: State, mask: Tensor | None, counts: Tensor | None
) -> tuple[Tensor, State]:
    """Run any of them: outputs (S, R, H), and the state after the last real row."""
    if isinstance(lstm, Stack):
        return lstm(rows, state, mask, counts)
    if isinstance(lstm, LayerNormLSTM):
        return lstm(rows, state, counts)
    if counts is None:
        return lstm(rows, state)
    if rows.device.type == "cpu" and isinstance(lstm, nn.LSTM):
        return _ragged(lstm, rows, state, counts)
    packed = pack_padded_sequence(rows, counts.cpu(), enforce_sorted=False)
    out, state = lstm(packed, state)
    return pad_packed_sequence(out, total_length=rows.shape[0])[0], state


def _ragged(lstm: nn.LSTM, rows: Tensor, state: State, counts: Tensor) -> tuple[Tensor, State]:
    # Columns of unequal length in pieces of 2^k rows, from the longest down: each column takes those
    # that its length is the sum of. On a CPU torch runs a packed sequence bar by bar, far slower.
    h, c = state
    steps, columns = rows.shape[:2]
    done, outs, places = torch.zeros_like(counts), [], []
    for power in reversed(range(int(counts.max()).bit_length())):
        own = torch.nonzero(counts & (1 << power))[:, 0]
        if not len(own):
            continue
        when = done[own] + torch.arange(1 << power)[:, None]
        out, ends = lstm(rows[when, own], (h[:, own], c[:, own]))
        outs.append(out.flatten(0, 1))
        places.append((when * columns + own).flatten())
        h, c = (x.index_copy(1, own, end.to(x.dtype)) for x, end in zip((h, c), ends, strict=True))
        done[own] += 1 << power
    out = torch.cat(outs)
    padded = out.new_zeros((steps * columns, out.shape[-1])).index_copy(0, torch.cat(places), out)
    return padded.reshape(steps, columns, -1), (h, c)


def start(lstm: nn.Module, network: NetworkSettings) -> None:
    """Give an LSTM its first weights."""
    for module in lstm.modules():
        if isinstance(module, nn.LSTM):
            start_lstm(module, network)
        elif isinstance(module, LayerNormLSTM):
            module.start(network)


class Stack(nn.Module):
    """LSTM layers one by one, where something happens between them.

    Layer l: x' = lstm_l(mask_l x) + around_l(x). `mask` (R, (layers - 1) x H), for all layers but
    the first; without one nothing is dropped.
    """

    def __init__(self, inputs: int, network: NetworkSettings) -> None:
        super().__init__()
        self.hidden = network.hidden_size
        normed = network.layer_norm == "cell"
        widths = [inputs] + [self.hidden] * (network.lstm_layers - 1)
        self.layers = nn.ModuleList(
            LayerNormLSTM(width, self.hidden) if normed else nn.LSTM(width, self.hidden)
            for width in widths
        )
        self.around = nn.ModuleList()
        if network.lstm_residual:
            self.around.extend(way_around(width, self.hidden, network) for width in widths)

    def forward(
        self, rows: Tensor, state: State, mask: Tensor | None, counts: Tensor | None
    ) -> tuple[Tensor, State]:
        """Run all layers over the whole sequence, one after the other."""
        ends: list[State] = []
        for at, layer in enumerate(self.layers):
            own = (state[0][at : at + 1], state[1][at : at + 1])
            seen = rows
            if mask is not None and at:
                seen = rows * mask[:, (at - 1) * self.hidden : at * self.hidden]
            out, end = run(layer, seen, own, None, counts)
            rows = out + self.around[at](rows) if len(self.around) else out
            ends.append(end)
        h, c = zip(*ends, strict=True)
        return rows, (torch.cat(h), torch.cat(c))


class LayerNormLSTM(nn.Module):
    """One LSTM layer with layer normalisation inside the cell; gates in torch's order i, f, g, o.

    gates = norm_x(W_x x) + norm_h(W_h h); c' = s(f) c + s(i) tanh(g); h' = s(o) tanh(norm_c(c')).
    Norms run over the numbers of one bar, never over time. The bias of the gates is that of norm_x.
    Source: Ba, Kiros & Hinton, arXiv:1607.06450, eq. 20 to 22.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.from_input = nn.Linear(inputs, 4 * hidden, bias=False)
        self.from_output = nn.Linear(hidden, 4 * hidden, bias=False)
        self.norm_input = nn.LayerNorm(4 * hidden)
        self.norm_output = nn.LayerNorm(4 * hidden, bias=False)
        self.norm_cell = nn.LayerNorm(hidden)

    def forward(self, rows: Tensor, state: State, counts: Tensor | None) -> tuple[Tensor, State]:
        """Run over a sequence, bar by bar; state (1, R, H) each, as torch's LSTM has it."""
        h, c = state[0][0], state[1][0]
        outs = []
        for step, given in enumerate(self.norm_input(self.from_input(rows)).unbind()):
            gates = given + self.norm_output(self.from_output(h))
            i, f, g, o = gates.chunk(4, dim=-1)
            new_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            new_h = o.sigmoid() * self.norm_cell(new_c).tanh()
            if counts is not None:
                real = (step < counts)[:, None]
                new_h, new_c = torch.where(real, new_h, h), torch.where(real, new_c, c)
            h, c = new_h, new_c
            outs.append(h)
        return torch.stack(outs), (h[None], c[None])

    def start(self, network: NetworkSettings) -> None:
        """Give it its first weights; see `agents.layers`."""
        if network.init == "orthogonal":
            nn.init.orthogonal_(self.from_input.weight)
            nn.init.orthogonal_(self.from_output.weight)
        # With a gain of 1 the normed recurrent part makes the cell chaotic: a difference in the last bit
        # grows until, 1,000 bars on, it is another memory (measured). At 0.1 differences die out.
        # Source: the gain of 0.1 in Cooijmans et al., arXiv:1603.09025, sec. 4.
        nn.init.constant_(self.norm_output.weight, 0.1)
        with torch.no_grad():
            self.norm_input.bias[self.hidden : 2 * self.hidden] = network.forget_bias
