"""The fastest training two cores can do, and how much of their arithmetic it uses.

Best setting: bfloat16, 512 rows, two processes with one seed each, as `barwise train --seeds 2` runs
them; no process helps another with its seed. RecurrentPPO runs in one process, as it does: at its best
matched setting (64 rows, minibatches of 2,048 steps), and as it comes (8 rows, 10 epochs, minibatches of
128), both with our network. Two of its processes would do up to twice as much, and halve the ratio.

Share of the matrix rate: the floating-point operations that have to be done for a step (`flops`),
against a product of 2,048 x 128 by 128 x 512 in the same precision on the same core, taking turns. Memory
built anew, evaluations and everything that is no product count as nothing done.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch

from agents.onednn import affine
from engine.settings_training import TrainSettings
from tests.benchmarks.agent import BOOK_INPUTS, HEAD, HIDDEN, sample, spec_for
from tests.benchmarks.harness import Row, interleave
from tests.benchmarks.systems import System, ours, rate, theirs
from tests.benchmarks.workers import workers

PRODUCT = (2048, 128, 512)  # rows, inputs, outputs
AS_IT_COMES = {
    "batch_size": 128,
    "n_epochs": 10,
    "learning_rate": 3e-4,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "ent_coef": 0.0,
}


def rows(settings: TrainSettings, wide: int, peer: bool, quick: bool) -> list[Row]:
    """Return the lines; `settings` are the matched ones, `wide` the rows of the best setting."""
    rounds = 1 if quick else 5
    best = settings.model_copy(update={"books": wide, "precision": "bfloat16"})
    episode, processes = 2 * settings.rollout_steps, 1 if quick else 2
    with ExitStack() as stack:
        told = best.model_dump(include={"books", "rollout_steps", "precision"})
        pair = stack.enter_context(workers(told, episode, processes))
        steps = processes * episode * wide
        systems: dict[str, System] = {"best": lambda: steps / pair.seconds()}
        if peer:
            few = settings.model_copy(update={"books": min(8, settings.books)})
            systems["RecurrentPPO"] = theirs(settings, episode)
            systems["RecurrentPPO as it comes"] = theirs(few, episode, **AS_IT_COMES)
        rates = interleave(systems, rounds)
    name = f"bfloat16, {wide} rows, {processes} processes"
    found = [Row(f"barwise, {name}", rates["best"], "steps/s")]
    for rival, target in (("RecurrentPPO", "12 x"), ("RecurrentPPO as it comes", "200 x")):
        if peer:
            found.append(Row(f"{name} / {rival}", rates["best"] / rates[rival], "x", target))
    return found + shares(settings.model_copy(update={"books": wide}), rounds)


def shares(settings: TrainSettings, rounds: int) -> list[Row]:
    """Return one process against the matrix rate of one core, in both precisions."""
    systems: dict[str, System] = {}
    for precision in ("float32", "bfloat16"):
        chosen = settings.model_copy(update={"precision": precision})
        systems[precision] = ours(chosen, 2 * settings.rollout_steps)
        systems[f"{precision} products"] = rate(product(precision), 1)
    rates = interleave(systems, rounds)
    work, size = flops(settings.ppo.epochs), 2.0 * PRODUCT[0] * PRODUCT[1] * PRODUCT[2] * REPEATS
    found = []
    for precision in ("float32", "bfloat16"):
        of = f"{precision}, {settings.books} rows, 1 process"
        limit = rates[f"{precision} products"] * size
        share = 100.0 * rates[precision] * work / limit
        found += [
            Row(f"barwise, {of}", rates[precision], "steps/s"),
            Row(f"matrix rate of a core, {precision}", limit / 1e9, "GFLOP/s"),
            Row(f"share of the matrix rate, {of}", share, "%", "50 %"),
        ]
    return found


REPEATS = 20


def product(precision: str) -> Callable[[], object]:
    """Return a call that does `REPEATS` products as the network does them, in one precision."""
    count, inputs, outputs = PRODUCT
    x, weight, bias = torch.randn(count, inputs), torch.randn(outputs, inputs), torch.zeros(outputs)
    if precision == "bfloat16":
        x, weight, bias = x.bfloat16(), weight.bfloat16(), bias.bfloat16()
        one = partial(torch.nn.functional.linear, x, weight, bias)
    else:
        one = partial(affine, x, weight, bias)

    def many() -> None:
        with torch.no_grad():
            for _ in range(REPEATS):
                one()

    return many


def flops(epochs: int) -> float:
    """Return the floating-point operations an environment step needs: played once, learned from
    `epochs` times, where forward and backward together are three times forward."""
    inputs, book = len(spec_for(sample()).features.names), len(BOOK_INPUTS)
    lstm = 2 * 4 * HIDDEN * (inputs + HIDDEN)
    heads = 2 * (2 * (HIDDEN + book) * HEAD) + 2 * HEAD * (3 + 1)
    return float((lstm + heads) * (1 + 3 * epochs))
