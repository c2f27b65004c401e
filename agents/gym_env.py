"""The environment as Gymnasium knows it: one book (`MarketEnv`) or many (`MarketVectorEnv`).

Both dress `agents.env.BookEnv`. An observation is a dict of `market` (N, F) and, unless the book part
is empty, `book` (N, P). Autoreset of the vector form is SAME_STEP: no phantom transitions.
With `agent.action.mask` the info of an observation has `action_mask`, int8, 1 where an action counts:
(A,) for one symbol, (N, A) for more, as `sample(mask=...)` of a Discrete space reads it.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from agents.env import BookEnv, StepResult
from engine.errors import UsageError
from engine.observation import LIMIT, Observation
from engine.policy import decode

Reward = Callable[[np.ndarray, np.ndarray], np.ndarray]


def step_return(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return equity after / equity before - 1; shapes (B,)."""
    change: np.ndarray = after / before - 1.0
    return change


def spaces(env: BookEnv) -> tuple[gym.Space[Any], gym.Space[Any]]:
    """Return the observation and action space of one book."""
    _, symbols, features, inputs = env.shape
    clip = env.spec.scaler.clip
    parts: dict[str, gym.Space[Any]] = {
        "market": gym.spaces.Box(-clip, clip, (symbols, features), np.float32)
    }
    if inputs:
        parts["book"] = gym.spaces.Box(-LIMIT, LIMIT, (symbols, inputs), np.float32)
    action: gym.Space[Any] = gym.spaces.Box(-1.0, 1.0, (symbols,), np.float32)
    choices = len(env.spec.action.names)
    if choices:
        single = gym.spaces.Discrete(choices)
        action = single if symbols == 1 else gym.spaces.MultiDiscrete([choices] * symbols)
    return gym.spaces.Dict(parts), action


class MarketEnv(gym.Env[dict[str, np.ndarray], Any]):
    """One book over the bars of `env`, which must have B = 1."""

    metadata = {"render_modes": []}  # noqa: RUF012 - the name and form Gymnasium reads

    def __init__(self, env: BookEnv, reward: Reward = step_return) -> None:
        if env.shape[0] != 1:
            raise UsageError(f"MarketEnv needs one book, found {env.shape[0]}; use MarketVectorEnv")
        self.books, self.reward = env, reward
        self.observation_space, self.action_space = spaces(env)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; a seed makes its start reproducible."""
        super().reset(seed=seed)
        if seed is not None:
            self.books.generator = np.random.default_rng(seed)
        self.books.reset()
        self._obs = self.books.observe()
        return _first(_parts(self._obs)), _first(_masks(self._obs))

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Decide on this bar's close; the reward is known at the next close."""
        batch = np.asarray(action).reshape(1, self.books.symbols)
        result = _advance(self.books, self._obs, batch)
        self._obs = self.books.observe()
        info = {"equity": float(result.equity_after[0]), **_first(_masks(self._obs))}
        reward = float(self.reward(result.equity_before, result.equity_after)[0])
        ended, cut = bool(result.terminated[0]), bool(result.truncated[0])
        return _first(_parts(self._obs)), reward, ended, cut and not ended, info


class MarketVectorEnv(VectorEnv[dict[str, np.ndarray], Any, Any]):
    """B books side by side; a book that ends is reset in the same step (`final_obs` in infos)."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012 - as Gymnasium reads it

    def __init__(self, env: BookEnv, reward: Reward = step_return) -> None:
        self.books, self.reward, self.num_envs = env, reward, env.shape[0]
        self.single_observation_space, self.single_action_space = spaces(env)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode in every book."""
        if seed is not None:
            self.books.generator = np.random.default_rng(seed)  # type: ignore[arg-type]
        self.books.reset()
        self._obs = self.books.observe()
        return _parts(self._obs), dict(_masks(self._obs))

    def step(
        self, actions: Any
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every book; shapes (B,) for rewards and flags."""
        batch = np.asarray(actions).reshape(self.num_envs, self.books.symbols)
        result = _advance(self.books, self._obs, batch)
        reward = self.reward(result.equity_before, result.equity_after)
        cut = result.truncated & ~result.terminated
        done = result.terminated | cut
        info: dict[str, Any] = {"equity": result.equity_after}
        if done.any():
            # The final observation is taken before the reset: it carries the bootstrap value.
            final = _parts(self._look())
            info |= {"final_obs": final, "_final_obs": done}
            self.books.reset(done)
        self._obs = self.books.observe()
        info |= _masks(self._obs)
        return _parts(self._obs), reward, result.terminated, cut, info

    def _look(self) -> Observation:
        warm = self.books.trader.warm
        obs = self.books.observe()
        self.books.trader.warm = warm  # looking twice at one bar must not count it twice
        return obs


def _advance(env: BookEnv, obs: Observation, action: np.ndarray) -> StepResult:
    return env.step(obs, decode(action, env.spec.action, env.spec.limits.allow_short))


def _parts(obs: Observation) -> dict[str, np.ndarray]:
    parts = {"market": obs.market}
    return parts | {"book": obs.book} if obs.book.shape[-1] else parts


def _masks(obs: Observation) -> dict[str, np.ndarray]:
    if obs.valid is None:
        return {}
    valid = obs.valid.astype(np.int8)
    return {"action_mask": valid[:, 0] if valid.shape[1] == 1 else valid}


def _first(parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array[0] for name, array in parts.items()}
