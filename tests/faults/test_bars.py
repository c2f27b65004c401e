"""Faults of market data: missing, late, doubled, impossible and revised bars, splits, delistings.

Where a server can cause the fault, the loopback exchange does, and the real SDK meets it.
"""

from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from brokers.alpaca.bars import download
from brokers.alpaca.gateway import Gateway
from brokers.alpaca.keys import Keys
from brokers.exchange.exchange import Exchange
from brokers.exchange.faults import Faults, Rule
from brokers.exchange.server import serve
from engine import clock
from engine.bars import Bars
from engine.clock import FakeClock
from engine.errors import TradingHalted, VenueUnavailable
from engine.features import FeatureSet
from engine.run.paper.accept import accept, bad_bars_halt
from engine.settings_paper import PaperSettings
from tests.vendor import Vendor, row

SYMBOLS = ("AAA", "BBB", "CCC")
DAYS = clock.sessions("XNYS", np.datetime64("2024-06-24"), np.datetime64("2024-07-12"))
KNOWN = 10
COLLAR = 0.5


def market(split_on=None, ratio=1.0, symbol=0):
    """Three calm symbols; one of them may split."""
    rng = np.random.default_rng(5)
    shape = (len(DAYS), len(SYMBOLS))
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.01, shape), axis=0))
    split = np.ones(shape)
    if split_on is not None:
        split[split_on, symbol] = ratio
        close[split_on:, symbol] /= ratio
    prices = [close * 1.001, close * 1.01, close * 0.99, close, np.full(shape, 5_000.0)]
    return Bars(
        sessions=DAYS,
        symbols=SYMBOLS,
        ohlcv=np.stack(prices, axis=2),
        traded=np.ones(shape, dtype=bool),
        split=split,
        dividend=np.zeros(shape),
        ended=np.full(len(SYMBOLS), np.datetime64("NaT"), dtype="datetime64[D]"),
    )


class Runner:
    """Asks for the newest bars as a session does, 20 minutes after a close."""

    def __init__(self, bars, source, at):
        self.bars, self.source, self.clock = bars, source, at
        self.known = bars.between(None, DAYS[KNOWN - 1])

    def look(self, t=KNOWN, known=None):
        closed = clock.closes_at(DAYS[t : t + 1], "XNYS")[0].item().replace(tzinfo=UTC)
        self.clock.set(closed.replace(minute=20))
        with bad_bars_halt():
            new = download(self.source, SYMBOLS, DAYS[0].item(), DAYS[t].item(), "iex", self.clock)
        return accept(new, known or self.known, DAYS[t], COLLAR)


@contextmanager
def exchange(bars, *rules):
    at = FakeClock(datetime(2024, 6, 24, 12, 0, tzinfo=UTC))
    venue = Exchange(bars, at)
    with serve(venue, Faults(list(rules))) as server:
        settings = PaperSettings(trading_url=server.url, data_url=server.url)
        with Gateway(settings, Keys(venue.key_id, venue.secret), at) as gateway:
            yield venue, Runner(bars, gateway, at)


def by_hand(change):
    """A vendor whose rows are changed by hand: what no exchange of ours would serve."""
    bars = market()
    source = Vendor(bars)
    change(source.rows["AAA"])
    return Runner(bars, source, FakeClock(datetime(2024, 6, 24, 12, 0, tzinfo=UTC)))


@pytest.mark.parametrize("seed", range(5))
def test_f31_a_missing_bar_is_named_and_nothing_is_filled_in(seed):
    gone = SYMBOLS[np.random.default_rng(seed).integers(len(SYMBOLS))]
    with exchange(market()) as (venue, runner):
        venue.drop_bar(gone, DAYS[KNOWN].item())
        accepted = runner.look()
    n = SYMBOLS.index(gone)
    assert accepted.missing == (f"{gone} {DAYS[KNOWN]}",)
    assert np.isnan(accepted.bars.ohlcv[0, n]).all()
    assert not accepted.bars.traded[0, n]
    others = [i for i in range(len(SYMBOLS)) if i != n]
    assert np.array_equal(accepted.bars.ohlcv[0, others], runner.bars.ohlcv[KNOWN, others])


def test_f31_a_missing_bar_does_not_move_the_features_of_its_symbol():
    bars = market()
    with exchange(bars) as (venue, runner):
        venue.drop_bar("AAA", DAYS[KNOWN].item())
        accepted = runner.look()
    _, ready = FeatureSet(("log_return",)).history(accepted.bars)
    assert ready[0].tolist() == [False, False, False]  # one bar is no return
    whole = bars.between(None, DAYS[KNOWN])
    traded = whole.traded.copy()
    traded[-1] = accepted.bars.traded[0]
    ohlcv = np.where(traded[:, :, None], whole.ohlcv, np.nan)
    _, ready = FeatureSet(("log_return",)).history(replace(whole, traded=traded, ohlcv=ohlcv))
    assert ready[-1].tolist() == [False, True, True]


def test_f32_yesterdays_bars_are_refused_until_the_new_ones_are_there():
    with exchange(market()) as (venue, runner):
        venue.serve_stale(1)
        said = f"newest bars to be of {DAYS[KNOWN]}, found {DAYS[KNOWN - 1]}"
        with pytest.raises(VenueUnavailable, match=said):
            runner.look()
        venue.serve_stale(0)
        assert runner.look().bars.sessions.tolist() == DAYS[KNOWN : KNOWN + 1].tolist()


def test_f32_the_forming_bar_of_a_running_session_is_never_seen():
    with exchange(market()) as (venue, runner):
        venue.switches.forming = True
        runner.clock.set(datetime(2024, 7, 9, 15, 0, tzinfo=UTC))  # an hour and a half in
        first, last = DAYS[0].item(), DAYS[-1].item()
        served = runner.source.bars(["AAA"], first, last, "iex")["AAA"]
        bars = download(runner.source, SYMBOLS, first, last, "iex", runner.clock)
    assert served[-1]["t"].startswith("2024-07-09")
    assert str(bars.sessions[-1]) == "2024-07-08"


def test_f33_an_identical_copy_is_dropped_and_rows_are_sorted():
    runner = by_hand(lambda rows: (rows.append(dict(rows[KNOWN])), rows.reverse()))
    accepted = runner.look()
    assert accepted.bars.ohlcv.tobytes() == runner.bars.ohlcv[KNOWN : KNOWN + 1].tobytes()
    assert (accepted.missing, accepted.revisions) == ((), ())


def test_f33_two_bars_of_one_session_that_differ_halt():
    runner = by_hand(lambda rows: rows.append(rows[KNOWN] | {"c": rows[KNOWN]["l"]}))
    with pytest.raises(TradingHalted, match="AAA: two rows have the same date and different"):
        runner.look()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"c": float("nan")}, "expected a number, found nothing"),
        ({"h": float("inf")}, "expected a finite number, found infinity"),
        ({"o": 0.0}, "expected a price above zero, found 0"),
        ({"l": -5.0}, "expected a price above zero, found -5"),
        ({"h": 1.0, "l": 2.0}, "expected high >= low, found high 1 below low 2"),
        ({"c": 500.0}, "expected open and close within"),
        ({"o": 900.0, "h": 950.0, "l": 850.0, "c": 900.0}, "no split is listed"),
    ],
)
def test_f34_an_impossible_bar_halts_with_its_place_and_reason(change, said):
    runner = by_hand(lambda rows: rows[KNOWN].update(change))
    with pytest.raises(TradingHalted, match=said) as caught:
        runner.look()
    assert "AAA" in str(caught.value)
    assert str(DAYS[KNOWN]) in str(caught.value)


def test_f34_an_impossible_bar_halts_through_the_sdk_too():
    rows = Vendor(market()).rows["AAA"][: KNOWN + 1]
    rows[KNOWN]["c"] = -1
    body = {"bars": {"AAA": rows}, "next_page_token": None}
    rule = Rule(action="status", method="GET", path="/v2/stocks/bars", status=200, body=body)
    with exchange(market(), rule) as (_, runner), pytest.raises(TradingHalted, match="found -1"):
        runner.look()


def test_f35_a_revision_of_the_past_is_told_and_never_applied():
    with exchange(market()) as (venue, runner):
        venue.revise_bar("BBB", DAYS[KNOWN - 5].item(), 1.02)
        accepted = runner.look()
    assert accepted.bars.sessions.tolist() == DAYS[KNOWN : KNOWN + 1].tolist()
    assert accepted.bars.ohlcv.tobytes() == runner.bars.ohlcv[KNOWN : KNOWN + 1].tobytes()
    told = [text.split(" was ")[0] for text in accepted.revisions]
    fields = ("open", "high", "low", "close")
    assert told == [f"BBB {DAYS[KNOWN - 5]}: {field}" for field in fields]


@pytest.mark.parametrize("ratio", [4.0, 0.1])
def test_f36_a_true_split_passes_with_its_event_and_raw_prices(ratio):
    bars = market(KNOWN, ratio)
    with exchange(bars) as (_, runner):
        accepted = runner.look()
    assert accepted.bars.split.tolist() == [[ratio, 1.0, 1.0]]
    assert accepted.bars.ohlcv.tobytes() == bars.ohlcv[KNOWN : KNOWN + 1].tobytes()
    worth = accepted.bars.ohlcv[0, 0, 3] * ratio / bars.ohlcv[KNOWN - 1, 0, 3]
    assert worth == pytest.approx(1.0, abs=0.05)  # one old share is worth what it was


@pytest.mark.parametrize("ratio", [4.0, 2.0, 1.25, 0.1])
def test_f36_a_split_that_the_price_denies_halts(ratio):
    split = np.ones((len(DAYS), len(SYMBOLS)))
    split[KNOWN, 0] = ratio
    with exchange(replace(market(), split=split)) as (_, runner):  # noqa: SIM117
        with pytest.raises(TradingHalted, match=f"a split of {ratio:g} for 1 is listed"):
            runner.look()


@pytest.mark.parametrize("ratio", [4.0, 2.0, 0.1])
def test_f36_a_split_that_no_event_lists_halts(ratio):
    bars = market(KNOWN, ratio)
    with exchange(replace(bars, split=np.ones_like(bars.split))) as (_, runner):  # noqa: SIM117
        with pytest.raises(TradingHalted, match=f"AAA {DAYS[KNOWN]}: .* no split is listed"):
            runner.look()


def test_f36_a_split_on_a_session_without_a_bar_counts_on_the_next_one():
    with exchange(market(KNOWN, 4.0)) as (venue, runner):
        venue.drop_bar("AAA", DAYS[KNOWN].item())
        first = runner.look()
        assert first.bars.split.tolist() == [[4.0, 1.0, 1.0]]
        both = runner.look(KNOWN + 1)
    assert both.missing == (f"AAA {DAYS[KNOWN]}",)


def test_f37_a_symbol_that_stops_trading_is_told_every_session_and_the_others_go_on():
    bars = market()
    source = Vendor(bars)
    source.rows["CCC"] = source.rows["CCC"][:KNOWN]
    source.act("worthless_removals", symbol="CCC", process_date=str(DAYS[KNOWN]))
    runner = Runner(bars, source, FakeClock(datetime(2024, 6, 24, 12, 0, tzinfo=UTC)))
    accepted = runner.look(len(DAYS) - 1)
    assert accepted.missing == tuple(f"CCC {day}" for day in DAYS[KNOWN:])
    assert accepted.bars.traded[:, :2].all()
    assert f"CCC {DAYS[KNOWN]}: worthless removal is not applied to prices or shares" in (
        accepted.bars.notes
    )


def test_f37_a_ticker_that_comes_back_at_another_price_halts():
    bars = market()
    source = Vendor(bars)
    source.rows["CCC"] = [*source.rows["CCC"][:5], row(DAYS[KNOWN], 7.0, 7.5, 6.5, 7.0)]
    runner = Runner(bars, source, FakeClock(datetime(2024, 6, 24, 12, 0, tzinfo=UTC)))
    known = bars.between(None, DAYS[4])
    with pytest.raises(TradingHalted, match=f"CCC {DAYS[KNOWN]}: close 7 after"):
        runner.look(known=known)
