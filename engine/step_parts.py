"""The deployed step cut in two where its LSTM ends: before it bars alone count, behind it the book too.

Whether the parts give the bits of the whole is for the caller to ask of them: `engine.foreseen`.
"""

from typing import Any

import numpy as np


def cut(graph: bytes) -> tuple[bytes, bytes] | None:
    """Return the LSTM over any number of bars, and what makes a head of its outputs and the book.

    Shapes: rows (L, N, F), h and c (1, N, H) to outs (L, N, H), h_last and c_last; out (R, H), book
    (R, P) to head (R, A). None where there is no book, where the memory depends on it, or where the
    step is more than one LSTM over the market's own inputs.
    """
    import onnx

    model = onnx.load_from_string(graph)
    nodes = model.graph.node
    lstms = [node for node in nodes if node.op_type == "LSTM"]
    if len(lstms) != 1 or not _reads_market(nodes, lstms[0]):
        return None
    after = _reached(nodes, {"book"})
    made = {name for node in nodes for name in node.output}
    seam = {name for node in after for name in node.input if name in made}
    seam -= {name for node in after for name in node.output}
    if len(seam) != 1 or any("memory_after" in node.output for node in after):
        return None
    return _trunk(model, lstms[0]), _heads(model, after, seam.pop())


def _reads_market(nodes: Any, lstm: Any) -> bool:
    return any(
        node.op_type == "Unsqueeze"
        and node.input[0] == "market"
        and node.output[0] == lstm.input[0]
        for node in nodes
    )


def _reached(nodes: Any, names: set[str]) -> list[Any]:
    found = []
    for node in nodes:
        if names & set(node.input):
            names = names | set(node.output)
            found.append(node)
    return found


def behind(nodes: Any, names: set[str]) -> list[Any]:
    """Return the nodes of an ONNX graph that the values `names` are computed by, in their order."""
    found = []
    for node in reversed(nodes):
        if names & set(node.output):
            names = names | set(node.input)
            found.append(node)
    return found[::-1]


def _trunk(model: Any, lstm: Any) -> bytes:
    from onnx.helper import make_node

    weights = behind(model.graph.node, set(lstm.input[1:4]))
    over = type(lstm)()
    over.CopyFrom(lstm)
    over.input[0], over.input[5], over.input[6] = "rows", "h", "c"
    del over.output[:]
    over.output.extend(("turned", "h_last", "c_last"))
    ending = make_node("Squeeze", ["turned", "directions"], ["outs"])
    hidden = next(a.i for a in over.attribute if a.name == "hidden_size")
    shapes = {"rows": ["L", "N", None], "h": [1, "N", hidden], "c": [1, "N", hidden]}
    return _graph(model, [*weights, over, ending], shapes, ("outs", "h_last", "c_last"))


def _heads(model: Any, nodes: list[Any], seam: str) -> bytes:
    from onnx.helper import make_node

    shapes = {"out": ["R", None], "book": ["R", None]}
    return _graph(model, [make_node("Identity", ["out"], [seam]), *nodes], shapes, ("head",))


def _graph(
    model: Any, nodes: list[Any], shapes: dict[str, list[Any]], outputs: tuple[str, ...]
) -> bytes:
    from onnx import TensorProto, numpy_helper
    from onnx.helper import (
        make_empty_tensor_value_info,
        make_graph,
        make_model,
        make_tensor_value_info,
    )

    asked = {name for node in nodes for name in node.input}
    weights = [weight for weight in model.graph.initializer if weight.name in asked]
    weights.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "directions"))
    inputs = [make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items()]
    ends = [make_empty_tensor_value_info(name) for name in outputs]
    made = make_model(
        make_graph(nodes, "part", inputs, ends, weights),
        opset_imports=model.opset_import,
        ir_version=model.ir_version,
    )
    whole: bytes = made.SerializeToString()
    return whole
