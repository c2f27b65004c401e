"""The benchmarks that compare results would notice a difference; what is drawn is what was measured."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch

from tests.benchmarks.cross import SLOW, Found, crossings_of, require_same
from tests.benchmarks.deployed import SMOKE, Beside, trained
from tests.benchmarks.growth import Grown
from tests.benchmarks.loglog import Chart, page

pytestmark = pytest.mark.bench
FILLS = [(730_120.0, "S1", 100.0, 25.0), (730_130.0, "S1", -100.0, 27.0)]


def test_crossings_are_where_the_fast_average_has_come_to_the_other_side():
    closes = np.full((60, 1), 10.0)
    closes[40, 0], closes[50, 0] = 20.0, 1.0
    # The averages of a flat line are equal and have no side. From 40 on the fast one is above (20 in
    # a window of ten, beside 20 in one of thirty); with 1 at 50 it has lost the 20 and has the 1.
    found = crossings_of(closes)[:, 0]
    assert np.flatnonzero(found).tolist() == [50]
    assert found[50] == -1.0
    closes[35, 0] = 5.0  # a side to come from
    found = crossings_of(closes)[:, 0]
    assert {int(at): found[at] for at in np.flatnonzero(found)} == {40: 1.0, 50: -1.0}


def test_no_crossing_is_told_before_the_slow_average_is_there():
    closes = np.random.default_rng(0).normal(100.0, 5.0, (200, 3))
    assert not crossings_of(closes)[:SLOW].any()
    assert (np.abs(crossings_of(closes)).sum(axis=0) > 3).all()


@pytest.mark.parametrize(
    "other",
    [
        Found(FILLS[:1], 1_000.0),
        Found([FILLS[0], (730_131.0, *FILLS[1][1:])], 1_000.0),
        Found([FILLS[0], (*FILLS[1][:3], 27.001)], 1_000.0),
        Found(FILLS, 1_000.02),
    ],
    ids=["a fill less", "another day", "another price", "another value"],
)
def test_runs_that_differ_are_not_compared_in_speed(other):
    require_same(Found(FILLS, 1_000.0), Found(FILLS[::-1], 1_000.0), "in another order")
    with pytest.raises(AssertionError):
        require_same(Found(FILLS, 1_000.0), other, "planted")


def test_torch_with_other_weights_would_act_otherwise():
    net, policy, spec = trained(SMOKE, 1)
    rng = np.random.default_rng(0)
    beside = Beside(policy, net)
    played_against(beside, spec, rng)
    assert (beside.other, beside.decided) == (0, 60)
    with torch.no_grad():
        net.actor[-1].bias.add_(torch.tensor([9.0, 0.0, 0.0]))  # planted: always sell
    beside = Beside(policy, net)
    played_against(beside, spec, rng)
    assert beside.other > 0


def played_against(beside, spec, rng):
    """Let a policy decide for two symbols on thirty made-up bars."""
    from engine.observation import Observation

    memory = np.zeros((1, 2, beside.memory_width), np.float32)
    for _ in range(30):
        market = rng.normal(size=(1, 2, len(spec.features.names))).astype(np.float32)
        book = rng.normal(size=(1, 2, len(spec.book_inputs))).astype(np.float32)
        obs = Observation(market, book, np.ones((1, 2), bool))
        _, memory = beside.act(obs, memory)


def test_growth_is_told_a_symbol_and_bar():
    found = Grown()
    found.take("agent", (30, 1_000), {"seconds": 1.5, "bytes": 3e6, "orders": 7})
    found.take("agent", (500, 1_000), {"seconds": 20.0, "bytes": 3e6, "orders": 7})
    assert found.row("agent", (30, 1_000)).values.tolist() == [50.0]  # 1.5 s / 30,000, in us
    ratio = found.ratio("agent", (500, 1_000), (30, 1_000))
    assert ratio.median == pytest.approx(0.8)  # 40 us / 50 us
    assert ratio.verdict == "pass"


def test_a_straight_curve_lies_on_its_dotted_line_and_a_square_one_does_not():
    places = {}
    for power in (1, 2):
        curve = ([10.0, 100.0, 1_000.0], [10.0**power, 100.0**power, 1_000.0**power])
        drawn = ET.fromstring(page([Chart("t", "x", "y", {"a": curve})]))
        kind = "{http://www.w3.org/2000/svg}"
        (path,) = drawn.iter(f"{kind}polyline")
        (dotted,) = [line for line in drawn.iter(f"{kind}line") if line.get("stroke-dasharray")]
        first = [float(x) for x in path.get("points").split()[0].split(",")]
        places[power] = abs(first[1] - float(dotted.get("y2")))
        assert first[0] == pytest.approx(float(dotted.get("x2")))
    assert places[1] < 0.2
    assert places[2] > 50
