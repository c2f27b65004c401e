"""Where champion and challenger of a retraining come from, for the registry and for the page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.checkpoint import CheckpointInfo, read
from engine.registry import ID_DIGITS, Champion, Lineage, Registry
from engine.report.retraining import PICKED
from engine.run.counting import settings_hash
from engine.settings import Settings


def lineage_of(settings: Settings, found: Mapping[str, Any]) -> Lineage:
    """Return where the picked challenger of a retraining comes from."""
    rows = {row["seed"]: row for row in found["challengers"]}
    held_back = found["accounts"].get(PICKED, {}).get("sharpe")
    return Lineage(
        data=found["data"],
        settings=settings_hash(settings),
        parent=found["champion"],
        scores={
            "validation": rows[found["picked"]]["validation_score"],
            "held_back_sharpe": held_back,
        },
        trials=found.get("trials"),
        seeds=len(rows),
        scored=held_back is not None,
    )


def both(
    settings: Settings, found: Mapping[str, Any], registry: Registry, champion: Champion | None
) -> dict[str, Any]:
    """Return what is known of the picked challenger, and of the champion if there is one.

    It is written down when the verdict is: the registry goes on changing.
    """
    rows = {row["seed"]: row for row in found["challengers"]}
    info = read(Path(rows[found["picked"]]["checkpoint"]))
    own = lineage_of(settings, found)
    challenger = _trained(info) | {"settings": own.settings, "parent": own.parent}
    challenger |= {"held_back_sharpe": own.scores["held_back_sharpe"]}
    told = {PICKED: challenger | {"seeds": own.seeds, "trials": own.trials}}
    return told | ({"champion": _leading(registry, champion)} if champion else {})


def _leading(registry: Registry, champion: Champion) -> dict[str, Any]:
    events = {event.number: event for event in registry.history()}
    added = next(e for e in events.values() if e.kind == "added" and e.body["id"] == champion.id)
    led = events[champion.number]
    kept = {key: added.body[key] for key in ("settings", "parent", "seeds", "trials", "scored")}
    kept |= {"added": added.at, "held_back_sharpe": added.body["scores"].get("held_back_sharpe")}
    since = {"at": led.at, "how": led.kind, "by": led.body.get("by"), "reason": led.body["reason"]}
    return _trained(read(champion.folder)) | kept | {"since": since}


def _trained(info: CheckpointInfo) -> dict[str, Any]:
    known = info.trained_on
    return {
        "id": info.digest[:ID_DIGITS],
        "seed": info.seed,
        "update": info.update,
        "validation_score": info.validation_score,
        "trained_from": str(known.start),
        "trained_until": str(known.end),
        "chosen_until": str(known.chosen_until) if known.chosen_until else None,
        "symbols": list(known.symbols),
        "data": known.digest,
    }
