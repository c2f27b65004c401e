"""The planted market Echo(k) through the real environment: memory is required, the optimum known.

Day t shows a coin through its volume and pays it on day t + k: 1 % a day, less 0.1 % of what is
traded. Always holding the right side trades once a day on average: 0.9 % a day, and nothing earns
more. The agent sees the last bar's volume and nothing else; for k >= 2 that alone is worth nothing.
"""

import numpy as np

from agents.env import BookEnv, BookPlan
from agents.panel import Panel
from engine.bars import VOLUME, Bars
from engine.costs import Costs
from engine.features import FeatureSet
from engine.limits import Limits
from engine.observation import Scaler
from engine.orders import Sizing
from engine.policy import ActionSpace, Policy
from engine.sources import DataSettings, load
from engine.trader import TraderSpec
from engine.venue import VenueSettings

OPTIMUM = 0.009  # a day
FEATURE = "tests.learning.echo:volume_level"


def volume_level(window: np.ndarray, lookback: int = 1) -> np.ndarray:
    """Return the coin that the last bar's volume shows, +-1."""
    return np.asarray((window[..., VOLUME, -1] / 1e6 - 1.0) / 0.5)


def echo_bars(k: int, seed: int, sessions: int = 1000, symbols: int = 64) -> Bars:
    """Draw one path of Echo(k) for each symbol."""
    made = {"kind": "echo", "k": k, "seed": seed, "sessions": sessions, "symbols": symbols}
    return load(
        DataSettings.model_validate({"source": "synthetic", "calendar": "none", "synthetic": made})
    )


def echo_spec(burn_in: int = 8) -> TraderSpec:
    """What the agent sees and may do on this market."""
    return TraderSpec(
        features=FeatureSet((FEATURE,)),
        scaler=Scaler.none(1),
        book_inputs=(),
        action=ActionSpace(),
        limits=Limits(allow_short=True),
        sizing=Sizing(flip="one_order"),
        costs=Costs(rate=0.001, slippage_bps=0.0, regulatory=False),
        # At 2 the collar on orders that turn a whole position cuts them to 0.96 of the equity.
        venue=VenueSettings(leverage=4.0),
        burn_in=burn_in,
    )


def echo_env(
    bars: Bars,
    spec: TraderSpec,
    books: int,
    episode_steps: int,
    generator: np.random.Generator,
    policy: Policy | None = None,
) -> BookEnv:
    """Step `books` single-symbol books over these bars."""
    plan = BookPlan(books, "single", episode_steps, cash=1_000_000.0)
    panel = Panel.of(bars, spec.features, spec.scaler)
    return BookEnv(panel, spec, plan, generator, policy=policy)
