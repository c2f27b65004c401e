"""From a recorded run to its tables: fills, refusals and settlements of small markets, by hand."""

import numpy as np
import pytest

from engine.bars import Bars
from engine.features import FeatureSet
from engine.journal import Journal
from engine.limits import Limits
from engine.observation import Observation, Scaler
from engine.policy import ActionSpace, Wish
from engine.reasons import TEXT, Reason
from engine.report.cautions import cautions
from engine.report.folder import RunFolder
from engine.round_trips import Events, round_trips
from engine.run.outputs import fills_of, settlements, write_run
from engine.run.record import Recorder, refusals
from engine.settings import Settings
from engine.trader import Trader, TraderSpec
from engine.venue import SimVenue, VenueSettings
from tests.bridge_run import FREE, RISING, market


class Scripted:
    """Wants `plan[bar]` of each sleeve, and nothing new on the other bars; its memory is the bar."""

    memory_width = 1

    def __init__(self, plan: dict[int, tuple[float, ...]]) -> None:
        self.plan = plan

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """See `engine.policy.Policy`."""
        bar, shape = int(memory.max()), obs.fresh.shape
        wanted = self.plan.get(bar)
        keep = np.full(shape, wanted is None)
        exposure = np.zeros(shape) if wanted is None else np.array([wanted])
        return Wish(exposure, keep), np.full_like(memory, bar + 1)


def record(
    bars: Bars,
    plan: dict[int, tuple[float, ...]],
    cash: float = 1_000.0,
    limits: Limits | None = None,
    journal: Journal | None = None,
    **venue: object,
) -> Recorder:
    symbols = len(bars.symbols)
    features = FeatureSet(("day_of_week",))
    settings = VenueSettings.model_validate({"collar": 0.0, **venue})
    spec = TraderSpec(
        features=features,
        scaler=Scaler.none(1),
        book_inputs=("position",),
        action=ActionSpace(kind="continuous", band=0.0),
        limits=limits or Limits(drift=0.9),
        costs=FREE,
        venue=settings,
        allocation=1.0 / symbols,
    )
    trader = Trader(spec, Scripted(plan), symbols)
    recorder = Recorder(journal, bars.symbols)
    watched = recorder.watch(trader, SimVenue(cash, (1, symbols), FREE, settings))
    for t in range(len(bars.sessions)):
        watched.advance(bars.row(t))
        row = bars.split[t], bars.dividend[t]
        decision = trader.on_bar(
            bars.sessions[t], bars.ohlcv[t], bars.traded[t], *row, watched.book, watched.pending.qty
        )
        watched.submit(decision.orders)
    recorder.flush()
    return recorder


def listed(fills):
    columns = (fills.session.astype(str), fills.symbol, fills.qty, fills.price)
    return [tuple(np.asarray(x).item() for x in row) for row in zip(*columns, strict=True)]


def test_delisted_position_leaves_as_one_sale_at_the_last_close():
    # 1,000 / 2 dollars of B at a close of 10.5: 47 shares, bought at 11; the last close is 13.5.
    bars = market(RISING, RISING, ended={1: 3})
    done = record(bars, {0: (0.0, 1.0)})
    assert listed(fills_of(done, bars, FREE)) == [
        ("2020-01-02", "B", 47.0, 11.0),
        ("2020-01-05", "B", -47.0, 13.5),
    ]
    (trip,), left = round_trips(fills_of(done, bars, FREE), bars.sessions)
    assert (trip.profit, left) == (47 * 2.5, 0)
    assert done.arrays()["equity"][-1] == 1_000 + 47 * 2.5
    assert settlements(done, bars.symbols) == [
        {"session": "2020-01-05", "symbol": "B", "qty": 47.0, "price": 13.5}
    ]


def test_delisting_is_told_on_the_page_and_in_the_journal(tmp_path):
    bars = market(RISING, RISING, ended={1: 3})
    with Journal(tmp_path / "journal.sqlite") as journal:
        done = record(bars, {0: (0.0, 1.0)}, journal=journal)
        (entry,) = journal.entries("settled")
    assert entry.session == "2020-01-05"
    assert (entry.body["symbol"], entry.body["qty"], entry.body["price"]) == ("B", -47.0, 13.5)
    folder = RunFolder(tmp_path / "run")
    write_run(folder, Settings(), bars, done, {}, {"name": "x"})
    told = " ".join(caution.text for caution in cautions(folder.read()))
    assert "B stopped trading: 47 shares were settled at the last close, $13.50" in told


def test_fraction_left_by_a_split_is_a_fill_at_the_last_close():
    # 95 shares at 10.5, 3 for 2 before bar 3: 142 and a half; the half is paid at 12.5 / 1.5.
    bars = market((10, 10, 12, 8, 8, 9), split={(3, 0): 1.5})
    fills = fills_of(record(bars, {0: (1.0,)}), bars, FREE)
    assert listed(fills) == [
        ("2020-01-02", "A", 95.0, 10.0),
        ("2020-01-04", "A", -0.5, pytest.approx(12.5 / 1.5)),
    ]


def test_fill_at_the_close_just_seen_is_counted_in_the_shares_of_the_next_session():
    # 80 shares at 12.5, decided on bar 2, reported with bar 3, which splits 2 for 1; sold on bar 4.
    bars = market((10, 10, 12, 6, 6, 7), split={(3, 0): 2.0})
    done = record(bars, {2: (1.0,), 4: (0.0,)}, fill="same_close")
    fills = fills_of(done, bars, FREE)
    assert listed(fills) == [("2020-01-04", "A", 160.0, 6.25), ("2020-01-06", "A", -160.0, 6.5)]
    where = bars.split != 1.0
    events = Events(bars.sessions[where[:, 0]], np.array(["A"]), np.array([2.0]), np.zeros(1))
    (trip,), _ = round_trips(fills, bars.sessions, events)
    assert trip.profit == 160 * 0.25 == done.arrays()["equity"][-1] - 1_000


def test_order_the_cash_cannot_pay_is_reported_with_its_shares(tmp_path):
    # Half of 1,000 dollars each at closes of 10: 50 shares; B opens at 20, and only A is paid.
    bars = market((9.5, 9.5, 9.5), (9.5, 20.0, 20.0))
    with Journal(tmp_path / "journal.sqlite") as journal:
        done = record(bars, {0: (1.0, 1.0)}, account="cash", journal=journal)
        (entry,) = journal.entries("refused")
    assert refused(done, bars) == [("2020-01-02", "B", Reason.CASH_SHORT, 50.0)]
    why = [TEXT[Reason.CASH_SHORT]]
    assert (entry.session, entry.body) == ("2020-01-02", {"symbol": "B", "qty": 50.0, "why": why})
    folder = RunFolder(tmp_path / "run")
    write_run(folder, Settings(), bars, done, {}, {"name": "x"})
    table = folder.read().refusals
    assert table["qty"].tolist() == [50.0]
    assert table["reason"].tolist() == why


def test_cut_order_is_reported_with_the_shares_that_were_ordered(tmp_path):
    bars = market((9.5, 9.5, 9.5))
    done = record(bars, {0: (1.0,)}, limits=Limits(max_order_value=250.0))
    assert refused(done, bars) == [("2020-01-01", "A", Reason.MAX_ORDER_VALUE, 25.0)]


def test_order_not_accepted_is_reported_on_the_bar_of_its_decision():
    bars = market((9.5, 9.5, 9.5))
    done = record(bars, {})
    done.rows[1]["order_qty"] = np.array([7.0])
    done.rows[1]["rejected"] = np.array([int(Reason.BUYING_POWER)])
    assert refused(done, bars) == [("2020-01-02", "A", Reason.BUYING_POWER, 7.0)]


def refused(done: Recorder, bars: Bars):
    return [
        (str(session), bars.symbols[n], Reason(bits), qty)
        for session, row in zip(done.sessions, done.rows, strict=True)
        for n, bits, qty in refusals(row)
    ]
