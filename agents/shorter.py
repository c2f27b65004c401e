"""The exported step with fewer nodes: of 23 the exporter writes, half only turn its memory around.

They are written for any number of layers and bars. A step of life has one bar, and where one LSTM
remembers (h, c) and nothing else, a row of memory is h, then c. Not one number is computed otherwise.
"""

from typing import Any

import numpy as np
from torch import nn

from agents.networks import ActorCritic
from engine.step_parts import behind


def is_plain(net: ActorCritic) -> bool:
    """Tell whether all that a network remembers is (h, c) of one LSTM layer."""
    state = 2 * net.network.hidden_size
    one = type(net.lstm) is nn.LSTM and net.network.lstm_layers == 1
    return one and not net.window and net.memory_width == state


def shorten(model: Any, hidden: int) -> None:
    """Cut the memory of a plain network's step in two and join it again, and nothing more.

    Shapes: memory (R, 2 x hidden). `model` (an ONNX model) is changed in place.
    """
    from onnx import numpy_helper

    graph = model.graph
    (lstm,) = (node for node in graph.node if node.op_type == "LSTM")
    h, c = lstm.output[1:]
    _take_last(graph, lstm.output[0], h)
    lstm.output[0] = ""
    lstm.input[5], lstm.input[6] = "h_before", "c_before"
    (joined,) = (node for node in graph.node if "memory_after" in node.output)
    joined.output[0] = "memory_turned"
    for node in graph.node:
        if node.op_type == "Gather" and node.input[0] == h:  # its one bar
            _rename(graph, node.output[0], "h_after")
    _insert(graph, lstm, h, c)
    for name, values in (("first_axis", [0]), ("halves", [hidden, hidden])):
        graph.initializer.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
    _drop_unused(graph)


def _take_last(graph: Any, outputs: str, last: str) -> None:
    # The outputs of all bars, turned and reshaped to (1, R, H): of one bar they are the last h.
    for _ in ("Transpose", "Reshape"):
        (node,) = (node for node in graph.node if outputs in node.input)
        outputs = node.output[0]
    _rename(graph, outputs, last)


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for at, name in enumerate(node.input):
            if name == old:
                node.input[at] = new


def _insert(graph: Any, lstm: Any, h: str, c: str) -> None:
    from onnx.helper import make_node

    before = [
        make_node("Split", ["memory", "halves"], ["h_half", "c_half"], axis=1),
        make_node("Unsqueeze", ["h_half", "first_axis"], ["h_before"]),
        make_node("Unsqueeze", ["c_half", "first_axis"], ["c_before"]),
    ]
    after = [
        make_node("Squeeze", [h, "first_axis"], ["h_after"]),
        make_node("Squeeze", [c, "first_axis"], ["c_after"]),
        make_node("Concat", ["h_after", "c_after"], ["memory_after"], axis=1),
    ]
    nodes = list(graph.node)
    at = nodes.index(lstm)
    nodes = [*nodes[:at], *before, lstm, *after, *nodes[at + 1 :]]
    del graph.node[:]
    graph.node.extend(nodes)


def _drop_unused(graph: Any) -> None:
    # From the outputs back: what nothing asks for goes, notes on shapes too.
    kept = behind(graph.node, {output.name for output in graph.output})
    asked = {name for node in kept for name in node.input}
    weights = [weight for weight in graph.initializer if weight.name in asked]
    for part, found in ((graph.node, kept), (graph.initializer, weights)):
        del part[:]
        part.extend(found)
    del graph.value_info[:]
