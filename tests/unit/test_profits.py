"""What each symbol earned, and the symbol that earned it all."""

import numpy as np
import pytest

from engine.profits import lucky, profits
from engine.report.folder import RunFolder
from engine.round_trips import Events, Fills
from tests import made_up_run


def fills(*rows):
    day, symbol, qty, price, fee = zip(*rows, strict=True)
    return Fills(
        np.array(day, dtype="datetime64[D]"), np.array(symbol), np.array(qty), np.array(price),
        np.array(fee),
    )  # fmt: skip


def test_profit_is_what_came_back_less_what_went_in():
    traded = fills(
        ("2020-01-02", "A", 10.0, 50.0, 1.0),
        ("2020-01-03", "B", 5.0, 20.0, 0.5),
        ("2020-01-06", "A", -4.0, 60.0, 1.0),
    )
    found = profits(traded, {"A": 6 * 55.0, "B": 90.0, "C": 0.0})
    assert found["A"] == pytest.approx(-501 + 239 + 330)  # 68
    assert found["B"] == pytest.approx(-100.5 + 90)
    assert found["C"] == 0.0


def test_dividend_is_paid_on_what_was_held_before_in_new_shares():
    traded = fills(("2020-01-02", "A", 10.0, 50.0, 0.0), ("2020-01-06", "A", 7.0, 25.0, 0.0))
    events = Events(
        np.array(["2020-01-06", "2020-01-06"], dtype="datetime64[D]"),
        np.array(["A", "B"]),
        np.array([2.0, 1.0]),
        np.array([0.5, 9.0]),
    )
    held = {"A": 27 * 25.0}  # 10 became 20, and 7 were bought
    found = profits(traded, held, events)
    assert found["A"] == pytest.approx(-500 - 175 + 675 + 20 * 0.5)


def test_symbols_add_up_to_the_profit_of_the_account(tmp_path):
    run = RunFolder(made_up_run.write(tmp_path / "run", count=400)).read()
    last = run.equity["agent"][-1]
    held = {name: run.exposure[name][-1] * last for name in made_up_run.SYMBOLS}
    found = profits(Fills.from_columns(run.trades), held)
    assert sum(found.values()) == pytest.approx(last - run.equity["agent"][0])


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"A": 80.0, "B": 10.0, "C": 5.0, "D": 5.0}, ("A", 0.8)),
        ({"A": 50.0, "B": 20.0, "C": 20.0, "D": 10.0}, None),  # half is not more than half
        ({"A": 60.0, "B": 20.0, "C": 20.0}, None),  # of three, two thirds
        ({"A": 150.0, "B": -50.0}, ("A", 1.5)),  # the other one lost
        ({"A": 90.0, "B": 10.0}, None),
        ({"A": 10.0}, None),
        ({"A": 10.0, "B": -20.0}, None),  # no profit, no luck
    ],
)
def test_one_lucky_symbol_is_named(found, told):
    assert lucky(found) == told
