"""One order, every crash, every answer of the network: 64,000 schedules of the real desk."""

import pytest

from brokers.alpaca.desk import Desk
from brokers.alpaca.lines import intent_body
from tests.crash_model import (
    CRASHES,
    NETWORKS,
    STARTS,
    Life,
    World,
    done_then_post,
    live,
    ours,
    post_then_save,
    random_id,
    tried,
)

EVERY = (len(CRASHES) * len(NETWORKS)) ** STARTS


def test_the_desk_neither_doubles_nor_loses_an_order_in_any_schedule():
    assert EVERY == 64_000
    assert tried(ours) == {"one": EVERY}


@pytest.mark.parametrize(
    ("protocol", "wrong"),
    [(post_then_save, "duplicate"), (random_id, "duplicate"), (done_then_post, "lost")],
)
def test_the_model_tells_wrong_protocols_from_right_ones(protocol, wrong):
    found = tried(protocol)
    assert found.total() == EVERY
    assert set(found) == {"one", wrong}
    assert found[wrong] > EVERY // 3


def test_looking_before_repeating_is_enough_where_the_venue_forgets_ids():
    # Without late arrivals a venue that accepts every id again still gets one order.
    found = tried(ours, networks=("ok", "lost", "timeout"), forgetful=True)
    assert found == {"one": (len(CRASHES) * 3) ** STARTS}


class SendsFirst(Desk):
    """The real desk, but an intent becomes durable only together with its answer."""

    def intend(self, intents):
        for intent in intents:
            self.notes.note("intent", intent.session, intent_body(intent))
            self._fresh.add(intent.client_order_id)


class NeverLooks(Desk):
    """The real desk, but a restart sends what it finds intended without looking it up first."""

    def _settle(self, line):
        self._fresh.add(line.cid)
        return super()._settle(line)


def test_a_desk_that_sends_before_its_intent_is_durable_is_seen():
    # The id saves it from doubling, for as long as the venue remembers; the journal does not know.
    world = World()
    live(lambda *at: ours(*at, desk=SendsFirst), world, Life("POST arrived", "ok"))
    assert world.orders
    assert not world.committed
    assert world.undurable == 1
    right = World()
    live(ours, right, Life("POST arrived", "ok"))
    assert right.committed
    assert right.undurable == 0


def test_a_desk_that_repeats_without_looking_doubles_where_the_venue_forgets_ids():
    def blind(world, life):
        ours(world, life, desk=NeverLooks)

    found = tried(blind, networks=("ok", "lost", "timeout"), forgetful=True)
    assert found["duplicate"] > 0
