"""`barwise promote`, `rollback` and `registry`: a person's hand on the champion."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.checkpoint import RECORD, read
from engine.clock import SystemClock
from engine.errors import CheckpointError, UsageError
from engine.registry import Champion, Lineage, Registry
from engine.registry_story import Event
from engine.report.folder import RunFolder
from engine.report.retraining import RESULT, told_in
from engine.run.build import find_settings
from engine.run.console import echo, say
from engine.run.retrain.lineage import lineage_of
from engine.run.retrain.promote_fit import misfits
from engine.run.retrain.promoting import account_at_rest
from engine.settings import Settings, build

Result = dict[str, Any]


def promote(
    subject: str, reason: str, settings: Settings, as_json: bool, anyway: bool = False
) -> Result:
    """Make a checkpoint the champion: a run folder's, a checkpoint folder, or one of the registry.

    A person needs no rule; what was measured goes into the lineage all the same.
    Raises: UsageError where a paper account of these settings would decline it, unless `anyway`.
    """
    registry = _registry(settings)
    name = _added(registry, subject)
    _require_fit(registry, name, settings, anyway)
    with account_at_rest(settings, SystemClock()):
        champion = registry.promote(name, reason, "person")
    _tell(champion, "promoted", as_json)
    return {"champion": champion.id, "event": champion.number, "folder": str(champion.folder)}


def _require_fit(registry: Registry, name: str, settings: Settings, anyway: bool) -> None:
    found = misfits(read(registry.folder(name)), settings, _sound(registry))
    if found and not anyway:
        raise UsageError(
            f"{name} does not fit the account of these settings, which would decline it: "
            f"{'; '.join(found)}. It is in the registry and the champion stays; --anyway promotes it "
            "all the same"
        )
    for text in found:
        say(f"! promoted all the same: {text}")


def _sound(registry: Registry) -> Champion | None:
    # A damaged copy of the champion must not be in the way of another one.
    try:
        return registry.champion()
    except CheckpointError:
        return None


def rollback(reason: str, settings: Settings, as_json: bool) -> Result:
    """Go back to the champion before this one."""
    registry = _registry(settings)
    with account_at_rest(settings, SystemClock()):
        registry.rollback(reason)
    champion = registry.champion()
    assert champion is not None
    _tell(champion, "rolled back to", as_json)
    return {"champion": champion.id, "event": champion.number, "folder": str(champion.folder)}


def list_registry(settings: Settings, as_json: bool) -> Result:
    """List every checkpoint with its lineage, the champion marked, then what happened."""
    registry = _registry(settings)
    events, champion = registry.history(), _leading(registry)
    added = [event for event in events if event.kind == "added"]
    if not as_json:
        for event in added:
            mark = "*" if event.body["id"] == champion else " "
            echo(f"{mark} {_line(event)}")
        for event in events:
            if event.kind != "added":
                echo(_changed(event))
        echo(f"champion {champion}" if champion else f"no champion yet in {registry.path}")
    return {
        "champion": champion,
        "checkpoints": [event.body | {"at": event.at} for event in added],
        "changes": [asdict(event) for event in events if event.kind != "added"],
    }


def show(settings: Settings, name: str | None, as_json: bool) -> Result:
    """Show one checkpoint's lineage and its own record; without a name the champion's."""
    registry = _registry(settings)
    champion = registry.champion()
    if name is None and champion is None:
        raise UsageError(f"{registry.path}: expected a champion, found none yet")
    chosen = _whole(registry, name) if name else champion.id if champion else ""
    body = next(e.body for e in registry.history() if e.kind == "added" and e.body["id"] == chosen)
    info = read(registry.folder(chosen))
    found: Result = {
        **body,
        "folder": str(registry.folder(chosen)),
        "champion": bool(champion and champion.id == chosen),
        "trained_on": info.trained_on.model_dump(mode="json"),
        "seed": info.seed,
        "update": info.update,
        "validation_score": info.validation_score,
    }
    if not as_json:
        for key, value in found.items():
            echo(f"{key.replace('_', ' '):18} {value}")
    return found


def verify(settings: Settings, as_json: bool) -> Result:
    """Prove that no line was edited or removed and every copy is what was added."""
    registry = _registry(settings)
    if not registry.path.is_dir():
        raise UsageError(
            f"{registry.path}: no registry here yet; `barwise promote FOLDER` makes one"
        )
    proof = registry.verify()
    if not as_json:
        echo(f"{proof.count} events of {registry.path}, every hash and every copy fits")
    return {"events": proof.count, "hash": proof.hash}


def registry_settings(config: str | None, overrides: tuple[str, ...]) -> Settings:
    """Load the settings that say where registry and paper account are."""
    return find_settings(config, overrides)


def _registry(settings: Settings) -> Registry:
    return Registry(Path(settings.registry.dir))


def _added(registry: Registry, subject: str) -> str:
    folder = Path(subject)
    if (folder / RESULT).is_file():
        return _of_retraining(registry, folder)
    for place in (folder, folder / "training" / "best"):
        if (place / RECORD).is_file():
            info = read(place)
            scores = {"validation": info.validation_score}
            settings = _settings_hash(place)
            lineage = Lineage(info.trained_on.digest, settings, _leading(registry), scores)
            return registry.add(place, lineage)
    if folder.exists():
        raise UsageError(
            f"{folder}: expected a checkpoint, a training's run folder or a retraining's, found no "
            f"{RECORD} and no {RESULT}; name the folder of the checkpoint"
        )
    return _whole(registry, subject)


def _of_retraining(registry: Registry, folder: Path) -> str:
    found = told_in(folder)
    settings = build(RunFolder(folder).part("settings"), str(folder))
    row = next(row for row in found["challengers"] if row["seed"] == found["picked"])
    # The folder may have been moved since; its training lies where it always does.
    place = folder / f"seed-{found['picked']}" / "training" / "best"
    if read(place).digest != row["digest"]:
        raise UsageError(f"{place}: expected the challenger that was judged, found another one")
    return registry.add(place, lineage_of(settings, found))


def _settings_hash(checkpoint: Path) -> str:
    from engine.run.counting import settings_hash

    folder = checkpoint.parent.parent
    if not (folder / "settings.json").is_file():
        return ""
    return settings_hash(build(RunFolder(folder).part("settings"), str(folder)))


def _leading(registry: Registry) -> str | None:
    # From the history alone: a damaged copy of the champion must not be in the way of another one.
    changes = [event.body["id"] for event in registry.history() if event.kind != "added"]
    return changes[-1] if changes else None


def _whole(registry: Registry, beginning: str) -> str:
    # The id that begins so, if there is just one.
    known = [event.body["id"] for event in registry.history() if event.kind == "added"]
    found = [name for name in known if name.startswith(beginning)]
    if len(found) == 1:
        return str(found[0])
    raise UsageError(
        f"{beginning}: expected a folder, or the beginning of one id of {registry.path}, found "
        f"{len(found)} of {len(known)}; `barwise registry list` shows them"
    )


def _tell(champion: Champion, what: str, as_json: bool) -> None:
    if not as_json:
        echo(
            f"{what} {champion.id}; a paper account that follows the registry takes it up before its"
        )
        echo("next decision")


def _line(event: Event) -> str:
    body = event.body
    scores = [
        f"{name.replace('_', ' ')} {value:.2f}"
        for name, value in body["scores"].items()
        if value is not None
    ]
    told = ", ".join([*scores, *([] if body["scored"] else ["NOT SCORED"])])
    parent = f"after {body['parent']}" if body["parent"] else "first"
    return f"{body['id']}  added {event.at}  data {body['data'][:12]}  {parent}  {told}"


def _changed(event: Event) -> str:
    body = event.body
    by = f" by {body['by']}" if "by" in body else ""
    before = f" in place of {body['previous']}" if body["previous"] else ""
    return f"  {event.at} {event.kind.replace('_', ' ')} {body['id']}{before}{by}: {body['reason']}"
