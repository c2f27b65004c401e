"""What the agent is paid for one bar, from the change of marked equity. Knows no positions.

With E the equity, r = E[t] / E[t-1] - 1, E[0] that of the episode's start:

    pnl                    (E[t] - E[t-1]) / E[0]                  fraction of the starting equity
    step_return            r                                       fraction of equity
    log_return             log(1 + r)                              fraction of equity
    differential_sharpe    (B dA - A dB / 2) / (B - A^2)^(3/2)     Sharpe ratio a bar, per decay
    differential_downside  (r - A / 2) / D - A min(r, 0)^2 / (2 D^3)         return / downside, same

where A, B and D^2 are moving averages of r, r^2 and min(r, 0)^2 before this bar, dA = r - A,
dB = r^2 - B, and each moves on by `decay` times its difference. They start an episode at 0,
`start_volatility`^2 and `start_volatility`^2; Moody and Saffell leave the start open.
From the kind are taken, in the same units, weight x (deviation of the last r; fall from the
episode's peak; value traded / equity). Over a benchmark means: less the same kind of the
benchmark; the differential kinds see r - benchmark's r.
Source: Moody & Saffell, Learning to Trade via Direct Reinforcement, IEEE Trans. Neural Networks
12 (2001), differential Sharpe and downside deviation ratio.
"""

from collections.abc import Mapping

import numpy as np

from agents.env import BookEnv, StepResult
from engine.settings_reward import RewardSettings

# A ruined book has no logarithm: losing everything counts as losing 99.99 %.
FLOOR = 1e-4
STILL = 1e-18  # least variance to divide by: far below any market, far above underflow


class Rewards:
    """Pays B books. What it remembers of an episode starts anew with `begin`; the running scale
    lives as long as the training and stands still while `frozen`."""

    def __init__(self, settings: RewardSettings, books: int) -> None:
        self.settings, self.frozen = settings, False
        self.factor, self.differs = settings.factor, settings.kind.startswith("differential")
        self.seen = np.zeros(2)  # running scale: how many rewards, and the sum of their squares
        self.begin(np.ones(books))

    def begin(self, equity: np.ndarray) -> None:
        """Start an episode in every book. Shapes: equity (B,) dollars."""
        self.at_start = np.array(equity, dtype=np.float64)
        self.peak = self.at_start.copy()
        self.mean = np.zeros(len(equity))
        self.square = np.full(len(equity), self.settings.start_volatility**2)
        self.recent = np.zeros((self.settings.volatility_window, len(equity)))
        self.steps = 0
        self.held: np.ndarray | None = None

    def of_step(self, env: BookEnv, result: StepResult) -> np.ndarray:
        """Return what one step of the environment pays; asks it only for what the settings need."""
        turnover = result.turnover() if self.settings.turnover_weight else None
        growth = env.growth() if self.settings.over_benchmark else None
        return self.pay(result.equity_before, result.equity_after, turnover, growth)

    def pay(
        self,
        before: np.ndarray,
        after: np.ndarray,
        turnover: np.ndarray | None = None,
        growth: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the scaled, clipped reward of one step; zero for a book ruined before it.

        Shapes: (B,), growth (B, N). Units: equity before and after in dollars, `turnover` value
        traded / equity before, `growth` price after / price before of each of the book's symbols.
        """
        alive = before > 0
        base = np.where(alive, before, 1.0)
        paid = self._kind(before, after, base, growth) - self._penalty(
            before, after, base, turnover
        )
        self.steps += 1
        paid = np.where(alive, paid, 0.0)
        if self.settings.scaling == "running":
            paid = paid / self._running(paid[alive])
        paid = paid * self.factor
        clip = self.settings.clip
        return paid if clip is None else np.clip(paid, -clip, clip)

    def state(self) -> dict[str, np.ndarray]:
        """Return everything needed to go on bit for bit, as arrays."""
        names = ("seen", "at_start", "peak", "mean", "square", "recent")
        own = {name: getattr(self, name).copy() for name in names}
        held = {} if self.held is None else {"held": self.held.copy()}
        return {**own, **held, "steps": np.array(self.steps)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a state."""
        found = {name: np.array(x) for name, x in state.items()}
        self.steps, self.held = int(found.pop("steps")), found.pop("held", None)
        for name, x in found.items():
            setattr(self, name, x)

    def _kind(
        self, before: np.ndarray, after: np.ndarray, base: np.ndarray, growth: np.ndarray | None
    ) -> np.ndarray:
        kind = self.settings.kind
        rival_before, rival_after = self._benchmark(growth)
        if kind == "pnl":
            return np.asarray((after - before) / self.at_start - (rival_after - rival_before))
        rival = rival_after / rival_before
        if kind == "log_return":
            return np.asarray(np.log(np.maximum(after / base, FLOOR)) - np.log(rival))
        change = (after - before) / base - (rival - 1.0)
        return self._differential(change) if self.differs else change

    def _benchmark(self, growth: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        # Bought at the episode's first close, one share of the book each, and held; value per
        # dollar invested, before and after. A symbol not listed yet is cash until its first close.
        if not self.settings.over_benchmark:
            one = np.float64(1.0)
            return np.asarray(one), np.asarray(one)
        assert growth is not None
        if self.held is None:
            self.held = np.full(growth.shape, 1.0 / growth.shape[1])
        before = self.held.sum(axis=1)
        self.held = self.held * growth
        return before, self.held.sum(axis=1)

    def _differential(self, change: np.ndarray) -> np.ndarray:
        mean, square, loss = self.mean, self.square, np.minimum(change, 0.0) ** 2
        if self.settings.kind == "differential_sharpe":
            spread = np.sqrt(np.maximum(square - mean**2, STILL))
            grown = square * (change - mean) - mean * (change**2 - square) / 2.0
            toward, paid = change**2, grown / spread**3
        else:
            down = np.sqrt(np.maximum(square, STILL))
            paid = (change - mean / 2.0) / down - mean * loss / (2.0 * down**3)
            toward = loss
        self.mean = mean + self.settings.decay * (change - mean)
        self.square = square + self.settings.decay * (toward - square)
        return np.asarray(paid)

    def _penalty(
        self, before: np.ndarray, after: np.ndarray, base: np.ndarray, turnover: np.ndarray | None
    ) -> np.ndarray | float:
        settings = self.settings
        total: np.ndarray | float = 0.0
        if settings.volatility_weight:
            self.recent[self.steps % len(self.recent)] = (after - before) / base
            known = self.recent[: self.steps + 1]
            if len(known) > 1:
                total = total + settings.volatility_weight * known.std(axis=0, ddof=1)
        if settings.drawdown_weight:
            self.peak = np.maximum(self.peak, after)
            total = total + settings.drawdown_weight * (1.0 - after / self.peak)
        if settings.turnover_weight:
            assert turnover is not None
            total = total + settings.turnover_weight * turnover
        return total

    def _running(self, paid: np.ndarray) -> float:
        if not self.frozen:
            self.seen = self.seen + np.array([len(paid), paid @ paid])
        count, squares = self.seen
        return float(np.sqrt(squares / count)) if squares > 0 else 1.0
