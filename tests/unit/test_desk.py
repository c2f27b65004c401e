"""The order desk where answers do not fit what it knows."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from engine.errors import TradingHalted, VenueUnavailable
from tests.contract.alpaca_stage import AlpacaStage
from tests.sessions import market, session


@pytest.fixture
def stage() -> Iterator[AlpacaStage]:
    made = AlpacaStage(10_000.0, 2)
    made.happen(session([10.0, 10.0]))
    made.venue.submit(market(10, 20))
    yield made
    made.close()


def test_order_that_the_venue_has_lost_is_unknown_until_a_person_writes_it_off(stage):
    first, second = stage.venue.desk.lines
    del stage.gateway.orders[first]
    with pytest.raises(VenueUnavailable, match="its state is unknown"):
        stage.venue.desk.poll()
    assert stage.venue.desk.write_off() == [first]
    stage.venue.desk.poll()
    assert stage.venue.pending.qty.tolist() == [[0.0, 20.0]]
    assert stage.venue.desk.lines[second].live


def test_fill_that_shrinks_halts_until_a_person_writes_it_off(stage):
    first, _ = stage.venue.desk.lines
    order = stage.gateway.orders[first]
    part = replace(order, filled_qty=6.0, filled_price=10.0, status="partially_filled")
    stage.gateway.orders[first] = part
    stage.venue.desk.poll()
    stage.gateway.orders[first] = replace(part, filled_qty=4.0)
    with pytest.raises(TradingHalted, match="between 6 and 10 shares filled, found 4"):
        stage.venue.desk.poll()
    assert stage.venue.desk.write_off() == [first]
    stage.venue.desk.poll()
    assert stage.venue.desk.lines[first].over


def test_orders_that_fit_are_not_written_off(stage):
    assert stage.venue.desk.write_off() == []
    assert all(line.live for line in stage.venue.desk.lines.values())
