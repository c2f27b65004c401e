"""What a policy is: observation and memory in, exposure, keep and memory out.

`ActionSpace` is the only place where a network's output becomes a wish: which outputs there are, which
of them mean nothing now (`valid_actions`), which is chosen (`greedy`) and what it asks for (`decode`).
It knows no prices, and of a book only what it holds.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol

import numpy as np
from pydantic import BaseModel, Field, model_validator

from engine.errors import CheckpointError, SettingsError
from engine.observation import Observation

NAMES = ("sell", "hold", "buy")
SELL, HOLD, BUY = range(3)


class ActionSpace(BaseModel, frozen=True, extra="forbid"):
    """What an agent may ask for, per sleeve."""

    kind: Literal["discrete", "levels", "continuous"] = Field(
        "discrete",
        description="sell / hold / buy, a choice among exposure levels, or a continuous exposure",
    )
    levels: tuple[float, ...] = Field(
        (0.0, 0.25, 0.5, 1.0),
        description='exposures to choose from when kind = "levels", in sleeves, from -1 to 1, rising',
    )
    distribution: Literal["gaussian", "beta"] = Field(
        "gaussian",
        description="how a continuous exposure is drawn in training: a Gaussian through tanh, played "
        "as tanh(mean), or a Beta on the range of exposures, played as its mean",
    )
    spread: Literal["global", "state"] = Field(
        "global",
        description="deviation of the Gaussian: one learned number, or an output of the network "
        "for each bar (the Beta's always depends on the bar)",
    )
    mask: bool = Field(
        False,
        description="give actions that can do nothing probability 0: sell with nothing held, levels "
        "below 0 without shorts",
    )
    band: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="no order while the wish is this near to what is held, in sleeves",
    )
    volatility: float | None = Field(
        None,
        gt=0,
        description="deviation a bar that a full sleeve is sized for: exposures shrink by this over "
        "the symbol's realised volatility where that is larger; none = they do not",
    )
    volatility_bars: int = Field(
        20,
        ge=1,
        description="bars of that realised volatility; observation.features must have it too",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the actions to choose from, in their order; none when continuous."""
        if self.kind == "levels":
            return tuple(f"level {level:g}" for level in self.levels)
        return NAMES if self.kind == "discrete" else ()

    @property
    def width(self) -> int:
        """Number of outputs of the policy head: a logit an action, or what shapes a distribution.

        Gaussian: the mean, then with `spread = "state"` what `bounded` makes the log deviation;
        Beta: the two numbers that `beta_shape` makes its parameters.
        """
        if self.kind != "continuous":
            return len(self.names)
        return 2 if self.distribution == "beta" or self.spread == "state" else 1

    @property
    def sized_by(self) -> str | None:
        """Name of the feature that exposures are sized by; None where they are not."""
        return None if self.volatility is None else f"realised_vol({self.volatility_bars})"

    @property
    def learned_spreads(self) -> int:
        """Number of log deviations learned beside the network: 1 for a global one, else 0."""
        return int(self.kind == "continuous" and self.width == 1)

    @model_validator(mode="after")
    def _levels_are_choices(self) -> "ActionSpace":
        rising = all(low < high for low, high in pairwise(self.levels))
        if len(self.levels) < 2 or not rising or not all(-1.0 <= x <= 1.0 for x in self.levels):
            raise ValueError(
                "levels must be two or more exposures from -1 to 1 in rising order, "
                f"found {list(self.levels)}"
            )
        return self

    @model_validator(mode="after")
    def _all_of_it_counts(self) -> "ActionSpace":
        if self.kind != "continuous":
            for name, default in (("distribution", "gaussian"), ("spread", "global")):
                if getattr(self, name) != default:
                    raise ValueError(
                        f'{name} = "{getattr(self, name)}" is for kind = "continuous", found kind = '
                        f'"{self.kind}"; set the kind or leave {name} out'
                    )
        elif self.mask:
            raise ValueError(
                'mask = true is for actions to choose from; kind = "continuous" has none, its range '
                "already follows limits.allow_short: leave mask out"
            )
        return self


@dataclass(frozen=True, slots=True)
class Wish:
    """What a policy wants.

    Shapes: both (B, N). Units: `exposure` in sleeves (1 = the whole sleeve); `keep` = no order.
    """

    exposure: np.ndarray
    keep: np.ndarray


class Policy(Protocol):
    """Anything that turns observations into wishes, bar by bar.

    Shapes: `act` takes an observation of (B, N, .) and memory (B, N, M) float32, returns the wish
    (B, N) and the next memory. It never changes the memory it was given and hides no state.
    """

    @property
    def memory_width(self) -> int: ...

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]: ...


def valid_actions(space: ActionSpace, held: np.ndarray, allow_short: bool) -> np.ndarray | None:
    """Return which actions can do something, or None where nothing is masked.

    Shapes: held (B, N) shares; (B, N, A) bool out, at least one true in each row. Without shorts:
    sell is masked while nothing is held, levels below 0 always. With shorts every action counts.
    Raises: SettingsError when no level is left.
    """
    if not space.mask:
        return None
    valid = np.ones((*held.shape, space.width), dtype=bool)
    if allow_short:
        return valid
    if space.kind == "discrete":
        valid[..., SELL] = held != 0
        return valid
    if space.levels[-1] < 0:
        raise SettingsError(
            f"agent.action.levels: expected a level of 0 or more, since limits.allow_short is false, "
            f"found {list(space.levels)}; add one, or allow shorts"
        )
    valid[...] = np.array(space.levels) >= 0
    return valid


def greedy(head: np.ndarray, space: ActionSpace, valid: np.ndarray | None = None) -> np.ndarray:
    """Return the action played without chance for each row of policy head outputs.

    Shapes: head (..., A), valid (..., A) bool or None; out (...). Discrete and levels: index of the
    largest logit among the valid, the lowest index on a tie. Gaussian: tanh of the mean. Beta: its
    mean, on [-1, 1] (the mean exists for every shape and moves smoothly; the mode does not).
    Raises: CheckpointError when the agent was trained with masks and gets none.
    """
    if space.mask and valid is None:
        raise CheckpointError(
            "the agent was trained with agent.action.mask = true, expected an observation that says "
            "which actions are valid, found none; let engine.trader.Trader observe for it"
        )
    if space.kind == "continuous":
        if space.distribution == "gaussian":
            return np.asarray(np.tanh(head[..., 0]))
        alpha, beta = beta_shape(head)
        return np.asarray((alpha - beta) / (alpha + beta))
    logits = head if valid is None else np.where(valid, head, -np.inf)
    return np.asarray(logits.argmax(axis=-1))


def beta_shape(head: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return alpha and beta of a Beta distribution, float64: 1 + softplus of each output.

    Above 1 the density has one peak and vanishes nowhere inside.
    Source: Chou, Maturana and Scherer, ICML 2017.
    """
    shape = 1.0 + np.logaddexp(0.0, head.astype(np.float64))
    return shape[..., 0], shape[..., 1]


def decode(action: np.ndarray, space: ActionSpace, allow_short: bool) -> Wish:
    """Turn actions into a wish: the one meaning of an action, in training and in life.

    Shapes: (B, N) in; exposure and keep (B, N) out. Discrete: sell = 0 (-1 with shorts allowed),
    hold = keep, buy = +1 sleeve. Levels: the level itself; the limits cut one below 0 where shorts
    are off. Continuous: a in [-1, 1] is the exposure itself with shorts allowed, else (a + 1) / 2,
    so that the whole range is used.
    """
    if space.kind == "discrete":
        lowest = -1.0 if allow_short else 0.0
        exposure = np.where(action == BUY, 1.0, lowest)
        return Wish(exposure, action == HOLD)
    if space.kind == "levels":
        exposure = np.array(space.levels)[action]
    else:
        exposure = np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0)
        if not allow_short:
            exposure = (exposure + 1.0) / 2.0
    return Wish(exposure, np.zeros(exposure.shape, dtype=bool))


def leaning(up: np.ndarray, space: ActionSpace, indifferent: float = 0.5) -> np.ndarray:
    """Return head outputs of a policy that wants to be as long as `up`: for policies without a net.

    Shapes: (...) in, (..., A) out. Discrete: hold while |up| is below `indifferent`.
    """
    heads: list[np.ndarray]
    if space.kind == "discrete":
        heads = [-up, np.full_like(up, indifferent), up]
    elif space.kind == "levels":
        heads = [-np.abs(up - level) for level in space.levels]
    else:
        heads = [up, -up] if space.distribution == "beta" else [up] * space.width
    return np.stack(heads, axis=-1)
