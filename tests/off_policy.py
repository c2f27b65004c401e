"""A small off-policy learner on a made-up market, for tests of replay, exploration and DDPG."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.checkpoint import describe
from agents.ddpg import ACTOR, CRITIC, DDPG, book_value, means
from agents.env import BookEnv, BookPlan
from agents.panel import Panel
from agents.replay import Batch
from engine.bars import Bars
from engine.checkpoint import TrainedOn
from engine.features import FeatureSet
from engine.limits import Limits
from engine.observation import Scaler
from engine.policy import ActionSpace
from engine.settings import AgentSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from engine.trader import TraderSpec
from tests.markets import made_up

FEATURES = FeatureSet(("log_return", "high_low_range"))
BOOKS, EPISODE, BURN_IN = 4, 12, 5
TRAINED_ON = TrainedOn(
    digest="", source="", price_basis="raw", symbols=(), start="2001-01-01", end="2002-01-01"
)
SETUPS: dict[str, dict[str, Any]] = {
    "carry": {},
    "window": {"memory": "window(4)"},
    "stepwise": {"network": {"book_input": "lstm"}, "ddpg": {"memory_start": "exact"}},
    "gaps": {"gaps": 0.3},
    "window_gaps": {"memory": "window(4)", "gaps": 0.3},
    "portfolio": {"kind": "portfolio", "gaps": 0.1, "late": 20},
    "everything": {
        "network": {"lstm_layers": 2, "attention": 3, "layer_norm": "outputs", "critic": "separate"}
    },
}


def learner(
    memory: str = "carry",
    kind: Any = "single",
    gaps: float = 0.0,
    late: int = 0,
    bars: Bars | None = None,
    network: dict[str, Any] | None = None,
    ddpg: dict[str, Any] | None = None,
    seed: int = 0,
    scale: float = 500.0,
    **train: Any,
) -> DDPG:
    """Build a learner; the last layer of its actor is scaled up, so that a wrong memory shows."""
    bars = bars or made_up(5, sessions=200, gaps=gaps, late=late, events=0.0)
    rows, ready = FEATURES.history(bars)
    spec = TraderSpec(
        features=FEATURES,
        scaler=Scaler.fit(rows, ready),
        book_inputs=("position", "unrealised"),
        action=ActionSpace(kind="continuous", band=0.0),
        limits=Limits(allow_short=True),
        allocation=1.0 if kind == "single" else 1.0 / 3,
        burn_in=BURN_IN,
    )
    shape = {"hidden_size": 8, "heads": (8,), **(network or {})}
    agent = AgentSettings.model_validate(
        {"memory": memory, "burn_in": BURN_IN, "network": shape, "action": spec.action}
    )
    env = BookEnv(
        Panel.of(bars, FEATURES, spec.scaler),
        spec,
        BookPlan(BOOKS, kind, EPISODE),
        np.random.default_rng(seed),
    )
    own = {"warmup_steps": 0, "sequence_steps": 4, "batch_steps": 32, "replay_size": 2_000}
    settings = TrainSettings.model_validate(
        {"books": BOOKS, "episode_steps": EPISODE, "rollout_steps": 10, "algorithm": "ddpg"}
        | {"seed": seed, "ddpg": own | (ddpg or {})}
        | train
    )
    torch.manual_seed(seed)
    made = DDPG(env, describe(spec, agent, TRAINED_ON, seed), settings, RewardSettings())
    with torch.no_grad():
        made.net.actor.get_parameter(_last(made)).mul_(scale)
        made.target_net.load_state_dict(made.net.state_dict())
    return made


def batch_of(made: DDPG, played: int = 40, sequences: int = 16) -> Batch:
    """Play, and return a sample."""
    made.explorer.play(played)
    starts = made.replay.starts(made.steps, made._depth())
    picked = starts[np.random.default_rng(1).integers(len(starts), size=sequences)]
    return made.replay.sample(picked, made.steps, made._depth())


def losses(made: DDPG, batch: Batch) -> tuple[Tensor, Tensor]:
    """The critic's error and the actor's gain, by the definition."""
    value = book_value(made.critic, made.unrolled(made.critic, batch, CRITIC), batch, batch.action)
    error = ((value[:-1] - made.target(batch)) ** 2)[batch.alive].mean()
    action = torch.tanh(means(made.net, made.unrolled(made.net, batch, ACTOR), batch))
    out = made.unrolled(made.critic, batch, CRITIC).detach()
    return error, book_value(made.critic, out, batch, action)[:-1][batch.alive].mean()


def _last(made: DDPG) -> str:
    return [name for name, x in made.net.actor.named_parameters() if x.ndim == 2][-1]
