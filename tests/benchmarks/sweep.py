"""A sweep of costs without Backtrader: all of it as books of one replay, against one backtest after another.

Five costs, as a walk-forward plays them for every seed: its own and the four of `walkforward.cost_bps`.
"apart" runs `through_backtrader` under each of them; "together" is one replay of five books that pay
five costs. Before anything is timed both must have filled the same orders at the same prices.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from engine.bars import Bars
from engine.costs import Costs, CostsByBook
from engine.run.backtest import through_backtrader
from engine.run.record import Recorder
from engine.run.replay import replay
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue
from tests.benchmarks.agent import policy, spec_for
from tests.benchmarks.backtest import CASH_A_SYMBOL, over_markets
from tests.benchmarks.harness import Row, interleave, seconds

BPS = (5.0, 0.0, 10.0, 25.0, 50.0)


def measure(quick: bool) -> tuple[list[Row], list[str]]:
    """Return the rows; nothing is ever left out."""
    return over_markets(_rows, quick, (5, 3)), []


def apart(bars: Bars, specs: list[TraderSpec], first: int) -> list[Recorder]:
    """Backtest through Backtrader under each cost, one after the other."""
    symbols, last = len(bars.symbols), len(bars.sessions) - 1
    return [
        through_backtrader(
            bars,
            Trader(spec, policy(), symbols),
            SimVenue(CASH_A_SYMBOL * symbols, (1, symbols), spec.costs, spec.venue),
            first,
            last,
        )
        for spec in specs
    ]


def together(bars: Bars, specs: list[TraderSpec], first: int) -> list[Recorder]:
    """Replay once, with a book for each cost."""
    symbols, last, books = len(bars.symbols), len(bars.sessions) - 1, len(specs)
    rules = CostsByBook(tuple(spec.costs for spec in specs))
    trader = Trader(specs[0], policy(), symbols, books, rules)
    venue = SimVenue(CASH_A_SYMBOL * symbols, (books, symbols), rules, specs[0].venue)
    return replay(trader, venue, bars, first, last).apart()


def _rows(market: str, bars: Bars, first: int, rounds: int) -> list[Row]:
    plain = spec_for(bars, 1.0 / len(bars.symbols))
    specs = [replace(plain, costs=Costs(rate=bps * 1e-4, slippage_bps=2.0)) for bps in BPS]
    runs = {
        "apart": partial(apart, bars, specs, first),
        "together": partial(together, bars, specs, first),
    }
    _require_equal(*(run() for run in runs.values()))
    took = interleave({name: seconds(run) for name, run in runs.items()}, rounds)
    name = f"sweep of {len(BPS)} costs, {market}"
    return [
        Row(f"replay together, {name}", took["together"], "s"),
        Row(f"Backtrader path / replay, {name}", took["apart"] / took["together"], "x", "10 x"),
    ]


def _require_equal(one: list[Recorder], other: list[Recorder]) -> None:
    for apart_, together_ in zip(one, other, strict=True):
        for field in ("filled", "price", "fee", "equity"):
            played, replayed = (record.arrays()[field] for record in (apart_, together_))
            if not np.array_equal(played, replayed, equal_nan=True):
                raise AssertionError(f"{field} of a sweep differs between Backtrader and replay")
