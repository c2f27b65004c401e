"""Training: environment steps per second of rollout and update, against RecurrentPPO.

All learn on the bundled sample, single-symbol books, with LSTM 128 and heads of 64, float32, one
thread, 4 epochs of 4 minibatches of whole sequences (64 rows x 128 bars: batch 2048). Two geometries:

- episodes of 256 bars: every second rollout begins with an episode, and there RecurrentPPO loops over
  bars; a round is one episode of every row;
- episodes of 1,280 bars, where no counted rollout holds the start of an episode: its best case.

Our default agent shows the book to the heads only; "book in the LSTM" shows it to the LSTM, as
RecurrentPPO's flat observation does, and is the like-for-like line. The malloc thresholds that our
training raises are raised for both. The environment alone is stepped with uniformly random actions,
which trade as often as a fresh policy does. The best setting, the other rules, memory and growth:
`tests.benchmarks.training_best` and `tests.benchmarks.training_other`.
"""

from functools import partial
from importlib.util import find_spec

import torch

from agents.machine import keep_pages
from engine.settings_training import TrainSettings
from tests.benchmarks import training_best, training_other
from tests.benchmarks.harness import Row, interleave
from tests.benchmarks.systems import System, env_of, ours, play, rate, theirs

NO_PEER = "training: RecurrentPPO left out, sb3-contrib is not installed (extra `bench`)"


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
    found += training_best.rows(settings, wide, peer, quick)
    found += training_other.rows(settings, peer, quick)
    return found, [] if peer else [NO_PEER]


def environment(settings: TrainSettings, quick: bool) -> list[Row]:
    """Return the environment alone: time a step, and its share of training at the same width."""
    rows, episode = settings.books, 2 * settings.rollout_steps
    env = env_of(rows, episode)
    systems = {
        "training": ours(settings, episode),
        "environment": rate(partial(play, env), episode * rows),
    }
    rates = interleave(systems, 1 if quick else 5)
    share = 100.0 * rates["training"] / rates["environment"]
    target = "at most 5 %" if rows >= 512 else "none"
    return [
        Row(f"environment alone, {rows} rows, a step of one row", 1e6 / rates["environment"], "us"),
        Row(f"environment's share of training, {rows} rows", share, "%", target),
        Row(f"barwise training, {rows} rows", rates["training"], "steps/s"),
    ]


def _rows(settings: TrainSettings, episode: int, peer: bool, rounds: int, where: str) -> list[Row]:
    systems: dict[str, System] = {
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
