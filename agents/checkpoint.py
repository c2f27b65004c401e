"""Write a checkpoint folder, and load its weights to train on.

What a record must say, and what is refused: `engine.checkpoint`. Nothing here is pickled.
"""

import json
import os
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor, nn

from agents.export import StepGraph
from agents.networks import ActorCritic, Widths
from engine.checkpoint import (
    POLICY,
    RECORD,
    TRAINING,
    WEIGHTS,
    CheckpointInfo,
    TrainedOn,
    digest_of,
    read,
    read_weights,
    sha256_of,
)
from engine.errors import CheckpointError
from engine.observation import Layout
from engine.settings import AgentSettings
from engine.trader import TraderSpec

LIBRARIES = ("barwise", "numpy", "onnx", "onnxruntime", "onnxscript", "safetensors", "torch")


def build(info: CheckpointInfo) -> ActorCritic:
    """Return a network of the shape a record describes, with fresh weights."""
    action = info.action
    sizes = (len(info.features), len(info.book), action.width, action.learned_spreads)
    widths = Widths(*sizes, features=info.features)
    return ActorCritic(widths, info.network, info.memory)


def describe(
    spec: TraderSpec, agent: AgentSettings, trained_on: TrainedOn, seed: int
) -> CheckpointInfo:
    """Return the record of an agent about to be trained; weights, score and digests come later."""
    layout = Layout.of(spec.features, spec.book_inputs, spec.scaler.clip)
    return CheckpointInfo(
        network=agent.network,
        memory=agent.memory,
        memory_width=0,
        burn_in=spec.burn_in,
        action=spec.action,
        features=layout.features,
        lookbacks=layout.lookbacks,
        book=layout.book,
        clip=layout.clip,
        feature_fingerprint=layout.feature_fingerprint,
        layout=layout.fingerprint(),
        scaler=spec.scaler.as_dict(),
        limits=spec.limits,
        sizing=spec.sizing,
        costs=spec.costs,
        venue=spec.venue,
        allocation=spec.allocation,
        seed=seed,
        trained_on=trained_on,
        versions=versions(),
    )


class Writer:
    """Saves one network again and again."""

    def __init__(self, net: ActorCritic) -> None:
        self.net = net
        self.graph = StepGraph(net).as_bytes

    def save(
        self, folder: Path, info: CheckpointInfo, training: Mapping[str, Any] | None = None
    ) -> CheckpointInfo:
        """Write the whole folder or nothing; return the record as written.

        `training` is what `resume_state` gives back: nested dicts of arrays and plain values.
        Raises: CheckpointError when a weight is not finite; an older folder stays as it is.
        """
        weights = {k: v.detach().cpu().numpy() for k, v in self.net.state_dict().items()}
        broken = [name for name, weight in weights.items() if not np.isfinite(weight).all()]
        if broken:
            raise CheckpointError(
                f"{folder}: expected finite weights, found NaN or infinity in {broken[0]}; nothing "
                "was written: the earlier checkpoint is still good, lower train.learning_rate"
            )
        temporary = folder.with_name(f".{folder.name}.new")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        (temporary / POLICY).write_bytes(self.graph())
        (temporary / WEIGHTS).write_bytes(save(weights))
        if training is not None:
            _write_training(temporary / TRAINING, training)
        digests = {name: sha256_of(temporary / name) for name in (POLICY, WEIGHTS)}
        done = info.model_copy(update={"sha256": digests, "versions": versions()})
        done = done.model_copy(update={"digest": digest_of(done.model_dump(mode="json"))})
        text = json.dumps(done.model_dump(mode="json"), indent=1)
        (temporary / RECORD).write_text(text + "\n", encoding="utf-8")
        _swap(temporary, folder)
        return done


def load_network(folder: Path) -> tuple[ActorCritic, CheckpointInfo]:
    """Return the network of a checkpoint, to train on, and its record.

    Raises: CheckpointError when the folder is damaged or a weight has another name or shape.
    """
    info = read(folder)
    net = build(info)
    put_weights(net, read_weights(folder / WEIGHTS), str(folder / WEIGHTS))
    return net, info


def put_weights(net: nn.Module, weights: Mapping[str, np.ndarray], where: str) -> None:
    """Copy named weights into a network. Raises: CheckpointError when they do not fit."""
    expected = {name: tuple(x.shape) for name, x in net.state_dict().items()}
    found = {name: tuple(x.shape) for name, x in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"{where}: expected {name} of shape {expected.get(name)}, found "
                f"{found.get(name)}; network settings and weights do not belong together"
            )
    net.load_state_dict({name: torch.from_numpy(x.copy()) for name, x in weights.items()})


def resume_state(folder: Path) -> dict[str, Any]:
    """Return what `Writer.save` was given as `training`. Raises: CheckpointError without it."""
    part = folder / TRAINING
    if not (part / "state.json").is_file() or not (part / "state.safetensors").is_file():
        raise CheckpointError(
            f"{part}: expected state.json and state.safetensors, found neither or one; "
            "this checkpoint can be used but not resumed: start training anew"
        )
    arrays = read_weights(part / "state.safetensors")
    tree = json.loads((part / "state.json").read_text(encoding="utf-8"))
    return dict(_restore(tree, arrays))


def versions() -> dict[str, str]:
    """Return the versions of the libraries a checkpoint depends on, where installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _write_training(folder: Path, state: Mapping[str, Any]) -> None:
    arrays: dict[str, np.ndarray] = {}
    tree = _take_arrays(state, "", arrays)
    folder.mkdir()
    (folder / "state.safetensors").write_bytes(save(arrays))
    (folder / "state.json").write_text(json.dumps(tree, indent=1), encoding="utf-8")


def _take_arrays(value: Any, path: str, arrays: dict[str, np.ndarray]) -> Any:
    # Arrays go to safetensors under their path; the tree keeps the path in their place.
    if isinstance(value, Mapping):
        return {k: _take_arrays(v, f"{path}/{k}", arrays) for k, v in value.items()}
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        plain = value.view(np.int64) if value.dtype.kind == "M" else value  # dates are counted days
        arrays[path] = np.ascontiguousarray(plain).reshape(value.shape)
        return {"array": path, "dtype": str(value.dtype)}
    return value


def _restore(tree: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == {"array", "dtype"}:
        return arrays[tree["array"]].view(tree["dtype"])
    return {key: _restore(value, arrays) for key, value in tree.items()}


def recover(folder: Path) -> None:
    """Bring back the complete older folder when a save was killed between its two renames."""
    old = folder.with_name(f".{folder.name}.old")
    if not folder.exists() and old.exists():
        os.rename(old, folder)


def _swap(temporary: Path, folder: Path) -> None:
    # Two renames: whatever stops us in between, one complete folder is left.
    old = folder.with_name(f".{folder.name}.old")
    recover(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(temporary, folder)
    shutil.rmtree(old, ignore_errors=True)
