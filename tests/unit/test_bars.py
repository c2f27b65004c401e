"""Bars: what one holds, what its digest covers, when a symbol has ended."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bars import Bars, last_bars
from engine.errors import DataError

NAT = np.datetime64("NaT", "D")
MONDAY = np.datetime64("2020-03-02", "D")


def made(t=4, n=2):
    """Bars with a number of its own in every cell: cell (i, j, k) holds 100 i + 10 j + k + 1."""
    cells = np.arange(t)[:, None, None] * 100 + np.arange(n)[:, None] * 10 + np.arange(5) + 1.0
    return Bars(
        sessions=np.busday_offset(MONDAY, np.arange(t)),
        symbols=tuple("ABCDEFGH"[:n]),
        ohlcv=cells,
        traded=np.ones((t, n), dtype=bool),
        split=np.ones((t, n)),
        dividend=np.zeros((t, n)),
        ended=np.full(n, NAT),
    )


def changed(array, where, value):
    out = array.copy()
    out[where] = value
    return out


def test_digest_covers_everything_that_can_change_a_decision_or_a_fill():
    bars = made()
    others = [
        replace(bars, sessions=bars.sessions + 1),
        replace(bars, symbols=("A", "X")),
        *(replace(bars, ohlcv=changed(bars.ohlcv, (1, 0, k), 7.5)) for k in range(5)),
        replace(bars, traded=changed(bars.traded, (1, 0), False)),
        replace(bars, split=changed(bars.split, (1, 0), 2.0)),
        replace(bars, dividend=changed(bars.dividend, (1, 0), 0.1)),
        replace(bars, ended=changed(bars.ended, 0, MONDAY)),
        replace(bars, price_basis="split"),
        replace(bars, calendar="none"),
        bars.between(None, bars.sessions[-2]),
        bars.select(("B", "A")),
    ]
    digests = {bars.digest(), *(other.digest() for other in others)}
    assert len(digests) == len(others) + 1


def test_digest_forgets_where_bars_came_from_and_how_nan_was_written():
    bars = made()
    gap = replace(bars, ohlcv=changed(bars.ohlcv, (1, 0), np.nan))
    odd_nan = np.array([0xFFF8000000000123], dtype=np.uint64).view(np.float64)[0]
    assert replace(bars, source="x", notes=("y",)).digest() == bars.digest()
    assert replace(bars, ohlcv=changed(bars.ohlcv, (1, 0), odd_nan)).digest() == gap.digest()
    assert replace(bars, dividend=-bars.dividend).digest() == bars.digest()  # -0 is 0
    assert replace(bars, ohlcv=np.asfortranarray(bars.ohlcv)).digest() == bars.digest()


def test_select_gives_the_symbols_in_the_order_asked():
    both = made().select(("B", "A"))
    assert both.symbols == ("B", "A")
    assert both.ohlcv[0, :, 0].tolist() == [11.0, 1.0]
    with pytest.raises(DataError, match="Z: no such symbol; the bars hold A, B"):
        made().select(("Z",))


def test_between_includes_both_ends_and_keeps_a_later_delisting():
    bars = replace(made(), ended=np.array(["2020-03-04", "NaT"], dtype="datetime64[D]"))
    cut = bars.between(np.datetime64("2020-03-01"), np.datetime64("2020-03-03"))
    assert [str(s) for s in cut.sessions] == ["2020-03-02", "2020-03-03"]
    assert str(cut.ended[0]) == "2020-03-04"
    assert len(bars.between(np.datetime64("2021-01-01"), None).sessions) == 0
    assert bars.between(None, None).digest() == bars.digest()


def test_index_of_finds_sessions_and_refuses_other_days():
    assert made().index_of(np.datetime64("2020-03-04")) == 2
    with pytest.raises(DataError, match=r"2020-03-07 is not a session .*2020-03-02\.\.2020-03-05"):
        made().index_of(np.datetime64("2020-03-07"))


def test_a_row_is_one_session_for_one_book():
    row = made().row(2)
    assert str(row.session[0]) == "2020-03-04"
    assert row.open.tolist() == [[201.0, 211.0]]
    assert row.close.tolist() == [[204.0, 214.0]]
    assert row.split.shape == row.dividend.shape == row.traded.shape == row.ended.shape == (1, 2)


def test_ended_begins_on_the_session_after_the_last_bar():
    bars = replace(made(), ended=np.array(["2020-03-03", "NaT"], dtype="datetime64[D]"))
    assert [bool(bars.row(t).ended[0, 0]) for t in range(4)] == [False, False, True, True]
    assert not bars.has_ended()[:, 1].any()


def test_a_symbol_has_ended_after_five_silent_sessions_not_after_four():
    sessions = np.busday_offset(MONDAY, np.arange(10))
    traded = np.ones((10, 3), dtype=bool)
    traded[5:, 0] = False  # last bar on row 4: rows 5 to 9 are silent, five of them
    traded[6:, 1] = False  # last bar on row 5: four silent
    assert last_bars(sessions, traded).tolist() == [sessions[4].item(), None, None]


@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_an_ended_symbol_never_trades_again(t, seed):
    traded = np.random.default_rng(seed).random((t, 3)) < 0.3
    sessions = np.busday_offset(MONDAY, np.arange(t))
    ended = last_bars(sessions, traded)
    assert not (traded & (sessions[:, None] > ended[None, :])).any()


@pytest.mark.parametrize("field", ["ohlcv", "traded", "split", "dividend", "ended"])
def test_wrong_shapes_are_refused_by_name(field):
    with pytest.raises(DataError, match=f"bars.{field}: expected shape"):
        replace(made(), **{field: getattr(made(), field)[1:]})


def test_sessions_out_of_order_and_symbols_twice_are_refused():
    with pytest.raises(DataError, match="rising order"):
        replace(made(), sessions=made().sessions[::-1])
    with pytest.raises(DataError, match="every symbol once"):
        replace(made(), symbols=("A", "A"))


def test_closed_at_is_the_close_of_each_session_in_utc():
    assert [str(t) for t in made(2).closed_at()] == ["2020-03-02T21:00:00", "2020-03-03T21:00:00"]
