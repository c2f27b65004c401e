"""Two tasks that only memory can solve, in numbers known exactly, and what plays them.

    Recall-T    a cue of +1 or -1, T blank steps, then a flag: choose what the cue was.
    PoC memory  on a line from -1 to 1 in steps of 0.2 one end is good, the other bad. Two steps show
                which, and nothing moves; then the cue is gone and a book walks, at most 100 moves.

A policy without memory succeeds half of the time in both, exactly. In the original PoC memory the cue is
still visible at the first move, so that a policy can write it into its position (memoryless 0.7); ours
hides it before. Neither the previous action nor the reward is an input.
Source: the PoC memory environment of Pleines' recurrent PPO; the variant is ours.

Shape letters: B books, K streams. Actions are exposures of -1 or +1, (B,).
"""

from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from engine.limits import Limits
from engine.observation import Observation
from engine.policy import ActionSpace, Wish

INPUTS = 3
TWO = ActionSpace(kind="levels", levels=(-1.0, 1.0))


class Task(Protocol):
    """What a task is: `limit` steps at most, `over` (B,) where an episode has ended by itself.

    `streams` (K, limit + 1, 3) and `stream` (B,): what will be seen, where no action changes it.
    """

    books: int
    limit: int
    streams: np.ndarray | None
    stream: np.ndarray
    steps: np.ndarray
    over: np.ndarray
    won: np.ndarray
    generator: np.random.Generator

    def reset(self, where: np.ndarray) -> None: ...
    def look(self) -> np.ndarray: ...
    def act(self, side: np.ndarray) -> np.ndarray: ...


class Recall:
    """Step 0 shows the cue, the last one the flag; inputs (cue or 0, flag, 0). Pays 1 or 0."""

    streams: np.ndarray | None

    def __init__(self, blanks: int, books: int, generator: np.random.Generator) -> None:
        self.books, self.limit, self.generator = books, blanks + 2, generator
        self.streams = np.zeros((2, self.limit + 1, INPUTS), dtype=np.float32)
        self.streams[:, 0, 0] = -1.0, 1.0
        self.streams[:, blanks + 1, 1] = 1.0
        self.stream, self.steps = np.zeros((2, books), dtype=np.int64)
        self.over, self.won = np.zeros((2, books), dtype=bool)

    def reset(self, where: np.ndarray) -> None:
        """Draw a new cue for the books in `where` (B,)."""
        self.stream[where] = self.generator.integers(2, size=int(where.sum()))
        self.steps[where] = 0
        self.over[where] = self.won[where] = False

    def look(self) -> np.ndarray:
        """Return what each book sees, (B, 3) float32."""
        assert self.streams is not None
        return self.streams[self.stream, self.steps]

    def act(self, side: np.ndarray) -> np.ndarray:
        """Do one step; return what it pays, (B,)."""
        chosen = ~self.over & (self.steps == self.limit - 1)
        right = chosen & (side == 2 * self.stream - 1)
        self.steps = np.minimum(self.steps + 1, self.limit)
        self.over, self.won = self.over | chosen, self.won | right
        return right.astype(np.float64)


class PocMemory:
    """Inputs (sign of the left end, position, sign of the right end); signs while the cue shows.

    Pays +-1.6 at an end and -0.1 on every other move; the best mean return is 1.2.
    """

    streams: np.ndarray | None = None

    def __init__(self, books: int, generator: np.random.Generator, cued: int = 2) -> None:
        self.books, self.cued, self.generator = books, cued, generator
        self.limit = cued + 100
        self.stream, self.steps, self.place, self.good = np.zeros((4, books), dtype=np.int64)
        self.over, self.won = np.zeros((2, books), dtype=bool)

    def reset(self, where: np.ndarray) -> None:
        """Draw a new start and a new good end for the books in `where` (B,)."""
        count = int(where.sum())
        self.place[where] = self.generator.integers(-2, 3, size=count)
        self.good[where] = 2 * self.generator.integers(2, size=count) - 1
        self.steps[where] = 0
        self.over[where] = self.won[where] = False

    def look(self) -> np.ndarray:
        """Return what each book sees, (B, 3) float32."""
        cue = np.where(self.steps < self.cued, self.good, 0)
        return np.stack([-cue, 0.2 * self.place, cue], axis=-1).astype(np.float32)

    def act(self, side: np.ndarray) -> np.ndarray:
        """Do one step; return what it pays, (B,)."""
        moves = ~self.over & (self.steps >= self.cued)
        self.place = self.place + np.where(moves, side, 0).astype(np.int64)
        arrived = moves & (np.abs(self.place) == 5)
        right = arrived & (np.sign(self.place) == self.good)
        self.steps = np.minimum(self.steps + 1, self.limit)
        self.over, self.won = self.over | arrived, self.won | right
        paid = np.where(arrived, np.where(right, 1.6, -1.6), -0.1)
        return np.where(moves, paid, 0.0)


class TaskEnv:
    """A task as `agents.rollout.Collector` plays a market: one symbol a book, an empty book part.

    A step pays by turning an equity of 1 into 1 + reward; under `kind = "pnl"` and `scale = 1` that is
    the reward. Books whose episode is over wait, as ruined ones do, until all start anew.
    """

    symbols = 1

    def __init__(self, task: Task) -> None:
        self.task, self.generator = task, task.generator
        books = self.books = task.books
        self.plan = SimpleNamespace(books=books, episode_steps=task.limit)
        self.spec = SimpleNamespace(action=TWO, limits=Limits(allow_short=True), burn_in=0)
        self.trader = SimpleNamespace(warm=np.ones((books, 1), dtype=np.int64))
        equity = np.ones(books)
        self.venue = SimpleNamespace(book=SimpleNamespace(equity=lambda: equity))
        self.shape, self.last = (books, 1, INPUTS, 0), task.limit
        known = task.streams is not None
        rows = task.streams if known else np.zeros((1, 1, INPUTS), dtype=np.float32)
        bars = np.arange(task.limit + 1)[:, None] * np.ones(len(rows), dtype=np.int64)
        self.panel = SimpleNamespace(compact=rows, rank=bars if known else 0 * bars)
        self.reset()

    @property
    def at(self) -> np.ndarray:
        """The bar of each book, (B,)."""
        return self.steps

    @property
    def symbol(self) -> np.ndarray:
        """The stream of each book, (B, 1)."""
        return self.task.stream[:, None]

    def reset(self) -> None:
        """Start an episode in every book."""
        self.task.reset(np.ones(self.books, dtype=bool))
        self.steps = np.zeros(self.books, dtype=np.int64)

    def observe(self) -> Observation:
        """Return what each book sees, (B, 1, 3)."""
        fresh = np.ones((self.books, 1), dtype=bool)
        nothing = np.zeros((self.books, 1, 0), dtype=np.float32)
        return Observation(self.task.look()[:, None], nothing, fresh)

    def step(self, obs: Observation, wish: Wish) -> Any:
        """Do one step; return what the collector and its reward read of it."""
        paid = self.task.act(wish.exposure[:, 0])
        self.steps = self.steps + 1
        one = np.ones(self.books)
        over = self.task.over.copy()
        return SimpleNamespace(equity_before=one, equity_after=one + paid, terminated=over)

    def sequence(self, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows from now on, as `BookEnv.sequence` does."""
        when = np.minimum(self.steps + np.arange(steps)[:, None], self.last)[:, :, None]
        fresh = np.ones(when.shape, dtype=bool)
        return self.panel.compact[self.symbol, when], when - self.steps[:, None], fresh


class AutoReset:
    """A task as `tests.benchmarks.peer.FlatVecEnv` steps it: each book starts anew by itself."""

    def __init__(self, task: Task) -> None:
        import gymnasium as gym

        self.task, self.num_envs = task, task.books
        seen = gym.spaces.Box(-1.0, 1.0, (INPUTS,), np.float32)
        self.single_observation_space = {"market": seen}
        self.single_action_space = gym.spaces.Discrete(2)

    def reset(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode in every book."""
        self.task.reset(np.ones(self.num_envs, dtype=bool))
        return {"market": self.task.look()}, {}

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        """Step every book; where an episode ended, show the first observation of the next."""
        paid = self.task.act(2.0 * actions - 1.0)
        terminated = self.task.over.copy()
        truncated = ~terminated & (self.task.steps >= self.task.limit)
        final = {"market": self.task.look()}
        self.task.reset(terminated | truncated)
        seen = {"market": self.task.look()}
        return seen, paid, terminated, truncated, {"final_obs": final}
