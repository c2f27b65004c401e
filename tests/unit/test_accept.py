"""The guard of newest bars: late is a retry, impossible is a halt, the past is never rewritten."""

from collections import Counter
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from brokers.alpaca.bars import download
from engine.clock import FakeClock
from engine.errors import DataError, TradingError, TradingHalted, VenueUnavailable
from engine.run.paper.accept import accept, bad_bars_halt
from tests.bad_bars import AFTER, COLLAR, DAYS, FAULTS, KNOWN, SYMBOLS, trial
from tests.bar_oracle import as_arrays, judge

LAST = DAYS[-1]
BARS = 100_000


def through_the_wire(one):
    """Download and accept, as a session does."""
    first, last = DAYS[0].item(), DAYS[-1].item()
    with bad_bars_halt():
        new = download(one.vendor, SYMBOLS, first, last, "iex", FakeClock(AFTER))
    return accept(new, one.known, LAST, COLLAR)


def word_of(call):
    try:
        return "ok", call()
    except TradingHalted:
        return "halt", None
    except VenueUnavailable:
        return "retry", None


def require_same(one, found, wanted):
    word, accepted = found
    assert word == wanted.word, one.faults
    if accepted is None:
        return
    bars = accepted.bars
    assert np.array_equal(bars.sessions, DAYS[KNOWN:])
    got = {
        (bars.symbols[n], bars.sessions[t].item()): bars.ohlcv[t, n].tolist()
        for t, n in np.argwhere(bars.traded)
    }
    assert got == wanted.bars, one.faults
    assert np.isnan(bars.ohlcv[~bars.traded]).all()
    assert (len(accepted.missing), len(accepted.revisions)) == (wanted.missing, wanted.revised)


def test_no_fuzzed_bar_is_uncaught_and_none_gets_past_the_guard():
    rng = np.random.default_rng(7)
    bars, words, faults, plain = 0, Counter(), Counter(), 0
    while bars < BARS:
        one = trial(rng)
        bars += len(DAYS) * len(SYMBOLS)
        wanted = judge(one, strict=True)
        require_same(one, word_of(lambda one=one: through_the_wire(one)), wanted)
        words[wanted.word] += 1
        faults.update(one.faults)
        arrays = as_arrays(one)
        if arrays is not None:  # the guard alone, without the judging of rows before it
            found = word_of(lambda a=arrays, k=one.known: accept(a, k, LAST, COLLAR))
            require_same(one, found, judge(one, strict=False))
            plain += 1
    assert set(faults) == set(FAULTS)
    assert min(faults.values()) > 20
    assert words["ok"] > 200
    assert words["halt"] > 200
    assert words["retry"] > 30
    assert plain > 300


# By hand


def clean(**changes):
    """A trial without a fault, as bars."""
    rng = np.random.default_rng(1)
    while (one := trial(rng)).faults:
        pass
    bars = as_arrays(one)
    return one.known, replace(bars, **changes)


def changed(bars, session, symbol, column, value):
    ohlcv = bars.ohlcv.copy()
    ohlcv[session, symbol, column] = value
    return replace(bars, ohlcv=ohlcv)


def test_only_sessions_after_the_known_ones_are_handed_on():
    known, new = clean()
    accepted = accept(new, known, LAST, COLLAR)
    assert accepted.bars.sessions.tolist() == DAYS[KNOWN:].tolist()
    assert (accepted.missing, accepted.revisions) == ((), ())
    assert accept(new, None, LAST, COLLAR).bars.digest() == new.digest()
    assert len(accept(new, new, LAST, COLLAR).bars.sessions) == 0


def test_bars_of_another_day_than_expected_are_asked_for_again():
    known, new = clean()
    with pytest.raises(VenueUnavailable, match="newest bars to be of 2024-07-10, found 2024-07-09"):
        accept(new, known, LAST + 1, COLLAR)
    with pytest.raises(VenueUnavailable, match="newest bars to be of 2024-07-08, found 2024-07-09"):
        accept(new, known, LAST - 1, COLLAR)
    with pytest.raises(VenueUnavailable, match="found no bar"):
        accept(new.between(date(2025, 1, 2), None), known, LAST, COLLAR)


def test_a_halt_names_symbol_session_and_numbers():
    known, new = clean()
    with pytest.raises(
        TradingHalted, match="BBB 2024-07-09: expected a price above zero, found -3"
    ):
        accept(changed(new, -1, 1, 3, -3.0), known, LAST, COLLAR)
    close = new.ohlcv[-2, 1, 3]
    jumped = new.ohlcv.copy()
    jumped[-1, 1, :4] = close * 3
    said = f"BBB 2024-07-09: close {close * 3:g} after {close:g} .*200.0%.*no split is listed"
    with pytest.raises(TradingHalted, match=said):
        accept(replace(new, ohlcv=jumped), known, LAST, COLLAR)
    assert accept(replace(new, ohlcv=jumped), known, LAST, None).missing == ()


def test_numbers_where_nothing_traded_halt():
    known, new = clean()
    traded = new.traded.copy()
    traded[-1, 0] = False
    with pytest.raises(TradingHalted, match="AAA 2024-07-09: expected no numbers"):
        accept(replace(new, traded=traded), known, LAST, COLLAR)


@pytest.mark.parametrize(("split", "dividend"), [(0.0, 0.0), (np.nan, 0.0), (1.0, -1.0)])
def test_an_impossible_event_halts(split, dividend):
    known, new = clean()
    splits, dividends = new.split.copy(), new.dividend.copy()
    splits[-1, 2], dividends[-1, 2] = split, dividend
    with pytest.raises(TradingHalted, match="CCC 2024-07-09: expected a split above zero"):
        accept(replace(new, split=splits, dividend=dividends), known, LAST, COLLAR)


def test_other_symbols_than_before_halt():
    known, new = clean()
    with pytest.raises(TradingHalted, match="the symbols of an account do not change"):
        accept(new.select(SYMBOLS[::-1]), known, LAST, COLLAR)


def test_bars_on_a_day_the_exchange_was_closed_halt():
    known, new = clean()
    days = new.sessions.copy()
    days[-3] = np.datetime64("2024-07-04")  # in place of 2024-07-05
    with pytest.raises(TradingHalted, match="found bars on 2024-07-04, when XNYS was closed"):
        accept(replace(new, sessions=days), known, LAST, COLLAR)


def test_sessions_left_out_behind_the_known_ones_are_asked_for_again():
    known, new = clean()
    with pytest.raises(VenueUnavailable, match=f"none of any symbol on {DAYS[KNOWN]}"):
        accept(new.between(DAYS[KNOWN + 1], None), known, LAST, COLLAR)


def test_a_symbol_not_listed_yet_is_missing_on_the_newest_session_only():
    _, new = clean()
    ohlcv = new.ohlcv.copy()
    ohlcv[:, 4] = np.nan
    bars = replace(new, ohlcv=ohlcv, traded=~np.isnan(ohlcv[:, :, 0]))
    assert accept(bars, None, LAST, COLLAR).missing == ("EEE 2024-07-09",)


def test_the_halt_of_a_download_keeps_what_was_wrong():
    with pytest.raises(TradingHalted, match="newest bars cannot be used: AAA: bad; nothing"):  # noqa: SIM117
        with bad_bars_halt():
            raise DataError("AAA: bad")
    assert issubclass(TradingHalted, TradingError)
