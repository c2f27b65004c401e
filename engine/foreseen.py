"""Several books over the same bars: what their memory will be is computed once, ahead of the decisions.

Where a network remembers bars alone (`book_input = "heads"`), every book of a replay has the same memory,
and all of it follows from bars that the replay has at hand: the LSTM runs over whole stretches of them,
one row a symbol, and a decision is left with the heads. Used only where it gives the bits of the step
bar by bar, which is asked of the network itself.
"""

from typing import Any

import numpy as np

from engine.masks import every, finite
from engine.observation import Observation
from engine.policy import Policy, Wish
from engine.step import StepPolicy, open_graph, require_numbers
from engine.step_parts import cut

ROWS = 1024  # bars x symbols in one run of the LSTM: what it writes stays in a core's cache
MOST_NUMBERS = 1 << 26  # of outputs kept for a replay: 256 MiB
TRIED = 8  # bars over which the bits are compared


def foresee(
    policy: Policy, market: np.ndarray, used: np.ndarray, books: int
) -> "ForeseenPolicy | None":
    """Return the policy that decides for all books as `policy` does bar by bar, or None.

    Shapes: market (T, N, F) float32; used (T, N) = rows that the memory will see, from zero on. None
    where the memory depends on the book or on more than one LSTM layer, or where bits would differ.
    """
    parts = cut(policy.graph) if isinstance(policy, StepPolicy) and used.any() else None
    if parts is None or not isinstance(policy, StepPolicy):
        return None
    trunk, heads = (open_graph(part, "part of the policy") for part in parts)
    rows, hidden = _in_a_row(market, used), trunk.get_inputs()[1].shape[-1]
    if len(rows) * rows.shape[1] * hidden > MOST_NUMBERS or not finite(rows):
        return None
    outs = _outputs(trunk, rows[:TRIED], hidden)
    if not _same_bits(policy, heads, rows[:TRIED], outs, books):
        return None
    outs = _outputs(trunk, rows, hidden)
    return ForeseenPolicy(policy, heads, outs) if finite(outs) else None


class ForeseenPolicy:
    """Greedy decisions whose memory is the number of rows a symbol has seen; a `Policy`.

    Shapes: outs (L, N, H) float32, the LSTM's output after row 1 to L of each symbol; memory (B, N, 1),
    the same for every book.
    """

    memory_width = 1

    def __init__(self, policy: StepPolicy, heads: Any, outs: np.ndarray) -> None:
        self.policy, self._heads, self._outs = policy, heads, outs
        self._symbols = np.arange(outs.shape[1])

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """Decide on one bar; see `engine.policy.Policy`."""
        # A symbol whose rows are all seen keeps: it is not fresh, and nothing asks what it would do.
        seen = np.minimum(memory[0, :, 0].astype(np.int64), len(self._outs) - 1)
        same = every(seen == seen[0])
        out = self._outs[seen[0]] if same else self._outs[seen, self._symbols]
        head = _headed(self._heads, out, obs.book)
        require_numbers(book=obs.book, head=head)
        return self.policy.wish_of(head, obs), memory + np.float32(1.0)


def _headed(heads: Any, out: np.ndarray, book: np.ndarray) -> np.ndarray:
    # (N, H) and (B, N, P) to (B, N, A).
    books, symbols = book.shape[:2]
    tiled = np.broadcast_to(out, (books, *out.shape)).reshape(books * symbols, -1)
    (head,) = heads.run(None, {"out": tiled, "book": book.reshape(books * symbols, -1)})
    return np.asarray(head.reshape(books, symbols, -1))


def _in_a_row(market: np.ndarray, used: np.ndarray) -> np.ndarray:
    # Each symbol's used rows one after the other, (L, N, F); zeros behind the last.
    count = used.sum(axis=0)
    rows = np.zeros((int(count.max()), *market.shape[1:]), np.float32)
    for symbol, length in enumerate(count):
        rows[:length, symbol] = market[used[:, symbol], symbol]
    return rows


def _outputs(trunk: Any, rows: np.ndarray, hidden: int) -> np.ndarray:
    # (L, N, F) to (L, N, H), in stretches of bars.
    length, symbols = rows.shape[:2]
    h = c = np.zeros((1, symbols, hidden), np.float32)
    outs = np.empty((length, symbols, hidden), np.float32)
    step = max(1, ROWS // symbols)
    for start in range(0, length, step):
        part = slice(start, start + step)
        outs[part], h, c = trunk.run(None, {"rows": rows[part], "h": h, "c": c})
    return outs


def _same_bits(
    policy: StepPolicy, heads: Any, rows: np.ndarray, outs: np.ndarray, books: int
) -> bool:
    # Against each book alone, step by step, as a replay of one book runs: book parts made up.
    draw, symbols = np.random.default_rng(0).standard_normal, rows.shape[1]
    memory = np.zeros((1, symbols, policy.memory_width), np.float32)
    for row, out in zip(rows, outs, strict=True):
        book = draw((books, symbols, len(policy.info.book))).astype(np.float32)
        alone = [policy.run(row[None], part[None], memory) for part in book]
        head = _headed(heads, out, book)
        if not all(
            np.array_equal(one[0][0], whole) for one, whole in zip(alone, head, strict=True)
        ):
            return False
        memory = alone[0][1]
    return True
