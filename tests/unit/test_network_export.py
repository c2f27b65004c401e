"""Every network option as a deployed step: ONNX Runtime and torch agree over 1,000 carried bars.

Options that leave the deployed step as it is (first weights, dropout, what the critic's error trains)
need no export of their own; the rest is exported alone or together with others.
"""

import numpy as np
import pytest
import torch

from agents.export import StepGraph
from agents.networks import ActorCritic
from engine.step import open_graph
from tests.network_options import make

BARS, ROWS, NEAR_TIE = 1_000, 3, 1e-5
CASES = [
    ("leaky relu, residual heads, encoder, norm of outputs", "carry"),
    ("norm in the cell, two layers", "carry"),
    ("dropout after", "carry"),
    ("groups", "carry"),
    ("attention", "carry"),
    ("attention", "window(3)"),
    ("separate critic", "window(3)"),
    ("all, norm of outputs, book in the LSTM", "carry"),
    ("all, norm in the cell, separate critic", "carry"),
]


def deployed(name: str, rule: str) -> tuple[ActorCritic, bytes]:
    """A network whose head is scaled up, so that actions change, and its graph."""
    net = make(name, rule)
    with torch.no_grad():
        net.actor[-1].weight.mul_(100.0)
    return net, StepGraph(net).as_bytes()


@pytest.mark.parametrize(("name", "rule"), CASES)
@torch.no_grad()
def test_deployed_step_agrees_with_torch_over_1000_carried_bars(name: str, rule: str) -> None:
    net, graph = deployed(name, rule)
    session = open_graph(graph, name)
    rng = np.random.default_rng(1)
    market = rng.normal(size=(BARS, ROWS, 4)).astype(np.float32)
    book = rng.normal(size=(BARS, ROWS, 2)).astype(np.float32)
    memory = np.zeros((ROWS, net.memory_width), dtype=np.float32)
    # Torch's side is one pass over the whole sequence: step = sequence holds as well.
    rows = net.join(torch.from_numpy(market), torch.from_numpy(book))
    out, end = net.trunk(rows, net.start(ROWS))
    expected = net.policy(out, torch.from_numpy(book)).numpy()
    heads = []
    for bar in range(BARS):
        feeds = {"market": market[bar], "memory": memory, "book": book[bar]}
        head, memory = session.run(None, feeds)
        heads.append(head)
    found = np.stack(heads)
    assert np.abs(memory - end.numpy()).max() <= 1e-5
    gap = np.diff(np.sort(expected, axis=-1)[..., -2:])[..., 0]
    differs = found.argmax(-1) != expected.argmax(-1)
    assert not (differs & (gap >= NEAR_TIE)).any()
    assert differs.sum() <= BARS * ROWS // 1_000
    assert len(np.unique(expected.argmax(-1))) > 1  # a test of actions that do change


@torch.no_grad()
def test_a_deployed_attention_that_forgets_its_marks_is_caught() -> None:
    # planted: the marks of what was seen are wiped on every bar, all else is carried
    net, graph = deployed("attention", "carry")
    session, trunk = open_graph(graph, "attention"), net.policy_trunk
    rows = np.random.default_rng(1).normal(size=(20, 1, 4)).astype(np.float32)
    book = torch.zeros(1, 2)
    memory, wrong = np.zeros((1, net.memory_width), dtype=np.float32), 0.0
    kept = net.start(1)
    for row in rows:
        feeds = {"market": row, "memory": memory, "book": book.numpy()}
        head, memory = session.run(None, feeds)
        expected, kept = net.step(torch.from_numpy(row), book, kept)
        wrong = max(wrong, float(np.abs(head - expected.numpy()).max()))
        memory = memory.copy()
        memory[:, trunk.state_width + trunk.hidden :: trunk.hidden + 1] = 0.0
    assert wrong > 1e-2
