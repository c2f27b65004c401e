"""The agent and the markets that all benchmarks share.

The network is the one of the published comparisons: LSTM 128, heads of 64, shared weights for every
symbol. Its weights are fresh: speed does not depend on what was learned, the number of orders does,
so benchmarks that trade print how many there were.
"""

from functools import cache

import numpy as np
import torch

from agents.checkpoint import build, describe
from agents.env import BookEnv, BookPlan
from agents.export import StepGraph
from agents.networks import ActorCritic
from agents.panel import Panel
from engine.bars import Bars
from engine.checkpoint import CheckpointInfo, TrainedOn
from engine.costs import Costs
from engine.features import FeatureSet
from engine.observation import Scaler
from engine.policy import ActionSpace
from engine.settings import AgentSettings
from engine.sources import DataSettings, load
from engine.step import StepPolicy
from engine.trader import TraderSpec

HIDDEN, HEAD, BURN_IN = 128, 64, 64
FEATURES = FeatureSet(
    (
        "preset:guide",
        "momentum(20)",
        "momentum(60)",
        "realised_vol(20)",
        "rsi(14)",
        "drawdown(60)",
    )
)
BOOK_INPUTS = ("position", "unrealised", "cash", "bars_since_trade")
SEED = 0


@cache
def sample() -> Bars:
    """Return the bundled real prices: four symbols, 2000-2013."""
    return load(DataSettings(source="sample"))


@cache
def random_walks(symbols: int, sessions: int) -> Bars:
    """Return made-up prices without gaps or events."""
    made = {"kind": "gbm", "sessions": sessions, "symbols": symbols, "seed": 1}
    return load(
        DataSettings.model_validate({"source": "synthetic", "calendar": "none", "synthetic": made})
    )


def spec_for(bars: Bars, allocation: float = 1.0) -> TraderSpec:
    """Return what the agent sees of these bars and may do: the inputs and costs of the demo."""
    rows, ready = FEATURES.history(bars)
    return TraderSpec(
        features=FEATURES,
        scaler=Scaler.fit(rows, ready),
        book_inputs=BOOK_INPUTS,
        action=ActionSpace(),
        costs=Costs(rate=0.0005, slippage_bps=2.0),
        allocation=allocation,
        burn_in=BURN_IN,
    )


def network(spec: TraderSpec, book_input: str = "heads") -> ActorCritic:
    """Return a fresh network; `book_input` says where the book part enters."""
    torch.manual_seed(SEED)
    return build(record(spec, book_input))


@cache
def policy() -> StepPolicy:
    """Return a fresh network as it is deployed; its shapes fit every market here."""
    torch.manual_seed(SEED)
    info = record(spec_for(sample()))
    net = build(info)
    graph = StepGraph(net).as_bytes()
    return StepPolicy(graph, info.model_copy(update={"memory_width": net.memory_width}))


def record(spec: TraderSpec, book_input: str = "heads") -> CheckpointInfo:
    """Return the record of the benchmarks' agent."""
    settings = AgentSettings.model_validate(
        {
            "burn_in": BURN_IN,
            "network": {"hidden_size": HIDDEN, "heads": (HEAD,), "book_input": book_input},
        }
    )
    first, last = sample().sessions[[0, -1]]
    trained_on = TrainedOn(
        digest="",
        source="none",
        price_basis="raw",
        symbols=(),
        start=first.item(),
        end=last.item(),
    )
    return describe(spec, settings, trained_on, SEED)


def books(spec: TraderSpec, panel: Panel, rows: int, episode_steps: int) -> BookEnv:
    """Return the environment all learners play: single-symbol books over the bundled sample."""
    plan = BookPlan(rows, "single", episode_steps)
    return BookEnv(panel, spec, plan, np.random.default_rng(SEED))
