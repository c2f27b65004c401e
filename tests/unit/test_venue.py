"""SimVenue: market orders, refusals, ruin and reset, and what holds for every stream."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.book import Book, arrays
from engine.costs import Costs
from engine.errors import VenueError
from engine.reasons import Reason
from engine.venue import LIMIT, STOP, STOP_LIMIT, Orders
from tests.sessions import held, market, random_orders, session, special, venue, walk


def test_market_order_fills_at_the_next_open_and_the_book_is_marked_at_its_close():
    sim = venue()
    sim.advance(session(10.0))
    assert sim.submit(market(100)) == 0
    outcome = sim.advance(session(open=11.0, close=12.0))
    assert outcome.price[0, 0] == 11.0
    assert outcome.filled[0, 0] == 100.0
    assert sim.book.cash[0] == 8_900.0  # 10,000 - 100 * 11
    assert sim.book.equity()[0] == 10_100.0  # 8,900 + 100 * 12
    assert sim.book.basis[0, 0] == 11.0


def test_slippage_and_fee_are_paid_by_both_sides():
    sim = venue(costs=Costs(slippage_bps=100.0, rate=0.01))
    sim.advance(session(10.0))
    sim.submit(market(100))
    bought = sim.advance(session(10.0))
    assert bought.price[0, 0] == pytest.approx(10.10)
    assert sim.book.cash[0] == pytest.approx(10_000 - 1_010 - 10.10)
    sim.submit(market(-100))
    sold = sim.advance(session(10.0))
    assert sold.price[0, 0] == pytest.approx(9.90)
    assert sim.book.cash[0] == pytest.approx(8_979.90 + 990 - 9.90)
    assert sim.book.fees[0] == pytest.approx(20.0)


def test_missing_bar_leaves_the_order_waiting():
    sim = venue()
    sim.advance(session(10.0))
    sim.submit(market(100))
    assert sim.advance(session(np.nan)).filled[0, 0] == 0
    assert sim.pending.qty[0, 0] == 100
    assert sim.advance(session(9.0)).price[0, 0] == 9.0
    assert sim.pending.qty[0, 0] == 0


def test_bars_since_the_last_fill_are_counted_from_the_fill():
    sim = venue()
    sim.advance(session(10.0))
    assert sim.book.since[0, 0] == -1
    sim.submit(market(1))
    seen = [sim.advance(session(10.0)) and sim.book.since[0, 0] for _ in range(3)]
    assert seen == [0, 1, 2]


def test_average_entry_price_follows_the_shares():
    sim = venue(100_000.0)
    sim.advance(session(10.0))
    bases = []
    for qty, price in ((100, 10.0), (100, 20.0), (-50, 30.0), (-250, 40.0), (100, 50.0)):
        sim.submit(market(qty))
        sim.advance(session(price))
        bases.append(sim.book.basis[0, 0])
    # 10; average of 10 and 20; selling keeps it; through zero to short 100 at 40; flat
    assert bases == [10.0, 15.0, 15.0, 40.0, 0.0]


def test_fractions_that_add_up_to_nothing_leave_a_flat_book():
    sim = venue()
    sim.advance(session(10.0))
    for qty in (0.1, 0.2, -0.3):  # floats leave 5.6e-17
        sim.submit(market(qty))
        sim.advance(session(10.0))
    assert sim.book.qty[0, 0] == 0
    assert sim.book.basis[0, 0] == 0


def test_close_just_seen_must_have_been_a_bar_of_that_session():
    sim = venue(fill="same_close")
    sim.advance(session(10.0))
    sim.advance(session(np.nan))
    sim.submit(market(100))
    assert sim.advance(session(11.0)).filled[0, 0] == 0  # no bar when it was sent: waits
    assert sim.advance(session(12.0)).price[0, 0] == 11.0


def test_order_at_the_next_close_when_the_settings_say_so():
    sim = venue(fill="next_close")
    sim.advance(session(10.0))
    sim.submit(market(100))
    outcome = sim.advance(session(open=11.0, close=12.0))
    assert outcome.price[0, 0] == 12.0


def test_order_at_the_close_just_seen_when_the_settings_say_so():
    sim = venue(fill="same_close")
    sim.advance(session(10.0))
    sim.submit(market(100))
    outcome = sim.advance(session(open=11.0, close=12.0))
    assert outcome.price[0, 0] == 10.0
    assert sim.book.equity()[0] == 10_200.0


@pytest.mark.parametrize(
    "order",
    [
        market(np.nan),
        market(np.inf),
        special(LIMIT, 5),
        special(STOP, 5, stop=-1.0),
        special(STOP_LIMIT, 5, limit=10.0),
        special(9, 5),
        special(0, 5),
    ],
)
def test_unusable_order_is_refused_and_leaves_no_trace(order):
    sim = venue()
    sim.advance(session(10.0))
    before = sim.snapshot()
    assert sim.submit(order)[0, 0] == Reason.BAD_ORDER
    after = sim.snapshot()
    assert all(np.array_equal(before[k], after[k], equal_nan=k != "session") for k in before)


def test_second_order_in_one_symbol_is_refused_while_the_first_waits():
    sim = venue(symbols=2)
    sim.advance(session([10.0, 10.0]))
    sim.submit(market(5, 0))
    assert sim.submit(market(-5, 7)).tolist() == [[Reason.ORDER_OPEN, 0]]
    assert sim.pending.qty.tolist() == [[5, 7]]


def test_fraction_of_a_share_cannot_be_sold_short_but_can_be_sold():
    sim = venue()
    sim.advance(session(10.0))
    assert sim.submit(market(-0.5))[0, 0] == Reason.SHORT_FRACTION
    sim.submit(market(2.5))
    sim.advance(session(10.0))
    assert sim.submit(market(-1.5))[0, 0] == 0


def test_ruined_book_has_its_orders_refused_until_it_is_reset():
    sim = venue(1_000.0, books=2)
    sim.advance(session([[10.0], [10.0]]))
    sim.submit(Orders.market(np.array([[-150.0], [0.0]])))
    sim.advance(session([[10.0], [10.0]]))
    sim.advance(session([[20.0], [20.0]]))  # 2,500 in cash, 3,000 owed
    assert sim.book.equity().tolist() == [-500.0, 1_000.0]
    assert sim.submit(Orders.market(np.array([[-10.0], [0.0]]))).tolist() == [[Reason.RUINED], [0]]
    refused = sim.submit(Orders.market(np.array([[150.0], [10.0]])))
    assert refused.tolist() == [[Reason.RUINED], [0]]
    sim.reset(np.array([True, False]), 5_000.0)
    assert sim.book.equity().tolist() == [5_000.0, 1_000.0]
    assert sim.book.since[0, 0] == -1
    assert sim.pending.qty.tolist() == [[0], [10]]


def test_reset_forgets_that_a_symbol_was_delisted():
    sim = held(100, 40.0)
    sim.advance(session(np.nan, ended=True))
    sim.reset(np.array([True]), 100.0)
    sim.advance(session(40.0))
    assert sim.submit(market(1))[0, 0] == 0


def test_one_row_serves_every_book():
    rows = walk(9, 40, 1, 2, gaps=0.2)
    sims = [venue(books=3, symbols=2), venue(symbols=2)]
    rng = np.random.default_rng(9)
    for row in rows:
        seen = [sim.advance(row) for sim in sims]
        assert np.array_equal(seen[0].filled, np.repeat(seen[1].filled, 3, axis=0))
        orders = random_orders(rng, sims[1].book, (1, 2))
        fields = ("qty", "kind", "limit", "stop", "day")
        sims[0].submit(Orders(*(np.repeat(getattr(orders, n), 3, axis=0) for n in fields)))
        sims[1].submit(orders)
    assert (sims[0].book.equity() == sims[1].book.equity()[0]).all()
    sims[0].reset(np.array([True, False, False]), 10_000.0)
    assert sims[0].book.equity()[0] == 10_000.0


def test_market_that_fills_at_the_close_just_seen_takes_market_orders_only():
    sim = venue(fill="same_close")
    sim.advance(session(10.0))
    assert sim.submit(special(LIMIT, 5, limit=9.0))[0, 0] == Reason.BAD_ORDER


def test_restored_venue_goes_on_bit_for_bit():
    rows, rng = walk(3, 30, 2, 3, gaps=0.2), np.random.default_rng(0)
    wishes = rng.integers(-20, 20, (30, 2, 3)).astype(float)
    sim = venue(books=2, symbols=3, costs=Costs(rate=0.001))
    for t in range(15):
        sim.advance(rows[t])
        sim.submit(Orders.market(wishes[t]))
    copy = venue(books=2, symbols=3, costs=Costs(rate=0.001))
    copy.restore(sim.snapshot())
    for t in range(15, 30):
        for each in (sim, copy):
            each.advance(rows[t])
            each.submit(Orders.market(wishes[t]))
    ours, theirs = sim.snapshot(), copy.snapshot()
    assert all(ours[key].tobytes() == theirs[key].tobytes() for key in ours)


def test_snapshot_of_another_shape_is_refused():
    with pytest.raises(VenueError, match=r"\(1, 1\).*found \(1, 2\)"):
        venue().restore(venue(symbols=2).snapshot())


def test_orders_of_another_shape_are_refused():
    with pytest.raises(VenueError, match=r"orders of shape \(1, 2\)"):
        venue(symbols=2).submit(market(1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["margin", "cash"]))
def test_equity_changes_only_by_fees_while_prices_stand_still(seed, account):
    rng = np.random.default_rng(seed)
    sim = venue(5_000.0, 3, Costs(rate=0.002, per_order=0.1, slippage_bps=0), 4, account=account)
    still = session(np.full((4, 3), 100.0))
    for _ in range(20):
        sim.advance(still)
        sim.submit(random_orders(rng, sim.book, (4, 3), flat=True))
    assert sim.book.equity() + sim.book.fees == pytest.approx(5_000.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2.0, 3.0, 5.0, 10.0]))
def test_market_in_smaller_shares_leaves_the_same_equity(seed, ratio):
    rows, sims = walk(seed, 25, 1, 2), [venue(50_000.0, 2), venue(50_000.0, 2)]
    rng = np.random.default_rng(seed)
    for t, row in enumerate(rows):
        sims[0].advance(row)
        prices = [x / ratio if t >= 10 else x for x in (row.open, row.high, row.low, row.close)]
        sims[1].advance(session(*prices, split=ratio if t == 10 else 1.0, day=t))
        orders = random_orders(rng, sims[0].book, (1, 2))
        k = ratio if t >= 10 else 1.0
        sims[0].submit(orders)
        small = Orders(orders.qty * k, orders.kind, orders.limit / k, orders.stop / k, orders.day)
        sims[1].submit(small)
        assert sims[1].book.equity() == pytest.approx(sims[0].book.equity(), rel=1e-12)


@pytest.mark.parametrize("account", ["margin", "cash"])
def test_each_of_many_books_behaves_as_if_it_were_alone(account):
    books, symbols, days = 5, 3, 60
    costs = Costs(rate=0.001, regulatory=True)
    rows = walk(11, days, books, symbols, gaps=0.1)
    many = venue(8_000.0, symbols, costs, books, account=account)
    alone = [venue(8_000.0, symbols, costs, account=account) for _ in range(books)]
    rng = np.random.default_rng(11)
    seen = 0
    for row in rows:
        together = many.advance(row)
        orders = random_orders(rng, many.book, (books, symbols))
        refused = many.submit(orders)
        seen |= int(np.bitwise_or.reduce(refused | together.refused, axis=None))
        for b, sim in enumerate(alone):
            part = slice(b, b + 1)
            names = ("open", "high", "low", "close")
            one = sim.advance(session(*(getattr(row, name)[part] for name in names)))
            assert np.array_equal(one.price, together.price[part], equal_nan=True)
            assert (one.refused == together.refused[part]).all()
            fields = ("qty", "kind", "limit", "stop", "day")
            mine = Orders(*(getattr(orders, name)[part] for name in fields))
            assert (sim.submit(mine) == refused[part]).all()
            assert sim.book.cash[0] == many.book.cash[b]
            assert (sim.book.qty[0] == many.book.qty[b]).all()
    wanted = Reason.CASH_SHORT if account == "cash" else Reason.BUYING_POWER
    assert seen & wanted  # the streams did reach the money rules
    assert seen & Reason.EXPIRED


def test_still_book_answers_like_the_book_it_was_taken_from():
    book = Book.start(np.array([1_000.0, 50.0]), 2, 3)
    book.qty, book.mark = np.array([[3.0, -2.0, 0.0], [0.0, 0.0, 7.5]]), np.full((2, 3), 10.1)
    still = book.still()
    assert still.value().tobytes() == book.value().tobytes()
    assert still.equity().tobytes() == book.equity().tobytes()
    for name, array in arrays("book", book).items():
        assert arrays("book", still)[name] is array
