"""Registries for tests: checkpoints that differ in nothing but their seed, so in their digest."""

import json
import shutil
from pathlib import Path

from engine.checkpoint import RECORD, digest_of
from engine.registry import Lineage, Registry

LINEAGE = Lineage(data="d" * 64, settings="5" * 64, scores={"validation": 0.5}, trials=3, seeds=2)


def sibling(checkpoint: Path, folder: Path, seed: int) -> Path:
    """Copy a checkpoint as another one: the same decisions under another seed and digest."""
    shutil.copytree(checkpoint, folder)
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    record["seed"] = seed
    record["digest"] = digest_of(record)
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    return folder


def registry_of(path: Path, checkpoint: Path, seeds: tuple[int, ...] = (1, 2)) -> Registry:
    """Return a registry of siblings, one a seed, none of them promoted."""
    registry = Registry(path)
    for seed in seeds:
        registry.add(sibling(checkpoint, path.parent / f"sibling-{seed}", seed), LINEAGE)
    return registry


def ids(registry: Registry) -> list[str]:
    """Return the ids of a registry in the order in which they were added."""
    return [event.body["id"] for event in registry.history() if event.kind == "added"]
