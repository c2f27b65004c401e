"""A small market, a network whose action head is scaled up by 100, and rollouts of the two.

At the usual start the head hardly listens to the memory, and a test of ratios would pass every bug.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from agents.checkpoint import build, describe
from agents.env import BookEnv, BookPlan
from agents.networks import ActorCritic
from agents.panel import Panel
from agents.rollout import Collector
from agents.sequences import Rollout, Segment, evaluate
from agents.train import LEARNERS
from engine.bars import Bars
from engine.checkpoint import TrainedOn
from engine.features import FeatureSet
from engine.limits import Limits
from engine.observation import Scaler
from engine.policy import ActionSpace, Policy
from engine.settings import AgentSettings
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from engine.trader import TraderSpec
from tests.markets import made_up

EPISODE, STEPS, BURN_IN, BOOKS = 12, 30, 6, 5  # two episode ends inside a rollout of 30
FEATURES = FeatureSet(("log_return", "high_low_range"))
TRAINED_ON = TrainedOn(
    digest="", source="", price_basis="raw", symbols=(), start="2001-01-01", end="2002-01-01"
)
ON_POLICY = ("ppo", "a2c")
SETUPS: dict[str, dict[str, Any]] = {
    "carry": {},
    "two layers": {"lstm_layers": 2},
    "window": {"memory": "window(4)"},
    "gaps": {"gaps": 0.15},
    "gaps, window": {"gaps": 0.15, "memory": "window(4)"},
    "gaps, stepwise": {"gaps": 0.15, "book_input": "lstm"},
    "portfolio": {"gaps": 0.15, "kind": "portfolio", "late": 90},
    "stepwise": {"book_input": "lstm"},
    "stepwise, no burn-in": {"book_input": "lstm", "burn_in": 0},
    "stepwise, window": {"book_input": "lstm", "memory": "window(4)"},
    "no book part": {"book": ()},
    "continuous": {"action": "continuous"},
    "continuous portfolio": {"action": "continuous", "kind": "portfolio"},
    "levels": {"action": {"kind": "levels", "levels": (-1, 0, 0.5, 1)}},
    "beta": {"action": {"kind": "continuous", "distribution": "beta"}, "shorts": False},
    "spread by bar": {"action": {"kind": "continuous", "spread": "state"}},
    "masked": {"action": {"kind": "discrete", "mask": True}, "shorts": False, "gaps": 0.15},
    "masked levels, stepwise portfolio": {
        "action": {"kind": "levels", "levels": (-1, 0, 0.5, 1), "mask": True},
        "shorts": False,
        "kind": "portfolio",
        "book_input": "lstm",
    },
}


class Parts:
    """An environment, a network with its action head scaled up by 100, and their collector."""

    def __init__(
        self,
        memory: str = "carry",
        kind: str = "single",
        action: str | dict[str, Any] = "discrete",
        shorts: bool = True,
        book: tuple[str, ...] = ("position", "unrealised", "cash", "bars_since_trade"),
        gaps: float = 0.0,
        late: int = 0,
        bars: Bars | None = None,
        burn_in: int = BURN_IN,
        **network: Any,
    ) -> None:
        bars = bars or made_up(5, sessions=200, gaps=gaps, late=late, events=0.0)
        features, ready = FEATURES.history(bars)
        self.panel_of: Callable[[TraderSpec], Panel] = lambda s: Panel.of(bars, FEATURES, s.scaler)
        self.spec = TraderSpec(
            features=FEATURES,
            scaler=Scaler.fit(features, ready),
            book_inputs=book,
            action=ActionSpace.model_validate(
                {"kind": action} if isinstance(action, str) else action
            ),
            limits=Limits(allow_short=shorts),
            allocation=1.0 if kind == "single" else 1.0 / 3,
            burn_in=burn_in,
        )
        settings = {"hidden_size": 16, "heads": (8,), **network}
        agent = AgentSettings.model_validate(
            {"memory": memory, "burn_in": burn_in, "network": settings}
        )
        self.plan = BookPlan(BOOKS, kind, EPISODE)  # type: ignore[arg-type]
        info = describe(self.spec, agent, TRAINED_ON, 0)
        torch.manual_seed(0)
        self.net = build(info)
        self.info = info.model_copy(update={"memory_width": self.net.memory_width})
        with torch.no_grad():
            self.net.actor[-1].weight.mul_(100.0)
        self.collector = self.play(self.net)

    def env(self, policy: Policy | None = None) -> BookEnv:
        rng = np.random.default_rng(9)
        return BookEnv(self.panel_of(self.spec), self.spec, self.plan, rng, policy=policy)

    def play(self, net: ActorCritic) -> Collector:
        return Collector(self.env(), net, RewardSettings(), np.random.default_rng(3))

    def learner(self, rule: str, net: ActorCritic | None = None, **settings: Any) -> Any:
        """A learner of these parts; PPO takes one step a rollout. Without `net`, with a copy of ours."""
        one = {"ppo": {"epochs": 1, "minibatches": 1}, "rollout_steps": STEPS}
        chosen = TrainSettings.model_validate({**one, **settings})
        learner = LEARNERS[rule](self.env(), self.info, chosen, RewardSettings())
        if net is None:
            learner.net.load_state_dict(self.net.state_dict())
        else:
            learner.net = net
        return learner


def differences(parts: Parts, rollout: Rollout, rule: str = "ppo") -> tuple[float, float]:
    """Largest |ratio - 1| and |value - stored value| as the rule's own update first sees them.

    Gradients are on and the network is in training mode; its weights stay as they are.
    """
    learner = parts.learner(rule, parts.net.train())
    module, scored = sys.modules[type(learner).__module__], []

    def noted(*args: Any) -> Any:
        scored.append((args[3].numpy(), *evaluate(*args)))
        return scored[-1][1:]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "evaluate", noted)
        learner.learn(rollout)
    books, log_prob, _, value = scored[0]
    assert log_prob.requires_grad
    assert sorted(books) == list(range(rollout.books))
    change = log_prob.detach().double().numpy() - rollout.log_prob[:, books]
    off = np.abs(value.detach().double().numpy() - rollout.value[:, books])
    ratio = np.exp(change[rollout.acts[:, books]])
    return float(np.abs(ratio - 1).max()), float(off.max())


Bug = Callable[
    [Rollout, ActorCritic], Rollout
]  # a rollout as wrong code would have put it together


def swap_segments(rollout: Rollout, change: Callable[[tuple[Segment, ...]], Any]) -> Rollout:
    return replace(rollout, segments=tuple(change(rollout.segments)))


def zeroed(rollout: Rollout, net: ActorCritic) -> Rollout:
    # P1: memory zeroed at every sequence start
    zero = [replace(s, memory=torch.zeros_like(s.memory)) for s in rollout.segments]
    return swap_segments(rollout, lambda _: zero)


def never_reset(rollout: Rollout, net: ActorCritic) -> Rollout:
    # P2: an episode begins with the memory the one before it ended with
    found = [rollout.segments[0]]
    for segment in rollout.segments[1:]:
        with torch.no_grad():
            _, memory = net.trunk(found[-1].rows, found[-1].memory)
        found.append(replace(segment, memory=memory))
    return swap_segments(rollout, lambda _: found)


def reset_late(rollout: Rollout, net: ActorCritic) -> Rollout:
    # P3: start flags shifted by one: the first bar of an episode is run with the old memory
    first, second, *rest = rollout.segments
    longer = replace(first, rows=torch.cat([first.rows, second.rows[:1]]))
    shorter = replace(second, rows=second.rows[1:])
    return swap_segments(rollout, lambda _: [longer, shorter, *rest])


def reshaped(rollout: Rollout, net: ActorCritic) -> Rollout:
    # P4: (books, steps) read as (steps, books)
    def wrong(rows: Tensor) -> Tensor:
        return rows.transpose(0, 1).reshape(rows.shape)

    found = [replace(s, rows=wrong(s.rows)) for s in rollout.segments]
    return swap_segments(rollout, lambda _: found)


def other_books(rollout: Rollout, net: ActorCritic) -> Rollout:
    # the book part of another book
    return replace(rollout, book=rollout.book.roll(1, dims=1))


BUGS: tuple[Bug, ...] = (zeroed, never_reset, reset_late, reshaped, other_books)
