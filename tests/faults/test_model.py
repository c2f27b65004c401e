"""Faults of the agent: damaged, swapped, foreign or poisoned files, and answers that are no numbers."""

import json
import pickle
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import onnx
import pytest

from engine import checkpoint
from engine.checkpoint import POLICY, RECORD, WEIGHTS, sha256_of
from engine.errors import CheckpointError, UsageError
from engine.run.paper.decide import unpack
from engine.run.paper.room import furnish
from engine.step import StepPolicy
from tests.fault_account import account, few_bars
from tests.paper_account import START, save_checkpoint


@pytest.fixture
def copy(tmp_path, agent):
    """A copy of the agent's folder that may be spoilt."""
    return shutil.copytree(agent, tmp_path / "agent")


@pytest.fixture(scope="session")
def wider(tmp_path_factory):
    """Another agent, with a memory of another width."""
    return save_checkpoint(tmp_path_factory.mktemp("wider") / "agent", few_bars(), hidden_size=8)


def forge(folder, change=lambda tree: None):
    """Change a record and make every digest in it fit, as one who writes checkpoints could."""
    tree = json.loads((folder / RECORD).read_text())
    tree["sha256"] = {name: sha256_of(folder / name) for name in (POLICY, WEIGHTS)}
    change(tree)
    tree.pop("digest", None)
    (folder / RECORD).write_text(json.dumps(tree))


def reweigh(folder, value):
    """Put a number into every weight of the policy's graph."""
    graph = onnx.load(folder / POLICY)
    for weight in graph.graph.initializer:
        array = onnx.numpy_helper.to_array(weight)
        if array.dtype == np.float32:
            filled = np.full_like(array, value)
            weight.CopyFrom(onnx.numpy_helper.from_array(filled, weight.name))
    onnx.save(graph, folder / POLICY)
    forge(folder)


def flip(path, place):
    """Change one bit; `place` is a share of the file."""
    data = bytearray(path.read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    path.write_bytes(data)


def require_refused(acc, said=""):
    """The account halts, nothing is sent, no memory moves on."""
    decisions, sent = len(acc.entries("decision")), len(acc.posts)
    found = acc.look()
    assert found.state == "halted", found
    assert said in found.message
    assert (len(acc.entries("decision")), len(acc.posts)) == (decisions, sent)


@pytest.mark.parametrize("name", [POLICY, WEIGHTS, RECORD])
def test_f54_no_changed_bit_of_a_checkpoint_is_taken(copy, name):
    whole = (copy / name).read_bytes()
    plain = checkpoint.read(copy)
    for place in np.linspace(0.0, 1.0, 60):
        flip(copy / name, place)
        with suppress(CheckpointError):
            assert checkpoint.read(copy) == plain, place  # white space says nothing
        (copy / name).write_bytes(whole)


def test_f54_a_checkpoint_that_is_damaged_while_it_trades_halts(tmp_path, copy):
    with account(tmp_path / "paper", copy) as acc:
        acc.filled()
        flip(copy / POLICY, 0.5)
        acc.close_plus(START)
        require_refused(acc, "expected sha256")
        flip(copy / POLICY, 0.5)
        acc.resume()
        assert acc.look().state == "waiting"


def other_name(tree):
    tree["features"] = ["log_return", "high_low_span"]


def other_order(tree):
    tree["features"] = tree["features"][::-1]


def one_less(tree):
    tree["features"] = tree["features"][:1]


def other_lookback(tree):
    tree["lookbacks"] = [x + 1 for x in tree["lookbacks"]]


def other_meaning(tree):
    tree["feature_fingerprint"] = "0" * len(tree["feature_fingerprint"])


@pytest.mark.parametrize(
    "change", [other_name, other_order, one_less, other_lookback, other_meaning]
)
def test_f55_features_that_are_not_those_of_training_are_refused(tmp_path, copy, change):
    forge(copy, change)
    with pytest.raises(CheckpointError), account(tmp_path / "paper", copy):
        pass


def test_f55_f56_a_scaler_changed_between_two_sessions_is_another_agent(tmp_path, copy):
    with account(tmp_path / "paper", copy) as acc:
        acc.filled()
        forge(
            copy, lambda tree: tree["scaler"].update(scale=[2 * x for x in tree["scaler"]["scale"]])
        )
        acc.room._policy = None  # as a process that starts anew
        acc.close_plus(START)
        require_refused(acc, "--new-checkpoint")


def test_f56_another_agent_with_another_memory_starts_from_a_burn_in_once_a_person_says_so(
    tmp_path, copy, wider
):
    with account(tmp_path / "paper", copy) as acc:
        acc.filled()
        acc.close_plus(START)
        shutil.rmtree(copy)
        shutil.copytree(wider, copy)
        require_refused(acc, "--new-checkpoint")  # under a running process too
        acc.room._policy = None
        acc.resume()
        require_refused(acc, "--new-checkpoint")
        acc.resume(new_checkpoint=True)
        acc.room._policy = None
        assert acc.look().state == "waiting"
        after = unpack(acc.entries("decision")[-1].body["memory"])
        # The same evening lived by an account that never knew another agent.
        fresh = acc.another(
            tmp_path / "fresh",
            settings=acc.settings.model_copy(
                update={"paper": acc.settings.paper.model_copy(update={"adopt": True})}
            ),
        )
        acc.exchange.cancel_all()
        acc.room = fresh
        acc.look()
        expected = unpack(acc.entries("decision")[-1].body["memory"])
        assert after.shape == expected.shape == (1, 4, 16)
        assert after.tobytes() == expected.tobytes()


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_f57_weights_that_give_no_number_halt_and_keep_the_memory(tmp_path, copy, value):
    reweigh(copy, value)
    good = shutil.copytree(copy, tmp_path / "good")
    if value != 3e38:
        with pytest.raises(CheckpointError, match="finite"), account(tmp_path / "paper", good):
            pass
        return
    with account(tmp_path / "paper", good) as acc:  # only multiplying shows it
        require_refused(acc, "finite")
        assert acc.entries("decision") == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["market", "book", "memory"])
def test_f57_inputs_that_are_no_numbers_halt_and_keep_the_memory(tmp_path, agent, where, value):
    with account(tmp_path, agent) as acc:
        acc.room._policy = poisoned = StepPolicy.load(agent)
        real = poisoned.run

        def run(market, book, memory):
            parts = {"market": market, "book": book, "memory": memory}
            parts[where] = np.full_like(parts[where], value)
            return real(**parts)

        poisoned.run = run
        require_refused(acc)
        del poisoned.run
        acc.resume()
        acc.decided()


class Touches:
    """What a poisoned pickle does when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", [POLICY, WEIGHTS, RECORD, "training/state.json"])
def test_f58_a_pickle_in_the_place_of_a_file_is_never_opened(tmp_path, copy, name):
    from agents.checkpoint import load_network, resume_state

    canary = tmp_path / "canary"
    (copy / name).write_bytes(pickle.dumps(Touches(canary)))
    if name != RECORD:
        forge(copy)
    tried = 0
    for use in (checkpoint.read, StepPolicy.load, load_network, resume_state):
        try:
            use(copy)
        except (CheckpointError, ValueError):
            tried += 1
    assert tried
    with suppress(CheckpointError), account(tmp_path / "paper", copy) as acc:
        if "training" not in name:
            require_refused(acc)
    assert not canary.exists()
    pickle.loads((copy / name).read_bytes())  # noqa: S301 - our own, to see it go off
    assert canary.exists()


def test_f58_a_pickle_offered_as_the_checkpoint_itself_is_refused(tmp_path, agent):
    canary = tmp_path / "canary"
    offered = tmp_path / "model.zip"
    offered.write_bytes(pickle.dumps(Touches(canary)))
    with account(tmp_path / "paper", agent) as acc:
        paper = acc.settings.paper.model_copy(update={"checkpoint": str(offered)})
        with pytest.raises(UsageError, match=r"paper\.checkpoint .*model\.zip: no such folder"):
            furnish(acc.settings.model_copy(update={"paper": paper}), None, acc.clock)
    assert not canary.exists()
