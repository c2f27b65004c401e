"""The decision: the only code that turns a closed bar into orders.

The training environment, the replay, the Backtrader strategy and a paper session are thin shells
around `Trader`. It owns the memory (reset and burn-in happen here and nowhere else); the book belongs
to the venue and is handed in. It knows no files, no torch and no Backtrader.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from engine.bars import Bars
from engine.book import Book, Orders
from engine.burn_in import last_rows, needed
from engine.checkpoint import CheckpointInfo, require_match
from engine.costs import CostRules, Costs
from engine.errors import CheckpointError, SettingsError
from engine.feature_stream import FeatureStream
from engine.features import FeatureSet
from engine.limits import Limits, constrain
from engine.masks import every, finite
from engine.observation import Layout, Observation, Scaler, book_part, market_part
from engine.orders import Sizing, plan
from engine.policy import ActionSpace, Policy, Wish, valid_actions
from engine.reasons import Reason, mark
from engine.venue import VenueSettings


@dataclass(frozen=True)
class TraderSpec:
    """Everything a decision depends on besides bars, book, policy and memory."""

    features: FeatureSet
    scaler: Scaler
    book_inputs: tuple[str, ...]
    action: ActionSpace
    limits: Limits = field(default_factory=Limits)
    sizing: Sizing = field(default_factory=Sizing)
    costs: Costs = field(default_factory=Costs)
    venue: VenueSettings = field(default_factory=VenueSettings)
    allocation: float = 1.0  # sleeve of one symbol, fraction of equity
    burn_in: int = 0  # feature rows that build memory before the first decision

    def __post_init__(self) -> None:
        """Raises: SettingsError when exposures are sized by a feature that is not there."""
        name = self.action.sized_by
        if name is not None and name not in self.features.names:
            raise SettingsError(
                f"agent.action.volatility sizes exposures by {name}, expected it among "
                f"observation.features, found {', '.join(self.features.names)}; add it there, or set "
                "agent.action.volatility_bars to one that is"
            )

    @property
    def size_column(self) -> int:
        """Place of the feature that exposures are sized by."""
        assert self.action.sized_by is not None
        return self.features.names.index(self.action.sized_by)

    @classmethod
    def of_checkpoint(
        cls, info: CheckpointInfo, where: str, venue: VenueSettings, allocation: float
    ) -> Self:
        """Return what a trained agent decides with: inputs, action, limits and costs as in training.

        Raises: CheckpointError naming `where` when a feature has come to mean something else.
        """
        features = FeatureSet(info.features)
        require_match(info, where, Layout.of(features, info.book, info.clip))
        return cls(
            features=features,
            scaler=info.frozen_scaler(),
            book_inputs=info.book,
            action=info.action,
            limits=info.limits,
            sizing=info.sizing,
            costs=info.costs,
            venue=venue,
            allocation=allocation,
            burn_in=info.burn_in,
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What was seen, wanted, allowed and ordered on one closed bar.

    Shapes: (B, N) each; `obs` as in `Observation`. `target` in weights of equity; `reasons` are
    bits of `engine.reasons.Reason`.
    """

    obs: Observation
    wish: Wish
    target: np.ndarray
    orders: Orders
    reasons: np.ndarray


class Trader:
    """Observe, act, commit: one decision a bar for B books of N symbols.

    Shapes: memory (B, N, M) float32; `warm` (B, N) counts the feature rows behind the memory. `costs`
    are those that orders are planned with, where books differ in them; else those of the spec.
    """

    def __init__(
        self,
        spec: TraderSpec,
        policy: Policy,
        symbols: int,
        books: int = 1,
        costs: CostRules | None = None,
    ) -> None:
        self.spec = spec
        self.policy = policy
        self.costs = costs or spec.costs
        self.shape = (books, symbols)
        self.stream = FeatureStream(spec.features, symbols)
        self.observer: Callable[[Decision], None] | None = None
        self.reset(np.ones(books, dtype=bool))

    def reset(self, where: np.ndarray) -> None:
        """Start the memory of some books from zero; `where` (B,) says which."""
        if where.all():
            self.memory = np.zeros((*self.shape, self.policy.memory_width), dtype=np.float32)
            self.warm = np.zeros(self.shape, dtype=np.int64)
            return
        self.memory = np.where(where[:, None, None], np.float32(0.0), self.memory)
        self.warm = np.where(where[:, None], 0, self.warm)

    def prime(self, history: Bars) -> None:
        """Take in bars before the first decision: feature windows, and memory from zero + burn-in.

        Each symbol's memory is built from its own last `burn_in` feature rows. Books: 1.
        """
        if not history.sessions.size:
            return
        self.stream.prime(history)
        end = needed(history, self.spec.features.lookback, self.spec.burn_in)
        features, fresh = self.spec.features.history(end)
        market = market_part(features, self.spec.scaler)
        self.burn_in(market[:, None], fresh[:, None])

    def burn_in(self, market: np.ndarray, fresh: np.ndarray) -> None:
        """Build the memory from zero over the last `burn_in` fresh rows of each symbol.

        Shapes: market (S, B, N, F) float32; fresh (S, B, N). No decision is made.
        """
        self.reset(np.ones(self.shape[0], dtype=bool))
        used = last_rows(fresh, self.spec.burn_in)
        flat = Book.start(1.0, *self.shape)
        for step in np.flatnonzero(used.any(axis=(1, 2))):
            self.act(self.observe(market[step], used[step], flat))

    def on_bar(
        self,
        session: np.datetime64,
        ohlcv: np.ndarray,
        traded: np.ndarray,
        split: np.ndarray,
        dividend: np.ndarray,
        book: Book,
        open_qty: np.ndarray,
    ) -> Decision:
        """Decide on one closed bar of a single book, features computed from the live windows.

        Shapes: ohlcv (N, 5), traded, split, dividend (N,), open_qty (1, N) shares in open orders.
        """
        row, ready = self.stream.push(session, ohlcv, traded, split, dividend)
        market = market_part(row, self.spec.scaler)
        return self.step(market[None], ready[None], traded[None], book, open_qty)

    def step(
        self,
        market: np.ndarray,
        fresh: np.ndarray,
        traded: np.ndarray,
        book: Book,
        open_qty: np.ndarray,
    ) -> Decision:
        """Observe, act, commit. Shapes: market (B, N, F) float32, fresh, traded, open_qty (B, N)."""
        book = book.still()
        obs = self.observe(market, fresh, book)
        return self.commit(obs, self.act(obs), traded, book, open_qty)

    def observe(self, market: np.ndarray, fresh: np.ndarray, book: Book) -> Observation:
        """Join the market part with the book as it stands, in sleeves; count the row.

        Which actions are valid is found here and nowhere else.
        """
        self.warm, book = self.warm + fresh, book.still()
        sleeve = np.maximum(book.equity(), 0.0)[:, None] * self.spec.allocation
        valid = valid_actions(self.spec.action, book.qty, self.spec.limits.allow_short)
        return Observation(market, book_part(book, sleeve, self.spec.book_inputs), fresh, valid)

    def act(self, obs: Observation) -> Wish:
        """Ask the policy and advance the memory of the symbols whose bar is fresh."""
        wish, memory = self.policy.act(obs, self.memory)
        if not finite(wish.exposure) or not finite(memory):
            raise CheckpointError(
                "the policy returned a number that is not finite; expected finite exposures and "
                "memory; nothing was ordered: train or choose another checkpoint"
            )
        if every(obs.fresh):
            self.memory = memory
        else:
            self.memory = np.where(obs.fresh[:, :, None], memory, self.memory)
        return wish

    def commit(
        self, obs: Observation, wish: Wish, traded: np.ndarray, book: Book, open_qty: np.ndarray
    ) -> Decision:
        """Turn a wish into orders that the limits allow.

        Shapes: traded, open_qty (B, N). A symbol that did not trade keeps; one that is short of
        lookback and burn-in is flat; both carry the reason.
        """
        reasons, book = np.zeros(self.shape, dtype=np.int32), book.still()
        equity, value = book.equity(), book.value()
        wish = self._gate(obs, wish, traded, book.mark > 0.0, value, equity, reasons)
        alive = (equity > 0.0)[:, None]
        held = value / np.where(alive, equity[:, None], np.inf)
        wanted = wish.exposure * self.spec.allocation
        bound = constrain(wanted, wish.keep, held, self.spec.limits)
        planned = plan(
            bound.target,
            bound.trade & traded,
            reasons | bound.reasons,
            book,
            open_qty,
            self.spec.sizing,
            self.spec.limits,
            self.costs,
            self.spec.venue,
        )
        decision = Decision(obs, wish, bound.target, planned.orders, planned.reasons)
        if self.observer is not None:
            self.observer(decision)
        return decision

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return all state as named arrays, enough to go on bit for bit."""
        state = {f"stream.{name}": array for name, array in self.stream.state().items()}
        return {"memory": self.memory.copy(), "warm": self.warm.copy(), **state}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a snapshot. Raises: CheckpointError when its shape does not fit."""
        if state["memory"].shape != self.memory.shape:
            raise CheckpointError(
                f"memory of shape {self.memory.shape} expected, found {state['memory'].shape}; "
                "the snapshot belongs to another checkpoint or symbol list: burn in again"
            )
        self.memory = state["memory"].copy()
        self.warm = state["warm"].copy()
        prefix = "stream."
        self.stream.restore(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )

    def _gate(
        self,
        obs: Observation,
        wish: Wish,
        traded: np.ndarray,
        listed: np.ndarray,
        value: np.ndarray,
        equity: np.ndarray,
        reasons: np.ndarray,
    ) -> Wish:
        # Rounding happens here and nowhere else, so that a last-bit difference buys no share.
        exposure = wish.exposure.astype(np.float64)
        if self.spec.action.volatility is not None:
            exposure *= self._size(obs, self.spec.action.volatility)
        exposure = exposure.round(self.spec.sizing.decimals)
        ready = obs.fresh & (self.warm > self.spec.burn_in)
        keep = wish.keep
        if not every(ready & traded):
            exposure = np.where(ready, exposure, 0.0)
            keep = (keep & ready) | ~traded
            mark(reasons, ~ready & traded, Reason.NOT_READY)
            mark(reasons, ~traded & listed, Reason.NOT_TRADED)
        if self.spec.action.band and not every(keep):
            sleeve = np.maximum(equity, 0.0)[:, None] * self.spec.allocation
            held = value / np.where(sleeve > 0.0, sleeve, np.inf)
            near = np.abs(exposure - held) < self.spec.action.band
            near = near & (exposure != 0.0) & ~keep
            mark(reasons, near, Reason.BAND)
            keep = keep | near
        return Wish(exposure, keep)

    def _size(self, obs: Observation, wanted: float) -> np.ndarray:
        # Volatility targeting: the same exposure stands for the same risk in wild and in calm times.
        # Source: Moskowitz, Ooi and Pedersen, Time series momentum, J. Financial Economics 104 (2012).
        found = self.spec.scaler.undo(obs.market, self.spec.size_column)
        return np.asarray(wanted / np.maximum(found, wanted))
