"""Training: environment steps per second of rollout and update, against RecurrentPPO.

Both learn on the bundled sample, single-symbol books, with LSTM 128 and heads of 64, float32, one
thread, 4 epochs of 4 minibatches of whole sequences (64 rows x 128 bars: batch 2048). Two geometries:

- episodes of 256 bars: every second rollout begins with an episode, and there RecurrentPPO loops over
  bars; a round is one episode of every row;
- episodes of 1,280 bars, where no counted rollout holds the start of an episode: its best case.

Our default agent shows the book to the heads only; "book in the LSTM" shows it to the LSTM, as
RecurrentPPO's flat observation does, and is the like-for-like line. The malloc thresholds that our
training raises are raised for both. The environment alone is stepped with uniformly random actions,
which trade as often as a fresh policy does.
"""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import torch

from agents.env import BookEnv
from agents.gym_env import MarketVectorEnv
from agents.machine import keep_pages
from agents.panel import Panel
from agents.ppo import PPO
from agents.rewards import Rewards
from engine.policy import decode
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from tests.benchmarks.agent import books, record, sample, spec_for
from tests.benchmarks.harness import Row, interleave, seconds

REWARD = RewardSettings()
NO_PEER = "training: RecurrentPPO left out, sb3-contrib is not installed (extra `bench`)"
System = Callable[[], float]


def measure(quick: bool) -> tuple[list[Row], list[str]]:
    """Return the rows, and a note when the peer is not installed."""
    torch.set_num_threads(1)
    keep_pages()
    peer = find_spec("sb3_contrib") is not None
    steps, rows = (16, 8) if quick else (128, 64)
    wide = 16 if quick else 512
    settings = TrainSettings(books=rows, rollout_steps=steps)
    found = _rows(settings, 2 * steps, peer, 1 if quick else 7, f"episodes of {2 * steps}")
    if not quick:
        found += _rows(settings, 10 * steps, peer, 4, f"episodes of {10 * steps}, no start inside")
    for books_wide in (rows, wide):
        found += environment(settings.model_copy(update={"books": books_wide}), quick)
    return found, [] if peer else [NO_PEER]


def ours(settings: TrainSettings, episode: int, book_input: str = "heads") -> System:
    """Return our training, two updates a call, as steps a second."""
    env = _env(settings.books, episode)
    learner = PPO(env, record(env.spec, book_input), settings, REWARD)

    def updates() -> None:
        for _ in range(2):
            learner.round()

    return _rate(updates, 2 * settings.rollout_steps * settings.books)


def theirs(settings: TrainSettings, episode: int) -> System:
    """Return RecurrentPPO's training, two updates a call, as steps a second."""
    from tests.benchmarks.peer import recurrent_ppo

    reward = Rewards(REWARD, settings.books).pay
    model = recurrent_ppo(MarketVectorEnv(_env(settings.books, episode), reward), settings)
    steps = 2 * settings.rollout_steps * settings.books
    learn = partial(model.learn, steps, reset_num_timesteps=False)
    return _rate(learn, steps)


def environment(settings: TrainSettings, quick: bool) -> list[Row]:
    """Return the environment alone: time a step, and its share of training at the same width."""
    rows, episode = settings.books, 2 * settings.rollout_steps
    env = _env(rows, episode)
    systems = {
        "training": ours(settings, episode),
        "environment": _rate(partial(play, env), episode * rows),
    }
    rates = interleave(systems, 1 if quick else 5)
    share = 100.0 * rates["training"] / rates["environment"]
    target = "at most 5 %" if rows >= 512 else "none"
    return [
        Row(f"environment alone, {rows} rows, a step of one row", 1e6 / rates["environment"], "us"),
        Row(f"environment's share of training, {rows} rows", share, "%", target),
        Row(f"barwise training, {rows} rows", rates["training"], "steps/s"),
    ]


def play(env: BookEnv) -> None:
    """Play one episode in every book with random actions."""
    actions = env.generator.integers(3, size=(env.plan.episode_steps, *env.shape[:2]))
    env.reset()
    for action in actions:
        env.step(env.observe(), decode(action, env.spec.action, env.spec.limits.allow_short))


def _rows(settings: TrainSettings, episode: int, peer: bool, rounds: int, where: str) -> list[Row]:
    systems = {
        "barwise": ours(settings, episode),
        "barwise, book in the LSTM": ours(settings, episode, "lstm"),
    }
    if peer:
        systems["RecurrentPPO"] = theirs(settings, episode)
    # Long episodes: the warm round and four more are ten rollouts, and only the first has a start.
    rates = interleave(systems, rounds)
    width = f"{settings.books} rows, {where}"
    found = [Row(f"{name}, {width}", rate, "steps/s") for name, rate in rates.items()]
    if not peer:
        return found
    by = rates["RecurrentPPO"]
    first = Row(f"barwise / RecurrentPPO, {width}", rates["barwise"] / by, "x", "3.5 x")
    lstm = rates["barwise, book in the LSTM"] / by
    return [*found, first, Row(f"book in the LSTM / RecurrentPPO, {width}", lstm)]


def _env(rows: int, episode: int) -> BookEnv:
    spec = spec_for(sample())
    return books(spec, Panel.of(sample(), spec.features, spec.scaler), rows, episode)


def _rate(run: Callable[[], object], steps: int) -> System:
    timed = seconds(run)
    return lambda: steps / timed()
