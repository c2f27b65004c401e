"""Two tasks that only memory can solve, in numbers known exactly.

    Recall-T    a cue of +1 or -1, T blank steps, then a flag: choose what the cue was.
    PoC memory  on a line from -1 to 1 in steps of 0.2 one end is good, the other bad. Two steps show
                which, and nothing moves; then the cue is gone and a book walks, at most 100 moves.

A policy without memory succeeds half of the time in both, exactly. In the original PoC memory
(`shown = 3`) the cue is still visible at the first move, so that a policy can write it into its
position (memoryless 0.7); ours hides it before. Neither the previous action nor the reward is an input.
Source: the PoC memory environment of Pleines' recurrent PPO; the variant is ours.

Shape letters: B books, K streams, I inputs. What a book does is an exposure, (B,); these tasks read
its sign. `tests.benchmarks.control` has the tasks of gymnasium.
"""

from typing import Protocol

import numpy as np

INPUTS = 3


class Task(Protocol):
    """What a task is: `limit` steps at most, `over` (B,) where an episode has ended by itself.

    `streams` (K, limit + 1, I) and `stream` (B,): what will be seen, where no action changes it.
    `score` (B,): what the episode is worth, as the battery quotes it. `reach`: the largest action of
    a continuous task, None where there are two actions to choose from.
    """

    books: int
    inputs: int
    limit: int
    reach: float | None
    streams: np.ndarray | None
    stream: np.ndarray
    steps: np.ndarray
    over: np.ndarray
    score: np.ndarray
    generator: np.random.Generator

    def reset(self, where: np.ndarray) -> None: ...
    def look(self) -> np.ndarray: ...
    def act(self, side: np.ndarray) -> np.ndarray: ...


class Recall:
    """Step 0 shows the cue, the last one the flag; inputs (cue or 0, flag, 0). Pays 1 or 0."""

    streams: np.ndarray | None
    inputs, reach = INPUTS, None

    def __init__(self, blanks: int, books: int, generator: np.random.Generator) -> None:
        self.books, self.limit, self.generator = books, blanks + 2, generator
        self.streams = np.zeros((2, self.limit + 1, INPUTS), dtype=np.float32)
        self.streams[:, 0, 0] = -1.0, 1.0
        self.streams[:, blanks + 1, 1] = 1.0
        self.stream, self.steps = np.zeros((2, books), dtype=np.int64)
        self.over, self.score = np.zeros(books, dtype=bool), np.zeros(books)

    def reset(self, where: np.ndarray) -> None:
        """Draw a new cue for the books in `where` (B,)."""
        self.stream[where] = self.generator.integers(2, size=int(where.sum()))
        self.steps[where] = 0
        self.over[where], self.score[where] = False, 0.0

    def look(self) -> np.ndarray:
        """Return what each book sees, (B, 3) float32."""
        assert self.streams is not None
        return self.streams[self.stream, self.steps]

    def act(self, side: np.ndarray) -> np.ndarray:
        """Do one step; return what it pays, (B,)."""
        chosen = ~self.over & (self.steps == self.limit - 1)
        right = chosen & (np.sign(side) == 2 * self.stream - 1)
        self.steps = np.minimum(self.steps + 1, self.limit)
        self.over, self.score = self.over | chosen, self.score + right
        return right.astype(np.float64)


class PocMemory:
    """Inputs (sign of the left end, position, sign of the right end); signs while the cue shows.

    Pays +-1.6 at an end and -0.1 on every other move; the best mean return is 1.2.
    """

    streams: np.ndarray | None = None
    inputs, reach, cued = INPUTS, None, 2

    def __init__(self, books: int, generator: np.random.Generator, shown: int = 2) -> None:
        self.books, self.shown, self.generator = books, shown, generator
        self.limit = self.cued + 100
        self.stream, self.steps, self.place, self.good = np.zeros((4, books), dtype=np.int64)
        self.over, self.score = np.zeros(books, dtype=bool), np.zeros(books)

    def reset(self, where: np.ndarray) -> None:
        """Draw a new start and a new good end for the books in `where` (B,)."""
        count = int(where.sum())
        self.place[where] = self.generator.integers(-2, 3, size=count)
        self.good[where] = 2 * self.generator.integers(2, size=count) - 1
        self.steps[where] = 0
        self.over[where], self.score[where] = False, 0.0

    def look(self) -> np.ndarray:
        """Return what each book sees, (B, 3) float32."""
        cue = np.where(self.steps < self.shown, self.good, 0)
        return np.stack([-cue, 0.2 * self.place, cue], axis=-1).astype(np.float32)

    def act(self, side: np.ndarray) -> np.ndarray:
        """Do one step; return what it pays, (B,)."""
        moves = ~self.over & (self.steps >= self.cued)
        self.place = self.place + np.where(moves, np.sign(side), 0).astype(np.int64)
        arrived = moves & (np.abs(self.place) == 5)
        right = arrived & (np.sign(self.place) == self.good)
        self.steps = np.minimum(self.steps + 1, self.limit)
        self.over, self.score = self.over | arrived, self.score + right
        paid = np.where(arrived, np.where(right, 1.6, -1.6), -0.1)
        return np.where(moves, paid, 0.0)
