"""Memory check: what an agent does hangs on bars, and not on where its memory happened to begin.

Two questions. Does the length of the burn-in move actions and equity over the test dates? And does a
memory that has lived for many episodes still act like one that was begun anew, or has it drifted to
where training never was?
"""

from dataclasses import dataclass, replace

import numpy as np

from engine.bars import Bars
from engine.errors import DataError
from engine.observation import Observation, market_part
from engine.policy import Policy
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.settings_agent import window_of
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue

MULTIPLES = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)  # of the checkpoint's burn-in
USUAL = 64  # stands in for a burn-in of 0
EPISODES = (1, 4, 16)
WISH = ("exposure", "keep")
MOVED = 0.01  # sleeves; an exposure that differs by less is the same action


@dataclass(frozen=True, slots=True)
class Length:
    """The test dates after a burn-in of so many rows, against the longest one.

    Units: changes in sleeves; `changed` share of decisions; `equity` final equity / the longest's - 1.
    `norm` is the mean length of the memory vectors at the first decision.
    """

    rows: int
    norm: float
    mean_change: float
    max_change: float
    changed: float
    equity: float


@dataclass(frozen=True, slots=True)
class Age:
    """A memory that has lived so many episodes, against one begun anew on the same observations."""

    episodes: int
    session: str
    norm: float
    fresh_norm: float
    changed: float


@dataclass(frozen=True, slots=True)
class MemoryResult:
    """What came out; `notes` say what could not be measured and why.

    `window` is K of a window(K) memory, which holds K rows and no more; None for one that is carried.
    Behind the checkpoint's own burn-in: `fills` orders were filled over the test dates, and `wishes`
    different exposures asked for.
    """

    burn_in: int
    window: int | None
    lengths: tuple[Length, ...]
    ages: tuple[Age, ...]
    notes: tuple[str, ...]
    fills: int
    wishes: int

    @property
    def dependence(self) -> float:
        """Share of decisions that the checkpoint's own burn-in changes against the longest."""
        return next(item.changed for item in self.lengths if item.rows == self.burn_in)

    @property
    def beyond_window(self) -> bool:
        """Whether anything at all moved although the window was filled."""
        filled = [item for item in self.lengths if item.rows >= (self.window or 1) - 1]
        return any(item.max_change or item.changed or item.equity for item in filled)

    def holds(self, limit: float) -> bool:
        """Tell whether actions hang on the burn-in no more than `limit` allows; a window: not at all."""
        if self.window is not None:
            return not self.beyond_window
        return self.dependence <= limit


def check_memory(
    bars: Bars,
    spec: TraderSpec,
    policy: Policy,
    memory: str,
    span: tuple[int, int],
    episode: int,
    cash: float,
) -> MemoryResult:
    """Measure both over the bars `span` (first and last tested, inclusive), and all before it.

    `memory` is the checkpoint's rule and `episode` the bars of a training episode. Ages count from
    the first bar that has a row and its burn-in. Raises: DataError where history is too short.
    """
    first, last = span
    rows = spec.features.history(bars)
    asked = _lengths(spec.burn_in)
    known = rows[1][:first].sum(axis=0)
    at_hand = int(known[known > 0].min(initial=int(known.max(initial=0))))
    used = [length for length in asked if length <= at_hand]
    notes = [_too_short(bars, first, length, at_hand) for length in asked if length > at_hand]
    if spec.burn_in not in used or used[-1] == spec.burn_in:
        raise DataError(f"{notes[0]}: start the data earlier, or split.test later")
    records = {}
    for length in used:
        trader = _Burnt(spec, policy, len(bars.symbols), length)
        venue = SimVenue(cash, (1, len(bars.symbols)), spec.costs, spec.venue)
        records[length] = (trader, replay(trader, venue, bars, first, last, rows=rows))
    longest = records[used[-1]][1].arrays()
    lengths = tuple(
        _against(trader, record.arrays(), longest) for trader, record in records.values()
    )
    ages, young = _ages(bars, spec, policy, rows, episode, cash)
    notes += young
    return MemoryResult(
        spec.burn_in,
        window_of(memory),
        lengths,
        ages,
        tuple(notes),
        *_did(records[spec.burn_in][1].arrays()),
    )


class _Burnt(Trader):
    # A trader that burns in over another number of rows, and is ready all the same when its like is.
    def __init__(self, spec: TraderSpec, policy: Policy, symbols: int, length: int) -> None:
        super().__init__(spec, policy, symbols)
        self.length, self.norm = length, 0.0

    def burn_in(self, market: np.ndarray, fresh: np.ndarray) -> None:
        """See `Trader`; the rows before the first decision are counted in full."""
        own = self.spec
        self.spec = replace(own, burn_in=self.length)
        super().burn_in(market, fresh)
        self.spec, self.warm = own, fresh.sum(axis=0)
        self.norm = _norm(self.memory)


def _did(rows: dict[str, np.ndarray]) -> tuple[int, int]:
    # Orders filled, and how many different exposures were asked for; keep asks for none.
    asked = np.round(rows["exposure"] / MOVED)[~rows["keep"]]
    return int(np.count_nonzero(np.nan_to_num(rows["filled"]))), len(np.unique(asked))


def _lengths(burn_in: int) -> list[int]:
    base = burn_in or USUAL
    return sorted({burn_in, *(round(base * multiple) for multiple in MULTIPLES)})


def _too_short(bars: Bars, first: int, length: int, at_hand: int) -> str:
    return (
        f"a burn-in of {length} rows was not measured: before {bars.sessions[first]}, the first test "
        f"date, a symbol has only {at_hand} rows of features"
    )


def _against(trader: _Burnt, own: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> Length:
    moved, changed = _moved(*(side[name] for side in (own, other) for name in WISH))
    return Length(
        rows=trader.length,
        norm=trader.norm,
        mean_change=float(moved.mean()),
        max_change=float(moved.max()),
        changed=float(changed.mean()),
        equity=float(own["equity"][-1] / other["equity"][-1] - 1.0),
    )


def _moved(
    wish: np.ndarray, keep: np.ndarray, other: np.ndarray, kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # By how much exposures differ, none where both keep what they hold; and which actions differ.
    moved = np.where(keep & kept, 0.0, np.abs(wish - other))
    return moved, (moved > MOVED) | (keep != kept)


def _ages(
    bars: Bars,
    spec: TraderSpec,
    policy: Policy,
    rows: tuple[np.ndarray, np.ndarray],
    episode: int,
    cash: float,
) -> tuple[tuple[Age, ...], list[str]]:
    # One life over all bars; at each age both memories see what it saw over a quarter of an episode.
    ready = np.flatnonzero((np.cumsum(rows[1], axis=0) > spec.burn_in).any(axis=1))
    if not len(ready):
        return (), ["no symbol has a row of features and its burn-in: ages were not measured"]
    begin, last = int(ready[0]), len(bars.sessions) - 1
    trader = Trader(spec, policy, len(bars.symbols))
    venue = SimVenue(cash, (1, len(bars.symbols)), spec.costs, spec.venue)
    life = replay(trader, venue, bars, begin, last, rows=rows)
    ages, notes = [], []
    for episodes in EPISODES:
        at = begin + episodes * episode
        if at > last:
            notes.append(
                f"an age of {episodes} episodes of {episode} bars was not measured: the data has "
                f"{last - begin + 1} bars from {bars.sessions[begin]} on"
            )
            continue
        until = min(at + max(episode // 4, 1), last + 1)
        ages.append(_age(bars, trader, life, rows, episodes, range(at, until), begin))
    return tuple(ages), notes


def _age(
    bars: Bars,
    trader: Trader,
    life: Recorder,
    rows: tuple[np.ndarray, np.ndarray],
    episodes: int,
    days: range,
    begin: int,
) -> Age:
    seen = rows[1][days[0] : days[-1] + 1]
    trader.memory = life.rows[days[0] - 1 - begin]["memory"][None]
    norm, old = _norm(trader.memory), _wishes(trader, life, seen, days[0] - begin)
    market = market_part(rows[0][: days[0], None], trader.spec.scaler)
    trader.burn_in(market, rows[1][: days[0], None])
    fresh_norm, new = _norm(trader.memory), _wishes(trader, life, seen, days[0] - begin)
    _, changed = _moved(*old, *new)
    share = float(changed[seen].mean()) if seen.any() else 0.0
    return Age(episodes, str(bars.sessions[days[0]]), norm, fresh_norm, share)


def _wishes(
    trader: Trader, life: Recorder, seen: np.ndarray, begin: int
) -> tuple[np.ndarray, np.ndarray]:
    # What the trader's memory wants when it is shown what was seen from row `begin` on; (S, N) each.
    wishes = []
    for fresh, row in zip(seen, life.rows[begin:], strict=False):
        valid = row["valid"][None] if row["valid"].shape[-1] else None
        obs = Observation(row["market"][None], row["book"][None], fresh[None], valid)
        wishes.append(trader.act(obs))
    return (
        np.concatenate([wish.exposure for wish in wishes]),
        np.concatenate([wish.keep for wish in wishes]),
    )


def _norm(memory: np.ndarray) -> float:
    return float(np.linalg.norm(memory, axis=-1).mean())
