"""Policies that do not learn, through the same Trader, limits and costs as the agent.

Each one is a pure function of observation and memory. Wishes are per sleeve, a symbol's equal share
of the book; what is held is only rebalanced where the rule says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.errors import SettingsError
from engine.observation import Observation
from engine.policy import ActionSpace, Policy, Wish

READY_AT_ONCE = ("day_of_week",)  # any feature of one bar: these rules look at no market
POSITION = ("position",)
EXACT = ActionSpace(kind="continuous", band=0.0)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A policy and what it has to be shown.

    Units: `allocation` fraction of equity in one sleeve. Its features must come unscaled
    (`Scaler.none`), its book inputs in this order, with no burn-in.
    """

    policy: Policy
    features: tuple[str, ...]
    allocation: float
    book_inputs: tuple[str, ...] = POSITION
    action: ActionSpace = EXACT


class Factory(Protocol):
    """What makes a baseline for so many symbols; only `random` uses turnover and seed."""

    def __call__(self, symbols: int, turnover: float = 0.0, seed: int = 0) -> Baseline: ...


def make(name: str, symbols: int, turnover: float = 0.0, seed: int = 0) -> Baseline:
    """Return a baseline by name.

    Units: `turnover` value traded a bar, fraction of the book.
    Raises: SettingsError for an unknown name.
    """
    if name not in BASELINES:
        raise SettingsError(f'backtest: unknown baseline "{name}"; known: {", ".join(BASELINES)}')
    return BASELINES[name](symbols, turnover, seed)


@dataclass(frozen=True)
class Rule:
    """A baseline without memory: `wishes` says what it wants of an observation."""

    wishes: Callable[[Observation], Wish]
    memory_width: int = 0

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        return self.wishes(obs), memory


def flat(obs: Observation) -> Wish:
    """Want nothing, ever."""
    return _wish(obs, 0.0, keep=False)


def buy_and_hold(obs: Observation) -> Wish:
    """Fill each sleeve as soon as its symbol trades, and never touch it again."""
    return _wish(obs, 1.0, keep=_held(obs) != 0)


def equal_weight_monthly(obs: Observation) -> Wish:
    """Fill empty sleeves, and bring every one back to size on the first bar of a month."""
    return _wish(obs, 1.0, keep=(obs.market[..., 0] == 0) & (_held(obs) != 0))


def sma_cross(obs: Observation) -> Wish:
    """Hold the sleeve while the fast average is above the slow one.

    The features are close / average - 1, so the higher average has the lower one.
    """
    up = obs.market[..., 0] < obs.market[..., 1]
    return _wish(obs, np.where(up, 1.0, 0.0), keep=up & (_held(obs) != 0))


@dataclass(frozen=True)
class Momentum:
    """Hold the symbols with the highest 12-1 momentum in equal parts; choose on the first bar of a month.

    The share `top` of the symbols that have a momentum that day is chosen, at least one; together
    they get the whole book, so that each may be larger than its sleeve.
    """

    top: float = 1 / 3
    memory_width: int = 0

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        score = np.where(obs.fresh, obs.market[..., 0], -np.inf)
        count = obs.fresh.sum(axis=1, keepdims=True)
        chosen = np.maximum(np.rint(count * self.top), 1.0)
        order = np.argsort(-score, axis=1, kind="stable")  # the earlier symbol on a tie
        rank = np.argsort(order, axis=1, kind="stable")
        wanted = obs.fresh & (rank < chosen)
        exposure = np.where(wanted, score.shape[1] / chosen, 0.0)
        return _wish(obs, exposure, keep=obs.market[..., 1] == 0), memory


@dataclass(frozen=True)
class Random:
    """Fill or empty a sleeve at random, with probability `rate` a bar.

    The draw is a function of seed, book, symbol and the number of bars seen, which is the memory.
    """

    rate: float
    seed: int
    memory_width: int = 1

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        books, symbols = np.indices(obs.fresh.shape, dtype=np.uint64)
        bar = memory[..., 0].astype(np.uint64)
        draw = uniform(np.uint64(self.seed), books, symbols, bar)
        exposure = np.where(_held(obs) != 0, 0.0, 1.0)
        return _wish(obs, exposure, keep=draw >= self.rate), memory + np.float32(1.0)


def uniform(*keys: np.ndarray | np.uint64) -> np.ndarray:
    """Return numbers in [0, 1) that depend on the integer keys alone, the same everywhere.

    Source: the mixing function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), once for each key.
    """
    state = np.zeros(1, dtype=np.uint64)
    for key in keys:
        state = (state ^ key) + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return np.asarray((state >> np.uint64(11)) / 2.0**53)


def _held(obs: Observation) -> np.ndarray:
    return np.asarray(obs.book[..., 0])


def _wish(obs: Observation, exposure: float | np.ndarray, keep: bool | np.ndarray) -> Wish:
    shape = obs.fresh.shape
    return Wish(np.array(np.broadcast_to(exposure, shape)), np.array(np.broadcast_to(keep, shape)))


def _rule(wishes: Callable[[Observation], Wish], *features: str) -> Factory:
    def factory(symbols: int, turnover: float = 0.0, seed: int = 0) -> Baseline:
        return Baseline(Rule(wishes), features or READY_AT_ONCE, 1.0 / symbols)

    return factory


def _momentum(symbols: int, turnover: float = 0.0, seed: int = 0) -> Baseline:
    return Baseline(Momentum(), ("momentum(252,21)", "month_start"), 1.0 / symbols)


def _random(symbols: int, turnover: float = 0.0, seed: int = 0) -> Baseline:
    # A change of one sleeve trades 1 / symbols of the book, and there are as many sleeves.
    return Baseline(Random(turnover, seed), READY_AT_ONCE, 1.0 / symbols)


BASELINES: dict[str, Factory] = {
    "flat": _rule(flat),
    "buy_and_hold": _rule(buy_and_hold),
    "equal_weight_held": _rule(buy_and_hold),  # the same thing: equal sleeves, bought and held
    "equal_weight_monthly": _rule(equal_weight_monthly, "month_start"),
    "sma_cross": _rule(sma_cross, "sma_ratio(50)", "sma_ratio(200)"),
    "momentum_12_1": _momentum,
    "random": _random,
}
