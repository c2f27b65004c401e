"""The training environment: many books stepped side by side through the real Trader and SimVenue.

`BookEnv` works on arrays; `agents.gym_env` dresses it for Gymnasium. Decision on the close of bar t,
fill at the open of t + 1, reward from the change of marked equity from close to close.

Ruin (equity not above zero) is *terminated*; the end of the episode or of the data is *truncated*.
All books that are reset together stay in step, so episode ends fall on common steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from agents.panel import Panel
from engine.errors import DataError
from engine.observation import Observation
from engine.policy import Policy, Wish
from engine.trader import Decision, Trader, TraderSpec
from engine.venue import Outcome, SimVenue


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one step did. Shapes: (B,) each; equities in account currency."""

    equity_before: np.ndarray
    equity_after: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    decision: Decision
    outcome: Outcome

    def turnover(self) -> np.ndarray:
        """Return the value traded / equity before, (B,); 0 for a ruined book."""
        traded = np.nansum(np.abs(self.outcome.filled * self.outcome.price), axis=-1)
        alive = self.equity_before > 0
        return np.where(alive, traded / np.where(alive, self.equity_before, 1.0), 0.0)


@dataclass(frozen=True)
class BookPlan:
    """Which books there are. `kind`: one symbol a book, drawn from all; or every symbol, one cash.

    Where the panel holds several markets side by side (`agents.augment`), `symbols` is how many each
    has, and `made_up` the share of random episodes that play on another than the first. `regime`:
    only starts whose episode is in the calmer or the wilder half of its symbol's.
    """

    books: int
    kind: Literal["single", "portfolio"]
    episode_steps: int
    starts: Literal["random", "sequential"] = "random"
    cash: float = 100_000.0
    symbols: int | None = None
    made_up: float = 0.0
    regime: Literal["all", "low", "high"] = "all"


class _External:
    # The caller chooses actions and keeps the memory; the trader inside holds none.
    memory_width = 0

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        raise AssertionError("this environment has no policy of its own; call step(wish)")


class BookEnv:
    """B books of N symbols over the bars `first` to `last` (indices, both inclusive).

    Raises: DataError at the first reset when no episode fits.
    """

    def __init__(
        self,
        panel: Panel,
        spec: TraderSpec,
        plan: BookPlan,
        generator: np.random.Generator,
        first: int = 0,
        last: int | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.panel, self.spec, self.plan, self.generator = panel, spec, plan, generator
        self.market_symbols = plan.symbols or panel.market.shape[1]
        self.symbols = 1 if plan.kind == "single" else self.market_symbols
        self.first = first
        self.last = len(panel.bars.sessions) - 1 if last is None else last
        self.trader = Trader(spec, policy or _External(), self.symbols, plan.books)
        self.venue = SimVenue(plan.cash, (plan.books, self.symbols), spec.costs, spec.venue)
        self.at = np.zeros(plan.books, dtype=np.int64)
        self.symbol = np.zeros((plan.books, self.symbols), dtype=np.int64)
        self.steps = np.zeros(plan.books, dtype=np.int64)
        self._next_start = 0
        self.setup, self._follows = 0, (0, self)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, N, F, P): books, symbols a book, market inputs, book inputs."""
        return (
            self.plan.books,
            self.symbols,
            self.panel.market.shape[2],
            len(self.spec.book_inputs),
        )

    def reset(self, where: np.ndarray | None = None) -> None:
        """Start new episodes for the books in `where` (B,), all by default."""
        where = np.ones(self.plan.books, dtype=bool) if where is None else where
        if where.all() and self._follows[0] != self.setup:
            self.become(*self._follows)
        chosen = self._draw(int(where.sum()))
        self.at[where] = self.starts[chosen, 0]
        first = self.starts[chosen, 1:] * self.symbols
        self.symbol[where] = first + np.arange(self.symbols)
        self.steps[where] = 0
        self.begin(where)

    def follow(self, setup: int, other: "BookEnv") -> None:
        """Turn into another environment of the same shape when all books next start an episode."""
        self._follows = setup, other

    def become(self, setup: int, other: "BookEnv") -> None:
        """Turn into another environment at once, known by a number; books and generator stay."""
        self.setup, self._follows = setup, (setup, other)
        self.panel, self.spec, self.plan = other.panel, other.spec, other.plan
        self.first, self.last = other.first, other.last
        self.trader, self.venue = other.trader, other.venue
        self.starts, self._next_start = other.starts, 0

    def begin(self, where: np.ndarray) -> None:
        """Open flat books at the current bars of `where`; what they hold elsewhere is untouched."""
        self.venue.reset(where, self.plan.cash)
        self.venue.begin(where, self.panel.row(self.at, self.symbol))
        self.trader.reset(where)
        rows = self.panel.rank[self.at[:, None], self.symbol]
        warm = np.minimum(rows, self.spec.burn_in)
        self.trader.warm = np.where(where[:, None], warm, self.trader.warm)
        if not isinstance(self.trader.policy, _External):
            self._burn_in()

    def _burn_in(self) -> None:
        # With a policy of its own the environment deploys it: all books start together.
        rows, count = self.lead()
        self.trader.burn_in(rows, np.arange(len(rows))[:, None, None] < count)

    def observe(self) -> Observation:
        """Return what each book sees on its current bar; call once a bar, before `step`."""
        when = self.at[:, None]
        fresh = self.panel.fresh[when, self.symbol]
        market = self.panel.market[when, self.symbol]
        return self.trader.observe(market, fresh, self.venue.book)

    def step(self, obs: Observation, wish: Wish) -> StepResult:
        """Commit the wish, fill at the next open, mark at the next close."""
        before = self.venue.book.equity()
        traded = self.panel.bars.traded[self.at[:, None], self.symbol]
        decision = self.trader.commit(obs, wish, traded, self.venue.book, self.venue.pending.qty)
        self.venue.submit(decision.orders)
        self.at = np.minimum(self.at + 1, self.last)
        self.steps = self.steps + 1
        outcome = self.venue.advance(self.panel.row(self.at, self.symbol))
        after = self.venue.book.equity()
        return StepResult(
            equity_before=before,
            equity_after=after,
            terminated=after <= 0.0,
            truncated=(self.steps >= self.plan.episode_steps) | (self.at >= self.last),
            decision=decision,
            outcome=outcome,
        )

    def growth(self) -> np.ndarray:
        """Return how the last step moved each symbol: value after / before of one bought and held.

        Shapes: (B, N). Dividends count where the venue pays them.
        """
        table = self.panel.growth[int(self.spec.venue.pay_dividends)]
        return np.asarray(table[self.at[:, None], self.symbol])

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return all state but the generator's as named arrays, enough to go on bit for bit."""
        own = {"at": self.at, "symbol": self.symbol, "steps": self.steps, "warm": self.trader.warm}
        held = {f"venue.{name}": array for name, array in self.venue.snapshot().items()}
        return {
            **{name: array.copy() for name, array in own.items()},
            **held,
            "next_start": np.array(self._next_start),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a snapshot of an environment of the same shape."""
        self.at, self.symbol = state["at"].copy(), state["symbol"].copy()
        self.steps, self.trader.warm = state["steps"].copy(), state["warm"].copy()
        self._next_start = int(state["next_start"])
        held = {k.removeprefix("venue."): v for k, v in state.items() if k.startswith("venue.")}
        self.venue.restore(held)

    def lead(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the burn-in rows before the current bar of every book and symbol.

        Shapes: rows (L, B, N, F) float32, oldest first, zero after each symbol's `count` (B, N).
        """
        end = self.panel.rank[self.at[:, None], self.symbol]
        start = np.maximum(end - self.spec.burn_in, 0)
        return self._compact(start, int((end - start).max(initial=0))), end - start

    def sequence(self, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows from the current bar on, and where each bar's row stands among them.

        Shapes: rows (L, B, N, F) gap-free; index (S, B, N) into L, valid where fresh (S, B, N).
        """
        when = np.minimum(self.at + np.arange(steps)[:, None], self.last)[:, :, None]
        fresh = self.panel.fresh[when, self.symbol]
        start = self.panel.rank[self.at[:, None], self.symbol]
        index = self.panel.rank[when, self.symbol] - start
        length = int((index + fresh).max(initial=1))
        return self._compact(start, max(length, 1)), np.where(fresh, index, 0), fresh

    def _compact(self, start: np.ndarray, length: int) -> np.ndarray:
        span = start + np.arange(length)[:, None, None]
        last = self.panel.compact.shape[1] - 1
        rows: np.ndarray = self.panel.compact[self.symbol, np.minimum(span, last)]
        return rows

    @cached_property
    def starts(self) -> np.ndarray:
        """Bar and symbol of every possible start, (K, 2); bar and market for portfolio books."""
        return self._possible_starts()

    def _possible_starts(self) -> np.ndarray:
        # Rows of (bar, symbol): features exist, memory is burnt in, and the episode fits.
        rank, fresh = self.panel.rank[:-1], self.panel.fresh
        ready: np.ndarray = fresh & (rank >= self.spec.burn_in)
        ready[: self.first] = False
        ready[max(self.last - self.plan.episode_steps + 1, 0) :] = False
        if self.plan.kind == "portfolio":
            ready = np.asarray(ready.reshape(len(ready), -1, self.symbols).any(axis=-1))
        found = np.argwhere(ready.T)[:, ::-1]  # one symbol after the other, in time
        if not len(found):
            sessions = self.panel.bars.sessions
            raise DataError(
                f"no episode of {self.plan.episode_steps} steps after {self.spec.burn_in} burn-in "
                f"rows fits between {sessions[self.first]} and {sessions[self.last]} "
                f"({self.last - self.first + 1} sessions); use more data, fewer "
                "train.episode_steps or a shorter agent.burn_in"
            )
        return found if self.plan.regime == "all" else self._of_regime(found)

    def _of_regime(self, starts: np.ndarray) -> np.ndarray:
        # By the squared log growth over the episode, against the median of the start's own symbol.
        moved = np.cumsum(np.log(self.panel.growth[0]) ** 2, axis=0)
        moved = moved.reshape(len(moved), -1, self.symbols).mean(axis=-1)
        bar, column = starts.T
        paid = moved[bar + self.plan.episode_steps, column] - moved[bar, column]
        middle = np.zeros(moved.shape[1])
        for n in np.unique(column):
            middle[n] = np.median(paid[column == n])
        low = self.plan.regime == "low"
        chosen: np.ndarray = starts[paid <= middle[column] if low else paid >= middle[column]]
        return chosen

    def _draw(self, count: int) -> np.ndarray:
        is_one_market = self.market_symbols == self.panel.market.shape[1]
        if self.plan.starts == "random" and is_one_market:
            return self.generator.integers(len(self.starts), size=count)
        if self.plan.starts == "random":
            real = int((self.starts[:, 1] * self.symbols < self.market_symbols).sum())
            made_up = self.generator.random(count) < self.plan.made_up
            others = self.generator.integers(real, max(len(self.starts), real + 1), size=count)
            own = self.generator.integers(0, max(real, 1), size=count)
            return np.where(made_up, others, own)
        stride = self.plan.episode_steps
        chosen = (self._next_start + stride * np.arange(count)) % len(self.starts)
        self._next_start = int((self._next_start + stride * count) % len(self.starts))
        return chosen
