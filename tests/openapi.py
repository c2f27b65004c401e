"""Alpaca's OpenAPI files as a judge: does an answer have the shape that is written there?"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

# "Exactly one" of two kinds, neither of which requires a key: no activity could ever be that.
NEVER_ONE_OF = ("/v2/account/activities/{activity_type}",)
FILES = ("market-data-api.json", "trading-api.json")


class OpenApi:
    """The operations of both files. A path is judged by the most literal template it fits."""

    def __init__(self, folder: Path) -> None:
        self._documents = {}
        self._operations: dict[tuple[str, str], tuple[str, Any]] = {}
        for name in FILES:
            document = _without_nullable(json.loads((folder / name).read_text(encoding="utf-8")))
            self._documents[name] = document
            for path, item in document["paths"].items():
                for verb, operation in item.items():
                    if verb in ("get", "post", "patch", "delete"):
                        self._operations[verb.upper(), path] = (name, operation)
        pairs = [(f"urn:{k}", Resource(v, DRAFT202012)) for k, v in self._documents.items()]
        self._registry: Registry[Any] = Registry().with_resources(pairs)
        self.validator = cache(self._validator)

    def template(self, method: str, path: str) -> str:
        """Return the path of the operation that a request is one of."""
        fitting = [p for verb, p in self._operations if verb == method and _fits(p, path)]
        assert fitting, f"{method} {path} is not in the OpenAPI files"
        return min(fitting, key=lambda p: p.count("{"))

    def problems(self, method: str, path: str, status: int, body: bytes) -> list[str]:
        """Return what is wrong with an answer; empty where it has the shape of the file."""
        judge = self.validator(method, self.template(method, path), status)
        if judge is None:
            return _undescribed(status, body)
        errors = judge.iter_errors(json.loads(body))
        return [f"{method} {path} {status}: {e.json_path}: {e.message}" for e in errors]

    def _validator(self, method: str, template: str, status: int) -> Draft202012Validator | None:
        name, operation = self._operations[method, template]
        answer = operation["responses"].get(str(status), {})
        if "$ref" in answer:
            answer = self._documents[name]["components"]["responses"][answer["$ref"].split("/")[-1]]
        schema = answer.get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            return None
        rooted = _absolute(schema, f"urn:{name}")
        if template in NEVER_ONE_OF:
            rooted["items"]["anyOf"] = rooted["items"].pop("oneOf")
        return Draft202012Validator(rooted, registry=self._registry, format_checker=FormatChecker())


def _undescribed(status: int, body: bytes) -> list[str]:
    # The file shows no body: nothing at 204, a code and a message where something was refused.
    if status == 204:
        return [] if body == b"" else [f"204 with a body: {body!r}"]
    if status < 400:
        return [f"no operation answers {status}"]
    try:
        found = json.loads(body)
    except ValueError:
        return [] if status == 401 and body.startswith(b"<html>") else [f"no JSON: {body!r}"]
    good = isinstance(found.get("message"), str) and isinstance(found.get("code", 0), int)
    return [] if good else [f"{status}: expected code and message, found {found}"]


def _fits(template: str, path: str) -> bool:
    parts = re.split(r"\{[^}]*\}", template)
    return re.fullmatch("[^/]+".join(map(re.escape, parts)), path) is not None


def _without_nullable(node: Any) -> Any:
    # OpenAPI 3.0 says nullable beside a type; JSON Schema wants null among the types.
    if isinstance(node, list):
        return [_without_nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _without_nullable(value) for key, value in node.items()}
    if found.get("nullable") is not True:
        return found
    del found["nullable"]
    if "enum" in found:
        found["enum"] = [*found["enum"], None]
    if isinstance(found.get("type"), str):
        return {**found, "type": [found["type"], "null"]}
    return {"anyOf": [found, {"type": "null"}]}


def _absolute(node: Any, base: str) -> Any:
    if isinstance(node, list):
        return [_absolute(item, base) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: base + value if key == "$ref" and isinstance(value, str) else _absolute(value, base)
        for key, value in node.items()
    }
