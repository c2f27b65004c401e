"""Whatever nonsense is sent to the loopback exchange, it answers or refuses; it never breaks."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.exchange.exchange import Refusal
from tests.exchanges import Floor, bars_of, level, request

JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["1e400", "1e-400", "NaN", "-0", "1_0", "0x1", "٣", "buy", "AAPL", "day"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
FIELDS = (
    "symbol", "qty", "notional", "side", "type", "time_in_force", "limit_price", "stop_price",
    "trail_price", "extended_hours", "client_order_id", "order_class", "take_profit",
    "position_intent",
)  # fmt: skip
TEXT = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["0001-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2024-03-05",
         "2024-03-05T14:30:00Z", "2024-03-05 14:30", "99999999999D", "3A", "all", "1D", "500"]
    ),
)  # fmt: skip
NAMES = (
    "status", "limit", "after", "until", "direction", "symbols", "side", "before_order_id",
    "after_order_id", "date", "page_size", "page_token", "activity_types", "start", "end", "period",
    "timeframe", "qty", "percentage",
)  # fmt: skip

floor = Floor(bars_of(AAPL=level(*[100.0] * 5)))
floor.send("AAPL", 10)
floor.close(1)


@settings(max_examples=250, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=5))
def test_an_order_of_nonsense_is_taken_or_refused(changes):
    with contextlib.suppress(Refusal):
        order = floor.exchange.submit({**request("AAPL", 1), **changes})
        assert order["symbol"] == "AAPL"
        assert 0 < float(order["qty"] or order["notional"]) < 1e9
        floor.exchange.cancel(order["id"])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from([*FIELDS, "no_shorting"]), JUNK, max_size=3))
def test_settings_and_replacements_of_nonsense_are_taken_or_refused(changes):
    with contextlib.suppress(Refusal):
        floor.exchange.replace(floor.exchange.orders({"status": "all"})[0]["id"], changes)
    with contextlib.suppress(Refusal):
        floor.exchange.configure(changes)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(NAMES), TEXT, max_size=4), st.text(max_size=8))
def test_questions_of_nonsense_are_answered_or_refused(query, name):
    exchange = floor.exchange
    for call in (exchange.orders, exchange.activities, exchange.portfolio_history, exchange.assets):
        with contextlib.suppress(Refusal):
            call(query)
    for find in (exchange.order, exchange.order_by_client_id, exchange.position, exchange.asset):
        with contextlib.suppress(Refusal):
            find(name)
    with contextlib.suppress(Refusal):
        floor.exchange.close_position("AAPL", query)
    floor.exchange.cancel_all()
