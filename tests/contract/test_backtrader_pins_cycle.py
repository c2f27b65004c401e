"""Backtrader 1.9.78.123 as we rely on it: the order of one bar, look-ahead, lifecycle."""

import backtrader as bt
import pytest

OPENS = [10.0, 11.0, 12.0, 13.0, 14.0, 15.0]  # closes half a dollar higher


def test_the_pinned_version_is_installed():
    assert bt.__version__ == "1.9.78.123"


class Diary(bt.Strategy):
    """Writes down the callbacks of the bar in which an order fills."""

    def __init__(self):
        self.lines_written = []

    def write(self, what):
        self.lines_written.append((len(self), what))

    def start(self):
        self.add_timer(when=bt.timer.SESSION_START, cheat=True)
        self.add_timer(when=bt.timer.SESSION_START, cheat=False)

    def notify_timer(self, timer, when, *args, **kwargs):
        self.write("cheat timer" if timer.p.cheat else "timer")

    def notify_order(self, order):
        self.write(f"order {order.getstatusname()}")

    def notify_trade(self, trade):
        self.write("trade")

    def notify_cashvalue(self, cash, value):
        self.write("cashvalue")

    def notify_fund(self, cash, value, fundvalue, shares):
        self.write("fund")

    def next(self):
        self.write("next")
        if len(self) == 2:
            self.buy(size=1)


class DiaryAnalyzer(bt.Analyzer):
    def notify_order(self, order):
        self.strategy.write(f"analyzer order {order.getstatusname()}")

    def next(self):
        self.strategy.write("analyzer next")


class DiaryObserver(bt.observer.Observer):
    lines = ("nothing",)

    def next(self):
        self._owner.write("observer next")


class LoggedBroker(bt.brokers.BackBroker):
    def next(self):
        strategy = self.cerebro.runningstrats[0]
        strategy.write("broker next")
        super().next()


@pytest.mark.parametrize("runonce", [False, True])
def test_callbacks_of_the_bar_of_a_fill_come_in_this_order(lab, runonce):
    def add(cerebro):
        cerebro.addanalyzer(DiaryAnalyzer)
        cerebro.addobserver(DiaryObserver)

    strategy = lab.run(
        lab.frame(OPENS), broker=lambda _: LoggedBroker(), strategy=Diary, add=add, runonce=runonce
    )
    first = strategy.lines_written.index((2, "observer next")) + 1
    last = strategy.lines_written.index((3, "observer next"))
    assert strategy.lines_written[first : last + 1] == [
        (2, "cheat timer"),  # the strategy still counts bar 2 until it advances
        (2, "broker next"),
        (2, "timer"),
        (3, "order Submitted"),
        (3, "analyzer order Submitted"),
        (3, "order Accepted"),
        (3, "analyzer order Accepted"),
        (3, "order Completed"),
        (3, "analyzer order Completed"),
        (3, "trade"),
        (3, "cashvalue"),
        (3, "fund"),
        (3, "next"),
        (3, "analyzer next"),
        (3, "observer next"),
    ]


@pytest.mark.parametrize("runonce", [False, True])
def test_three_notifications_arrive_together_before_next_of_the_fill_bar(lab, runonce):
    strategy = lab.run(lab.frame(OPENS), {2: lambda s: s.buy(size=1)}, runonce=runonce)
    assert strategy.told == [
        (3, "Submitted", 0, 0.0),
        (3, "Accepted", 0, 0.0),
        (3, "Completed", 1, 12.0),
    ]


def test_fill_is_told_during_prenext(lab):
    late = lab.frame([50.0, 51.0], days=[4, 5])
    strategy = lab.run(
        [lab.frame(OPENS), late], {2: lambda s: s.buy(size=1)}, params={"forward": True}
    )
    assert strategy.fills == [(3, 1, 12.0)]  # the second feed starts on bar 5


def test_tomorrows_close_is_readable_when_bars_are_preloaded(lab):
    seen = []
    lab.run(lab.frame(OPENS), {2: lambda s: seen.append(s.data.close[1])})
    assert seen == [12.5]


@pytest.mark.parametrize("settings", [{"preload": False}, {"exactbars": 1}])
def test_tomorrows_close_is_an_index_error_without_preload(lab, settings):
    with pytest.raises(IndexError):
        lab.run(lab.frame(OPENS), {2: lambda s: s.data.close[1]}, **settings)


def test_next_open_already_sees_todays_close(lab):
    seen = []
    lab.run(
        lab.frame(OPENS),
        params={"before": lambda s: seen.append((len(s), s.data.close[0]))},
        cheat_on_open=True,
    )
    assert seen[:2] == [(1, 11.5), (2, 12.5)]  # told in bars 2 and 3: len lags by one


def test_second_run_of_one_cerebro_starts_from_scratch(lab):
    seen = []

    class Buyer(bt.Strategy):
        def next(self):
            if len(self) == 1:
                seen.append((self.broker.getcash(), self.position.size))
                self.buy(size=10)

    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=lab.frame(OPENS)))
    cerebro.addstrategy(Buyer)
    first, second = cerebro.run()[0], cerebro.run()[0]
    assert seen == [(10_000.0, 0), (10_000.0, 0)]
    assert first is not second


def test_position_set_before_the_run_is_wiped(lab):
    seen = []
    cerebro = bt.Cerebro(runonce=False, stdstats=False)
    data = bt.feeds.PandasData(dataname=lab.frame(OPENS))
    cerebro.adddata(data)
    cerebro.broker.positions[data].update(7, 10.0)

    class Look(bt.Strategy):
        def next(self):
            seen.append(self.position.size)

    cerebro.addstrategy(Look)
    cerebro.run()
    assert seen[0] == 0


def test_position_seeded_in_start_of_the_broker_survives(lab):
    class Seeded(bt.brokers.BackBroker):
        def start(self):
            super().start()
            self.positions[self.cerebro.datas[0]].update(7, 10.0)

    seen = []
    lab.run(
        lab.frame(OPENS),
        {1: lambda s: seen.append(s.position.size)},
        broker=lambda _: Seeded(),
    )
    assert seen == [7]


def test_exception_in_next_leaves_run_without_stop(lab):
    stopped = []

    class Breaks(bt.Strategy):
        def next(self):
            raise ZeroDivisionError

        def stop(self):
            stopped.append(True)

    with pytest.raises(ZeroDivisionError):
        lab.run(lab.frame(OPENS), strategy=Breaks)
    assert stopped == []


def test_strategy_cannot_be_built_outside_cerebro():
    with pytest.raises(AttributeError, match="_next_stid"):
        bt.Strategy()
