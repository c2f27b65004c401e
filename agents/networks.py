"""The LSTM actor-critic: a trunk over the market, heads that also see the book.

Memory is an argument and a returned value, flat (R, M) per row, zero at the start; no network
keeps any. `carry`: the memory is that of the trunks, see `agents.trunk`. `window(K)`: it is the last
K input rows, over which they are run again from zero on every bar. Knows no bars, environment or
algorithm.

Shape letters: S steps, R rows (books x symbols), F market inputs, P book inputs, I inputs of the
trunk, W width of its output, M memory, D numbers that dropout can drop, A outputs of the policy head.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from agents import dropout, history
from agents.heads import Ahead, together
from agents.layers import head
from agents.machine import lowered
from agents.trunk import Trunk
from engine.settings_agent import NetworkSettings, window_of


@dataclass(frozen=True, slots=True)
class Widths:
    """How wide everything at the seam is. `spread`: learned log standard deviations; `features`:
    names of the market inputs, for groups that call them by name."""

    market: int
    book: int
    head: int
    spread: int = 0
    features: tuple[str, ...] = ()


class ActorCritic(nn.Module):
    """One network family: `trunk` over rows of input, `policy` and `value` over its output and the book.

    Where policy and critic see different things (LSTMs of their own, or dropout for the policy), the
    trunk's output holds both views side by side; otherwise one view serves both.
    """

    def __init__(self, widths: Widths, network: NetworkSettings, memory: str = "carry") -> None:
        super().__init__()
        self.widths, self.network = widths, network
        self.shape = (widths, network, memory)  # what another of the same kind is built from
        self.precision = "float32"  # of whole sequences, see `lowered`; a step of life is float32
        self.book_in_lstm = network.book_input == "lstm"
        self.window = window_of(memory)
        self.inputs = widths.market + (widths.book if self.book_in_lstm else 0)
        parts = (self.inputs, widths.market, widths.features, network)
        self.policy_trunk = Trunk(*parts)
        self.critic_trunk = Trunk(*parts) if network.critic == "separate" else None
        self.view_width = self.policy_trunk.out_width
        dropped_layers = network.lstm_layers - 1 if network.dropout_inside else 0
        self.between = dropped_layers * network.hidden_size
        self.two_views = self.critic_trunk is not None or network.dropout_after > 0
        self.out_width = self.view_width * (2 if self.two_views else 1)
        self.seen_width = self.view_width + (0 if self.book_in_lstm else widths.book)
        self.actor = head(self.seen_width, widths.head, 0.01, network)
        self.critic = head(self.seen_width, 1, 1.0, network)
        self.log_std = nn.Parameter(torch.full((widths.spread,), -0.5)) if widths.spread else None
        for trunk in self._trunks():
            trunk.start()

    @property
    def memory_width(self) -> int:
        """M: numbers carried from bar to bar for one row."""
        if self.window:
            return self.window * self.inputs
        return sum(trunk.memory_width for trunk in self._trunks())

    @property
    def lstm(self) -> Any:
        """The policy's LSTM."""
        return self.policy_trunk.lstm

    def start(self, rows: int) -> Tensor:
        """Return the memory of rows that have seen nothing: zero."""
        return next(self.parameters()).new_zeros((rows, self.memory_width))

    def draw_mask(self, rows: int, generator: np.random.Generator) -> Tensor | None:
        """Return what dropout drops (R, D) in one sequence of each row; None without dropout."""
        mask = dropout.draw(self._rates(), rows, generator)
        return None if mask is None else mask.to(next(self.parameters()).device)

    def lowered(self) -> AbstractContextManager[object]:
        """Return the context in which `outputs` and `advance` run whole sequences."""
        return lowered(self.precision, next(self.parameters()).device)

    def join(self, market: Tensor, book: Tensor) -> Tensor:
        """Return what the LSTM sees of one or more bars: (..., F) and (..., P) to (..., I)."""
        return torch.cat([market, book], -1) if self.book_in_lstm else market

    def trunk(
        self,
        rows: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        counts: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the LSTMs over consecutive rows of input.

        Shapes: rows (S, R, I), memory (R, M) before them, mask (R, D) of `draw_mask` (None: nothing
        is dropped), counts (R,) from 1 to S rows that are real, not padding (None: all);
        out (S, R, W), in the precision of `lowered`, memory after the real rows.
        """
        if self.window:
            past = history.joined(memory, rows)
            out = self._over_windows(history.unfolded(past, self.window), mask)
            return out, history.last(past, self.window, counts)
        out, memory = self._run(rows, memory, mask, counts)
        return out, _like(rows, memory)

    def held(self, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the trunk output (R, W) that was current when `memory` was made."""
        if self.window:
            rows = memory.view(-1, self.window, self.inputs).transpose(0, 1)
            return self._over_windows(rows[:, None], mask)[0]
        parts = zip(self._trunks(), self._parts(memory), strict=True)
        return self._views([trunk.held(part) for trunk, part in parts], mask)

    def policy(self, out: Tensor, book: Tensor) -> Tensor:
        """Return the policy head (..., A) from out (..., W) and book (..., P)."""
        return self.actor(self.seen(_like(book, out[..., : self.view_width]), book))

    def value(self, out: Tensor, book: Tensor) -> Tensor:
        """Return the critic's value (...) from out (..., W) and book (..., P)."""
        view = _like(book, out[..., -self.view_width :])
        view = view.detach() if self.network.critic_gradient == "stop" else view
        return self.critic(self.seen(view, book))[..., 0]

    def heads(self, out: Tensor, book: Tensor) -> tuple[Tensor, Tensor]:
        """Return policy head (..., A) and value (...) from out (..., W) and book (..., P)."""
        if self.two_views or self.network.critic_gradient == "stop":
            return self.policy(out, book), self.value(out, book)
        seen = self.seen(out, book)
        head, value = together(self.actor, self.critic, seen, self.precision)
        return head, value[..., 0]

    def ahead(self, outs: Tensor) -> tuple[Ahead, Ahead]:
        """Return policy head and value over outs (S, R, W), for book parts that come bar by bar."""
        views = outs[..., : self.view_width], outs[..., -self.view_width :]
        heads = (self.actor, self.critic)
        policy, value = (Ahead(h, v, self.precision) for h, v in zip(heads, views, strict=True))
        return policy, value

    def seen(self, view: Tensor, book: Tensor) -> Tensor:
        """Return what a head sees of one or more bars, from its view of the trunk's output."""
        alone = self.book_in_lstm or not self.widths.book
        return view if alone else torch.cat([view, _like(view, book)], -1)

    def step(self, market: Tensor, book: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Decide on one bar, as in life: (R, F), (R, P), (R, M) to head (R, A), memory (R, M)."""
        out, memory = self.trunk(self.join(market, book)[None], memory)
        return self.policy(out[0], book), memory

    def _trunks(self) -> list[Trunk]:
        return [trunk for trunk in (self.policy_trunk, self.critic_trunk) if trunk is not None]

    def _parts(self, memory: Tensor) -> tuple[Tensor, ...]:
        # What each trunk remembers.
        if self.critic_trunk is None:
            return (memory,)
        return torch.split(memory, [trunk.memory_width for trunk in self._trunks()], -1)

    def _run(
        self, rows: Tensor, memory: Tensor, mask: Tensor | None, counts: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        # Dropout acts on the policy's path only: a critic with an LSTM of its own sees it all.
        inside = mask[:, : self.between] if mask is not None and self.between else None
        outs, after = [], []
        for trunk, part in zip(self._trunks(), self._parts(memory), strict=True):
            own = inside if trunk is self.policy_trunk else None
            out, moved = trunk(rows, part, own, counts)
            outs.append(out)
            after.append(moved)
        return self._views(outs, mask), after[0] if len(after) == 1 else torch.cat(after, -1)

    def _over_windows(self, rows: Tensor, mask: Tensor | None) -> Tensor:
        # (K, S, R, I) to out (S, R, W): every bar is one sequence of K rows, run from zero.
        size, steps, count, inputs = rows.shape
        mask = None if mask is None else mask.repeat(steps, 1)
        width = sum(trunk.memory_width for trunk in self._trunks())
        zero = rows.new_zeros((steps * count, width))
        out, _ = self._run(rows.reshape(size, steps * count, inputs), zero, mask)
        return out[-1].reshape(steps, count, self.out_width)

    def _views(self, outs: list[Tensor], mask: Tensor | None) -> Tensor:
        if not self.two_views:
            return outs[0]
        policy = outs[0]
        if mask is not None and self.network.dropout_after:
            policy = policy * mask[:, -self.view_width :]
        return torch.cat([policy, outs[-1]], -1)

    def _rates(self) -> np.ndarray:
        # D rates: between the layers of the policy's LSTM, then what its head sees.
        inside, after = self.network.dropout_inside, self.network.dropout_after
        return np.repeat((inside, after), (self.between, self.view_width * bool(after)))


def outputs(
    net: ActorCritic,
    rows: Tensor,
    seen: Tensor | None,
    memory: Tensor,
    mask: Tensor | None = None,
    chunk: int | None = None,
) -> Tensor:
    """Return the trunk output of every bar when some bars brought no row.

    Shapes: rows (L, R, I) gap-free; seen (S, R) = rows a bar can look back on, itself included
    (None: one row a bar, no gap); memory (R, M) before the first row; mask as in `trunk`;
    out (S, R, W). A bar without a row of its own keeps the output of the last one, as in life.
    `chunk`: rows a gradient reaches back (the memory goes on); None = all of them.
    """
    with net.lowered():
        out = _cut(net, rows, memory, mask, chunk or len(rows))
    if seen is None:
        return out
    out = torch.cat([net.held(memory, mask)[None], out])
    return out.gather(0, seen[..., None].expand(*seen.shape, out.shape[-1]))


def _cut(net: ActorCritic, rows: Tensor, memory: Tensor, mask: Tensor | None, chunk: int) -> Tensor:
    # Truncated backpropagation through time: the memory goes on from chunk to chunk, no gradient does.
    outs = []
    for part in torch.split(rows, chunk):
        out, memory = net.trunk(part, memory.detach(), mask)
        outs.append(out)
    return outs[0] if len(outs) == 1 else torch.cat(outs)


def advance(
    net: ActorCritic, rows: Tensor, count: Tensor, memory: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Return the memory after the first `count` rows of each column.

    Shapes: rows (L, R, I); count (R,) from 0 to L; memory (R, M) in and out; mask as in `trunk`.
    """
    if not rows.shape[0]:
        return memory
    if net.window:
        return history.last(history.joined(memory, rows), net.window, count)
    every = bool((count == rows.shape[0]).all())
    with net.lowered():
        moved = net.trunk(rows, memory, mask, None if every else count.clamp(min=1))[1]
    if every:
        return moved
    return torch.where((count > 0)[:, None], moved, memory)


def _like(x: Tensor, y: Tensor) -> Tensor:
    # What was made in another precision, in that of what came in.
    return y if y.dtype == x.dtype else y.to(x.dtype)
