"""Control tasks of gymnasium of which a policy sees only some numbers: velocity must be remembered.

The environments are gymnasium's own, one a book, with their rewards and their time limits. An exposure
in [-1, 1] becomes the push to one side (two actions) or that share of the largest torque.
"""

import numpy as np


class Control:
    """B environments called `name`, of whose numbers a policy sees those at the places `shown`.

    With `own_push` it also sees its last push, as an agent sees what it holds: 0 at the start.
    """

    streams: np.ndarray | None = None

    def __init__(
        self,
        name: str,
        shown: tuple[int, ...],
        books: int,
        generator: np.random.Generator,
        own_push: bool = False,
    ) -> None:
        import gymnasium as gym

        self.envs = [gym.make(name, disable_env_checker=True) for _ in range(books)]
        spec, space = self.envs[0].spec, self.envs[0].action_space
        assert spec is not None
        assert spec.max_episode_steps is not None
        self.limit = spec.max_episode_steps
        self.reach = float(space.high[0]) if isinstance(space, gym.spaces.Box) else None
        self.books, self.generator, self.inputs = books, generator, len(shown) + own_push
        self.shown, self.own_push, self.pushed = list(shown), own_push, np.zeros(books)
        self.stream, self.steps = np.zeros((2, books), dtype=np.int64)
        self.over, self.score = np.zeros(books, dtype=bool), np.zeros(books)
        self.cut = np.zeros(books, dtype=bool)  # where gymnasium's time limit has struck
        self.seen = np.zeros((books, *self.envs[0].observation_space.shape))  # type: ignore[misc]

    def reset(self, where: np.ndarray) -> None:
        """Start an episode in the books in `where` (B,), each from a seed of its own."""
        for book in np.flatnonzero(where):
            seed = int(self.generator.integers(2**31))
            self.seen[book] = self.envs[book].reset(seed=seed)[0]
        self.steps[where] = 0
        self.over[where], self.cut[where], self.score[where] = False, False, 0.0
        self.pushed[where] = 0.0

    def look(self) -> np.ndarray:
        """Return what each book sees, (B, I) float32."""
        seen = self.seen[:, self.shown]
        if self.own_push:
            seen = np.column_stack([seen, self.pushed])
        return np.asarray(seen, dtype=np.float32)

    def act(self, side: np.ndarray) -> np.ndarray:
        """Do one step; return what it pays, (B,). A book whose episode is over stands still."""
        paid = np.zeros(self.books)
        for book in np.flatnonzero(~(self.over | self.cut)):
            action = self._action(float(side[book]))
            seen, paid[book], self.over[book], self.cut[book], _ = self.envs[book].step(action)
            self.seen[book] = seen
        self.steps = np.minimum(self.steps + 1, self.limit)
        self.score, self.pushed = self.score + paid, np.clip(side, -1.0, 1.0)
        return paid

    def _action(self, side: float) -> int | np.ndarray:
        if self.reach is None:
            return int(side > 0)
        return np.array([self.reach * side], dtype=np.float32)
