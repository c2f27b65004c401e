"""The deployed policy: the checkpoint's single-step graph in ONNX Runtime, one thread, no torch.

Validation, backtest, rehearsal and paper all decide here. The memory comes in and goes out; none is
kept. Always call it with the same (B, N): bits may differ between batch shapes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from engine.checkpoint import POLICY, CheckpointInfo, read
from engine.errors import CheckpointError
from engine.masks import finite
from engine.observation import Observation
from engine.policy import Wish, decode, greedy


class StepPolicy:
    """Greedy decisions of a checkpoint; an `engine.policy.Policy`.

    Shapes: the graph takes market (R, F), book (R, P) and memory (R, M) float32 and returns head
    (R, A) and memory (R, M), R = B x N; with P = 0 it has no book input.
    """

    def __init__(self, graph: bytes, info: CheckpointInfo, where: str = POLICY) -> None:
        self.info, self.graph = info, graph
        self.session = open_graph(graph, where)
        self.has_book = bool(info.book)
        self._outputs = [output.name for output in self.session.get_outputs()]
        self._require_shape(where)
        _require_finite(graph, where)

    @classmethod
    def load(cls, folder: Path) -> "StepPolicy":
        """Open a checkpoint folder. Raises: CheckpointError when it is damaged or does not fit."""
        info = read(folder)
        return cls((folder / POLICY).read_bytes(), info, str(folder / POLICY))

    @property
    def memory_width(self) -> int:
        """M: numbers carried from bar to bar, per symbol."""
        return self.info.memory_width

    def act(self, obs: Observation, memory: np.ndarray) -> tuple[Wish, np.ndarray]:
        """Decide on one bar; see `engine.policy.Policy`."""
        head, after = self.run(obs.market, obs.book, memory)
        return self.wish_of(head, obs), after

    def wish_of(self, head: np.ndarray, obs: Observation) -> Wish:
        """Return what the policy head (B, N, A) asks for."""
        action = greedy(head, self.info.action, obs.valid)
        return decode(action, self.info.action, self.info.limits.allow_short)

    def run(
        self, market: np.ndarray, book: np.ndarray, memory: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the policy head and the next memory.

        Shapes: market (..., F), book (..., P), memory (..., M) float32; head (..., A).
        Raises: CheckpointError where a number that goes in, or of the head, is not finite; the memory
        is asked where it is kept, by the trader, and when it goes in again.
        """
        if 0 in memory.shape[:-1]:  # ONNX Runtime aborts on no rows
            return np.zeros((*memory.shape[:-1], self.info.action.width), np.float32), memory
        feeds = {"market": _flat(market), "memory": _flat(memory)}
        if self.has_book:
            feeds["book"] = _flat(book)
        head, after = self.session.run(self._outputs, feeds)
        require_numbers(**feeds, head=head)
        return head.reshape(*memory.shape[:-1], -1), after.reshape(memory.shape)

    def _require_shape(self, where: str) -> None:
        info = self.info
        wanted = {"market": len(info.features), "book": len(info.book), "memory": info.memory_width}
        if not self.has_book:
            del wanted["book"]
        found = {x.name: x.shape[-1] for x in self.session.get_inputs()}
        heads = self.session.get_outputs()[0].shape[-1]
        if found != wanted or heads != info.action.width:
            raise CheckpointError(
                f"{where}: expected inputs {wanted} and {info.action.width} outputs, found "
                f"{found} and {heads}; policy and record do not belong together: train again"
            )


def require_numbers(**parts: np.ndarray) -> None:
    """Refuse NaN and infinity by name. Raises: CheckpointError."""
    # The gates clamp and the largest of NaN is an index: neither shows in what is ordered.
    for name, numbers in parts.items():
        if not finite(numbers):
            raise CheckpointError(
                f"{name} of the policy: expected finite numbers, found "
                f"{int((~np.isfinite(numbers)).sum())} that are not; nothing was decided: check the "
                "bars and the book, or choose another checkpoint"
            )


def _flat(x: np.ndarray) -> np.ndarray:
    # Any leading shape to rows; the width is kept even where there are no rows.
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])


def open_graph(graph: bytes, where: str) -> Any:
    """Return a graph ready to run, on one thread. Raises: CheckpointError when it cannot."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no other base
        raise CheckpointError(
            f"{where}: expected a graph that ONNX Runtime can run, found {error}; "
            "copy the whole folder again or train again"
        ) from error


def _require_finite(graph: bytes, where: str) -> None:
    # Read, not run: ONNX Runtime's LSTM clamps its gates, and so hides a weight that is NaN.
    import onnx

    for weight in onnx.load_from_string(graph).graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if not np.isfinite(values).all():
            raise CheckpointError(
                f"{where}: expected finite weights, found {weight.name} with "
                f"{int((~np.isfinite(values)).sum())} that are not; use an earlier checkpoint"
            )
