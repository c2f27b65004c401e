"""The single step of a network as an ONNX graph, for `engine.step` to run without torch.

Exporting takes seconds and depends on a network's shape alone, so it is done once for a shape; the
weights of the moment are then put into the same nodes, which takes milliseconds.
"""

import copy
import functools
import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from agents.networks import ActorCritic, Widths
from agents.shorter import is_plain, shorten
from engine.errors import CheckpointError
from engine.settings_agent import NetworkSettings


class StepGraph:
    """One network's step: market (R, F), memory (R, M), book (R, P) to head (R, A), memory."""

    def __init__(self, net: ActorCritic) -> None:
        self.net = net
        self._made: tuple[dict[str, Tensor], bytes] | None = None

    def as_bytes(self) -> bytes:
        """Return the graph with the weights of now; without a book part it has no book input."""
        now = self.net.state_dict()
        if self._made is None or not all(torch.equal(x, now[n]) for n, x in self._made[0].items()):
            self._made = {name: x.clone() for name, x in now.items()}, self._folded()
        return self._made[1]

    def _folded(self) -> bytes:
        import onnxscript.optimizer

        model = copy.deepcopy(_export(*self.net.shape))
        _put_weights(model, self.net)
        model = onnxscript.optimizer.optimize(model)
        if is_plain(self.net):
            shorten(model, self.net.network.hidden_size)
        folded: bytes = _without_notes(model).SerializeToString()
        return folded


class _Step(nn.Module):
    # What is exported: the step of life, with a book input only where there is one.
    def __init__(self, net: ActorCritic) -> None:
        super().__init__()
        self.net = net

    def forward(self, market: Tensor, memory: Tensor, book: Tensor | None = None) -> Any:
        if book is None:
            book = market.new_zeros((market.shape[0], 0))
        return self.net.step(market, book, memory)


@functools.lru_cache(maxsize=8)
def _export(widths: Widths, network: NetworkSettings, memory: str) -> Any:
    # Not optimised here: folding would hide the weights under other names. `as_bytes` folds later.
    with torch.random.fork_rng(devices=[]):  # its weights are never used, nor may they cost draws
        net = ActorCritic(widths, network, memory)
    named = {"market": widths.market, "memory": net.memory_width, "book": widths.book}
    named = {name: width for name, width in named.items() if name != "book" or width}
    rows = torch.export.Dim("R", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of libraries it lacks
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        program = torch.onnx.export(
            _Step(net).eval(),
            tuple(torch.zeros((3, width)) for width in named.values()),
            input_names=list(named),
            output_names=["head", "memory_after"],
            dynamic_shapes=tuple({0: rows} for _ in named),
            dynamo=True,
            optimize=False,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _without_notes(model: Any) -> Any:
    # The exporter notes paths of this machine, and symbols of whatever it exported before in this
    # process: without them the same weights are the same bytes wherever they were trained.
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for part in (model, graph, *graph.node, *values):
        del part.metadata_props[:]
    return model


def _put_weights(model: Any, net: ActorCritic) -> None:
    from onnx import numpy_helper

    weights = {f"net.{name}": x for name, x in net.state_dict().items()}
    for initializer in model.graph.initializer:
        if initializer.name in weights:
            now = weights.pop(initializer.name).detach().cpu().numpy()
            initializer.CopyFrom(numpy_helper.from_array(now, initializer.name))
    unused = [n for n in weights if not n.startswith(("net.critic", "net.log_std"))]
    if unused:
        raise CheckpointError(
            f"the exported graph has no weight named {unused[0]}; this torch version folds "
            "weights away: use the tested versions in constraints.txt"
        )
