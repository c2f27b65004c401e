"""Who is to blame for a wrong setting, and what was meant: file or override, key and remedy."""

import difflib
import math
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

# Where pydantic speaks of Python, a reader of TOML is told what to write.
_WORDS = {
    "tuple_type": 'expected a list, for example ["a", "b"]',
    "model_type": "expected a table of keys",
    "dict_type": "expected a table of keys",
    "date_from_datetime_inexact": "expected a date like 2015-12-31",
    "date_from_datetime_parsing": "expected a date like 2015-12-31",
    "finite_number": "expected a finite number",
}


def origin(
    location: tuple[Any, ...],
    before: dict[str, Any],
    tree: dict[str, Any],
    overrides: Iterable[str],
) -> str:
    """Return the overrides to blame for what is wrong at a place; empty where the file is.

    `before` is the tree of the file, `tree` the same with the overrides in it.
    """
    if _at(before, location) == _at(tree, location):
        return ""
    keys = [str(part) for part in location]
    touching = []
    for override in overrides:
        parts = override.partition("=")[0].strip().split(".")
        shared = min(len(parts), len(keys))
        if parts[:shared] == keys[:shared]:
            touching.append(f"--set {override}")
    return " ".join(touching)


def _at(tree: Any, location: tuple[Any, ...]) -> Any:
    for part in location:
        inside = isinstance(part, int) and isinstance(tree, list) and part < len(tree)
        if not inside and not (isinstance(tree, dict) and part in tree):
            return None
        tree = tree[part]
    return tree


def endless(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[dict[str, Any]]:
    """Give an error, as pydantic would, for every number of a tree that is infinite or none."""
    if isinstance(tree, float) and not math.isfinite(tree):
        yield {"loc": place, "type": "finite_number", "msg": "", "input": tree}
    elif isinstance(tree, dict | list):
        pairs = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, part in pairs:
            yield from endless(part, (*place, key))


def explain(item: Any, where: str, model: type[BaseModel]) -> str:
    """Return one error of pydantic as a sentence: where, which key, what was found, what to do."""
    path = ".".join(str(part) for part in item["loc"])
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key {path}; {_meant(item['loc'], model)}"
    found = item.get("input")
    shown = f", found {found!r}" if not isinstance(found, dict) else ""
    mend = "change it" if where.startswith("--set") else "change it there or with --set"
    told = _WORDS.get(item["type"], item["msg"].removeprefix("Value error, "))
    return f"{where}: {path or 'settings'}: {told}{shown}; {mend}"


def _meant(location: tuple[Any, ...], root: type[BaseModel]) -> str:
    # A key of the same table that is spelled almost so, or the table that has one of this name.
    name, beside = str(location[-1]), _keys_beside(location, root)
    near = difflib.get_close_matches(name, beside, n=1)
    if near:
        return f"did you mean {near[0]}?"
    elsewhere = [path for path in _paths(root) if path.split(".")[-1] == name]
    if len(elsewhere) == 1:
        return f"did you mean {elsewhere[0]}?"
    return f"known keys: {', '.join(beside)}"


def _paths(model: Any, prefix: str = "") -> Iterator[str]:
    for name, field in getattr(model, "model_fields", {}).items():
        yield prefix + name
        yield from _paths(field.annotation, f"{prefix}{name}.")


def _keys_beside(location: tuple[Any, ...], model: Any) -> list[str]:
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            return []
        model = field.annotation
    return list(getattr(model, "model_fields", {}))
