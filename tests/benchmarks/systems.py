"""What learns in the training benchmark: ours and the peers, each a call that answers steps a second.

All learn on the bundled sample, single-symbol books, LSTM 128 and heads of 64, one thread. A call is two
updates of PPO (one episode of every book where an episode is two rollouts), or an episode of DDPG.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from agents.env import BookEnv
from agents.gym_env import MarketVectorEnv
from agents.panel import Panel
from agents.rewards import Rewards
from agents.train import LEARNERS
from engine.policy import ActionSpace, decode
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from tests.benchmarks.agent import books, record, sample, spec_for
from tests.benchmarks.harness import seconds

REWARD = RewardSettings()
System = Callable[[], float]


def ours(settings: TrainSettings, episode: int, book_input: str = "heads") -> System:
    """Return our training, two updates a call, as steps a second."""
    env = env_of(settings.books, episode, settings.algorithm == "ddpg")
    info = record(env.spec, book_input)
    learner = LEARNERS[settings.algorithm](env, info, settings, REWARD)

    def updates() -> None:
        for _ in range(2):
            learner.round()

    return rate(updates, 2 * settings.rollout_steps * settings.books)


def theirs(settings: TrainSettings, episode: int, **defaults: Any) -> System:
    """Return RecurrentPPO's training, two updates a call, as steps a second.

    `defaults` take the place of our settings.
    """
    from tests.benchmarks.peer import recurrent_ppo

    steps = 2 * settings.rollout_steps * settings.books
    model = recurrent_ppo(_vector(settings, episode), settings, **defaults)
    return rate(partial(model.learn, steps, reset_num_timesteps=False), steps)


def their_ddpg(settings: TrainSettings, episode: int) -> System:
    """Return stable-baselines3's DDPG, which has no memory, as steps a second: two rollouts a call,
    as many transitions in an update and updates a bar as ours."""
    from tests.benchmarks.peer import plain_ddpg

    steps = 2 * settings.rollout_steps * settings.books
    model = plain_ddpg(_vector(settings, episode), settings)
    return rate(partial(model.learn, steps, reset_num_timesteps=False), steps)


def play(env: BookEnv) -> None:
    """Play one episode in every book with random actions."""
    actions = env.generator.integers(3, size=(env.plan.episode_steps, *env.shape[:2]))
    env.reset()
    for action in actions:
        env.step(env.observe(), decode(action, env.spec.action, env.spec.limits.allow_short))


def env_of(rows: int, episode: int, exposures: bool = False) -> BookEnv:
    """Return the environment all learners play; with `exposures` an action is one."""
    spec = spec_for(sample())
    if exposures:
        spec = replace(spec, action=ActionSpace(kind="continuous"))
    return books(spec, Panel.of(sample(), spec.features, spec.scaler), rows, episode)


def rate(run: Callable[[], object], steps: int) -> System:
    """Return a call of `run` as steps a second."""
    timed = seconds(run)
    return lambda: steps / timed()


def _vector(settings: TrainSettings, episode: int) -> MarketVectorEnv:
    env = env_of(settings.books, episode, settings.algorithm == "ddpg")
    return MarketVectorEnv(env, Rewards(REWARD, settings.books).pay)
