"""What a policy is: observation and memory in, exposure, keep and memory out.

`ActionSpace` is the only place where a network's output becomes a wish. It knows no prices and no book.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from pydantic import BaseModel, Field

from engine.observation import Observation


class ActionSpace(BaseModel, frozen=True, extra="forbid"):
    """What an agent may ask for, per sleeve."""

    kind: Literal["discrete", "continuous"] = Field(
        "discrete", description="sell / hold / buy, or a continuous exposure"
    )
    band: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="no order while the wish is this near to what is held, in sleeves",
    )

    @property
    def width(self) -> int:
        """Number of outputs of the policy head: three logits, or one mean."""
        return 3 if self.kind == "discrete" else 1


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


SELL, HOLD, BUY = range(3)


def greedy(head: np.ndarray, space: ActionSpace) -> np.ndarray:
    """Return the most likely action for each row of policy head outputs.

    Shapes: head (..., A). Discrete: index (...) of the largest logit, the lowest index on a tie.
    Continuous: tanh of the mean, (...).
    """
    if space.kind == "discrete":
        return np.asarray(np.argmax(head, axis=-1))
    return np.asarray(np.tanh(head[..., 0]))


def decode(action: np.ndarray, space: ActionSpace, allow_short: bool) -> Wish:
    """Turn actions into a wish: the one meaning of an action, in training and in life.

    Shapes: (B, N) in; exposure and keep (B, N) out. Discrete: sell = 0 (-1 with shorts allowed),
    hold = keep, buy = +1 sleeve. Continuous: a in [-1, 1] is the exposure itself with shorts
    allowed, else (a + 1) / 2, so that the whole range is used.
    """
    if space.kind == "discrete":
        lowest = -1.0 if allow_short else 0.0
        exposure = np.where(action == BUY, 1.0, lowest)
        return Wish(exposure, action == HOLD)
    exposure = np.clip(np.asarray(action, dtype=np.float64), -1.0, 1.0)
    if not allow_short:
        exposure = (exposure + 1.0) / 2.0
    return Wish(exposure, np.zeros(exposure.shape, dtype=bool))
