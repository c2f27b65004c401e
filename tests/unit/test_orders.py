"""Orders from targets: sizes, order of orders, cuts; every number worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.book import Book
from engine.costs import Costs
from engine.limits import Limits, constrain
from engine.orders import Sizing, plan
from engine.reasons import Reason
from engine.venue import MARKET, SimVenue, VenueSettings, buying_power, needed
from tests.sessions import session

FREE = Costs(slippage_bps=0.0)


def book_of(cash, qty, mark):
    book = Book.start(cash, 1, len(qty))
    book.qty, book.mark = np.array([qty], dtype=float), np.array([mark], dtype=float)
    return book


def planned(target, book, trade=None, waiting=None, sizing=None, costs=FREE, limits=None, **venue):
    target = np.array([target], dtype=float)
    return plan(
        target,
        np.ones(target.shape, bool) if trade is None else np.array([trade]),
        np.zeros(target.shape, np.int32),
        book,
        np.zeros(target.shape) if waiting is None else np.array([waiting], float),
        sizing or Sizing(),
        limits or Limits(),
        costs,
        VenueSettings(**venue),
    )


def test_target_becomes_whole_shares_rounded_towards_zero():
    result = planned([0.5, 0.25], book_of(1_000.0, [0, 0], [30.0, 7.0]))
    assert result.orders.qty.tolist() == [[16, 35]]  # 500 / 30 = 16.7, 250 / 7 = 35.7
    assert (result.orders.kind == MARKET).all()
    assert not result.reasons.any()


def test_target_that_is_a_whole_number_of_shares_is_not_rounded_down():
    book = book_of(100_000.0, [0], [0.1])
    assert planned([0.29], book).orders.qty[0, 0] == 290_000  # floats say 289999.99999999994


def test_only_symbols_with_trade_get_an_order():
    result = planned([0.5, 0.5], book_of(1_000.0, [0, 0], [10.0, 10.0]), trade=[False, True])
    assert result.orders.qty.tolist() == [[0, 50]]


def test_sale_down_to_a_target_leaves_at_most_the_target():
    # equity 1,000 + 100 * 10 = 2,000; a third of it at 10 is 66.67 -> 66 shares stay
    assert planned([1 / 3], book_of(1_000.0, [100], [10.0])).orders.qty[0, 0] == -34


def test_long_to_short_closes_first():
    result = planned([-0.5], book_of(0.0, [100], [10.0]), limits=Limits(allow_short=True))
    assert result.orders.qty[0, 0] == -100
    assert result.reasons[0, 0] == Reason.CLOSE_FIRST


def test_long_to_short_goes_in_one_order_when_the_settings_say_so():
    sizing = Sizing(flip="one_order")
    result = planned([-0.5], book_of(0.0, [100], [10.0]), sizing=sizing)
    assert result.orders.qty[0, 0] == -150
    assert not result.reasons.any()


def test_fractional_shares_for_longs_and_whole_ones_for_shorts():
    book = book_of(1_000.0, [0, 0], [30.0, 30.0])
    result = planned([0.5, -0.5], book, sizing=Sizing(fractional=True))
    assert result.orders.qty[0, 0] == pytest.approx(16.666666666, abs=1e-12)
    assert result.orders.qty[0, 1] == -16


def test_closing_sells_the_fraction_too():
    assert planned([0.0], book_of(0.0, [12.345], [10.0])).orders.qty[0, 0] == -12.345


def test_less_than_one_share_is_too_small():
    result = planned([0.02], book_of(1_000.0, [0], [30.0]))
    assert result.orders.qty[0, 0] == 0
    assert result.reasons[0, 0] == Reason.TOO_SMALL


def test_order_below_the_least_value_is_not_sent_unless_it_closes():
    sizing = Sizing(min_order_value=100.0)
    book = book_of(1_000.0, [0, 5], [10.0, 10.0])
    result = planned([0.05, 0.0], book, sizing=sizing)
    assert result.orders.qty.tolist() == [[0, -5]]
    assert result.reasons.tolist() == [[Reason.TOO_SMALL, 0]]


def test_symbol_with_an_open_order_waits():
    result = planned([0.5], book_of(1_000.0, [0], [10.0]), waiting=[20])
    assert result.orders.qty[0, 0] == 0
    assert result.reasons[0, 0] == Reason.ORDER_OPEN


def test_waiting_orders_keep_their_buying_power():
    book = book_of(1_000.0, [0, 0], [10.0, 10.0])
    limits = Limits(max_gross=2.0, max_net=2.0)
    result = planned(
        [0.0, 0.8], book, [False, True], [60, 0], limits=limits, leverage=1.0, collar=0.0
    )
    assert result.orders.qty.tolist() == [[0, 40]]


def test_waiting_orders_count_against_the_cash_reserve():
    book = book_of(1_000.0, [0, 0], [10.0, 10.0])
    limits = Limits(cash_reserve=0.2, max_gross=2.0, max_net=2.0)
    result = planned([0.0, 0.5], book, [False, True], [60, 0], limits=limits)
    assert result.orders.qty.tolist() == [[0, 20]]  # 1,000 less 600 waiting less 200 reserved


def test_cut_in_one_symbol_leaves_the_closing_of_a_fraction_alone():
    book = book_of(1_000.0, [5.5, 0], [10.0, 10.0])
    result = planned([0.0, 0.5], book, limits=Limits(max_order_value=200.0))
    assert result.orders.qty.tolist() == [[-5.5, 20]]


def test_symbol_that_never_had_a_price_gets_no_order():
    assert planned([0.5], book_of(1_000.0, [0], [0.0])).orders.qty[0, 0] == 0


def test_ruined_book_sends_nothing():
    result = planned([0.0], book_of(100.0, [-20], [10.0]))
    assert result.orders.qty[0, 0] == 0
    assert result.reasons[0, 0] == Reason.RUINED


def test_order_value_limit_cuts_to_whole_shares():
    result = planned([0.9], book_of(1_000.0, [0], [30.0]), limits=Limits(max_order_value=200.0))
    assert result.orders.qty[0, 0] == 6  # 200 / 30
    assert result.reasons[0, 0] == Reason.MAX_ORDER_VALUE


def test_buys_share_the_buying_power_in_proportion():
    # power 1,000 at 1x; wishes of 600 and 600 need 1,248 with the collar: a factor of 0.8013
    result = planned([0.6, 0.6], book_of(1_000.0, [0, 0], [10.0, 10.0]), leverage=1.0)
    assert result.orders.qty.tolist() == [[48, 48]]
    assert (result.reasons == Reason.BUYING_POWER).all()


def test_sales_of_the_same_batch_free_no_buying_power_and_are_never_cut():
    # 1,000 dollars held in full: twice the equity less what is held leaves 1,000 for a wish of 1,040
    result = planned([0.0, 1.0], book_of(0.0, [100, 0], [10.0, 10.0]))
    assert result.orders.qty.tolist() == [[-100, 96]]
    assert result.reasons.tolist() == [[0, Reason.BUYING_POWER]]


def test_cash_account_buys_for_the_cash_it_has():
    book = book_of(500.0, [50, 0], [10.0, 10.0])
    result = planned([0.0, 1.0], book, account="cash", collar=0.0)
    assert result.orders.qty.tolist() == [[-50, 50]]


def test_fees_are_paid_out_of_the_buying_power():
    book = book_of(1_000.0, [0], [10.0])
    costs = Costs(slippage_bps=0.0, per_order=25.0)
    result = planned([1.0], book, costs=costs, account="cash", collar=0.0)
    assert result.orders.qty[0, 0] == 97  # 975 dollars left after the fee


def test_cash_reserve_cuts_buys_and_counts_sales_as_filled():
    # equity 1,000: the sale brings 500, cash after it 500; 100 must stay, so 400 may be spent
    book = book_of(0.0, [50, 50, 0], [10.0, 10.0, 10.0])
    limits = Limits(cash_reserve=0.1)
    result = planned([0.0, 0.5, 0.5], book, [True, False, True], limits=limits)
    assert result.orders.qty.tolist() == [[-50, 0, 40]]
    assert result.reasons.tolist() == [[0, 0, Reason.CASH_RESERVE]]


def test_cash_reserve_never_forces_a_sale():
    book = book_of(0.0, [100], [10.0])
    result = planned([1.0], book, trade=[False], limits=Limits(cash_reserve=0.2))
    assert not result.orders.qty.any()


@st.composite
def books(draw):
    n = draw(st.integers(1, 4))
    short = draw(st.booleans())
    qty = draw(st.lists(st.integers(-40 if short else 0, 60), min_size=n, max_size=n))
    mark = draw(st.lists(st.floats(0.5, 300.0), min_size=n, max_size=n))
    cash = draw(st.floats(500.0, 50_000.0))
    wish = draw(st.lists(st.floats(-1.0, 1.0), min_size=n, max_size=n))
    keep = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return book_of(cash, qty, mark), np.array([wish]), np.array([keep]), short


def decided(case, sizing, limits, venue, costs=FREE):
    book, wish, keep, _ = case
    equity = book.equity()
    held = book.value() / np.where(equity > 0, equity, np.inf)[:, None]
    bound = constrain(wish, keep, held, limits)
    nothing = np.zeros(wish.shape)
    return plan(
        bound.target, bound.trade, bound.reasons, book, nothing, sizing, limits, costs, venue
    )


@settings(max_examples=200, deadline=None)
@given(books(), st.booleans(), st.booleans())
def test_close_first_never_crosses_zero(case, fractional, one_account):
    book, _, _, short = case
    venue = VenueSettings(account="cash" if one_account else "margin")
    result = decided(case, Sizing(fractional=fractional), Limits(allow_short=short), venue)
    assert (book.qty * (book.qty + result.orders.qty) >= 0).all()


@settings(max_examples=200, deadline=None)
@given(books(), st.booleans(), st.sampled_from(["margin", "cash"]), st.sampled_from([0.0, 2.0]))
def test_planned_orders_fit_the_buying_power(case, fractional, account, minimum):
    book, _, _, short = case
    venue = VenueSettings(account=account, leverage=1.5)
    costs = Costs(slippage_bps=0.0, rate=0.001, minimum=minimum)
    limits = Limits(allow_short=short, max_gross=4.0, max_net=4.0)
    result = decided(case, Sizing(fractional=fractional), limits, venue, costs)
    asked = needed(result.orders, book, venue).sum()
    assert asked <= buying_power(book, None, venue)[0] * (1 + 1e-9)


@settings(max_examples=200, deadline=None)
@given(books(), st.booleans(), st.sampled_from([None, 0.3]), st.sampled_from([0.0, 0.2]))
def test_no_order_breaks_a_limit_once_filled_at_the_mark(case, fractional, most, reserve):
    book, _, _, short = case
    if book.equity()[0] <= 0:
        return
    limits = Limits(
        max_exposure=0.5, max_gross=0.8, max_net=0.6, max_turnover=most,
        cash_reserve=reserve, allow_short=short, drift=0.0,
    )  # fmt: skip
    venue = VenueSettings()
    result = decided(case, Sizing(fractional=fractional, flip="one_order"), limits, venue)
    sim = SimVenue(book.cash, book.qty.shape, FREE, venue)
    sim.book = book.copy()
    assert not sim.submit(result.orders).any()
    before = sim.book.equity()[0]
    sim.advance(session(book.mark))
    after = sim.book.value()[0] / sim.book.equity()[0]
    # Whole shares reduce to the share below the limit, so only rounding in the last digit is left.
    assert np.abs(after).max() <= 0.5 + 1e-6
    assert np.abs(after).sum() <= 0.8 + 1e-6
    bought = (result.orders.qty > 0).any()
    assert not (bought and reserve) or sim.book.cash[0] >= reserve * before - 1e-6 or short
    assert sim.book.equity()[0] == pytest.approx(before)
