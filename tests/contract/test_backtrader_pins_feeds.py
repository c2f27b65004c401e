"""Backtrader 1.9.78.123 as we rely on it: several feeds, gaps, late listings, extra lines."""

from datetime import timedelta

import backtrader as bt
import pytest
from backtrader import num2date

OPENS = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]


def test_only_prenext_is_called_until_every_feed_has_a_bar(lab):
    calls = []

    class Waits(bt.Strategy):
        def prenext(self):
            calls.append("prenext")

        def next(self):
            calls.append("next")

    lab.run([lab.frame(OPENS), lab.frame([50.0] * 3, days=[3, 4, 5])], strategy=Waits)
    assert calls == ["prenext"] * 3 + ["next"] * 3


@pytest.mark.parametrize(
    ("settings", "seen"),
    [({}, 52.5), ({"preload": False}, 50.5)],  # the last close of the series; the first future one
)
def test_close_of_a_feed_without_a_bar_is_a_future_close(lab, settings, seen):
    closes = []

    def look(strategy):
        late = strategy.datas[1]
        closes.append((len(late), late.close[0]))

    late = lab.frame([50.0, 51.0, 52.0], days=[3, 4, 5])
    lab.run([lab.frame(OPENS), late], {2: look}, params={"forward": True}, **settings)
    assert closes == [(0, seen)]


def test_target_order_is_built_from_that_future_close(lab):
    late = lab.frame([50.0, 51.0, 99.5], days=[3, 4, 5])  # last close 100
    sizes = []

    def act(strategy):
        sizes.append(strategy.order_target_percent(strategy.datas[1], target=0.5).size)

    lab.run([lab.frame(OPENS), late], {2: act}, params={"forward": True})
    assert sizes == [50]  # 5,000 / 100, with no bar of that symbol seen yet


def test_feed_without_a_bar_today_stands_still(lab):
    seen = []

    def look(strategy):
        gap = strategy.datas[1]
        stamp = num2date(gap.datetime[0]).day, num2date(strategy.datetime[0]).day
        seen.append((len(gap), gap.close[0], *stamp))

    gap = lab.frame([50.0, 51.0, 54.0], days=[0, 1, 4])
    lab.run([lab.frame(OPENS), gap], {3: look})
    assert seen == [(2, 51.5, 2, 3)]


def test_position_in_a_feed_that_has_ended_can_never_be_closed(lab):
    ended = lab.frame([50.0, 51.0, 52.0], days=[0, 1, 2])
    acts = {
        1: lambda s: s.buy(data=s.datas[1], size=10),
        4: lambda s: s.close(data=s.datas[1]),
    }
    strategy = lab.run([lab.frame(OPENS), ended], acts)
    assert strategy.statuses == ["Submitted", "Accepted", "Completed", "Submitted", "Accepted"]
    assert strategy.broker.getvalue() == 10_000.0 + 10 * (52.5 - 51.0)  # the stale close stays


class Difference(bt.Strategy):
    def __init__(self):
        self.line = self.datas[0].close - self.datas[1].close
        self.seen = {}

    def next(self):
        fresh = all(d.datetime[0] == self.datetime[0] for d in self.datas)
        if fresh:
            self.seen[num2date(self.datetime[0]).day] = self.line[0]


@pytest.mark.parametrize(
    ("runonce", "between"), [(False, {1: -40.0, 4: -40.0}), (True, {1: -40.0, 4: -39.0})]
)
def test_difference_of_two_feeds_is_wrong_between_their_gaps_with_runonce(lab, runonce, between):
    # Same number of bars, different days missing: 2 January here, 5 January there.
    left = lab.frame([10.0, 12.0, 13.0, 14.0, 15.0], days=[0, 2, 3, 4, 5])
    right = lab.frame([50.0, 51.0, 52.0, 53.0, 55.0], days=[0, 1, 2, 3, 5])
    seen = lab.run([left, right], strategy=Difference, runonce=runonce).seen
    assert {day: seen[day] for day in between} == between


def test_feeds_of_different_length_break_a_difference_with_runonce(lab):
    short = lab.frame([50.0, 51.0, 52.0], days=[0, 1, 5])
    with pytest.raises(IndexError):
        lab.run([lab.frame(OPENS), short], strategy=Difference, runonce=True)


def test_stamps_at_midnight_and_five_in_the_morning_are_different_bars(lab):
    late = lab.frame([50.0] * 5)
    late.index = late.index + timedelta(hours=5)
    calls = []

    class Counts(bt.Strategy):
        def next(self):
            calls.append(num2date(self.datetime[0]).hour)

    lab.run([lab.frame(OPENS[:5]), late], strategy=Counts)
    assert len(calls) == 9  # five days; the first half of the first one is prenext


def test_extra_line_of_a_subclass_is_readable(lab):
    class Flagged(bt.feeds.PandasData):
        lines = ("traded",)
        params = (("traded", -1),)

    frame = lab.frame(OPENS).assign(traded=[1, 1, 0, 1, 0, 1])
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    cerebro.adddata(Flagged(dataname=frame))
    seen = []

    class Look(bt.Strategy):
        def next(self):
            seen.append(self.data.traded[0])

    cerebro.addstrategy(Look)
    cerebro.run()
    assert seen == [1, 1, 0, 1, 0, 1]


@pytest.mark.parametrize("shape", ["unsorted", "repeated"])
def test_unsorted_and_repeated_stamps_are_accepted_as_they_come(lab, shape):
    days = {"unsorted": [1, 0, 2], "repeated": [0, 0, 1]}[shape]
    seen = []

    class Look(bt.Strategy):
        def next(self):
            seen.append(num2date(self.data.datetime[0]).day - 1)

    lab.run(lab.frame([10.0, 11.0, 12.0], days=days), strategy=Look)
    assert seen == days


def test_nan_close_makes_the_value_of_that_bar_nan(lab):
    frame = lab.flat(10.0, 5)
    frame.loc[frame.index[3], "close"] = float("nan")
    values = []

    class Look(bt.Strategy):
        def next(self):
            values.append(self.broker.getvalue())
            if len(self) == 1:
                self.buy(size=1)

    lab.run(frame, strategy=Look)
    assert values == pytest.approx([10_000.0] * 3 + [float("nan"), 10_000.0], nan_ok=True)
