"""Does the deployed step act as torch does? A trained agent's backtest, bar by bar.

The benchmarks' agent is trained a little on the bundled sample before 2010 and backtested on the
years after, through Backtrader. Beside every call of the deployed step (burn-in included) stands torch
in float32: the same inputs, a memory of its own from the first bar on. The number is the share of
decisions, symbols times bars, in which both want the same.
"""

import numpy as np
import torch

from agents.export import StepGraph
from agents.networks import ActorCritic
from agents.panel import Panel
from agents.ppo import PPO
from engine.observation import Observation
from engine.policy import Wish, decode, greedy
from engine.run.backtest import through_backtrader
from engine.settings_reward import RewardSettings
from engine.settings_training import TrainSettings
from engine.step import StepPolicy
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue
from tests.benchmarks.agent import books, record, sample, spec_for
from tests.benchmarks.backtest import CASH_A_SYMBOL, TEST_YEARS
from tests.benchmarks.harness import Row

SMOKE = TrainSettings(books=8, rollout_steps=16)
WHOLE = TrainSettings(books=64, rollout_steps=128)


def measure(quick: bool) -> tuple[list[Row], list[str]]:
    """Return the row; nothing is ever left out."""
    torch.set_num_threads(1)
    net, beside, spec = trained(SMOKE if quick else WHOLE, 2 if quick else 40)
    bars = sample()
    first = int(np.searchsorted(bars.sessions, TEST_YEARS))
    last = first + 40 if quick else len(bars.sessions) - 1
    symbols = len(bars.symbols)
    both = Beside(beside, net)
    venue = SimVenue(CASH_A_SYMBOL * symbols, (1, symbols), spec.costs, spec.venue)
    run = through_backtrader(bars, Trader(spec, both, symbols), venue, first, last)
    orders = int((run.arrays()["filled"] != 0).sum())
    what = f"actions equal to torch float32, trained agent, {symbols} symbols x {last - first + 1}"
    share = 100.0 * (1.0 - both.other / both.decided)
    return [Row(f"{what}, {orders:,} orders", np.array([share]), "%", "100 %")], []


def trained(settings: TrainSettings, updates: int) -> tuple[ActorCritic, StepPolicy, TraderSpec]:
    """Return an agent trained on the years before the test, the same as deployed, and what it sees."""
    bars = sample().between(None, TEST_YEARS - 1)
    spec = spec_for(bars)
    panel = Panel.of(bars, spec.features, spec.scaler)
    env = books(spec, panel, settings.books, 2 * settings.rollout_steps)
    info = record(spec)
    learner = PPO(env, info, settings, RewardSettings())
    for _ in range(updates):
        learner.round()
    net = learner.net.eval()
    info = info.model_copy(update={"memory_width": net.memory_width})
    shared = spec_for(bars, 1.0 / len(bars.symbols))
    return net, StepPolicy(StepGraph(net).as_bytes(), info), shared


class Beside:
    """A deployed policy that decides, and torch beside it that only says what it would do."""

    def __init__(self, policy: StepPolicy, net: ActorCritic) -> None:
        self.policy, self.net = policy, net
        self.memory: torch.Tensor | None = None
        self.decided = self.other = 0

    @property
    def memory_width(self) -> int:
        """That of the policy."""
        return self.policy.memory_width

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        wish, after = self.policy.act(obs, memory)
        fresh = torch.from_numpy(obs.fresh.reshape(-1, 1))
        carried = self.net.start(len(fresh)) if self.memory is None else self.memory
        seen = (torch.from_numpy(part.reshape(len(fresh), -1)) for part in (obs.market, obs.book))
        with torch.no_grad():
            head, stepped = self.net.step(*seen, carried)
        self.memory = torch.where(fresh, stepped, carried)
        theirs = self._wish(head.numpy().reshape(*obs.fresh.shape, -1), obs)
        same = (theirs.exposure == wish.exposure) & (theirs.keep == wish.keep)
        self.decided += int(obs.fresh.sum())
        self.other += int((obs.fresh & ~same).sum())
        return wish, after

    def _wish(self, head: np.ndarray, obs: Observation) -> Wish:
        info = self.policy.info
        return decode(greedy(head, info.action, obs.valid), info.action, info.limits.allow_short)
