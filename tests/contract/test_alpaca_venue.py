"""AlpacaVenue in lockstep with a SimVenue: every kind of order, splits, fractions, whole days missed."""

from dataclasses import replace

import numpy as np
import pytest

from engine.costs import Costs
from engine.errors import VenueError
from engine.reasons import Reason
from engine.venue import LIMIT, STOP, Orders, SimVenue, VenueSettings
from tests.contract.alpaca_stage import AlpacaStage
from tests.sessions import market, random_orders, session, special, walk


@pytest.fixture
def stages():
    """Make stages, and close their journals whatever happens."""
    made = []

    def make(cash, symbols):
        made.append(AlpacaStage(cash, symbols))
        return made[-1]

    yield make
    for stage in made:
        stage.close()


def split_now_and_then(rows, rng):
    """Return the rows with a two for one split in one symbol every twenty sessions."""
    factor, out = np.ones(rows[0].close.shape), []
    for at, row in enumerate(rows):
        split = np.ones(row.close.shape)
        if at % 20 == 10:
            split[0, rng.integers(split.shape[1])] = 2.0
        factor *= split
        fields = ("open", "high", "low", "close")
        prices = {name: getattr(row, name) / factor for name in fields}
        out.append(replace(row, split=split, **prices))
    return out


@pytest.mark.parametrize("seed", range(4))
def test_every_kind_of_order_ends_as_in_the_simulated_market(stages, seed):
    stage, rng = stages(50_000.0, 3), np.random.default_rng(seed)
    sim = SimVenue(50_000.0, (1, 3), Costs(slippage_bps=0.0), VenueSettings())
    kinds = set()
    for row in split_now_and_then(walk(seed, 120, 1, 3, gaps=0.05), rng):
        mine, theirs = stage.happen(row), sim.advance(row)
        assert mine.filled.tolist() == theirs.filled.tolist()
        assert np.array_equal(mine.price, theirs.price, equal_nan=True)
        assert stage.venue.book.cash.tolist() == sim.book.cash.tolist()
        assert stage.venue.book.qty.tolist() == sim.book.qty.tolist()
        assert stage.venue.book.basis.tolist() == sim.book.basis.tolist()
        orders = random_orders(rng, sim.book, (1, 3))
        kinds |= set(sim.pending.kind[sim.pending.qty != 0].tolist())
        refused, expected = stage.venue.submit(orders), sim.submit(orders)
        assert ((refused != 0) == (expected != 0)).all()
        assert stage.venue.pending.qty.tolist() == sim.pending.qty.tolist()
    assert {LIMIT, STOP} <= kinds


def test_prices_are_put_on_the_venues_grid_before_they_are_written_down(stages):
    stage = stages(10_000.0, 1)
    stage.happen(session(10.0))
    stage.venue.submit(special(LIMIT, 10, limit=9.999, day=True))
    (line,) = stage.venue.desk.lines.values()
    assert line.intent.limit == 9.99  # a buy never pays more than it said


def test_fraction_is_cut_to_nine_decimals_toward_zero(stages):
    stage = stages(10_000.0, 1)
    stage.happen(session(10.0))
    stage.venue.submit(market(1.0 / 3.0))
    (line,) = stage.venue.desk.lines.values()
    assert line.intent.qty == 0.333333333


def test_bars_that_are_caught_up_on_send_nothing(stages):
    stage = stages(10_000.0, 2)
    stage.venue.sends = False
    stage.happen(session([10.0, 10.0]))
    assert stage.venue.submit(market(10, 0)).tolist() == [[int(Reason.MISSED), 0]]
    assert stage.gateway.orders == {}


def test_order_before_the_first_session_is_refused_by_name(stages):
    stage = stages(10_000.0, 1)
    with pytest.raises(VenueError, match="call advance first"):
        stage.venue.submit(Orders.market(np.array([[1.0]])))
