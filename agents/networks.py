"""The LSTM actor-critic: a trunk over the market, heads that also see the book.

Memory is an argument and a returned value, flat (R, M) per row, zero at the start; no network
keeps any. `carry`: the memory is (h, c) of every layer. `window(K)`: it is the last K input rows,
over which the LSTM is run again from zero on every bar. Knows no bars, environment or algorithm.

Shape letters: S steps, R rows (books x symbols), F market inputs, P book inputs, I inputs of the
LSTM, H width of its output, M memory, A outputs of the policy head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from engine.settings_agent import NetworkSettings, window_of


@dataclass(frozen=True, slots=True)
class Widths:
    """How wide everything at the seam is. `spread`: learned log standard deviations."""

    market: int
    book: int
    head: int
    spread: int = 0


class ActorCritic(nn.Module):
    """One network family: `trunk` over rows of input, `heads` over its output and the book."""

    def __init__(self, widths: Widths, network: NetworkSettings, memory: str = "carry") -> None:
        super().__init__()
        self.widths = widths
        self.shape = (widths, network, memory)  # what another of the same kind is built from
        self.layers, self.hidden = network.lstm_layers, network.hidden_size
        self.book_in_lstm = network.book_input == "lstm"
        self.window = window_of(memory)
        self.inputs = widths.market + (widths.book if self.book_in_lstm else 0)
        self.lstm = nn.LSTM(self.inputs, self.hidden, self.layers)
        seen = self.hidden + (0 if self.book_in_lstm else widths.book)
        self.actor = _head(seen, network.heads, widths.head, gain=0.01)
        self.critic = _head(seen, network.heads, 1, gain=1.0)
        self.log_std = nn.Parameter(torch.full((widths.spread,), -0.5)) if widths.spread else None
        self._start_weights()

    @property
    def memory_width(self) -> int:
        """M: numbers carried from bar to bar for one row."""
        return self.window * self.inputs if self.window else 2 * self.layers * self.hidden

    def start(self, rows: int) -> Tensor:
        """Return the memory of rows that have seen nothing: zero."""
        return next(self.parameters()).new_zeros((rows, self.memory_width))

    def join(self, market: Tensor, book: Tensor) -> Tensor:
        """Return what the LSTM sees of one or more bars: (..., F) and (..., P) to (..., I)."""
        return torch.cat([market, book], -1) if self.book_in_lstm else market

    def trunk(self, rows: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Run the LSTM over consecutive rows of input.

        Shapes: rows (S, R, I), memory (R, M) before them; out (S, R, H), memory after them.
        """
        if self.window:
            return self._windows(rows, memory)
        out, state = self.lstm(rows, self.unpack(memory))
        return out, self.pack(state)

    def heads(self, out: Tensor, book: Tensor) -> tuple[Tensor, Tensor]:
        """Return policy head (..., A) and value (...) from out (..., H) and book (..., P)."""
        seen = self.seen(out, book)
        return self.actor(seen), self.critic(seen)[..., 0]

    def seen(self, out: Tensor, book: Tensor) -> Tensor:
        """Return what `actor` and `critic` see of one or more bars."""
        return out if self.book_in_lstm or not self.widths.book else torch.cat([out, book], -1)

    def step(self, market: Tensor, book: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Decide on one bar, as in life: (R, F), (R, P), (R, M) to head (R, A), memory (R, M)."""
        out, memory = self.trunk(self.join(market, book)[None], memory)
        return self.actor(self.seen(out[0], book)), memory

    def held(self, memory: Tensor) -> Tensor:
        """Return the trunk output (R, H) that was current when `memory` was made."""
        if self.window:
            history = memory.view(-1, self.window, self.inputs).transpose(0, 1)
            out: Tensor = self.lstm(history)[0]
            return out[-1]
        return self.unpack(memory)[0][-1]

    def pack(self, state: tuple[Tensor, Tensor]) -> Tensor:
        """Return (h, c), each (layers, R, H), as one flat memory (R, M)."""
        both = torch.cat(state).transpose(0, 1)
        return both.reshape(-1, 2 * self.layers * self.hidden)

    def unpack(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (h, c) that `pack` made flat."""
        both = memory.reshape(-1, 2 * self.layers, self.hidden).transpose(0, 1)
        return both[: self.layers].contiguous(), both[self.layers :].contiguous()

    def _windows(self, rows: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        # The unfolded batch: every bar becomes one sequence of K rows, run from zero.
        assert self.window
        steps, count = rows.shape[0], rows.shape[1]
        past = memory.reshape(-1, self.window, self.inputs).transpose(0, 1)
        history = torch.cat([past, rows])  # (K + S, R, I)
        index = torch.arange(1, steps + 1)[:, None] + torch.arange(self.window)
        unfolded = history[index.to(rows.device)].transpose(0, 1)  # (K, S, R, I)
        out = self.lstm(unfolded.reshape(self.window, -1, self.inputs))[0][-1]
        last = history[-self.window :].transpose(0, 1)
        return out.reshape(steps, count, self.hidden), last.reshape(count, self.memory_width)

    def _start_weights(self) -> None:
        # Orthogonal weights and a forget bias of 1: the usual start for recurrent PPO
        # (Andrychowicz et al., arXiv:2006.05990; Jozefowicz et al., 2015).
        for name, weight in self.lstm.named_parameters():
            if name.startswith("weight"):
                nn.init.orthogonal_(weight)
                continue
            nn.init.zeros_(weight)
            if name.startswith("bias_ih"):
                with torch.no_grad():
                    weight[self.hidden : 2 * self.hidden] = 1.0


class TradingLSTMActorCritic(ActorCritic):
    """The guide's form: whole windows in, logits and value of the last bar out, no book part.

    Shapes: obs_seq (batch, sequence, input_size); logits (batch, action_dim), value (batch, 1) and
    the (h, c) to hand in with the next window; `hidden_state=None` starts from zero.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        lstm_layers: int,
        fc_hidden_size: int,
        action_dim: int,
    ) -> None:
        network = NetworkSettings(
            hidden_size=hidden_size, lstm_layers=lstm_layers, heads=(fc_hidden_size,)
        )
        super().__init__(Widths(market=input_size, book=0, head=action_dim), network)

    def forward(
        self, obs_seq: Tensor, hidden_state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """Run a batch of windows; see the class."""
        batch = obs_seq.shape[0]
        memory = self.start(batch) if hidden_state is None else self.pack(hidden_state)
        out, memory = self.trunk(obs_seq.transpose(0, 1), memory)
        logits, value = self.heads(out[-1], obs_seq.new_zeros((batch, 0)))
        return logits, value[:, None], self.unpack(memory)


def outputs(net: ActorCritic, rows: Tensor, seen: Tensor | None, memory: Tensor) -> Tensor:
    """Return the trunk output of every bar when some bars brought no row.

    Shapes: rows (L, R, I) gap-free; seen (S, R) = rows a bar can look back on, itself included
    (None: one row a bar, no gap); memory (R, M) before the first row; out (S, R, H).
    A bar without a row of its own keeps the output of the last one, as memory does in life.
    """
    out, _ = net.trunk(rows, memory)
    if seen is None:
        return out
    out = torch.cat([net.held(memory)[None], out])
    return out.gather(0, seen[..., None].expand(*seen.shape, out.shape[-1]))


def advance(net: ActorCritic, rows: Tensor, count: Tensor, memory: Tensor) -> Tensor:
    """Return the memory after the first `count` rows of each column.

    Shapes: rows (L, R, I); count (R,) from 0 to L; memory (R, M) in and out.
    """
    if not rows.shape[0]:
        return memory
    if net.window:
        past = memory.reshape(-1, net.window, net.inputs).transpose(0, 1)
        last = count + torch.arange(net.window, device=rows.device)[:, None]  # (K, R)
        picked = torch.cat([past, rows]).gather(0, last[..., None].expand(-1, -1, net.inputs))
        return picked.transpose(0, 1).reshape(memory.shape)
    if bool((count == rows.shape[0]).all()):
        return net.trunk(rows, memory)[1]
    lengths = count.clamp(min=1).cpu()
    packed = pack_padded_sequence(rows, lengths, enforce_sorted=False)
    moved = net.pack(net.lstm(packed, net.unpack(memory))[1])
    return torch.where((count > 0)[:, None], moved, memory)


def _head(inputs: int, widths: tuple[int, ...], outputs: int, gain: float) -> nn.Sequential:
    # A small last gain: the first policy is close to uniform, whatever the trunk says.
    layers: list[nn.Module] = []
    for width in widths:
        layers += [_linear(inputs, width, 2.0**0.5), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, _linear(inputs, outputs, gain))


def _linear(inputs: int, outputs: int, gain: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
