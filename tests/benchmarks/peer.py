"""sb3-contrib's RecurrentPPO and stable-baselines3's DDPG: the peers that ours are compared with.

In the speed benchmark RecurrentPPO's environment is `agents.gym_env.MarketVectorEnv`, so features, book
part, reward, costs and episode ends are ours; market and book are put end to end, because its policy
reads one flat vector. Its settings are matched to ours. Three things cannot be: its LSTM sees the book
part, its critic does not train the LSTM, and it loops over bars wherever a minibatch holds the start of
an episode. In the battery it learns the exact tasks with these settings too; the tasks of gymnasium
both peers learn with their own published ones.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from sb3_contrib import RecurrentPPO
from stable_baselines3 import DDPG
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from agents.gym_env import MarketVectorEnv
from engine.settings_training import TrainSettings
from tests.benchmarks.agent import HEAD, HIDDEN


class FlatVecEnv(VecEnv):
    """Our vector environment as stable-baselines3 wants it. Shapes: observations (B, F + P)."""

    def __init__(self, env: MarketVectorEnv) -> None:
        import gymnasium as gym

        self.inner = env
        widths = [np.prod(space.shape) for space in env.single_observation_space.values()]
        limit = max(float(space.high.max()) for space in env.single_observation_space.values())
        space = gym.spaces.Box(-limit, limit, (int(sum(widths)),), np.float32)
        super().__init__(env.num_envs, space, env.single_action_space)
        self._nothing: list[dict[str, Any]] = [{} for _ in range(env.num_envs)]

    def reset(self) -> np.ndarray:
        """Start an episode in every book."""
        return _flat(self.inner.reset()[0])

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions of the next step."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Step; where an episode was cut, say so and hand over its last observation."""
        obs, reward, terminated, truncated, infos = self.inner.step(self._actions)
        done = terminated | truncated
        told = self._nothing
        if done.any():
            final = _flat(infos["final_obs"])
            told = [
                {"terminal_observation": final[at], "TimeLimit.truncated": bool(truncated[at])}
                if done[at]
                else {}
                for at in range(self.num_envs)
            ]
        return _flat(obs), reward.astype(np.float32), done, told

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return None for each: nothing of ours is asked for."""
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse."""
        raise NotImplementedError(attr_name)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list:
        """Refuse."""
        raise NotImplementedError(method_name)

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> Sequence[bool]:
        """Return False for each."""
        return [False] * self.num_envs


def recurrent_ppo(env: MarketVectorEnv, settings: TrainSettings, **own: Any) -> RecurrentPPO:
    """Return RecurrentPPO with our network and settings: minibatches as long as ours.

    `own` arguments take the place of our settings.
    """
    rows = settings.books * settings.rollout_steps
    matched = {
        "learning_rate": settings.learning_rate,
        "n_steps": settings.rollout_steps,
        "batch_size": rows // settings.ppo.minibatches,
        "n_epochs": settings.ppo.epochs,
        "gamma": settings.gamma,
        "gae_lambda": settings.ppo.gae_lambda,
        "clip_range": settings.ppo.clip_ratio,
        "ent_coef": settings.ppo.entropy_weight,
        "vf_coef": settings.ppo.value_weight,
        "max_grad_norm": settings.max_grad_norm,
    }
    return RecurrentPPO(
        "MlpLstmPolicy",
        FlatVecEnv(env),
        **{**matched, **own},
        policy_kwargs={
            "lstm_hidden_size": HIDDEN,
            "shared_lstm": True,
            "enable_critic_lstm": False,
            "net_arch": {"pi": [HEAD], "vf": [HEAD]},
            "activation_fn": nn.ReLU,
        },
        seed=settings.seed,
        device="cpu",
    )


def plain_ddpg(env: MarketVectorEnv, settings: TrainSettings) -> DDPG:
    """Return stable-baselines3's DDPG, without memory, with our settings; layers as wide as ours."""
    return DDPG(
        "MlpPolicy",
        FlatVecEnv(env),
        learning_rate=settings.learning_rate,
        buffer_size=settings.ddpg.replay_size,
        learning_starts=settings.ddpg.warmup_steps,
        batch_size=settings.ddpg.batch_steps,
        tau=settings.ddpg.tau,
        gamma=settings.gamma,
        train_freq=1,
        gradient_steps=round(settings.ddpg.updates_per_bar),
        action_noise=NormalActionNoise(np.zeros(1), np.full(1, settings.ddpg.noise_start)),
        policy_kwargs={"net_arch": [HIDDEN, HEAD], "activation_fn": nn.ReLU},
        seed=settings.seed,
        device="cpu",
    )


def peer_of(name: str, env: Any, settings: TrainSettings | Mapping[str, Any], seed: int) -> Any:
    """Return a peer with our settings for PPO, or with its own as keyword arguments.

    Of the latter `books` is for the environment; ("linear", x) falls from x to zero; `noise` is the
    deviation of DDPG's exploration.
    """
    if isinstance(settings, TrainSettings):
        return recurrent_ppo(env, settings)
    # A copy of all of it: stable-baselines3 writes into the dictionaries it is given.
    own = {key: _schedule(deepcopy(x)) for key, x in settings.items() if key != "books"}
    if name == "RecurrentPPO":
        return RecurrentPPO("MlpLstmPolicy", FlatVecEnv(env), seed=seed, device="cpu", **own)
    noise = NormalActionNoise(np.zeros(1), np.full(1, own.pop("noise")))
    return DDPG("MlpPolicy", FlatVecEnv(env), action_noise=noise, seed=seed, device="cpu", **own)


def _schedule(value: Any) -> Any:
    if not (isinstance(value, tuple) and value[0] == "linear"):
        return value
    fall: Callable[[float], float] = lambda left: left * value[1]  # noqa: E731
    return fall


def _flat(parts: dict[str, np.ndarray]) -> np.ndarray:
    rows = len(parts["market"])
    return np.concatenate([part.reshape(rows, -1) for part in parts.values()], axis=1)
