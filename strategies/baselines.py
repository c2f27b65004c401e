"""Policies that do not learn, through the same Trader, limits and costs as the agent.

Each one is a pure function of observation and memory. Wishes are per sleeve, a symbol's equal share
of the book; what is held is only rebalanced where the rule says so.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from engine.errors import SettingsError
from engine.observation import Observation
from engine.policy import ActionSpace, Policy, Wish
from strategies.at_random import Random
from strategies.minimum_variance import WINDOW, MinimumVariance

READY_AT_ONCE = ("day_of_week",)  # any feature of one bar: these rules look at no market
POSITION = ("position",)
EXACT = ActionSpace(kind="continuous", band=0.0)
CROSSING = (5, 20)  # fast and slow window, where none are given
VOLATILITY = (16, 20)  # percent a year of a full sleeve, and the bars it is measured over


@dataclass(frozen=True, slots=True)
class Baseline:
    """A policy and what it has to be shown.

    Units: `allocation` fraction of equity in one sleeve. Its features must come unscaled
    (`Scaler.none`), its book inputs in this order.
    """

    policy: Policy
    features: tuple[str, ...]
    allocation: float
    book_inputs: tuple[str, ...] = POSITION
    action: ActionSpace = EXACT
    burn_in: int = 0


class Factory(Protocol):
    """What makes a baseline for so many symbols; only `random` uses turnover and seed.

    `numbers` are those in the brackets of its name, as many as it takes.
    """

    def __call__(
        self, symbols: int, turnover: float, seed: int, numbers: tuple[int, ...]
    ) -> Baseline: ...


def make(name: str, symbols: int, turnover: float = 0.0, seed: int = 0) -> Baseline:
    """Return a baseline by name, such as `sma_cross` or `trend_following(5,20)`.

    Units: `turnover` value traded a bar, fraction of the book.
    Raises: SettingsError for an unknown name, or numbers it does not take.
    """
    plain, numbers = parts(name)
    if "(best" in plain:
        raise SettingsError(
            f'backtest: baseline "{name}": only a backtest finds windows, on the bars before its test; '
            "name them here, such as trend_following(5,20)"
        )
    if plain not in BASELINES:
        raise SettingsError(f'backtest: unknown baseline "{name}"; known: {", ".join(BASELINES)}')
    try:
        return BASELINES[plain](symbols, turnover, seed, numbers)
    except ValueError as error:
        raise SettingsError(f'backtest: baseline "{name}": {error}') from error


def parts(name: str) -> tuple[str, tuple[int, ...]]:
    """Split `trend_following(5,20)` into its name and its numbers; other text is all name."""
    found = re.fullmatch(r"(\w+)\((\d+(?:,\d+)*)\)", name.replace(" ", ""))
    if found is None:
        return name, ()
    return found[1], tuple(int(number) for number in found[2].split(","))


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


def full(obs: Observation) -> Wish:
    """Want every sleeve full, on every bar."""
    return _wish(obs, 1.0, keep=False)


def buy_and_hold(obs: Observation) -> Wish:
    """Fill each sleeve as soon as its symbol trades, and never touch it again."""
    return _wish(obs, 1.0, keep=_held(obs) != 0)


def sell_and_hold(obs: Observation) -> Wish:
    """Sell each sleeve short as soon as its symbol trades, and never touch it again."""
    return _wish(obs, -1.0, keep=_held(obs) != 0)


def equal_weight_monthly(obs: Observation) -> Wish:
    """Fill empty sleeves, and bring every one back to size on the first bar of a month."""
    return _wish(obs, 1.0, keep=(obs.market[..., 0] == 0) & (_held(obs) != 0))


def trend_following(obs: Observation) -> Wish:
    """Be long while the fast average is at or above the slow one, short otherwise.

    The features are close / average - 1, so the higher average has the lower one.
    """
    return _side(obs, obs.market[..., 0] <= obs.market[..., 1])


def mean_reversion(obs: Observation) -> Wish:
    """Be long while the fast average is at or below the slow one, short otherwise."""
    return _side(obs, obs.market[..., 0] >= obs.market[..., 1])


def sma_cross(obs: Observation) -> Wish:
    """Hold the sleeve while the fast average is above the slow one.

    The features are close / average - 1, so the higher average has the lower one.
    """
    up = obs.market[..., 0] < obs.market[..., 1]
    return _wish(obs, np.where(up, 1.0, 0.0), keep=up & (_held(obs) != 0))


@dataclass(frozen=True)
class Waiting:
    """A rule that only watches the first `bars` bars, which the memory counts."""

    wishes: Callable[[Observation], Wish]
    bars: int
    memory_width: int = 1

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        wish, early = self.wishes(obs), memory[..., 0] < self.bars
        wish = Wish(np.where(early, 0.0, wish.exposure), wish.keep & ~early)
        return wish, memory + np.float32(1.0)


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


def _held(obs: Observation) -> np.ndarray:
    return np.asarray(obs.book[..., 0])


def _wish(obs: Observation, exposure: float | np.ndarray, keep: bool | np.ndarray) -> Wish:
    shape = obs.fresh.shape
    return Wish(np.array(np.broadcast_to(exposure, shape)), np.array(np.broadcast_to(keep, shape)))


def _side(obs: Observation, long: np.ndarray) -> Wish:
    # Always fully in the market; only a change of side trades.
    side = np.where(long, 1.0, -1.0)
    return _wish(obs, side, keep=np.sign(_held(obs)) == side)


def _rule(wishes: Callable[[Observation], Wish], *features: str) -> Factory:
    def factory(
        symbols: int, turnover: float, seed: int, numbers: tuple[int, ...] = ()
    ) -> Baseline:
        _count(numbers, 0)
        return Baseline(Rule(wishes), features or READY_AT_ONCE, 1.0 / symbols)

    return factory


def _held_after(wishes: Callable[[Observation], Wish]) -> Factory:
    def factory(
        symbols: int, turnover: float, seed: int, numbers: tuple[int, ...] = ()
    ) -> Baseline:
        _count(numbers, 0, 1)
        return Baseline(Waiting(wishes, *numbers or (0,)), READY_AT_ONCE, 1.0 / symbols)

    return factory


def _crossing(wishes: Callable[[Observation], Wish]) -> Factory:
    # Fast and slow window, then the bars to wait; by themselves the windows of a slow month.
    def factory(
        symbols: int, turnover: float, seed: int, numbers: tuple[int, ...] = ()
    ) -> Baseline:
        _count(numbers, 0, 2, 3)
        fast, slow, wait = (*numbers, 0)[:3] if numbers else (*CROSSING, 0)
        if not 0 < fast < slow:
            raise ValueError(f"expected a fast window below the slow one, found {fast} and {slow}")
        features = (f"sma_ratio({fast})", f"sma_ratio({slow})")
        return Baseline(Waiting(wishes, wait), features, 1.0 / symbols)

    return factory


def _count(numbers: tuple[int, ...], *allowed: int) -> None:
    if len(numbers) not in allowed:
        text = " or ".join(str(count) for count in allowed)
        raise ValueError(f"expected {text} numbers in brackets, found {len(numbers)}")


def _fixed_monthly(
    symbols: int, turnover: float, seed: int, numbers: tuple[int, ...] = ()
) -> Baseline:
    # Percent of the book for each symbol, in their order.
    _count(numbers, symbols)
    if not 0 < sum(numbers) <= 100:
        raise ValueError(f"expected percents that add up to 100 at most, found {sum(numbers)}")
    part = np.array(numbers) * (symbols / 100.0)

    def wishes(obs: Observation) -> Wish:
        return _wish(obs, part, keep=equal_weight_monthly(obs).keep)

    return Baseline(Rule(wishes), ("month_start",), 1.0 / symbols)


def _momentum(symbols: int, turnover: float, seed: int, numbers: tuple[int, ...] = ()) -> Baseline:
    _count(numbers, 0)
    return Baseline(Momentum(), ("momentum(252,21)", "month_start"), 1.0 / symbols)


def _volatility_target(
    symbols: int, turnover: float, seed: int, numbers: tuple[int, ...] = ()
) -> Baseline:
    # Full sleeves, sized by the trader as an agent's are; sleeves follow once they are 0.1 off.
    _count(numbers, 0, 1, 2)
    percent, bars = (*numbers, *VOLATILITY[len(numbers) :])
    if not percent:
        raise ValueError("expected a volatility above 0 percent a year, found 0")
    action = ActionSpace(
        kind="continuous", volatility=percent / 100 / 252**0.5, volatility_bars=bars
    )
    return Baseline(Rule(full), (str(action.sized_by),), 1.0 / symbols, action=action)


def _minimum_variance(
    symbols: int, turnover: float, seed: int, numbers: tuple[int, ...] = ()
) -> Baseline:
    _count(numbers, 0)
    features = ("log_return", "month_start")
    return Baseline(MinimumVariance(), features, 1.0 / symbols, burn_in=WINDOW)


def _random(symbols: int, turnover: float, seed: int, numbers: tuple[int, ...] = ()) -> Baseline:
    # A change of one sleeve trades 1 / symbols of the book, and there are as many sleeves.
    _count(numbers, 0)
    return Baseline(Random(turnover, seed), READY_AT_ONCE, 1.0 / symbols)


BASELINES: dict[str, Factory] = {
    "flat": _rule(flat),
    "buy_and_hold": _held_after(buy_and_hold),
    "sell_and_hold": _held_after(sell_and_hold),
    "equal_weight_held": _rule(buy_and_hold),  # the same thing: equal sleeves, bought and held
    "equal_weight_monthly": _rule(equal_weight_monthly, "month_start"),
    "fixed_monthly": _fixed_monthly,
    "trend_following": _crossing(trend_following),
    "mean_reversion": _crossing(mean_reversion),
    "sma_cross": _rule(sma_cross, "sma_ratio(50)", "sma_ratio(200)"),
    "momentum_12_1": _momentum,
    "minimum_variance": _minimum_variance,
    "volatility_target": _volatility_target,
    "random": _random,
}
