"""The replay: what the books saw, did and earned, bar by bar, sampled as sequences of one episode.

A ring of bars that all books share: they begin episodes together. An episode is its burn-in rows,
its steps, and the final observation, which has no action. A sampled sequence lies inside one episode
and comes with the bars that build its memory. It knows no network and no algorithm.

Shape letters: B books, N symbols a book, I inputs of the LSTM, P book inputs; a batch has n
sequences of S steps, R = n x N rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Batch:
    """Sampled sequences; index S is the observation the last step led to.

    Shapes: before (L, R, I) gap-free with count (R,) of them valid; rows (S + 1, R, I) gap-free with
    seen (S + 1, R) rows each bar can look back on, None without gaps; book (S + 1, R, P), action and
    ready (S + 1, R); reward, terminated, alive (S, n); memory (R, M) each, before `before`, empty for
    zero. `tags` (n, 2): the bar number and book of index 0.
    """

    before: Tensor
    count: Tensor
    rows: Tensor
    seen: Tensor | None
    book: Tensor
    action: Tensor
    ready: Tensor
    reward: Tensor
    terminated: Tensor
    alive: Tensor
    memory: tuple[Tensor, ...]
    tags: np.ndarray


class Replay:
    """The last `slots` bars of B books.

    `begin` an episode with its burn-in rows, `see` an observation, `note` what was done there; bar
    numbers count all of them and never repeat.
    """

    def __init__(
        self, slots: int, shape: tuple[int, int, int, int], memories: tuple[int, ...] = ()
    ) -> None:
        """Shapes: `shape` is (B, N, I, P); `memories` are the widths of the memories noted."""
        books, symbols, inputs, seen = shape
        kinds: dict[str, tuple[Any, tuple[int, ...]]] = {
            "rows": (np.float32, (books, symbols, inputs)),
            "book": (np.float32, (books, symbols, seen)),
            "fresh": (np.bool_, (books, symbols)),
            "ready": (np.bool_, (books, symbols)),
            "action": (np.float32, (books, symbols)),
            "reward": (np.float32, (books,)),
            "terminated": (np.bool_, (books,)),
            "alive": (np.bool_, (books,)),
            "origin": (np.int64, ()),  # the number of the episode's first bar
            "noted": (np.bool_, ()),  # something was done here
            **{f"memory{k}": (np.float32, (books, symbols, w)) for k, w in enumerate(memories)},
        }
        self.slots, self.shape, self.memories = slots, shape, len(memories)
        self.ring = {name: np.zeros((slots, *s), dtype=kind) for name, (kind, s) in kinds.items()}
        self.head, self.began = 0, 0
        self.gaps = False

    @property
    def oldest(self) -> int:
        """The number of the oldest bar still held."""
        return max(0, self.head - self.slots)

    @property
    def steps(self) -> int:
        """The transitions held, of books that were alive."""
        held = np.arange(self.oldest, self.head) % self.slots
        return int((self.ring["alive"][held] & self.ring["noted"][held, None]).sum())

    def begin(self, rows: np.ndarray, count: np.ndarray) -> None:
        """Start an episode. Shapes: rows (L, B, N, I), oldest first, of which `count` (B, N) valid."""
        self.began = self.head
        lead = np.arange(len(rows))[:, None, None] - (
            len(rows) - count
        )  # the last row is the newest
        late = np.take_along_axis(rows, np.maximum(lead, 0)[..., None], axis=0)
        for row, fresh in zip(late, lead >= 0, strict=True):
            self._put(rows=row, fresh=fresh, book=0.0, ready=False)

    def see(self, rows: np.ndarray, fresh: np.ndarray, book: np.ndarray, ready: np.ndarray) -> None:
        """Note an observation. Shapes: rows (B, N, I), book (B, N, P), fresh and ready (B, N)."""
        self.gaps |= not fresh.all()
        self._put(rows=rows, fresh=fresh, book=book, ready=ready)

    def note(
        self,
        action: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        alive: np.ndarray,
        memories: tuple[np.ndarray, ...] = (),
    ) -> None:
        """Note what was done on the observation seen last, and what came of it.

        Shapes: action (B, N) in [-1, 1]; the rest (B,); memories (B, N, M) before that observation.
        """
        named = {f"memory{k}": memory for k, memory in enumerate(memories)}
        done = {"action": action, "reward": reward, "terminated": terminated, "alive": alive}
        for name, value in {**done, **named, "noted": True}.items():
            self.ring[name][(self.head - 1) % self.slots] = value

    def starts(self, steps: int, depth: int | None) -> np.ndarray:
        """Return every (bar number, book) at which a sequence of `steps` may begin, oldest first.

        All its steps and the `depth` bars before it (None: all of its episode's) are held, it lies
        inside one episode, and the book is alive. Shapes: (K, 2).
        """
        bars = np.arange(self.oldest, self.head)
        noted = self.ring["noted"][bars % self.slots]
        stop = np.where(noted, self.head, bars)  # the first bar from here on that has no action
        whole = np.minimum.accumulate(stop[::-1])[::-1] - bars >= steps
        whole &= bars - self.depth(bars, depth) >= self.oldest
        # The newest observation may not have been seen yet.
        whole &= bars + steps < self.head
        found = bars[whole]
        alive = np.argwhere(self.ring["alive"][found % self.slots])
        return np.stack([found[alive[:, 0]], alive[:, 1]], axis=1)

    def depth(self, bars: np.ndarray, limit: int | None) -> np.ndarray:
        """Return how many bars of its own episode lie before each bar, at most `limit`."""
        past = bars - self.ring["origin"][bars % self.slots]
        return past if limit is None else np.minimum(past, limit)

    def sample(
        self, starts: np.ndarray, steps: int, depth: int | None, device: torch.device | None = None
    ) -> Batch:
        """Return the sequences of `steps` that begin at `starts` (n, 2), with `depth` bars before."""
        bar, book = starts[:, 0], starts[:, 1]
        past = self.depth(bar, depth)
        lead = np.arange(int(past.max(initial=0)))[:, None]
        before, fresh = self._take("rows", bar - past + lead, book), lead < past
        fresh = fresh[..., None] & self._take("fresh", bar - past + lead, book)
        when = bar + np.arange(steps + 1)[:, None]
        rows, own = self._take("rows", when, book), self._take("fresh", when, book)
        seen = None if own.all() else torch.from_numpy(_rows(own.cumsum(axis=0)))
        taken = {n: self._take(n, when, book) for n in ("book", "action", "ready")}
        done = {n: self._take(n, when[:-1], book) for n in ("reward", "terminated", "alive")}
        memory = tuple(self._take(f"memory{k}", bar - past, book) for k in range(self.memories))

        def tensor(x: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(x)).to(device)

        return Batch(
            before=tensor(_rows(_gap_free(before, fresh))),
            count=tensor(fresh.sum(axis=0).reshape(-1)),
            rows=tensor(_rows(_gap_free(rows, own))),
            seen=None if seen is None else seen.to(device),
            memory=tuple(tensor(x.reshape(-1, x.shape[-1])) for x in memory),
            tags=starts,
            **{name: tensor(_rows(x)) for name, x in taken.items()},
            **{name: tensor(x) for name, x in done.items()},
        )

    def clear(self) -> None:
        """Forget everything."""
        self.head, self.began, self.gaps = 0, 0, False

    def state(self) -> dict[str, Any]:
        """Return what is held, oldest first, to go on bit for bit."""
        held = np.arange(self.oldest, self.head) % self.slots
        numbers = {"head": self.head, "began": self.began, "gaps": self.gaps}
        return {**numbers, "ring": {name: x[held] for name, x in self.ring.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a state. Raises: SettingsError when it is of another size."""
        self.head, self.began = int(state["head"]), int(state["began"])
        self.gaps = bool(state["gaps"])
        held = np.arange(self.oldest, self.head) % self.slots
        for name, values in self.ring.items():
            found = state["ring"].get(name)
            if found is None or found.shape != values[held].shape:
                raise SettingsError(
                    f"replay: expected {name} of shape {values[held].shape}, found "
                    f"{None if found is None else found.shape}; resume with the train.books and "
                    "train.ddpg settings the training was started with"
                )
            values[held] = found

    def _put(self, **values: Any) -> None:
        at = self.head % self.slots
        blank = {"action": 0.0, "reward": 0.0, "terminated": False, "alive": False, "noted": False}
        for name, value in {**blank, **values, "origin": self.began}.items():
            self.ring[name][at] = value
        self.head += 1

    def _take(self, name: str, when: np.ndarray, book: np.ndarray) -> np.ndarray:
        # Bars (..., n) of the books (n,).
        ring = self.ring[name]
        return ring[when % self.slots] if ring.ndim == 1 else ring[when % self.slots, book]


def _gap_free(rows: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    # The fresh rows of each symbol first, in time. Shapes: (L, n, N, I), (L, n, N).
    dense = np.logical_and.accumulate(fresh, axis=0)
    if np.array_equal(dense, fresh):
        return rows
    order = np.argsort(~fresh, axis=0, kind="stable")
    return np.take_along_axis(rows, order[..., None], axis=0)


def _rows(x: np.ndarray) -> np.ndarray:
    # (., n, N, ...) to (., R, ...)
    return x.reshape(x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:])
