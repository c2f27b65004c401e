"""A shortened step computes what the exporter wrote, bit for bit, with half of the nodes."""

from typing import Any

import numpy as np
import onnx
import pytest

from agents import export
from agents.export import StepGraph
from agents.networks import ActorCritic
from agents.shorter import is_plain
from engine.step import open_graph
from tests.network_options import make

PLAIN = ("plain", "norm of outputs", "encoder")
OTHERS = [
    *(("three layers", "carry"), ("norm in the cell", "carry"), ("residual lstm", "carry")),
    *(("attention", "carry"), ("separate critic", "carry"), ("plain", "window(3)")),
]
WIDTHS = {"market": 4, "book": 2}


def outputs(graph: bytes, net: ActorCritic, rows: int) -> list[np.ndarray]:
    rng = np.random.default_rng(rows)
    widths = {**WIDTHS, "memory": net.memory_width}
    feeds = {n: rng.normal(size=(rows, width)).astype(np.float32) for n, width in widths.items()}
    found: list[np.ndarray] = open_graph(graph, "test").run(["head", "memory_after"], feeds)
    return found


def written(net: ActorCritic, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The step as the exporter wrote it."""
    with monkeypatch.context() as patch:
        patch.setattr(export, "is_plain", lambda net: False)
        return StepGraph(net).as_bytes()


@pytest.mark.parametrize("name", PLAIN)
def test_shortened_step_gives_the_same_bits_with_fewer_nodes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = make(name, "carry")
    assert is_plain(net)
    long, short = written(net, monkeypatch), StepGraph(net).as_bytes()
    for rows in (1, 4, 30):
        for found, expected in zip(
            outputs(short, net, rows), outputs(long, net, rows), strict=True
        ):
            assert np.array_equal(found, expected)
    nodes = [len(onnx.load_from_string(graph).graph.node) for graph in (long, short)]
    assert nodes[1] <= nodes[0] - 5


@pytest.mark.parametrize(("name", "rule"), OTHERS)
def test_network_that_remembers_anything_else_is_not_plain(name: str, rule: str) -> None:
    assert not is_plain(make(name, rule))


def test_halves_of_memory_taken_for_one_another_are_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # planted: c, then h
    net = make("plain", "carry")
    long, model = written(net, monkeypatch), onnx.load_from_string(StepGraph(net).as_bytes())
    split: Any = next(node for node in model.graph.node if node.op_type == "Split")
    split.output[0], split.output[1] = split.output[1], split.output[0]
    found = outputs(model.SerializeToString(), net, 4)
    assert not np.array_equal(found[0], outputs(long, net, 4)[0])
