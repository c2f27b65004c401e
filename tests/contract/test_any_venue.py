"""What every venue must do, whoever stands behind it.

A venue joins by adding a stage to STAGES: a function (cash, symbols) -> Stage. A stage holds the venue
and `happen(row)`, which lets one session take place in the market behind it and hands the row to
`advance`. Stages charge nothing: no fees, no slippage; accounts are margin accounts with twice the
equity and a collar of 4 %.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from engine.bars import MarketRow
from engine.costs import Costs
from engine.reasons import Reason
from engine.venue import Orders, Outcome, SimVenue, Venue, VenueSettings
from tests.contract.alpaca_stage import AlpacaStage
from tests.sessions import market, session, walk


@dataclass
class Stage:
    """A venue with the market behind it."""

    venue: Venue
    happen: Callable[[MarketRow], Outcome]


def simulated(cash: float, symbols: int) -> Stage:
    """The simulated market: it is its own market."""
    venue = SimVenue(cash, (1, symbols), Costs(slippage_bps=0.0), VenueSettings())
    return Stage(venue, venue.advance)


def alpaca(cash: float, symbols: int) -> AlpacaStage:
    """AlpacaVenue with its desk and journal; behind the gateway trades a simulated market."""
    return AlpacaStage(cash, symbols)


STAGES = {"SimVenue": simulated, "AlpacaVenue": alpaca}


@pytest.fixture(params=STAGES)
def stage(request):
    made = []

    def make(cash, symbols):
        made.append(STAGES[request.param](cash, symbols))
        return made[-1]

    yield make
    for each in made:
        if hasattr(each, "close"):
            each.close()


def test_fresh_venue_holds_its_cash_and_nothing_else(stage):
    book = stage(10_000.0, 2).venue.book
    assert book.cash.tolist() == [10_000.0]
    assert book.equity().tolist() == [10_000.0]
    assert book.qty.shape == (1, 2)
    assert not book.qty.any()


def test_submitting_changes_no_book_before_the_next_session(stage):
    it = stage(10_000.0, 1)
    it.happen(session(10.0))
    before = it.venue.book.copy()
    assert not it.venue.submit(market(100)).any()
    assert it.venue.book.cash.tolist() == before.cash.tolist()
    assert it.venue.book.qty.tolist() == before.qty.tolist()


def test_accepted_market_order_fills_whole_at_the_next_open(stage):
    it = stage(10_000.0, 1)
    it.happen(session(10.0))
    it.venue.submit(market(100))
    outcome = it.happen(session(open=11.0, close=12.0, day=1))
    assert outcome.filled.tolist() == [[100.0]]
    assert outcome.price.tolist() == [[11.0]]
    assert it.venue.book.qty.tolist() == [[100.0]]
    assert it.venue.book.cash[0] == pytest.approx(8_900.0)
    assert it.venue.book.equity()[0] == pytest.approx(10_100.0)  # marked at the close
    assert it.venue.book.basis[0, 0] == pytest.approx(11.0)


def test_an_order_fills_once(stage):
    it = stage(10_000.0, 1)
    it.happen(session(10.0))
    it.venue.submit(market(100))
    it.happen(session(10.0, day=1))
    assert not it.happen(session(10.0, day=2)).filled.any()


def test_symbol_without_a_bar_leaves_its_order_waiting(stage):
    it = stage(10_000.0, 2)
    it.happen(session([10.0, 10.0]))
    it.venue.submit(market(10, 10))
    assert it.happen(session([10.0, np.nan], day=1)).filled.tolist() == [[10.0, 0.0]]
    assert it.happen(session([10.0, 9.0], day=2)).price[0, 1] == 9.0


def test_second_order_in_a_symbol_is_refused_while_one_waits(stage):
    it = stage(10_000.0, 1)
    it.happen(session(10.0))
    it.venue.submit(market(10))
    assert it.venue.submit(market(5))[0, 0] & Reason.ORDER_OPEN
    assert it.happen(session(10.0, day=1)).filled.tolist() == [[10.0]]


def test_accepted_order_shows_as_waiting_until_it_fills(stage):
    it = stage(10_000.0, 2)
    it.happen(session([10.0, 10.0]))
    it.venue.submit(market(10, 0))
    assert it.venue.pending.qty.tolist() == [[10.0, 0.0]]
    it.happen(session([10.0, 10.0], day=1))
    assert not it.venue.pending.qty.any()


def test_order_taken_back_never_fills(stage):
    it = stage(10_000.0, 2)
    it.happen(session([10.0, 10.0]))
    it.venue.submit(market(10, 20))
    it.venue.cancel(np.array([[True, False]]))
    assert it.happen(session([10.0, 10.0], day=1)).filled.tolist() == [[0.0, 20.0]]


@pytest.mark.parametrize("qty", [np.nan, np.inf, -np.inf])
def test_order_without_a_usable_quantity_is_refused(stage, qty):
    it = stage(10_000.0, 1)
    it.happen(session(10.0))
    assert it.venue.submit(market(qty))[0, 0] & Reason.BAD_ORDER
    assert not it.happen(session(10.0, day=1)).filled.any()


def test_fraction_of_a_share_is_never_sold_short(stage):
    it = stage(10_000.0, 1)
    it.happen(session(10.0))
    assert it.venue.submit(market(-0.5))[0, 0] & Reason.SHORT_FRACTION


def test_buy_beyond_the_buying_power_is_refused_and_the_rest_goes_on(stage):
    it = stage(10_000.0, 2)
    it.happen(session([10.0, 10.0]))
    refused = it.venue.submit(market(2_000, 100))  # 2,000 reserve 20,800 of 20,000
    assert refused[0, 0] & Reason.BUYING_POWER
    assert it.happen(session([10.0, 10.0], day=1)).filled.tolist() == [[0.0, 100.0]]


def test_sale_frees_buying_power_only_once_it_is_filled(stage):
    it = stage(10_000.0, 2)
    it.happen(session([10.0, 10.0]))
    it.venue.submit(market(1_900, 0))
    it.happen(session([10.0, 10.0], day=1))
    assert it.venue.submit(market(-1_900, 1_000))[0, 1] & Reason.BUYING_POWER
    it.happen(session([10.0, 10.0], day=2))
    assert not it.venue.submit(market(0, 1_000)).any()


def test_split_changes_shares_and_no_equity(stage):
    it = stage(10_000.0, 1)
    it.happen(session(40.0))
    it.venue.submit(market(100))
    it.happen(session(40.0, day=1))
    it.happen(session(20.0, split=2.0, day=2))
    assert it.venue.book.qty.tolist() == [[200.0]]
    assert it.venue.book.basis[0, 0] == pytest.approx(20.0)
    assert it.venue.book.equity()[0] == pytest.approx(10_000.0)


def test_every_change_of_cash_and_shares_is_in_the_outcome(stage):
    it, rng = stage(20_000.0, 3), np.random.default_rng(5)
    fills = refusals = 0
    for row in walk(5, 200, 1, 3, gaps=0.1):
        before = it.venue.book.copy()
        outcome = it.happen(row)
        after = it.venue.book
        paid = np.where(outcome.filled != 0, outcome.filled * outcome.price, 0.0) + outcome.fee
        assert after.cash[0] == pytest.approx(before.cash[0] - paid.sum())
        assert after.qty == pytest.approx(before.qty + outcome.filled - outcome.settled)
        fills += int((outcome.filled != 0).sum())
        wish = np.where(rng.random((1, 3)) < 0.5, rng.integers(-90, 91, (1, 3)), 0)
        refusals += int((it.venue.submit(Orders.market(wish.astype(float))) != 0).sum())
    assert fills > 100
    assert refusals > 5
