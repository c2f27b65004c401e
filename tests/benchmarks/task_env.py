"""What plays a task: an environment for our learners, one for stable-baselines3, and a collector.

Where all episodes of a task are equally long its books start together, as those of a market do. Where
they end one by one `OwnEpisodes` plays it: every book starts its next episode by itself.

Shape letters: S steps, B books, I inputs, n pieces of episodes.
"""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from agents.rollout import Collector
from agents.sequences import Rollout, Segment, join
from engine.limits import Limits
from engine.observation import Observation
from engine.policy import ActionSpace, Wish
from tests.benchmarks.tasks import Task

TWO = ActionSpace(kind="levels", levels=(-1.0, 1.0))
REAL = ActionSpace(kind="continuous", band=0.0)


class TaskEnv:
    """A task as `agents.rollout.Collector` plays a market: one symbol a book, an empty book part.

    A step pays by turning an equity of 1 into 1 + reward; under `kind = "pnl"` and `scale = 1` that is
    the reward. Books whose episode is over wait, as ruined ones do, until they start anew. `unit` (I,)
    divides what is seen, as the scaler of a market's features does.
    """

    symbols = 1

    def __init__(self, task: Task, space: ActionSpace = TWO, unit: tuple[float, ...] = ()) -> None:
        self.task, self.generator = task, task.generator
        self.unit = np.array(unit or (1.0,) * task.inputs, dtype=np.float32)
        books = self.books = task.books
        self.plan = SimpleNamespace(books=books, episode_steps=task.limit)
        self.spec = SimpleNamespace(action=space, limits=Limits(allow_short=True), burn_in=0)
        self.trader = SimpleNamespace(warm=np.ones((books, 1), dtype=np.int64))
        equity = np.ones(books)
        self.venue = SimpleNamespace(book=SimpleNamespace(equity=lambda: equity))
        self.shape, self.last = (books, 1, task.inputs, 0), task.limit
        rows = np.zeros((1, 1, task.inputs), dtype=np.float32)
        if task.streams is not None:
            rows = task.streams / self.unit
        bars = np.arange(task.limit + 1)[:, None] * np.ones(len(rows), dtype=np.int64)
        self.panel = SimpleNamespace(
            compact=rows, rank=bars if task.streams is not None else 0 * bars
        )
        self.reset()

    @property
    def at(self) -> np.ndarray:
        """The bar of each book, (B,)."""
        return self.steps

    @property
    def symbol(self) -> np.ndarray:
        """The stream of each book, (B, 1)."""
        return self.task.stream[:, None]

    def reset(self, where: np.ndarray | None = None) -> None:
        """Start an episode in the books in `where` (B,), all by default."""
        where = np.ones(self.books, dtype=bool) if where is None else where
        self.task.reset(where)
        self.steps = np.zeros(self.books, dtype=np.int64) if where.all() else self.steps * ~where

    def observe(self) -> Observation:
        """Return what each book sees, (B, 1, I)."""
        fresh = np.ones((self.books, 1), dtype=bool)
        nothing = np.zeros((self.books, 1, 0), dtype=np.float32)
        return Observation((self.task.look() / self.unit)[:, None], nothing, fresh)

    def step(self, obs: Observation, wish: Wish) -> Any:
        """Do one step; return what the collector and its reward read of it."""
        paid = self.task.act(wish.exposure[:, 0])
        self.steps = self.steps + 1
        one = np.ones(self.books)
        over = self.task.over.copy()
        return SimpleNamespace(equity_before=one, equity_after=one + paid, terminated=over)

    def lead(self) -> tuple[np.ndarray, np.ndarray]:
        """Return no burn-in rows, as `BookEnv.lead` does where there are none."""
        rows = np.zeros((0, *self.shape[:3]), dtype=np.float32)
        return rows, np.zeros(self.shape[:2], dtype=np.int64)

    def sequence(self, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows from now on, as `BookEnv.sequence` does."""
        when = np.minimum(self.steps + np.arange(steps)[:, None], self.last)[:, :, None]
        fresh = np.ones(when.shape, dtype=bool)
        return self.panel.compact[self.symbol, when], when - self.steps[:, None], fresh


class OwnEpisodes(Collector):
    """Steps books whose episodes end one by one; a rollout's sequences are pieces of episodes."""

    @torch.no_grad()
    def collect(self, steps: int) -> Rollout:
        """Play `steps` steps with every book."""
        played: list[Rollout] = []
        starts = np.zeros((steps, self.env.plan.books), dtype=bool)
        for step in range(steps):
            starts[step] = (self.env.steps == 0) | (step == 0)
            played.append(self._play(1))
            over = played[-1].terminated[0] | (self.env.steps >= self.env.plan.episode_steps)
            played[-1].ended[0] = over
            self._start_anew(over)
        return pieces(played, starts)

    def left(self) -> int:
        """Return 1: there is no step at which all books end together."""
        return 1

    def _start_anew(self, where: np.ndarray) -> None:
        if where.any():
            self.env.reset(where)
            self.alive = self.alive | where
            self.memory[torch.from_numpy(where)] = 0.0
            self.obs = self.env.observe()


def pieces(played: list[Rollout], starts: np.ndarray) -> Rollout:
    """Return steps played one by one as sequences side by side that each lie inside one episode.

    Shapes: starts (S, B), true where a sequence begins. What follows a short sequence is padding: its
    book counts as not alive there, so it changes no loss and no gradient.
    """
    whole = join(played)
    book, start = np.nonzero(starts.T)
    stop = np.append(start[1:], 0)
    stop = np.where(stop > start, stop, len(starts))
    when = start + np.arange(int((stop - start).max()))[:, None]
    real = when < stop
    when = np.minimum(when, len(starts) - 1)
    kept = torch.from_numpy(real)
    rows = torch.cat([part.segments[0].rows for part in played])[when, book]
    memory = torch.stack([part.segments[0].memory for part in played])[start, book]
    names = ("log_prob", "reward", "value", "after", "terminated", "ended", "alive", "acts")
    return replace(
        whole,
        segments=(Segment(rows, None, memory),),
        book=whole.book[when, book],
        raw=whole.raw[when, book],
        ready=whole.ready[when, book] & kept,
        **{name: np.where(real, getattr(whole, name)[when, book], 0) for name in names[:4]},
        **{name: getattr(whole, name)[when, book] & real for name in names[4:]},
    )


class AutoReset:
    """A task as `tests.benchmarks.peer.FlatVecEnv` steps it: each book starts anew by itself."""

    def __init__(self, task: Task) -> None:
        import gymnasium as gym

        self.task, self.num_envs = task, task.books
        seen = gym.spaces.Box(-10.0, 10.0, (task.inputs,), np.float32)
        self.single_observation_space = {"market": seen}
        self.single_action_space: gym.Space[Any] = gym.spaces.Discrete(2)
        if task.reach is not None:
            self.single_action_space = gym.spaces.Box(-task.reach, task.reach, (1,), np.float32)

    def reset(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode in every book."""
        self.task.reset(np.ones(self.num_envs, dtype=bool))
        return {"market": self.task.look()}, {}

    def step(self, actions: np.ndarray) -> tuple[Any, ...]:
        """Step every book; where an episode ended, show the first observation of the next."""
        paid = self.task.act(sides(actions, self.task))
        terminated = self.task.over.copy()
        truncated = ~terminated & (self.task.steps >= self.task.limit)
        final = {"market": self.task.look()}
        self.task.reset(terminated | truncated)
        seen = {"market": self.task.look()}
        return seen, paid, terminated, truncated, {"final_obs": final}


def sides(actions: np.ndarray, task: Task) -> np.ndarray:
    """Return stable-baselines3's actions as exposures, (B,)."""
    return 2.0 * actions - 1.0 if task.reach is None else actions[:, 0] / task.reach
