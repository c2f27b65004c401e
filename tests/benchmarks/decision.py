"""One decision, bar by bar: the whole of it and the bare network step, against eager torch.

- "decision": `Trader.on_bar`: the new bar into the feature windows, features, observation, the step in
  ONNX Runtime, limits, orders. The venue trades them between the timings, outside them;
- "bare step": the network alone, as it is deployed (LSTM 128, a head of 64, three logits);
- "eager": a network of the same shape in torch, nn.LSTM on a sequence of one, in inference
  mode, on ready-made tensors.

One thread, the same number of symbols N each time. A round is a run over all bars; p50 and p99 are
taken inside a round, medians and spread over rounds.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from engine.bars import Bars
from engine.step import StepPolicy
from engine.trader import Trader
from engine.venue import SimVenue
from tests.benchmarks.agent import (
    BOOK_INPUTS,
    FEATURES,
    HEAD,
    HIDDEN,
    policy,
    random_walks,
    spec_for,
)
from tests.benchmarks.harness import Row, interleave

WARM_UP = 250
CASH_A_SYMBOL = 25_000.0
Samples = np.ndarray  # nanoseconds, one a bar


def measure(quick: bool) -> tuple[list[Row], list[str]]:
    """Return the rows; nothing is ever left out."""
    torch.set_num_threads(1)
    bars, rounds = (60, 1) if quick else (2_500, 7)
    found = []
    for symbols, target in ((1, "7 x"), (30, "3 x")):
        found += _rows(random_walks(symbols, WARM_UP + bars), rounds, target)
    return found, []


def decisions(bars: Bars) -> Samples:
    """Decide on every bar after the warm-up, from the live windows; the account goes on."""
    symbols = len(bars.symbols)
    spec = spec_for(bars, 1.0 / symbols)
    trader = Trader(spec, policy(), symbols)
    venue = SimVenue(CASH_A_SYMBOL * symbols, (1, symbols), spec.costs, spec.venue)
    trader.prime(bars.between(None, bars.sessions[WARM_UP - 1]))
    took = []
    for t in range(WARM_UP, len(bars.sessions)):
        venue.advance(bars.row(t))
        row = (bars.ohlcv[t], bars.traded[t], bars.split[t], bars.dividend[t])
        began = time.perf_counter_ns()
        decision = trader.on_bar(bars.sessions[t], *row, venue.book, venue.pending.qty)
        took.append(time.perf_counter_ns() - began)
        venue.submit(decision.orders)
    return np.array(took)


def bare_steps(bars: Bars) -> Samples:
    """Run the deployed network alone as often, over inputs that never change."""
    step: StepPolicy = policy()
    shape = (1, len(bars.symbols))
    market = np.zeros((*shape, len(FEATURES)), np.float32)
    book = np.zeros((*shape, len(BOOK_INPUTS)), np.float32)
    memory = np.zeros((*shape, step.memory_width), np.float32)
    took = []
    for _ in range(len(bars.sessions) - WARM_UP):
        began = time.perf_counter_ns()
        _, memory = step.run(market, book, memory)
        took.append(time.perf_counter_ns() - began)
    return np.array(took)


def eager_steps(bars: Bars) -> Samples:
    """Run a network of the same shape in torch as often."""
    rows, width = len(bars.symbols), HIDDEN + len(BOOK_INPUTS)
    lstm = nn.LSTM(len(FEATURES), HIDDEN)
    head = nn.Sequential(nn.Linear(width, HEAD), nn.ReLU(), nn.Linear(HEAD, 3))
    market, book = torch.zeros(1, rows, len(FEATURES)), torch.zeros(rows, len(BOOK_INPUTS))
    state = (torch.zeros(1, rows, HIDDEN), torch.zeros(1, rows, HIDDEN))
    took = []
    with torch.inference_mode():
        for _ in range(len(bars.sessions) - WARM_UP):
            began = time.perf_counter_ns()
            out, state = lstm(market, state)
            head(torch.cat([out[0], book], -1))
            took.append(time.perf_counter_ns() - began)
    return np.array(took)


def _rows(bars: Bars, rounds: int, target: str) -> list[Row]:
    ways: dict[str, Callable[[Bars], Samples]] = {
        "decision": decisions,
        "bare": bare_steps,
        "eager": eager_steps,
    }
    kept: dict[str, list[Samples]] = {name: [] for name in ways}
    interleave({name: _keeping(way, bars, kept[name]) for name, way in ways.items()}, rounds)
    p50, p99 = (
        {name: np.array([np.percentile(x, q) for x in kept[name][1:]]) / 1e3 for name in ways}
        for q in (50, 99)
    )
    n = f"N = {len(bars.symbols)}"
    tail = "at most 2 x" if len(bars.symbols) == 1 else "none"
    return [
        Row(f"whole decision, {n}, p50", p50["decision"], "us"),
        Row(f"whole decision, {n}, p99", p99["decision"], "us"),
        Row(f"bare step, {n}, p50", p50["bare"], "us"),
        Row(f"bare step, {n}, p99 / p50", p99["bare"] / p50["bare"], "x", tail),
        Row(f"eager nn.LSTM step, {n}, p50", p50["eager"], "us"),
        Row(f"eager nn.LSTM step, {n}, p99", p99["eager"], "us"),
        Row(f"eager / bare step, {n}, p50", p50["eager"] / p50["bare"], "x", target),
        Row(
            f"whole decision / eager, {n}, p50", p50["decision"] / p50["eager"], "x", "at most 2 x"
        ),
        Row(
            f"whole decision / eager, {n}, p99", p99["decision"] / p99["eager"], "x", "at most 2 x"
        ),
    ]


def _keeping(way: Callable[[Bars], Samples], bars: Bars, kept: list[Any]) -> Callable[[], float]:
    # The harness takes one number a round; the samples behind it are kept here.
    def run() -> float:
        kept.append(way(bars))
        return float(np.median(kept[-1]))

    return run
