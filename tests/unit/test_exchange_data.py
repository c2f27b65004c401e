"""The data endpoints of the loopback exchange: what is served, when, and in which pages."""

from datetime import UTC, datetime

import pytest

from brokers.exchange.corporate_actions import rates
from tests.small_exchange import SESSIONS, Client, served, small_bars, small_exchange

ALL = "2024-11-01T00:00:00Z"
LATE = datetime(2024, 12, 6, 21, 20, tzinfo=UTC)  # every session has closed
BARS = "/v2/stocks/bars"


@pytest.fixture(scope="module")
def late():
    with served(exchange=small_exchange(LATE)) as client:
        yield client


def asked(client: Client, **query):
    return client.get(BARS, **{"timeframe": "1Day", "start": ALL, "symbols": "AAA", **query})


def days(bars):
    return [bar["t"][:10] for bar in bars]


def test_prices_come_back_as_the_bars_hold_them_bit_for_bit(late):
    found = asked(late, symbols="AAA,BBB,CCC")["bars"]
    bars = small_bars()
    for n, symbol in enumerate(bars.symbols):
        rows = bars.ohlcv[bars.traded[:, n], n].tolist()
        assert [[bar[key] for key in "ohlcv"] for bar in found[symbol]] == rows


def test_stamp_is_midnight_in_new_york_in_utc():
    with served(exchange=small_exchange(LATE)) as client:
        stamps = [bar["t"] for bar in asked(client)["bars"]["AAA"]]
    assert stamps == [f"{day}T05:00:00Z" for day in SESSIONS]  # winter time: UTC - 5 h


def test_session_without_a_trade_has_no_bar(late):
    assert "2024-11-27" not in days(asked(late, symbols="BBB")["bars"]["BBB"])


@pytest.mark.parametrize(
    ("at", "newest"),
    [
        ("2024-11-26T20:59:59+00:00", "2024-11-25"),
        ("2024-11-26T21:00:00+00:00", "2024-11-26"),
        ("2024-11-29T17:59:59+00:00", "2024-11-27"),
        ("2024-11-29T18:00:00+00:00", "2024-11-29"),  # early close
    ],
)
def test_bar_is_served_from_the_close_of_its_session_on(at, newest):
    with served(exchange=small_exchange(datetime.fromisoformat(at))) as client:
        assert days(asked(client)["bars"]["AAA"])[-1] == newest


def test_forming_bar_is_served_by_switch_and_knows_the_open_only():
    exchange = small_exchange(datetime(2024, 11, 26, 15, 0, tzinfo=UTC))
    exchange.switches.forming = True
    with served(exchange=exchange) as client:
        last = asked(client)["bars"]["AAA"][-1]
    assert last["t"] == "2024-11-26T05:00:00Z"
    assert [last[key] for key in "ohlc"] == [101.0] * 4  # opens 1 above the 100 of the first day


def test_stale_bars_lack_the_newest_sessions():
    exchange = small_exchange(LATE)
    exchange.serve_stale(2)
    with served(exchange=exchange) as client:
        assert days(asked(client)["bars"]["AAA"]) == list(SESSIONS[:-2])


def test_revised_and_dropped_bars_are_served_so():
    exchange = small_exchange(LATE)
    exchange.revise_bar("AAA", datetime(2024, 11, 26).date(), 1.5)  # noqa: DTZ001
    exchange.drop_bar("AAA", datetime(2024, 11, 27).date())  # noqa: DTZ001
    with served(exchange=exchange) as client:
        bars = asked(client)["bars"]["AAA"]
    assert days(bars)[:3] == ["2024-11-25", "2024-11-26", "2024-11-29"]
    assert bars[1]["o"] == 101.0 * 1.5


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 5, 25, 26, 1000])
def test_pages_joined_are_all_bars_and_the_limit_counts_every_symbol(late, limit, sort):
    joined, token, sizes = [], None, []
    while token or not sizes:
        query = {"page_token": token} if token else {}
        page = asked(late, symbols="CCC,AAA,BBB", limit=limit, sort=sort, **query)
        rows = [(symbol, bar["t"]) for symbol, bars in page["bars"].items() for bar in bars]
        sizes.append(len(rows))
        joined += rows
        token = page["next_page_token"]
    assert len(joined) == 26  # 9 + 8 + 9
    assert all(size == limit for size in sizes[:-1])
    assert [symbol for symbol, _ in joined] == ["AAA"] * 9 + ["BBB"] * 8 + ["CCC"] * 9
    stamps = [stamp for symbol, stamp in joined if symbol == "AAA"]
    assert stamps == sorted(stamps, reverse=sort == "desc")


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("2024-11-26", "2024-12-02", "2024-11-26", "2024-12-02"),
        ("2024-11-26T05:00:00Z", "2024-12-02T05:00:00Z", "2024-11-26", "2024-12-02"),
        ("2024-11-26T05:00:01Z", "2024-12-02T04:59:59Z", "2024-11-27", "2024-11-29"),
        ("2024-11-26T00:00:00+00:00", "2024-12-02T00:00:00+00:00", "2024-11-26", "2024-11-29"),
        ("2024-11-26T05:00:00.123456789Z", "2024-12-02T05:00:00Z", "2024-11-27", "2024-12-02"),
    ],
)
def test_start_and_end_are_inclusive_and_compared_with_the_stamp(late, start, end, first, last):
    found = days(asked(late, start=start, end=end)["bars"]["AAA"])
    assert (found[0], found[-1]) == (first, last)


def test_without_start_only_today_is_served(late):
    found = late.get(BARS, symbols="AAA", timeframe="1Day")
    assert days(found["bars"]["AAA"]) == ["2024-12-06"]


def test_one_symbol_answers_a_list(late):
    found = late.get("/v2/stocks/aaa/bars", timeframe="1Day", start=ALL, limit=2)
    assert found["symbol"] == "AAA"
    assert days(found["bars"]) == list(SESSIONS[:2])
    assert found["next_page_token"]


def test_unknown_symbol_is_left_out(late):
    assert list(asked(late, symbols="NOPE,AAA")["bars"]) == ["AAA"]
    assert late.get("/v2/stocks/NOPE/bars", timeframe="1Day")["bars"] == []


@pytest.mark.parametrize("more", [{"feed": "sip"}, {"asof": "-"}, {"adjustment": "raw"}])
def test_feed_and_asof_are_accepted(late, more):
    assert len(asked(late, **more)["bars"]["AAA"]) == 9


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"timeframe": "1Min"}, "timeframe"),
        ({"adjustment": "all"}, "adjustment"),
        ({"feed": "nyse"}, "feed"),
        ({"limit": "0"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"sort": "up"}, "sort"),
        ({"page_token": "!"}, "page_token"),
        ({"page_token": "W10="}, "page_token"),
        ({"start": "yesterday"}, "start"),
        ({"end": "2020-01-01"}, "end"),
        ({"symbols": ","}, "symbols"),
        ({"currency": "EUR"}, "currency"),
    ],
)
def test_wrong_parameter_is_refused_by_name(late, more, word):
    query = {"timeframe": "1Day", "start": ALL, "symbols": "AAA", **more}
    answer = late.ask("GET", BARS, params=query)
    assert answer.status_code == 400
    assert word in answer.json()["message"]


def test_latest_and_snapshot_show_the_last_closed_session(late):
    bar = late.get(f"{BARS}/latest", symbols="BBB,NOPE")["bars"]
    assert list(bar) == ["BBB"]
    assert bar["BBB"]["t"] == "2024-12-06T05:00:00Z"
    shown = late.get("/v2/stocks/snapshots", symbols="BBB")["BBB"]
    assert shown["dailyBar"] == bar["BBB"]
    assert shown["prevDailyBar"]["t"] == "2024-12-05T05:00:00Z"
    assert shown["latestTrade"]["p"] == bar["BBB"]["c"]
    assert shown["latestTrade"]["t"].startswith("2024-12-06T21:00:00")


def actions(client, **query):
    return client.get("/v1/corporate-actions", **{"start": "2024-11-01", **query})


def test_corporate_actions_are_grouped_by_type(late):
    found = actions(late)["corporate_actions"]
    assert {kind: len(rows) for kind, rows in found.items()} == {
        "forward_splits": 1,
        "reverse_splits": 1,
        "cash_dividends": 1,
    }
    split, merge = found["forward_splits"][0], found["reverse_splits"][0]
    assert (split["symbol"], split["ex_date"]) == ("AAA", "2024-12-03")
    assert (split["new_rate"], split["old_rate"]) == (2.0, 1.0)
    assert (merge["symbol"], merge["new_rate"], merge["old_rate"]) == ("CCC", 1.0, 10.0)
    assert found["cash_dividends"][0]["rate"] == 0.25


def test_corporate_actions_are_told_from_their_day_on():
    for at, told in (("2024-12-03T04:59:00+00:00", 0), ("2024-12-03T05:00:00+00:00", 1)):
        with served(exchange=small_exchange(datetime.fromisoformat(at))) as client:
            found = actions(client, end="2024-12-31")["corporate_actions"]
        assert len(found.get("forward_splits", [])) == told


@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_corporate_actions_come_in_pages_by_date(late, sort):
    kinds, token = [], ""
    while token is not None:
        page = actions(late, limit=1, sort=sort, **({"page_token": token} if token else {}))
        kinds += list(page["corporate_actions"])
        token = page["next_page_token"]
    wanted = ["cash_dividends", "forward_splits", "reverse_splits"]
    assert kinds == (wanted if sort == "asc" else wanted[::-1])


def test_corporate_actions_can_be_chosen_by_symbol_type_and_id(late):
    by_symbol = actions(late, symbols="aaa")["corporate_actions"]
    assert list(by_symbol) == ["forward_splits"]
    assert list(actions(late, types="cash_dividend")["corporate_actions"]) == ["cash_dividends"]
    name = by_symbol["forward_splits"][0]["id"]
    assert late.get("/v1/corporate-actions", ids=name)["corporate_actions"] == by_symbol
    assert late.ask("GET", "/v1/corporate-actions?types=party").status_code == 400


@pytest.mark.parametrize("ratio", [2.0, 1.5, 0.1, 1 / 3, 1 / 7, 20.0, 1.0000123])
def test_rates_give_the_ratio_back_bit_for_bit(ratio):
    new, old = rates(ratio)
    assert new / old == ratio
