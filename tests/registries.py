"""Registries for tests: checkpoints that differ in nothing but their seed, so in their digest."""

import json
import shutil
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from engine.checkpoint import POLICY, RECORD, WEIGHTS, digest_of, sha256_of
from engine.registry import Lineage, Registry

Change = tuple[datetime, int | None]  # when, and which of the agents; None = rolled back
LINEAGE = Lineage(data="d" * 64, settings="5" * 64, scores={"validation": 0.5}, trials=3, seeds=2)


def sibling(checkpoint: Path, folder: Path, seed: int) -> Path:
    """Copy a checkpoint as another one: the same decisions under another seed and digest."""
    shutil.copytree(checkpoint, folder)
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    record["seed"] = seed
    record["digest"] = digest_of(record)
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    return folder


def cousin(checkpoint: Path, folder: Path, seed: int, **record: Any) -> Path:
    """Copy a checkpoint with other weights, and other entries of its record: it decides otherwise."""
    shutil.copytree(checkpoint, folder)
    rng = np.random.default_rng(seed)
    graph = onnx.load(folder / POLICY)
    for weight in graph.graph.initializer:
        array = onnx.numpy_helper.to_array(weight)
        if array.dtype == np.float32:
            noise = (1.0 + 0.05 * rng.standard_normal(array.shape)).astype(np.float32)
            weight.CopyFrom(onnx.numpy_helper.from_array(array * noise, weight.name))
    onnx.save(graph, folder / POLICY)
    tree = json.loads((folder / RECORD).read_text(encoding="utf-8")) | {"seed": seed} | record
    tree["sha256"] = {name: sha256_of(folder / name) for name in (POLICY, WEIGHTS)}
    tree["digest"] = digest_of(tree)
    (folder / RECORD).write_text(json.dumps(tree), encoding="utf-8")
    return folder


def registry_of(path: Path, checkpoint: Path, seeds: tuple[int, ...] = (1, 2)) -> Registry:
    """Return a registry of siblings, one a seed, none of them promoted."""
    registry = Registry(path)
    for seed in seeds:
        registry.add(sibling(checkpoint, path.parent / f"sibling-{seed}", seed), LINEAGE)
    return registry


def changes_of(
    agents: Sequence[Path], changes: Sequence[Change], path: Path, now: Callable[[], datetime]
) -> Callable[[], None]:
    """Fill a registry; return what makes the changes that are due, as another process would."""
    registry, waiting = Registry(path), list(changes)
    names = [registry.add(agent, LINEAGE) for agent in agents]
    registry.promote(names[0], "the first", "person")

    def change() -> None:
        while waiting and now() >= waiting[0][0]:
            which = waiting.pop(0)[1]
            if which is None:
                registry.rollback("as planned")
            else:
                registry.promote(names[which], "as planned", "rules")

    return change


def ids(registry: Registry) -> list[str]:
    """Return the ids of a registry in the order in which they were added."""
    return [event.body["id"] for event in registry.history() if event.kind == "added"]
